from libc.stdint cimport uint8_t, uint16_t, uint64_t


cdef struct Target:
    # How one column of ours is read: see ``agent.sources.mysql.reader.Way``.
    int pick, way, first, second
    const uint16_t *single
    const uint16_t *double_


cdef class CharTable:
    cdef uint16_t *single
    cdef uint16_t *double_


cdef inline uint64_t little(const uint8_t *at, Py_ssize_t size) noexcept nogil:
    cdef uint64_t value = 0
    while size > 0:
        size -= 1
        value = value << 8 | at[size]
    return value


cdef inline uint64_t big(const uint8_t *at, Py_ssize_t size) noexcept nogil:
    cdef uint64_t value = 0
    cdef Py_ssize_t number
    for number in range(size):
        value = value << 8 | at[number]
    return value


cdef Py_ssize_t value_of(const Target *target, const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil
