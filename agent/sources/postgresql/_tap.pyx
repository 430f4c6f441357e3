# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled half of ``agent.sources.postgresql.tap``: libpq's own functions, called without Python in between."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

ctypedef int (*GetCopyData)(void *connection, char **data, int nowait) noexcept nogil
ctypedef void (*FreeMemory)(void *data) noexcept nogil

cdef enum:
    KIND_AT = 25
    HEADER = 19  # of a binary COPY, before its first row
    TRAILER = 2
    FIRST_ROOM = 65536


cdef class Pipe:
    """libpq's functions for COPY, by their addresses."""

    cdef GetCopyData get
    cdef FreeMemory free

    def __init__(self, uintptr_t get, uintptr_t release):
        self.get = <GetCopyData>get
        self.free = <FreeMemory>release

    def messages(self, uintptr_t connection, Py_ssize_t limit):
        """See ``tap.messages``."""
        cdef list data = [], others = []
        cdef Py_ssize_t taken = 0, whole = 0
        cdef int size = 0
        cdef char *found
        while taken < limit:
            size = self.get(<void *>connection, &found, 1)
            if size <= 0:
                break
            message = PyBytes_FromStringAndSize(found, size)
            if found[0] == c'w':
                data.append(message)
                taken += size
                if size > KIND_AT and found[KIND_AT] == c'C':
                    whole = len(data)
            else:
                others.append(message)
            self.free(found)
        return data, others, taken, whole, size


cdef class Rows:
    """The rows of one COPY, gathered until somebody takes them."""

    cdef Pipe pipe
    cdef char *data
    cdef Py_ssize_t room
    cdef bint begun
    cdef readonly Py_ssize_t size, count, last

    def __cinit__(self, Pipe pipe not None):
        self.pipe = pipe

    def __dealloc__(self):
        free(self.data)

    def gather(self, uintptr_t connection):
        """See ``tap.Rows``."""
        cdef int size
        cdef char *found
        while True:
            size = self.pipe.get(<void *>connection, &found, 1)
            if size <= 0:
                return size
            try:
                self.add(found, size)
            finally:
                self.pipe.free(found)

    def take(self):
        """See ``tap.Rows``."""
        made = PyBytes_FromStringAndSize(self.data, self.size)
        count, last = self.count, self.last
        self.size = self.count = self.last = 0
        return made, count, last

    cdef int add(self, const char *found, Py_ssize_t size) except -1:
        if not self.begun:
            self.begun = True
            found += HEADER
            size -= HEADER
        if size <= TRAILER:
            return 0
        if self.size + size > self.room:
            self.grow(self.size + size)
        memcpy(self.data + self.size, found, size)
        self.last = self.size
        self.size += size
        self.count += 1
        return 0

    cdef int grow(self, Py_ssize_t needed) except -1:
        cdef Py_ssize_t room = self.room * 2 if self.room else FIRST_ROOM
        cdef char *data
        while room < needed:
            room *= 2
        data = <char *>realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data, self.room = data, room
        return 0
