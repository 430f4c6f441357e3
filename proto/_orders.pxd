# cython: language_level=3, cdivision=True
"""How canonical values of one kind stand to each other, for ``_sieve``: what ``proto.predicate.order`` says."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from proto._texts cimport load32, load64

cdef enum Sort:
    BOOL, INT16, INT32, INT64, FLOAT32, FLOAT64, DECIMAL, TEXT, UUID


cdef struct Value:
    const uint8_t *at
    int32_t length


cdef inline int16_t load16(const uint8_t *at) noexcept nogil:
    return <int16_t>((at[0] << 8) | at[1])


cdef inline int ordered(int64_t a, int64_t b) noexcept nogil:
    return (a > b) - (a < b)


cdef inline double real(int sort, const uint8_t *at) noexcept nogil:
    cdef uint32_t bits32
    cdef uint64_t bits64
    cdef float number32
    cdef double number64
    if sort == FLOAT32:
        bits32 = load32(at)
        memcpy(&number32, &bits32, 4)
        return number32
    bits64 = load64(at)
    memcpy(&number64, &bits64, 8)
    return number64


cdef inline int reals_compared(double a, double b) noexcept nogil:
    """NaN is itself, and greater than every number."""
    if a != a or b != b:
        return (a != a) - (b != b)
    return (a > b) - (a < b)


cdef inline bint decimal_fits(const uint8_t *at, int32_t length) noexcept nogil:
    """See ``proto.decimals.check_decimal``."""
    cdef int count, weight, sign, scale, group, value, last
    if length < 8:
        return False
    count, weight = (at[0] << 8) | at[1], load16(at + 2)
    sign, scale = (at[4] << 8) | at[5], (at[6] << 8) | at[7]
    if length != 8 + 2 * count or scale > 16383 or weight < -4096:
        return False
    for group in range(count):
        if ((at[8 + 2 * group] << 8) | at[9 + 2 * group]) > 9999:
            return False
    if sign == 0xC000 or sign == 0xD000 or sign == 0xF000:
        return count == 0 and weight == 0 and scale == (0 if sign == 0xC000 else 0x20)
    if sign != 0 and sign != 0x4000:
        return False
    if count == 0:
        return weight == 0 and sign == 0
    value = (at[6 + 2 * count] << 8) | at[7 + 2 * count]
    if value == 0 or (at[8] == 0 and at[9] == 0):
        return False
    last = 4
    while value % 10 == 0:
        value //= 10
        last -= 1
    return 4 * (count - weight - 2) + last <= scale


cdef inline int decimal_rank(const uint8_t *at) noexcept nogil:
    """-Infinity, below 0, 0, above 0, Infinity, NaN."""
    cdef int sign = (at[4] << 8) | at[5]
    if sign == 0xF000:
        return -2
    if sign == 0xD000:
        return 2
    if sign == 0xC000:
        return 3
    if at[0] == 0 and at[1] == 0:
        return 0
    return -1 if sign == 0x4000 else 1


cdef inline int decimals_compared(const uint8_t *a, const uint8_t *b) noexcept nogil:
    """By weight, then by the groups of digits; the scale says nothing about the value."""
    cdef int rank = decimal_rank(a), sign = ordered(rank, decimal_rank(b)), ours, theirs
    if sign or (rank != 1 and rank != -1):
        return sign
    sign = ordered(load16(a + 2), load16(b + 2))
    if sign == 0:
        ours, theirs = (a[0] << 8) | a[1], (b[0] << 8) | b[1]
        sign = memcmp(a + 8, b + 8, 2 * (ours if ours < theirs else theirs))
        if sign == 0:
            sign = ordered(ours, theirs)
    return sign * rank


cdef inline bint fits(int sort, Value value) noexcept nogil:
    """Whether the bytes can be a value of the kind."""
    if sort == TEXT:
        return True
    if sort == DECIMAL:
        return decimal_fits(value.at, value.length)
    if sort == INT64 or sort == FLOAT64:
        return value.length == 8
    if sort == INT32 or sort == FLOAT32:
        return value.length == 4
    if sort == INT16:
        return value.length == 2
    if sort == UUID:
        return value.length == 16
    return value.length == 1 and value.at[0] <= 1


cdef inline int compared(int sort, Value a, Value b) noexcept nogil:
    """Below 0, 0 or above 0; both must fit."""
    cdef int sign
    if sort == TEXT or sort == UUID:
        sign = memcmp(a.at, b.at, a.length if a.length < b.length else b.length)
        return sign if sign else ordered(a.length, b.length)
    if sort == INT64:
        return ordered(<int64_t>load64(a.at), <int64_t>load64(b.at))
    if sort == INT32:
        return ordered(<int32_t>load32(a.at), <int32_t>load32(b.at))
    if sort == INT16:
        return ordered(load16(a.at), load16(b.at))
    if sort == BOOL:
        return ordered(a.at[0], b.at[0])
    if sort == DECIMAL:
        return decimals_compared(a.at, b.at)
    return reals_compared(real(sort, a.at), real(sort, b.at))


cdef inline bint is_among(int sort, Value value, const Value *literals, int count) noexcept nogil:
    """Whether one of the sorted *literals* is the value."""
    cdef int low = 0, high = count, middle, sign
    while low < high:
        middle = (low + high) // 2
        sign = compared(sort, value, literals[middle])
        if sign == 0:
            return True
        if sign < 0:
            high = middle
        else:
            low = middle + 1
    return False
