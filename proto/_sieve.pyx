# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The class of ``proto.sieve``, compiled: the same name, the same results, the same errors.

A value that is neither masked nor malformed never becomes a Python object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from proto._frames cimport Span, Walk, corrupt
from proto._texts cimport load32, load64, store16, store32

from proto.errors import Refused
from proto.predicate import check_steps
from proto.values import Kind

cdef enum:
    MAX_FIELDS = 32767
    FIRST_ROOM = 4096

cdef enum Op:  # the numbers of proto.predicate.Op
    EQ, NE, LT, LE, GT, GE, IN, STARTS, NULL_, AND, OR, NOT

cdef enum Truth:
    FALSE, UNKNOWN, TRUE

cdef enum Sort:
    BOOL, INT16, INT32, INT64, FLOAT32, FLOAT64, DECIMAL, TEXT, UUID

cdef dict SORTS = {
    Kind.BOOL: Sort.BOOL, Kind.INT16: Sort.INT16, Kind.INT32: Sort.INT32, Kind.INT64: Sort.INT64,
    Kind.FLOAT32: Sort.FLOAT32, Kind.FLOAT64: Sort.FLOAT64, Kind.DECIMAL: Sort.DECIMAL, Kind.TEXT: Sort.TEXT,
    Kind.UUID: Sort.UUID, Kind.DATE: Sort.INT32, Kind.TIME: Sort.INT64, Kind.TIMESTAMP: Sort.INT64,
    Kind.TIMESTAMPTZ: Sort.INT64,
}


cdef struct Value:
    const uint8_t *at
    int32_t length


cdef struct Step:
    int op
    int column
    int sort
    int parts
    int first  # of its literals
    int count


cdef struct Run:
    int first  # columns that are handed on together, as they lie
    int last
    int mask  # its number among the masks, or -1


cdef class Picks:
    """Columns that are handed on: neighbours without a mask are one run."""

    cdef int fields, count
    cdef Run *runs
    cdef list masks

    def __cinit__(self, picks, int width):
        cdef list found = list(picks)
        cdef int column
        cdef Run *run
        self.masks = []
        self.fields = <int>len(found)
        self.runs = <Run *>malloc((self.fields + 1) * sizeof(Run))
        if self.runs == NULL:
            raise MemoryError
        for place, mask in found:
            if not 0 <= place < min(width, MAX_FIELDS):
                raise corrupt(0, f"a frame has no column {place}")
            column = place
            run = self.runs + self.count - 1
            if mask is None and self.count and run.mask < 0 and run.last + 1 == column:
                run.last = column
                continue
            run += 1
            self.count += 1
            run.first = run.last = column
            run.mask = -1
            if mask is not None:
                run.mask = <int>len(self.masks)
                self.masks.append(mask)

    def __dealloc__(self):
        free(self.runs)


