# cython: language_level=3
"""The walk over frames, for other compiled modules."""

from libc.stdint cimport int32_t, uint8_t


cdef struct Span:
    Py_ssize_t at  # where the value lies
    int32_t length  # -1 = NULL


cdef class Numbers:
    cdef int count
    cdef int *of


cdef class Walk:
    cdef bytes data
    cdef const uint8_t *start
    cdef Py_ssize_t size, begin, end
    cdef int count, room
    cdef Span *spans

    cdef int grow(self, int count) except -1
    cdef bint next(self) except -1
    cdef bytes chosen(self, Numbers columns)


cdef object corrupt(Py_ssize_t at, str what)
