# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The class of ``proto.sieve``, compiled: the same name, the same results, the same errors.

A value that is neither masked nor malformed never becomes a Python object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from proto._frames cimport Span, Walk, corrupt
from proto._orders cimport Sort, Value, compared, fits, is_among
from proto._texts cimport store16, store32

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

cdef dict SORTS = {
    Kind.BOOL: Sort.BOOL, Kind.INT16: Sort.INT16, Kind.INT32: Sort.INT32, Kind.INT64: Sort.INT64,
    Kind.FLOAT32: Sort.FLOAT32, Kind.FLOAT64: Sort.FLOAT64, Kind.DECIMAL: Sort.DECIMAL, Kind.TEXT: Sort.TEXT,
    Kind.UUID: Sort.UUID, Kind.DATE: Sort.INT32, Kind.TIME: Sort.INT64, Kind.TIMESTAMP: Sort.INT64,
    Kind.TIMESTAMPTZ: Sort.INT64,
}


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
