# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""``some`` of ``replica.mysql_rows``, compiled: the same pieces, the same errors. The frames were checked before."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strlen

from proto._texts cimport Way, load32, load64, text_of

from proto.errors import FrameCorrupt
from proto.values import Kind
from replica.mysql_values import literal

cdef extern from "Python.h":
    char *PyOS_double_to_string(double value, char code, int precision, int flags, int *kind) except NULL

cdef dict WAYS = {
    Kind.BOOL: Way.BOOL, Kind.INT16: Way.INT16, Kind.INT32: Way.INT32, Kind.INT64: Way.INT64, Kind.FLOAT32: Way.FLOAT32,
    Kind.FLOAT64: Way.FLOAT64, Kind.TEXT: Way.WORDS, Kind.JSON: Way.WORDS, Kind.OTHER: Way.WORDS, Kind.BYTES: Way.BYTES,
    Kind.DATE: Way.DATE, Kind.TIMESTAMP: Way.STAMP, Kind.TIMESTAMPTZ: Way.STAMP, Kind.UUID: Way.UUID, Kind.DECIMAL: Way.DECIMAL,
}


cdef class Paper:
    """Bytes that grow."""

    cdef char *start
    cdef Py_ssize_t size, room

    def __cinit__(self):
        self.room = 65536
        self.start = <char *>malloc(self.room)
        if self.start == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.start)

    cdef int need(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = self.room
        cdef char *start
        if self.size + more <= room:
            return 0
        while self.size + more > room:
            room *= 2
        start = <char *>realloc(self.start, room)
        if start == NULL:
            raise MemoryError
        self.start = start
        self.room = room
        return 0

    cdef int put(self, const char *text, Py_ssize_t length) except -1:
        self.need(length)
        memcpy(self.start + self.size, text, length)
        self.size += length
        return 0

    cdef int put_escaped(self, const uint8_t *text, Py_ssize_t length) except -1:
        cdef Py_ssize_t at
        cdef uint8_t byte
        cdef char *to
        self.need(2 * length + 2)
        to = self.start + self.size
        to[0] = c"'"
        to += 1
        for at in range(length):
            byte = text[at]
            if byte == c"'" or byte == c"\\" or byte == 0:
                to[0] = c"\\"
                to += 1
                if byte == 0:
                    byte = c"0"
            to[0] = <char>byte
            to += 1
        to[0] = c"'"
        self.size = to + 1 - self.start
        return 0


def some(bytes data not None, kinds, Py_ssize_t at, Py_ssize_t most_bytes, int most_rows):
    """See ``replica.mysql_rows``."""
    cdef list all_kinds = list(kinds)
    cdef int columns = <int>len(all_kinds), rows = 0, column
    cdef list ways = [WAYS.get(kind, Way.SLOW) for kind in all_kinds]
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(data), before, next_row
    cdef int32_t length
    cdef Paper paper = Paper()
    while at < end:
        before = paper.size
        next_row = at + 2
        if end - at < 2 or ((start[at] << 8) | start[at + 1]) != columns:
            raise FrameCorrupt(f"a frame has another number of columns than {columns}")
        paper.put(",(" if rows else "(", 2 if rows else 1)
        for column in range(columns):
            if end - next_row < 4:
                raise FrameCorrupt("a length is cut off")
            length = <int32_t>load32(start + next_row)
            next_row += 4
            if length > end - next_row:
                raise FrameCorrupt("a length runs past the end")
            if column:
                paper.put(",", 1)
            put_value(paper, start + next_row, length, <int>ways[column], all_kinds[column], column)
            if length > 0:
                next_row += length
        paper.put(")", 1)
        if rows and (paper.size > most_bytes or rows == most_rows):
            paper.size = before
            break
        rows += 1
        at = next_row
    return PyBytes_FromStringAndSize(paper.start, paper.size), rows, at


cdef int put_value(Paper paper, const uint8_t *at, int32_t length, int way, kind, int column) except -1:
    cdef char text[160]
    cdef int size = 0
    cdef bytes word
    if length < 0:
        return paper.put("NULL", 4)
    if way == Way.WORDS:
        if is_words(at, length):
            return paper.put_escaped(at, length)
    elif way == Way.INT64 and length == 8:
        size = snprintf(text, 160, "%lld", <long long><int64_t>load64(at))
    elif way == Way.INT32 and length == 4:
        size = snprintf(text, 160, "%d", <int32_t>load32(at))
    elif way == Way.INT16 and length == 2:
        size = snprintf(text, 160, "%d", <int><int16_t>((at[0] << 8) | at[1]))
    elif way == Way.BOOL and length == 1 and at[0] <= 1:
        text[0] = <char>(c"0" + at[0])
        size = 1
    elif way == Way.BYTES:
        paper.put("_binary", 7)
        return paper.put_escaped(at, length)
    elif way == Way.FLOAT64 and length == 8:
        size = float_text(double_of(load64(at)), text)
    elif way == Way.FLOAT32 and length == 4:
        size = float_text(<double>float_of(load32(at)), text)
    elif way >= Way.DATE:
        size = text_of(way, at, length, text + 1)
        if size:
            text[0] = text[size + 1] = c"'"
            size += 2
    if size:
        return paper.put(text, size)
    word = literal(kind, PyBytes_FromStringAndSize(<const char *>at, length), column)
    return paper.put(PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word))


cdef bint is_words(const uint8_t *at, int32_t length) except -1:
    """Whether these are letters in UTF-8; ``literal`` has the words for it when they are not."""
    cdef int32_t place
    for place in range(length):
        if at[place] >= 0x80:
            try:
                PyUnicode_DecodeUTF8(<const char *>at + place, length - place, NULL)
            except UnicodeDecodeError:
                return False
            break
    return True


cdef int float_text(double value, char *text) except -1:
    """The digits of ``repr`` between quotes; 0 when it is no number."""
    cdef char *digits
    cdef int size
    if not isfinite(value):
        return 0
    digits = PyOS_double_to_string(value, c"r", 0, 0, NULL)
    size = <int>strlen(digits)
    memcpy(text + 1, digits, size)
    PyMem_Free(digits)
    text[0] = text[size + 1] = c"'"
    return size + 2


cdef double double_of(uint64_t bits) noexcept nogil:
    cdef double value
    memcpy(&value, &bits, 8)
    return value


cdef float float_of(uint32_t bits) noexcept nogil:
    cdef float value
    memcpy(&value, &bits, 4)
    return value
