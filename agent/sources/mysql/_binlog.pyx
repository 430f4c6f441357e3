# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The hot loop of binlog capture: rows that tell every column, from the event to the collapsed frame.

It decides nothing: a row that is not plain (a changed key, a value no kind can hold, damage) is left, untouched, to
``agent.sources.mysql.lane``, which does the same in Python. Columns without a way of their own are read by their
Python reader; for all others no Python object is made per value.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_DelItem, PyDict_SetItem
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from agent.sources.mysql import _binlog_values as values
from agent.sources.mysql._binlog_values cimport CharTable, Target, little, value_of
from proto._texts cimport store32

cdef enum:
    INSERT, UPDATE, DELETE
    ROOM = 160  # any value that is not a string fits
    KEPT = 1 << 20


cdef struct Source:
    int size, prefix


cdef struct Span:
    const uint8_t *at
    Py_ssize_t length  # -1: NULL


cdef class HotLane:
    """One captured table: how its rows are laid out, which columns to read, the dictionaries its changes collapse in."""

    cdef int sources, targets, keys
    cdef Source *source
    cdef Target *target
    cdef int *key
    cdef Span *row
    cdef Span *before
    cdef Py_ssize_t *place
    cdef char *scratch
    cdef Py_ssize_t capacity, used
    cdef dict new, old
    cdef list appended
    cdef tuple reads
    cdef object pending, tables

    def __init__(self, lane):
        pending = lane.pending
        key = pending.schema.key_indexes
        self.pending = pending
        self.new, self.old, self.appended = pending.new, pending.old, pending.appended
        self.reads = tuple(reader.read for reader in lane.readers)
        self.sources, self.targets, self.keys = len(lane.layouts), len(lane.picks), len(key)
        self.source = <Source *>_room(self.sources * sizeof(Source))
        self.row = <Span *>_room(self.sources * sizeof(Span))
        self.before = <Span *>_room(self.sources * sizeof(Span))
        self.target = <Target *>_room(self.targets * sizeof(Target))
        self.place = <Py_ssize_t *>_room((self.targets + 1) * sizeof(Py_ssize_t))
        self.key = <int *>_room((self.keys + 1) * sizeof(int))
        for at in range(self.sources):
            self.source[at].size, self.source[at].prefix = lane.layouts[at].size, lane.layouts[at].prefix
        for at in range(self.keys):
            self.key[at] = key[at]
        self.tables = [values.table_of(reader.charset) if reader.charset else None for reader in lane.readers]
        for at in range(self.targets):
            self.aim(at, lane.picks[at], lane.readers[at])

    def __dealloc__(self):
        PyMem_Free(self.source)
        PyMem_Free(self.row)
        PyMem_Free(self.before)
        PyMem_Free(self.target)
        PyMem_Free(self.place)
        PyMem_Free(self.key)
        PyMem_Free(self.scratch)

    cdef int aim(self, int at, int pick, reader) except -1:
        cdef Target *target = &self.target[at]
        cdef CharTable table
        target.pick, target.way = pick, reader.way
        target.first, target.second = reader.first, reader.second
        if self.tables[at] is not None:
            table = self.tables[at]
            target.single, target.double_ = table.single, table.double_
        return 0

    def run(self, int operation, bytes data, Py_ssize_t at):
        """Take in rows from *at* on; returns where the first begins that is left to the caller, and how many came."""
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
        cdef const uint8_t *end = start + PyBytes_GET_SIZE(data)
        cdef const uint8_t *here = start + at
        cdef const uint8_t *next
        cdef Py_ssize_t rows = 0
        cdef bint keep = self.pending.keep_vanished
        if at < 0 or at > PyBytes_GET_SIZE(data):
            raise IndexError(at)
        while here < end:
            next = self.split(self.before if operation == UPDATE else self.row, here, end)
            if next != NULL and operation == UPDATE:
                next = self.split(self.row, next, end)
            if next == NULL or not self.change(operation, keep):
                break
            here = next
            rows += 1
        if self.capacity > KEPT:
            PyMem_Free(self.scratch)
            self.scratch, self.capacity = NULL, 0
        return here - start, rows

    cdef const uint8_t *split(self, Span *row, const uint8_t *at, const uint8_t *end) noexcept nogil:
        """Where the row at *at* ends; NULL when it is cut off."""
        cdef const uint8_t *nulls = at
        cdef int number, prefix
        cdef Py_ssize_t length
        if end - at < (self.sources + 7) // 8:
            return NULL
        at += (self.sources + 7) // 8
        for number in range(self.sources):
            if nulls[number >> 3] >> (number & 7) & 1:
                row[number].length = -1
                continue
            prefix = self.source[number].prefix
            length = self.source[number].size
            if prefix:
                if end - at < prefix:
                    return NULL
                length = <Py_ssize_t>little(at, prefix)
                at += prefix
            if end - at < length:
                return NULL
            row[number].at = at
            row[number].length = length
            at += length
        return at

    cdef bint change(self, int operation, bint keep) except -1:
        """Take one row in; False leaves it to the caller."""
        if operation == INSERT:
            return self.insert()
        if self.keys == 0:
            return False
        return self.update() if operation == UPDATE else self.delete(keep)

    cdef bint insert(self) except -1:
        frame = self.frame()
        if frame is None:
            return False
        if self.keys == 0:
            self.appended.append(frame)
            return True
        key = self.key_of_frame()
        PyDict_SetItem(self.old if len(self.old) and PyDict_Contains(self.old, key) else self.new, key, frame)
        return True

    cdef bint update(self) except -1:
        cdef Span *was
        cdef Span *now
        cdef int at, pick
        for at in range(self.keys):
            pick = self.target[self.key[at]].pick
            was, now = &self.before[pick], &self.row[pick]
            if was.length != now.length or (was.length > 0 and memcmp(was.at, now.at, was.length)):
                return False
        frame = self.frame()
        if frame is None:
            return False
        key = self.key_of_frame()
        PyDict_SetItem(self.new if len(self.new) and PyDict_Contains(self.new, key) else self.old, key, frame)
        return True

    cdef bint delete(self, bint keep) except -1:
        if not self.write(self.key, self.keys):
            return False
        key = PyBytes_FromStringAndSize(self.scratch, self.used)
        if len(self.new) and PyDict_Contains(self.new, key):
            PyDict_DelItem(self.new, key)
            if not keep:
                return True
        PyDict_SetItem(self.old, key, None)
        return True

    cdef bytes frame(self):
        """The frame of the whole row; None when a value is not plain."""
        return PyBytes_FromStringAndSize(self.scratch, self.used) if self.write(NULL, self.targets) else None

    cdef bytes key_of_frame(self):
        """The key frame of the row whose frame was written last."""
        cdef Py_ssize_t size = 2
        cdef int at, column
        cdef char *to
        for at in range(self.keys):
            column = self.key[at]
            size += self.place[column + 1] - self.place[column]
        made = PyBytes_FromStringAndSize(NULL, size)
        to = PyBytes_AS_STRING(made)
        to[0], to[1] = <char>(self.keys >> 8), <char>(self.keys & 0xff)
        to += 2
        for at in range(self.keys):
            column = self.key[at]
            size = self.place[column + 1] - self.place[column]
            memcpy(to, self.scratch + self.place[column], size)
            to += size
        return made

    cdef bint write(self, const int *which, int count) except -1:
        """Write the frame of some columns, by their place in the schema, or of all in order; False: not plain."""
        cdef int at, column
        cdef Target *target
        cdef Span *span
        cdef Py_ssize_t size
        self.used = 2
        self.reserve(0)
        self.scratch[0], self.scratch[1] = <char>(count >> 8), <char>(count & 0xff)
        for at in range(count):
            column = which[at] if which != NULL else at
            target = &self.target[column]
            span = &self.row[target.pick]
            if which == NULL:
                self.place[at] = self.used
            self.reserve(4 + _most(target, span.length))
            if span.length < 0:
                memset(self.scratch + self.used, 0xff, 4)
                self.used += 4
                continue
            size = value_of(target, span.at, span.length, self.scratch + self.used + 4)
            if size >= 0:
                store32(self.scratch + self.used, <uint32_t>size)
                self.used += 4 + size
            elif not self.call(column, span):
                return False
        if which == NULL:
            self.place[count] = self.used
        return True

    cdef bint call(self, int column, Span *span) except -1:
        """Write what the Python reader gives; False when it cannot read the value."""
        cdef Py_ssize_t size
        try:
            found = self.reads[column](PyBytes_FromStringAndSize(<const char *>span.at, span.length))
        except Exception:
            # Python reads the row again and says what is wrong with it.
            return False
        if found is None:
            memset(self.scratch + self.used, 0xff, 4)
            self.used += 4
            return True
        size = PyBytes_GET_SIZE(found)
        self.reserve(4 + size)
        store32(self.scratch + self.used, <uint32_t>size)
        memcpy(self.scratch + self.used + 4, PyBytes_AS_STRING(found), size)
        self.used += 4 + size
        return True

    cdef inline int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t needed = self.used + more + ROOM
        if needed <= self.capacity:
            return 0
        needed += needed // 2
        found = PyMem_Realloc(self.scratch, needed)
        if found == NULL:
            raise MemoryError
        self.scratch, self.capacity = <char *>found, needed
        return 0


cdef inline Py_ssize_t _most(Target *target, Py_ssize_t length) noexcept nogil:
    """What a value takes at most."""
    if target.single != NULL:
        return ROOM + 3 * length
    return ROOM + (length if length > target.first else target.first)


cdef void *_room(Py_ssize_t size) except NULL:
    found = PyMem_Calloc(size, 1)
    if found == NULL:
        raise MemoryError
    return found
