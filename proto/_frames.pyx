# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The functions of ``proto.frames``, compiled: the same names, the same results, the same errors."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from proto._texts cimport Way, load32, load64, store16, store32, store64, text_of

from proto.errors import FrameCorrupt
from proto.values import Kind, from_plain, to_plain

cdef enum:
    MAX_FIELDS = 32767
    FEW_FIELDS = 64

cdef dict WAYS = {
    Kind.BOOL: Way.BOOL, Kind.INT16: Way.INT16, Kind.INT32: Way.INT32, Kind.INT64: Way.INT64, Kind.FLOAT32: Way.FLOAT32,
    Kind.FLOAT64: Way.FLOAT64, Kind.TEXT: Way.WORDS, Kind.JSON: Way.WORDS, Kind.OTHER: Way.WORDS, Kind.BYTES: Way.BYTES,
    Kind.DATE: Way.DATE, Kind.TIMESTAMP: Way.STAMP, Kind.TIMESTAMPTZ: Way.STAMPTZ, Kind.UUID: Way.UUID, Kind.DECIMAL: Way.DECIMAL,
}


cdef class Numbers:
    """Small numbers as C has them; one that no column can have is as wrong as any other."""

    def __cinit__(self, numbers):
        cdef list found = list(numbers)
        cdef int at
        if len(found) > MAX_FIELDS:
            raise corrupt(0, "a frame has too many columns")
        self.count = <int>len(found)
        self.of = <int *>malloc((self.count + 1) * sizeof(int))
        if self.of == NULL:
            raise MemoryError
        for at in range(self.count):
            self.of[at] = found[at] if 0 <= found[at] <= MAX_FIELDS else -1

    def __dealloc__(self):
        free(self.of)


cdef class Walk:
    """Goes from frame to frame; after :meth:`next` the columns of the present one are in ``spans``."""

    def __cinit__(self, bytes data not None):
        self.data = data
        self.start = <const uint8_t *>PyBytes_AS_STRING(data)
        self.size = PyBytes_GET_SIZE(data)
        self.room = FEW_FIELDS
        self.spans = <Span *>malloc(FEW_FIELDS * sizeof(Span))
        if self.spans == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.spans)

    cdef int grow(self, int count) except -1:
        cdef Span *spans = <Span *>realloc(self.spans, count * sizeof(Span))
        if spans == NULL:
            raise MemoryError
        self.spans = spans
        self.room = count
        return 0

    cdef bint next(self) except -1:
        """Read the frame at ``end``; False when there is none."""
        cdef Py_ssize_t at = self.end, size = self.size
        cdef int number, count
        cdef int32_t length
        if at >= size:
            return False
        self.begin = at
        if size - at < 2:
            raise corrupt(at, "a frame's number of columns is cut off")
        count = <int16_t>((self.start[at] << 8) | self.start[at + 1])
        if count < 0:
            raise corrupt(at, "a frame's number of columns is negative")
        at += 2
        if count > self.room:
            self.grow(count)
        for number in range(count):
            if size - at < 4:
                raise corrupt(at, "a length is cut off")
            length = <int32_t>load32(self.start + at)
            if length < -1 or length > size - at - 4:
                raise corrupt(at, "a length is negative or runs past the end")
            at += 4
            self.spans[number].at = at
            self.spans[number].length = length
            if length > 0:
                at += length
        self.count = count
        self.end = at
        return True

    cdef bytes chosen(self, Numbers columns):
        """The frame of the chosen columns of the present frame."""
        cdef Py_ssize_t size = 2
        cdef int number, column, count = columns.count
        cdef int32_t length
        cdef char *to
        for number in range(count):
            column = columns.of[number]
            if column < 0 or column >= self.count:
                raise corrupt(self.begin, f"a frame has no column {column}")
            length = self.spans[column].length
            size += 4 + (length if length > 0 else 0)
        made = PyBytes_FromStringAndSize(NULL, size)
        to = PyBytes_AS_STRING(made)
        store16(to, <uint16_t>count)
        to += 2
        for number in range(count):
            column = columns.of[number]
            length = self.spans[column].length
            size = 4 + (length if length > 0 else 0)
            memcpy(to, self.start + self.spans[column].at - 4, size)
            to += size
        return made


def pack(fields):
    """See ``proto.frames``."""
    cdef list found = list(fields)
    cdef Py_ssize_t size = 2, count = len(found)
    cdef char *to
    if count > MAX_FIELDS:
        raise corrupt(0, "a frame has too many columns")
    for field in found:
        size += 4 if field is None else 4 + len(<bytes?>field)
    made = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(made)
    store16(to, <uint16_t>count)
    to += 2
    for field in found:
        if field is None:
            store32(to, <uint32_t>-1)
            to += 4
        else:
            size = PyBytes_GET_SIZE(field)
            store32(to, <uint32_t>size)
            memcpy(to + 4, PyBytes_AS_STRING(field), size)
            to += 4 + size
    return made


def fields(bytes frame not None):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(frame)
    cdef int number
    if not walk.next():
        raise corrupt(0, "a frame's number of columns is cut off")
    if walk.end != walk.size:
        raise corrupt(walk.end, "bytes follow the frame")
    return [field_of(walk, number) for number in range(walk.count)]


