# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Values of the binlog in their canonical form, for ``_binlog``: each writes what its Python reader would give.

What a kind cannot hold is not written; the Python reader then says so.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from agent.sources.mysql.charsets import decoder
from proto._texts cimport store16, store32, store64

cdef enum Way:
    # The numbers of ``agent.sources.mysql.reader.Way``.
    CALL, INTEGER, BOOL, NUMBER, FLOAT, DECIMAL, UTF8, TABLE, BYTES, PADDED, DATE, DATETIME, TIMESTAMP, INTERVAL, YEAR

cdef enum:
    NO_CODE = 0xFFFF
    NOT_PLAIN = -1
    MOST_DIGITS = 272
    MOST_GROUPS = 68
    DAYS_0000_TO_2000 = 730425  # from 0000-03-01
    SECONDS_1970_TO_2000 = 946684800
    UP_TO_YEAR = 9999

cdef int[10] DIGIT_BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
cdef int[13] MONTH_DAYS = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
cdef dict _tables = {}


cdef class CharTable:
    """The 16-bit code of each one- and two-byte character of a set."""

    def __cinit__(self):
        self.single = <uint16_t *>PyMem_Calloc(256, sizeof(uint16_t))
        self.double_ = <uint16_t *>PyMem_Calloc(65536, sizeof(uint16_t))
        if self.single == NULL or self.double_ == NULL:
            raise MemoryError

    def __init__(self, str charset):
        read = decoder(charset)
        for lead in range(256):
            self.single[lead] = _code(read, bytes((lead,)))
            for trail in range(256):
                alone = self.single[lead] != NO_CODE
                self.double_[lead << 8 | trail] = NO_CODE if alone else _code(read, bytes((lead, trail)))

    def __dealloc__(self):
        PyMem_Free(self.single)
        PyMem_Free(self.double_)


def table_of(str charset):
    """The table of a character set, made once."""
    if charset not in _tables:
        _tables[charset] = CharTable(charset)
    return _tables[charset]


def _code(read, data):
    try:
        text = read(data).decode()
    except UnicodeDecodeError:
        return NO_CODE
    return ord(text) if len(text) == 1 and ord(text) < NO_CODE else NO_CODE


