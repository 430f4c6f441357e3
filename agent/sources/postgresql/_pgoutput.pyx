# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The hot loop of capture: plain inserts, updates and deletes, from the message to the collapsed frame.

It decides nothing: whatever is not plain (values not logged, text, changed keys, damage, any other message) is
left to ``agent.sources.postgresql.pgoutput``, which does the same in Python. No Python object is made per value.
"""

import struct


from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_DelItem, PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    MOST_COLUMNS = 1664  # PostgreSQL's own limit for one tuple
    HEADER = 25
    BEGIN_BYTES = 46
    COMMIT_BYTES = 51

cdef int64_t PG_EPOCH_US = 946684800000000


cdef struct Tuple:
    # For each column: its form, and where its length word and value lie.
    int count
    uint8_t form[MOST_COLUMNS]
    const uint8_t *word[MOST_COLUMNS]
    int32_t length[MOST_COLUMNS]


cdef inline uint32_t _word(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | <uint32_t>at[3]


cdef inline uint64_t _long(const uint8_t *at) noexcept nogil:
    return (<uint64_t>_word(at) << 32) | _word(at + 4)


cdef const uint8_t *_read(Tuple *found, const uint8_t *at, const uint8_t *end) noexcept nogil:
    """Where the tuple at *at* ends; NULL when it is damaged or not for the hot loop."""
    cdef int number, count
    cdef int32_t length
    cdef uint8_t form
    if end - at < 2:
        return NULL
    count = (at[0] << 8) | at[1]
    if count > MOST_COLUMNS:
        return NULL
    at += 2
    for number in range(count):
        if at >= end:
            return NULL
        form = at[0]
        at += 1
        found.form[number] = form
        if form == c'b' or form == c't':
            if end - at < 4:
                return NULL
            length = <int32_t>_word(at)
            if length < 0 or length > end - at - 4:
                return NULL
            found.word[number] = at
            found.length[number] = length
            at += 4 + length
        elif form != c'n' and form != c'u':
            return NULL
    found.count = count
    return at


cdef class HotLane:
    """One captured relation: which columns to copy, and the dictionaries its changes collapse in."""

    cdef int columns, keys
    cdef int picks[MOST_COLUMNS]
    cdef int key[MOST_COLUMNS]
    cdef bint copied[MOST_COLUMNS]
    cdef bint whole_identity
    cdef dict new, old
    cdef list appended

    def __init__(self, lane):
        pending = lane.pending
        self.new, self.old, self.appended = pending.new, pending.old, pending.appended
        self.whole_identity = lane.whole_identity
        self.columns = len(lane.picks)
        self.keys = len(pending.schema.key_indexes)
        for at in range(self.columns):
            self.picks[at] = lane.picks[at]
            self.copied[at] = lane.copied[at]
        for at in range(self.keys):
            self.key[at] = pending.schema.key_indexes[at]

    cdef bytes frame(self, Tuple *row, const int *which, int count):
        """The frame of some of the columns, by their place in the schema or in order; None when one is not plain."""
        cdef Py_ssize_t size = 2
        cdef int at, column, pick
        cdef uint8_t form
        cdef char *to
        for at in range(count):
            column = which[at] if which != NULL else at
            pick = self.picks[column]
            if pick < 0 or pick >= row.count:
                return None
            form = row.form[pick]
            if form == c'b' and self.copied[column]:
                size += 4 + row.length[pick]
            elif form == c'n':
                size += 4
            else:
                return None
        made = PyBytes_FromStringAndSize(NULL, size)
        to = PyBytes_AS_STRING(made)
        to[0] = <char>(count >> 8)
        to[1] = <char>(count & 0xff)
        to += 2
        for at in range(count):
            pick = self.picks[which[at] if which != NULL else at]
            if row.form[pick] == c'n':
                to[0] = to[1] = to[2] = to[3] = <char>0xff
                to += 4
            else:
                memcpy(to, row.word[pick], 4 + row.length[pick])
                to += 4 + row.length[pick]
        return made

    cdef bytes row_at(self, bytes key):
        """The whole row that is known at this key."""
        cdef PyObject *state = PyDict_GetItem(self.new, key)
        if state == NULL:
            state = PyDict_GetItem(self.old, key)
        return <bytes>state if state != NULL and PyBytes_CheckExact(<object>state) else None

    cdef bytes row_frame(self, Tuple *row):
        return self.frame(row, NULL, self.columns)

    cdef bytes key_frame(self, Tuple *row):
        return self.frame(row, self.key, self.keys)


cdef class HotTransactions:
    """See ``agent.sources.postgresql.transactions``."""

    cdef public uint64_t skip_until, end_lsn
    cdef public Py_ssize_t replayed, count
    cdef public bint skipping, is_open
    cdef public int64_t first_commit_us, last_commit_us
    cdef public list xids
    cdef int64_t begun_us
    cdef uint32_t xid

    def __init__(self):
        self.reset()

    def reset(self):
        """See ``Transactions``."""
        self.count = 0
        self.first_commit_us = self.last_commit_us = 0
        self.xids = []

    def begin(self, bytes message not None):
        """See ``Transactions``."""
        if PyBytes_GET_SIZE(message) < BEGIN_BYTES:
            raise struct.error("a begin is cut off")
        self.begins(<const uint8_t *>PyBytes_AS_STRING(message) + HEADER)

    def commit(self, bytes message not None):
        """See ``Transactions``."""
        if PyBytes_GET_SIZE(message) < COMMIT_BYTES:
            raise struct.error("a commit is cut off")
        self.ends(<const uint8_t *>PyBytes_AS_STRING(message) + HEADER)

    cdef int begins(self, const uint8_t *at) except -1:
        self.is_open = True
        self.skipping = _long(at + 1) < self.skip_until
        self.begun_us = <int64_t>_long(at + 9) + PG_EPOCH_US
        self.xid = _word(at + 17)
        return 0

    cdef int ends(self, const uint8_t *at) except -1:
        self.is_open = False
        self.end_lsn = _long(at + 10)
        if self.skipping:
            self.skipping = False
            self.replayed += 1
            return 0
        self.count += 1
        if not self.first_commit_us:
            self.first_commit_us = self.begun_us
        self.last_commit_us = self.begun_us
        self.xids.append(self.xid)
        return 0


cdef class HotLoop:
    """Takes runs of plain changes, begins and commits in; stops at the first message that is none."""

    cdef dict lanes
    cdef HotTransactions transactions
    cdef Tuple row, before
    cdef public Py_ssize_t rows, size_bytes
    cdef public bint keep_vanished

    def __init__(self, HotTransactions transactions not None):
        self.lanes = {}
        self.transactions = transactions

    def set_lane(self, relid, lane):
        """Capture this relation from now on."""
        self.lanes[relid] = HotLane(lane)

    def leave_out(self, relid):
        """Pass over this relation's changes from now on."""
        self.lanes[relid] = None

    def run(self, messages, Py_ssize_t at):
        """Take in messages from number *at* on; returns the number of the first that is left to the caller."""
        cdef list found = messages if type(messages) is list else list(messages)
        cdef Py_ssize_t count = len(found), size
        cdef const uint8_t *start
        cdef uint32_t relid, last = 0
        cdef HotLane lane = None
        cdef bint known = False
        cdef PyObject *held
        while at < count:
            message = found[at]
            if not PyBytes_CheckExact(message):
                return at
            size = PyBytes_GET_SIZE(message)
            start = <const uint8_t *>PyBytes_AS_STRING(message)
            if size < HEADER + 6 or start[0] != c'w':
                return at
            if start[HEADER] == c'C' and size == COMMIT_BYTES:
                self.transactions.ends(start + HEADER)
                at += 1
                continue
            if start[HEADER] == c'B' and size == BEGIN_BYTES:
                self.transactions.begins(start + HEADER)
                at += 1
                if self.transactions.skipping:
                    return at
                continue
            if start[HEADER] != c'I' and start[HEADER] != c'U' and start[HEADER] != c'D':
                return at
            relid = _word(start + HEADER + 1)
            if not known or relid != last:
                held = PyDict_GetItem(self.lanes, relid)
                if held == NULL:
                    return at
                lane = <object>held
                last, known = relid, True
            if lane is not None:
                if not self.change(lane, start + HEADER, start + size):
                    return at
                self.rows += 1
                self.size_bytes += size - HEADER
            at += 1
        return at

    cdef bint change(self, HotLane lane, const uint8_t *at, const uint8_t *end) except -1:
        """Take one change in; False leaves it, untouched, to the caller."""
        if at[0] == c'I':
            return at[5] == c'N' and self.insert(lane, at + 6, end)
        if at[0] == c'U':
            return self.update(lane, at + 5, end)
        return self.delete(lane, at + 5, end)

    cdef bint insert(self, HotLane lane, const uint8_t *at, const uint8_t *end) except -1:
        if _read(&self.row, at, end) == NULL:
            return False
        frame = lane.row_frame(&self.row)
        if frame is None:
            return False
        if lane.keys == 0:
            lane.appended.append(frame)
            return True
        key = lane.key_frame(&self.row)
        if lane.whole_identity and lane.row_at(key) is not None:
            return False  # two rows share the key for a moment
        if len(lane.old) and PyDict_Contains(lane.old, key):
            PyDict_SetItem(lane.old, key, frame)
        else:
            PyDict_SetItem(lane.new, key, frame)
        return True

    cdef bint update(self, HotLane lane, const uint8_t *at, const uint8_t *end) except -1:
        cdef bint has_before = at[0] == c'O'
        if lane.keys == 0:
            return False
        if has_before:
            at = _read(&self.before, at + 1, end)
            if at == NULL or at >= end:
                return False
        if at[0] != c'N' or _read(&self.row, at + 1, end) == NULL:
            return False
        frame = lane.row_frame(&self.row)
        if frame is None:
            return False
        key = lane.key_frame(&self.row)
        if has_before:
            if lane.key_frame(&self.before) != key:
                return False
            known = lane.row_at(key)
            if known is not None and lane.row_frame(&self.before) != known:
                return False  # another row of the same key is meant
        if PyDict_Contains(lane.new, key):
            PyDict_SetItem(lane.new, key, frame)
        else:
            PyDict_SetItem(lane.old, key, frame)
        return True

    cdef bint delete(self, HotLane lane, const uint8_t *at, const uint8_t *end) except -1:
        if lane.keys == 0 or (at[0] != c'O' and at[0] != c'K') or _read(&self.row, at + 1, end) == NULL:
            return False
        key = lane.key_frame(&self.row)
        if key is None or (lane.whole_identity and lane.row_at(key) is not None):
            return False  # which of two rows may have to be looked at
        if PyDict_Contains(lane.new, key):
            PyDict_DelItem(lane.new, key)
            if not self.keep_vanished:
                return True
        PyDict_SetItem(lane.old, key, None)
        return True
