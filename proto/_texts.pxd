# cython: language_level=3, cdivision=True
"""The texts of everyday values, and numbers in network order, for ``_frames``.

Each writes what ``proto.calendar`` or ``proto.decimals`` would give, or nothing when the value is not an everyday one.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum Way:
    SLOW, BOOL, INT16, INT32, INT64, FLOAT32, FLOAT64, WORDS, BYTES, DATE, STAMP, STAMPTZ, UUID, DECIMAL

cdef enum:
    DAYS_FROM_YEAR_1 = -730119  # 0001-01-01 and 9999-12-31, counted from 2000-01-01
    DAYS_TO_YEAR_9999 = 2921939
    DAYS_0000_TO_2000 = 730425  # from 0000-03-01
    PLAIN_GROUPS = 12
    PLAIN_SCALE = 40


cdef inline uint32_t load32(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | <uint32_t>at[3]


cdef inline uint64_t load64(const uint8_t *at) noexcept nogil:
    return (<uint64_t>load32(at) << 32) | load32(at + 4)


cdef inline void store16(char *to, uint16_t value) noexcept nogil:
    to[0] = <char>(value >> 8)
    to[1] = <char>(value & 0xff)


cdef inline void store32(char *to, uint32_t value) noexcept nogil:
    store16(to, <uint16_t>(value >> 16))
    store16(to + 2, <uint16_t>(value & 0xffff))


cdef inline void store64(char *to, uint64_t value) noexcept nogil:
    store32(to, <uint32_t>(value >> 32))
    store32(to + 4, <uint32_t>value)


cdef inline char hex_digit(int value) noexcept nogil:
    return <char>(c'0' + value if value < 10 else c'a' + value - 10)


cdef inline void digits2(char *to, int value) noexcept nogil:
    to[0] = <char>(c'0' + value // 10)
    to[1] = <char>(c'0' + value % 10)


cdef inline int whole_group(char *to, int size, int first, int value) noexcept nogil:
    """Four digits before the point; the number's leading zeros are left out."""
    cdef int unit = 1000
    while unit:
        if size > first or value // unit:
            to[size] = <char>(c'0' + value // unit % 10)
            size += 1
        unit //= 10
    return size


cdef inline int decimal_text(const uint8_t *at, int32_t length, char *to) noexcept nogil:
    """See ``proto.decimals``; here only short ones whose first group stands at or before the point."""
    cdef int count, weight, sign, scale, group, value, size = 0, dot
    if length < 8:
        return 0
    count, weight = (at[0] << 8) | at[1], <int16_t>((at[2] << 8) | at[3])
    sign, scale = (at[4] << 8) | at[5], (at[6] << 8) | at[7]
    if count > PLAIN_GROUPS or length != 8 + 2 * count or weight < 0 or weight >= PLAIN_GROUPS:
        return 0
    if (sign != 0 and sign != 0x4000) or scale > PLAIN_SCALE:
        return 0
    for group in range(count):
        if ((at[8 + 2 * group] << 8) | at[9 + 2 * group]) > 9999:
            return 0
    if sign:
        to[0] = c'-'
        size = 1
    dot = size
    for group in range(weight + 1 + (scale + 3) // 4):
        value = (at[8 + 2 * group] << 8) | at[9 + 2 * group] if group < count else 0
        if group <= weight:
            size = whole_group(to, size, dot, value)
            if group == weight:
                if size == dot:
                    to[size] = c'0'
                    size += 1
                dot = size
                to[size] = c'.'
                size += 1
        else:
            digits2(to + size, value // 100)
            digits2(to + size + 2, value % 100)
            size += 4
    return dot + 1 + scale if scale else dot


cdef inline int uuid_text(const uint8_t *at, char *to) noexcept nogil:
    cdef int number, size = 0
    for number in range(16):
        if number == 4 or number == 6 or number == 8 or number == 10:
            to[size] = c'-'
            size += 1
        to[size] = hex_digit(at[number] >> 4)
        to[size + 1] = hex_digit(at[number] & 15)
        size += 2
    return size


cdef inline int clock_text(int64_t moment, char *to) noexcept nogil:
    cdef int seconds = <int>(moment // 1000000), micros = <int>(moment % 1000000), size = 8, at
    digits2(to, seconds // 3600)
    to[2] = c':'
    digits2(to + 3, seconds // 60 % 60)
    to[5] = c':'
    digits2(to + 6, seconds % 60)
    if micros:
        to[8] = c'.'
        digits2(to + 9, micros // 10000)
        digits2(to + 11, micros // 100 % 100)
        digits2(to + 13, micros % 100)
        size = 15
        while to[size - 1] == c'0':
            size -= 1
    return size


cdef inline int day_text(int64_t day, char *to) noexcept nogil:
    """See ``proto.calendar``, which also knows the other years."""
    cdef int era, year, month
    if day < DAYS_FROM_YEAR_1 or day > DAYS_TO_YEAR_9999:
        return 0
    day += DAYS_0000_TO_2000 + 146097  # one era more, so that nothing is negative
    era = <int>(day // 146097)
    day %= 146097
    year = <int>((day - day // 1460 + day // 36524 - day // 146096) // 365)
    day -= 365 * year + year // 4 - year // 100
    month = <int>((5 * day + 2) // 153)
    day -= (153 * month + 2) // 5
    month = month + 3 if month < 10 else month - 9
    year += 400 * (era - 1) + (1 if month <= 2 else 0)
    digits2(to, year // 100)
    digits2(to + 2, year % 100)
    to[4] = c'-'
    digits2(to + 5, month)
    to[7] = c'-'
    digits2(to + 8, <int>day + 1)
    return 10


cdef inline int text_of(int way, const uint8_t *at, int32_t length, char *to) noexcept nogil:
    """Write the text of an everyday value, at most 128 bytes; 0 when it is none (BC, infinities, damage …)."""
    cdef int64_t moment, days
    cdef int size
    if way == DATE and length == 4:
        return day_text(<int32_t>load32(at), to)
    if (way == STAMP or way == STAMPTZ) and length == 8:
        moment = <int64_t>load64(at)
        days = moment // <int64_t>86400000000 - (1 if moment % <int64_t>86400000000 < 0 else 0)
        size = day_text(days, to)
        if size == 0:
            return 0
        to[size] = c' '
        size += 1 + clock_text(moment - days * <int64_t>86400000000, to + size + 1)
        if way == STAMPTZ:
            memcpy(to + size, b"+00", 3)
            size += 3
        return size
    if way == UUID and length == 16:
        return uuid_text(at, to)
    if way == DECIMAL:
        return decimal_text(at, length, to)
    return 0