cdef Py_ssize_t value_of(const Target *target, const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil:
    """Write the value and say how long it is, or NOT_PLAIN."""
    cdef int way = target.way
    if way == UTF8:
        if not _is_utf8(at, length, target.first):
            return NOT_PLAIN
        memcpy(to, at, length)
        return length
    if way == INTEGER:
        return _integer(at, length, target, to)
    if way == DATETIME:
        return _datetime(at, length, to)
    if way == DECIMAL:
        return _decimal(at, target.first, target.second, to)
    if way == TABLE:
        return _tabled(at, length, target, to)
    if way == BYTES:
        memcpy(to, at, length)
        return length
    if way == DATE:
        return _date(at, to)
    if way == FLOAT:
        return _reversed(at, length, to)
    if way == TIMESTAMP:
        return _timestamp(at, length, to)
    return _rarer(target, at, length, to)


cdef Py_ssize_t _rarer(const Target *target, const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil:
    cdef int way = target.way
    if way == PADDED:
        memcpy(to, at, length)
        if length >= target.first:
            return length
        memset(to + length, 0, target.first - length)
        return target.first
    if way == BOOL:
        to[0] = <char>at[0]
        return 1 if little(at, length) <= 1 else NOT_PLAIN
    if way == NUMBER:
        return _number(at, length, target.second, to)
    if way == INTERVAL:
        return _interval(at, length, to)
    if way == YEAR:
        store16(to, <uint16_t>(1900 + at[0] if at[0] else 0))
        return 2
    return NOT_PLAIN


cdef inline Py_ssize_t _reversed(const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil:
    cdef Py_ssize_t number
    for number in range(length):
        to[number] = <char>at[length - 1 - number]
    return length


cdef inline int64_t _signed(const uint8_t *at, Py_ssize_t length) noexcept nogil:
    cdef uint64_t value = little(at, length)
    if length < 8 and at[length - 1] & 0x80:
        value |= ~<uint64_t>0 << (8 * length)
    return <int64_t>value


cdef inline Py_ssize_t _integer(const uint8_t *at, Py_ssize_t length, const Target *target, char *to) noexcept nogil:
    cdef int64_t value
    if target.second:
        value = <int64_t>little(at, length)
        if value < 0:
            return NOT_PLAIN
    else:
        value = _signed(at, length)
    if target.first == 8:
        store64(to, <uint64_t>value)
    elif target.first == 4:
        if value != <int32_t>value:
            return NOT_PLAIN
        store32(to, <uint32_t>value)
    else:
        if value != <int16_t>value:
            return NOT_PLAIN
        store16(to, <uint16_t>value)
    return target.first


cdef Py_ssize_t _number(const uint8_t *at, Py_ssize_t length, int is_unsigned, char *to) noexcept nogil:
    cdef uint64_t value = little(at, length)
    cdef uint16_t group[6]
    cdef int count = 0
    cdef bint negative = not is_unsigned and _signed(at, length) < 0
    if negative:
        value = ~<uint64_t>_signed(at, length) + 1
    while value:
        group[5 - count] = <uint16_t>(value % 10000)
        value //= 10000
        count += 1
    return _groups(&group[6 - count], count, count, negative, 0, to)


cdef Py_ssize_t _groups(
    const uint16_t *group, int count, int before, bint negative, int scale, char *to
) noexcept nogil:
    """A decimal from its groups of four digits, *before* of them before the point."""
    cdef int first = 0, last = count, at
    while first < count and group[first] == 0:
        first += 1
    while last > first and group[last - 1] == 0:
        last -= 1
    store16(to, <uint16_t>(last - first))
    store16(to + 2, <uint16_t>(before - 1 - first) if first < last else 0)
    store16(to + 4, 0x4000 if negative and first < last else 0)
    store16(to + 6, <uint16_t>scale)
    for at in range(first, last):
        store16(to + 8 + 2 * (at - first), group[at])
    return 8 + 2 * (last - first)


cdef Py_ssize_t _decimal(const uint8_t *at, int precision, int scale, char *to) noexcept nogil:
    """Nine digits in four bytes; the short group of digits stands at the outer end."""
    cdef uint8_t digit[MOST_DIGITS]
    cdef uint16_t group[MOST_GROUPS]
    cdef int whole = precision - scale, lead = -whole & 3, here = lead, count, size, number, groups
    cdef bint negative = not at[0] & 0x80
    cdef uint32_t mask = <uint32_t>0xFFFFFFFF if negative else <uint32_t>0, value
    cdef uint8_t flip = 0x80
    groups = (lead + whole + scale + 3) // 4
    memset(digit, 0, 4 * groups)
    while here < lead + precision:
        if here < lead + whole:
            count = (lead + whole - here) % 9 or 9
        else:
            count = lead + precision - here
            count = 9 if count > 9 else count
        size = DIGIT_BYTES[count]
        value = <uint32_t>at[0] ^ flip
        flip = 0
        for number in range(1, size):
            value = value << 8 | at[number]
        value = (value ^ mask) & (<uint32_t>0xFFFFFFFF >> (32 - 8 * size))
        for number in range(here + count - 1, here - 1, -1):
            digit[number] = value % 10
            value //= 10
        if value:
            return NOT_PLAIN
        at += size
        here += count
    for number in range(groups):
        here = 4 * number
        group[number] = digit[here] * 1000 + digit[here + 1] * 100 + digit[here + 2] * 10 + digit[here + 3]
    return _groups(group, groups, (lead + whole) // 4, negative, scale, to)


cdef bint _is_utf8(const uint8_t *at, Py_ssize_t length, int most) noexcept nogil:
    cdef const uint8_t *end = at + length
    cdef uint64_t eight
    cdef uint8_t lead
    cdef int more, number
    while at < end:
        while end - at >= 8:
            memcpy(&eight, at, 8)
            if eight & <uint64_t>0x8080808080808080:
                break
            at += 8
        if at == end:
            return True
        lead = at[0]
        if lead < 0x80:
            at += 1
            continue
        more = 1 if 0xC2 <= lead <= 0xDF else 2 if 0xE0 <= lead <= 0xEF else 3 if 0xF0 <= lead <= 0xF4 else 0
        if more == 0 or more >= most or end - at <= more:
            return False
        if (lead == 0xE0 and at[1] < 0xA0) or (lead == 0xED and at[1] > 0x9F):
            return False
        if (lead == 0xF0 and at[1] < 0x90) or (lead == 0xF4 and at[1] > 0x8F):
            return False
        for number in range(1, more + 1):
            if at[number] & 0xC0 != 0x80:
                return False
        at += more + 1
    return True


cdef Py_ssize_t _tabled(const uint8_t *at, Py_ssize_t length, const Target *target, char *to) noexcept nogil:
    cdef const uint8_t *end = at + length
    cdef char *start = to
    cdef uint32_t code
    while at < end:
        code = target.single[at[0]]
        at += 1
        if code == NO_CODE:
            if at == end:
                return NOT_PLAIN
            code = target.double_[<uint32_t>(at - 1)[0] << 8 | at[0]]
            at += 1
            if code == NO_CODE:
                return NOT_PLAIN
        if code < 0x80:
            to[0] = <char>code
            to += 1
            continue
        if code < 0x800:
            to[0] = <char>(0xC0 | code >> 6)
            to += 1
        else:
            to[0], to[1] = <char>(0xE0 | code >> 12), <char>(0x80 | (code >> 6 & 0x3F))
            to += 2
        to[0] = <char>(0x80 | (code & 0x3F))
        to += 1
    return to - start


cdef inline bint _day(int year, int month, int day, int64_t *days) noexcept nogil:
    """Days since 2000-01-01; False when the calendar does not have it."""
    cdef bint leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year < 1 or year > UP_TO_YEAR or month < 1 or month > 12 or day < 1:
        return False
    if day > MONTH_DAYS[month] + (1 if leap and month == 2 else 0):
        return False
    # Years begin in March here, so that the leap day is the last of its year.
    if month <= 2:
        year -= 1
        month += 12
    days[0] = 365 * <int64_t>year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1
    days[0] -= DAYS_0000_TO_2000
    return True


cdef inline bint _clock(uint32_t packed, uint32_t most, int64_t *seconds) noexcept nogil:
    cdef uint32_t hour = packed >> 12, minute = packed >> 6 & 63, second = packed & 63
    seconds[0] = (<int64_t>hour * 60 + minute) * 60 + second
    return hour <= most and minute < 60 and second < 60


cdef inline int64_t _fraction(const uint8_t *at, Py_ssize_t length) noexcept nogil:
    """Microseconds; a million or more is none."""
    cdef int64_t part = <int64_t>big(at, length)
    return part * 10000 if length == 1 else part * 100 if length == 2 else part


cdef Py_ssize_t _date(const uint8_t *at, char *to) noexcept nogil:
    cdef uint32_t packed = <uint32_t>little(at, 3)
    cdef int64_t days
    if not _day(packed >> 9, packed >> 5 & 15, packed & 31, &days):
        return NOT_PLAIN
    store32(to, <uint32_t>days)
    return 4


cdef Py_ssize_t _datetime(const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil:
    cdef uint64_t packed = big(at, 5) ^ <uint64_t>1 << 39
    cdef uint32_t months = <uint32_t>(packed >> 22)
    cdef int64_t days, seconds, part = _fraction(at + 5, length - 5)
    if not _day(months // 13, months % 13, packed >> 17 & 31, &days):
        return NOT_PLAIN
    if not _clock(packed & 0x1FFFF, 23, &seconds) or part >= 1000000:
        return NOT_PLAIN
    store64(to, <uint64_t>((days * 86400 + seconds) * 1000000 + part))
    return 8


cdef Py_ssize_t _timestamp(const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil:
    cdef int64_t second = <int64_t>big(at, 4), part = _fraction(at + 4, length - 4)
    if part >= 1000000 or (second == 0 and part == 0):
        return NOT_PLAIN
    store64(to, <uint64_t>((second - SECONDS_1970_TO_2000) * 1000000 + part))
    return 8


cdef Py_ssize_t _interval(const uint8_t *at, Py_ssize_t length, char *to) noexcept nogil:
    cdef Py_ssize_t below = length - 3
    cdef int64_t packed = <int64_t>big(at, length) - (<int64_t>0x800000 << (8 * below))
    cdef bint negative = packed < 0
    cdef int64_t part, seconds
    cdef uint8_t fraction[3]
    cdef Py_ssize_t number
    if negative:
        packed = -packed
    for number in range(below):
        fraction[below - 1 - number] = <uint8_t>(packed >> (8 * number) & 0xff)
    part = _fraction(fraction, below)
    if not _clock(<uint32_t>(packed >> (8 * below)), 838, &seconds) or part >= 1000000:
        return NOT_PLAIN
    seconds = seconds * 1000000 + part
    store64(to, <uint64_t>(-seconds if negative else seconds))
    memset(to + 8, 0, 8)
    return 16