cdef class Output:
    """Rows handed on, one after another."""

    cdef Picks picks
    cdef char *start
    cdef Py_ssize_t size, room, count

    def __cinit__(self, Picks picks not None):
        self.picks = picks
        self.room = FIRST_ROOM
        self.start = <char *>malloc(self.room)
        if self.start == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.start)

    cdef int need(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t room = self.room
        cdef char *start
        if more <= room - self.size:
            return 0
        while more > room - self.size:
            room *= 2
        start = <char *>realloc(self.start, room)
        if start == NULL:
            raise MemoryError
        self.start, self.room = start, room
        return 0

    cdef int add(self, Walk walk) except -1:
        """Hand on the present row."""
        cdef int number
        cdef Run run
        cdef Span *last
        cdef Py_ssize_t begin, size
        self.need(2)
        store16(self.start + self.size, <uint16_t>self.picks.fields)
        self.size += 2
        for number in range(self.picks.count):
            run = self.picks.runs[number]
            if run.mask >= 0 and walk.spans[run.first].length >= 0:
                self.mask(walk, run.first, self.picks.masks[run.mask])
                continue
            last = walk.spans + run.last
            begin = walk.spans[run.first].at - 4
            size = last.at + (last.length if last.length > 0 else 0) - begin
            self.need(size)
            memcpy(self.start + self.size, walk.start + begin, size)
            self.size += size
        self.count += 1
        return 0

    cdef int mask(self, Walk walk, int column, mask) except -1:
        cdef Span span = walk.spans[column]
        cdef bytes field
        cdef Py_ssize_t size
        try:
            field = mask(PyBytes_FromStringAndSize(<const char *>walk.start + span.at, span.length))
        except Refused:
            raise unfit(span) from None
        size = 0 if field is None else PyBytes_GET_SIZE(field)
        self.need(4 + size)
        store32(self.start + self.size, <uint32_t>-1 if field is None else <uint32_t>size)
        if size:
            memcpy(self.start + self.size + 4, PyBytes_AS_STRING(field), size)
        self.size += 4 + size
        return 0

    cdef bytes made(self):
        return PyBytes_FromStringAndSize(self.start, self.size)


cdef class Sieve:
    """See ``proto.sieve``."""

    cdef int width, count
    cdef Picks passing, left
    cdef Step *steps
    cdef Value *literals
    cdef uint8_t *stack
    cdef list kept  # the bytes that the literals point into

    def __cinit__(self, int width, steps, passing, left):
        cdef list found = list(steps)
        cdef int number, total = 0
        check_steps(found, width)
        self.width = width
        self.count = <int>len(found)
        self.passing, self.left = Picks(passing, width), Picks(left, width)
        self.kept = [literal for step in found for literal in step.literals]
        self.steps = <Step *>malloc((self.count + 1) * sizeof(Step))
        self.stack = <uint8_t *>malloc(self.count + 1)
        self.literals = <Value *>malloc((len(self.kept) + 1) * sizeof(Value))
        if self.steps == NULL or self.stack == NULL or self.literals == NULL:
            raise MemoryError
        for number in range(self.count):
            step = found[number]
            self.steps[number] = Step(
                step.op, step.column, SORTS.get(step.kind, Sort.TEXT), step.parts, total, <int>len(step.literals)
            )
            total += self.steps[number].count
        for number in range(total):
            self.literals[number].at = <const uint8_t *>PyBytes_AS_STRING(self.kept[number])
            self.literals[number].length = <int32_t>PyBytes_GET_SIZE(self.kept[number])

    def __dealloc__(self):
        free(self.steps)
        free(self.stack)
        free(self.literals)

    def divide(self, bytes data not None):
        """See ``proto.sieve``."""
        cdef Walk walk = Walk(data)
        cdef Output passing = Output(self.passing), left = Output(self.left)
        while walk.next():
            if walk.count != self.width:
                raise corrupt(walk.begin, f"a frame has {walk.count} columns instead of {self.width}")
            if self.passes(walk):
                passing.add(walk)
            else:
                left.add(walk)
        return passing.made(), passing.count, left.made(), left.count

    cdef bint passes(self, Walk walk) except -1:
        cdef int number, height = 0, part
        cdef uint8_t truth, other
        cdef Step *step
        for number in range(self.count):
            step = self.steps + number
            if step.op < AND:
                truth = self.decided(step, walk)
            elif step.op == NOT:
                height -= 1
                truth = TRUE - self.stack[height]
            else:
                height -= step.parts
                truth = self.stack[height]
                for part in range(1, step.parts):
                    other = self.stack[height + part]
                    if (other < truth) == (step.op == AND):
                        truth = other
            self.stack[height] = truth
            height += 1
        return height == 0 or self.stack[height - 1] == TRUE

    cdef uint8_t decided(self, const Step *step, Walk walk) except 255:
        cdef Span span = walk.spans[step.column]
        cdef Value value
        cdef const Value *literals = self.literals + step.first
        cdef int sign
        if step.op == NULL_:
            return TRUE if span.length < 0 else FALSE
        if span.length < 0:
            return UNKNOWN
        value.at, value.length = walk.start + span.at, span.length
        if step.op == STARTS:
            if value.length < literals.length or memcmp(value.at, literals.at, literals.length) != 0:
                return FALSE
            return TRUE
        if not fits(step.sort, value):
            raise unfit(span)
        if step.op == IN:
            return TRUE if is_among(step.sort, value, literals, step.count) else FALSE
        sign = compared(step.sort, value, literals[0])
        if step.op == EQ:
            return TRUE if sign == 0 else FALSE
        if step.op == NE:
            return TRUE if sign != 0 else FALSE
        if step.op == LT:
            return TRUE if sign < 0 else FALSE
        if step.op == LE:
            return TRUE if sign <= 0 else FALSE
        if step.op == GT:
            return TRUE if sign > 0 else FALSE
        return TRUE if sign >= 0 else FALSE


cdef object unfit(Span span):
    return corrupt(span.at - 4, "a value is not one of its column's kind")


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


cdef inline int ordered(int64_t a, int64_t b) noexcept nogil:
    return (a > b) - (a < b)


cdef inline int16_t load16(const uint8_t *at) noexcept nogil:
    return <int16_t>((at[0] << 8) | at[1])


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


cdef bint decimal_fits(const uint8_t *at, int32_t length) noexcept nogil:
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


cdef int decimals_compared(const uint8_t *a, const uint8_t *b) noexcept nogil:
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