def split(bytes data not None):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(data)
    cdef list found = []
    while walk.next():
        found.append(frame_of(walk))
    return found


def check(bytes data not None, int columns):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(data)
    cdef Py_ssize_t count = 0
    while walk.next():
        expect(walk, columns)
        count += 1
    return count


def choose(bytes data not None, columns):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(data)
    cdef Numbers which = Numbers(columns)
    cdef list found = []
    while walk.next():
        found.append(walk.chosen(which))
    return b"".join(found)


def keys(bytes data not None, key):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(data)
    cdef Numbers which = Numbers(key)
    cdef list found = []
    while walk.next():
        found.append(walk.chosen(which))
    return found


def without(bytes data not None, key, gone):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(data)
    cdef Numbers which = Numbers(key)
    cdef list kept = []
    while walk.next():
        if walk.chosen(which) not in gone:
            kept.append(frame_of(walk))
    return b"".join(kept), len(kept)


def rows(bytes data not None, kinds):
    """See ``proto.frames``."""
    cdef Walk walk = Walk(data)
    cdef list all_kinds = list(kinds)
    cdef Numbers ways = Numbers([WAYS.get(kind, Way.SLOW) for kind in all_kinds])
    cdef int number, count = <int>len(all_kinds)
    cdef list found = [], row
    while walk.next():
        expect(walk, count)
        row = []
        for number in range(count):
            row.append(plain(walk, number, ways.of[number], all_kinds[number]))
        found.append(tuple(row))
    return found


def pack_rows(rows, kinds):
    """See ``proto.frames``."""
    cdef list all_kinds = list(kinds), parts = [], values
    cdef Numbers ways = Numbers([WAYS.get(kind, Way.SLOW) for kind in all_kinds])
    cdef int number, count = <int>len(all_kinds)
    for row in rows:
        if len(row) != count:
            raise corrupt(0, f"a row has {len(row)} values instead of {count}")
        values = []
        for number in range(count):
            value = row[number]
            values.append(None if value is None else packed(value, ways.of[number], all_kinds[number]))
        parts.append(pack(values))
    return b"".join(parts)


cdef object corrupt(Py_ssize_t at, str what):
    return FrameCorrupt(what, where=f"byte {at}")


cdef int expect(Walk walk, int columns) except -1:
    if walk.count != columns:
        raise corrupt(walk.begin, f"a frame has {walk.count} columns instead of {columns}")
    return 0


cdef bytes frame_of(Walk walk):
    return PyBytes_FromStringAndSize(<const char *>walk.start + walk.begin, walk.end - walk.begin)


cdef object field_of(Walk walk, int number):
    cdef Span span = walk.spans[number]
    if span.length < 0:
        return None
    return PyBytes_FromStringAndSize(<const char *>walk.start + span.at, span.length)


cdef object plain(Walk walk, int number, int way, kind):
    """A field as a plain value; whatever is not plain sailing is left to ``proto.values``."""
    cdef Span span = walk.spans[number]
    cdef const uint8_t *at = walk.start + span.at
    cdef uint32_t bits32
    cdef uint64_t bits64
    cdef float number32
    cdef double number64
    cdef char text[128]
    cdef int length
    if span.length < 0:
        return None
    if way == Way.WORDS:
        try:
            return PyUnicode_DecodeUTF8(<char *>at, span.length, NULL)
        except UnicodeDecodeError:
            return to_plain(kind, field_of(walk, number))
    if way == Way.INT32 and span.length == 4:
        return <int32_t>load32(at)
    if way == Way.INT64 and span.length == 8:
        return <int64_t>load64(at)
    if way == Way.INT16 and span.length == 2:
        return <int16_t>((at[0] << 8) | at[1])
    if way == Way.BOOL and span.length == 1 and at[0] <= 1:
        return <int>at[0]
    if way == Way.FLOAT64 and span.length == 8:
        bits64 = load64(at)
        memcpy(&number64, &bits64, 8)
        return number64
    if way == Way.FLOAT32 and span.length == 4:
        bits32 = load32(at)
        memcpy(&number32, &bits32, 4)
        return <double>number32
    if way >= Way.DATE:
        length = text_of(way, at, span.length, text)
        if length:
            return PyUnicode_DecodeUTF8(text, length, NULL)
    return to_plain(kind, field_of(walk, number))


cdef bytes packed(value, int way, kind):
    """The inverse of :func:`plain`."""
    cdef char room[8]
    cdef double number64
    cdef uint64_t bits64
    if type(value) is int and way != Way.SLOW:
        if way == Way.INT64 and -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
            store64(room, <uint64_t><int64_t>value)
            return PyBytes_FromStringAndSize(room, 8)
        if way == Way.INT32 and -0x80000000 <= value <= 0x7FFFFFFF:
            store32(room, <uint32_t><int32_t>value)
            return PyBytes_FromStringAndSize(room, 4)
    elif way == Way.WORDS and type(value) is str:
        try:
            return (<str>value).encode()
        except UnicodeEncodeError:
            return from_plain(kind, value)
    elif way == Way.BYTES and type(value) is bytes:
        return value
    elif way == Way.FLOAT64 and type(value) is float and value == value:
        number64 = value
        memcpy(&bits64, &number64, 8)
        store64(room, bits64)
        return PyBytes_FromStringAndSize(room, 8)
    return from_plain(kind, value)
