"""Hashed word 1-grams and 2-grams, summed from a small int8 table."""

from libc.math cimport sqrt
from libc.stdint cimport int8_t, int32_t, uint32_t, uint64_t
from libc.string cimport memset


cdef extern from "pooling.h" nogil:
    void sum_rows(const int8_t*, int, const uint32_t*, int, int32_t*)


# Fibonacci hashing: the word hashes are well mixed already, the odd constant spreads them over the top bits.
cdef enum:
    _SHIFT_BASE = 64


cdef inline uint32_t bucket_of(uint64_t key, int bits) noexcept nogil:
    key ^= key >> 32
    return <uint32_t> ((key * <uint64_t> 0x9E3779B97F4A7C15) >> (_SHIFT_BASE - bits))


cdef int ngram_buckets(const uint64_t* words, int n_words, int bits, uint32_t* buckets) noexcept nogil:
    cdef int i
    cdef int n = 0
    cdef uint64_t previous
    for i in range(n_words):
        buckets[n] = bucket_of(words[i], bits)
        n += 1
        if i:
            previous = words[i - 1]
            buckets[n] = bucket_of(((previous << 23) | (previous >> 41)) + words[i] * <uint64_t> 0xD6E8FEB86659FD93, bits)
            n += 1
    return n


cdef int ngram_sum(const ngrams_t* table, const uint64_t* words, int n_words, int32_t* sums) noexcept nogil:
    cdef uint32_t[2 * NGRAM_MAX_WORDS] buckets
    cdef int n = ngram_buckets(words, n_words, table.bits, buckets)
    sum_rows(table.rows, table.columns, buckets, n, sums)
    return n


cdef void ngram_values(const ngrams_t* table, const int32_t* sums, int n, float* values) noexcept nogil:
    cdef double factor = 1.0 / sqrt(<double> n) if n else 0.0
    cdef int c
    for c in range(table.columns):
        values[c] = <float> (sums[c] * factor * table.scales[c])


def buckets_of(words, int bits):
    import numpy

    cdef const uint64_t[::1] view = numpy.ascontiguousarray(words, dtype=numpy.uint64)
    cdef Py_ssize_t n = view.shape[0]
    if n > NGRAM_MAX_WORDS:
        raise ValueError(f"{n} words, limit: {NGRAM_MAX_WORDS}")
    if not 4 <= bits <= 24:
        raise ValueError(f"bits is {bits}, needed: 4 to 24")
    result = numpy.empty(max(0, 2 * n - 1), numpy.uint32)
    cdef uint32_t[::1] buckets = result
    if n:
        ngram_buckets(&view[0], <int> n, bits, &buckets[0])
    return result


cdef class NgramTable:
    def __cinit__(self, rows, scales):
        cdef const int8_t[:, ::1] row_view = rows
        cdef const float[::1] scale_view = scales
        cdef Py_ssize_t n = row_view.shape[0]
        cdef Py_ssize_t columns = row_view.shape[1]
        if n < 16 or n & (n - 1):
            raise ValueError(f"the table has {n} rows, needed: a power of two of at least 16")
        if columns < 16 or columns > NGRAM_MAX_COLUMNS or columns % 16:
            raise ValueError(f"the table has {columns} columns, needed: a multiple of 16 up to {NGRAM_MAX_COLUMNS}")
        if scale_view.shape[0] != columns:
            raise ValueError(f"{scale_view.shape[0]} scales for {columns} columns")
        self.rows = rows
        self.scales = scales
        self.c.rows = &row_view[0, 0]
        self.c.scales = &scale_view[0]
        self.c.columns = <int32_t> columns
        self.c.bits = 0
        while (1 << self.c.bits) < n:
            self.c.bits += 1

    @property
    def columns(self):
        return self.c.columns

    @property
    def bits(self):
        return self.c.bits

    def values(self, words):
        import numpy

        cdef const uint64_t[::1] view = numpy.ascontiguousarray(words, dtype=numpy.uint64)
        if view.shape[0] > NGRAM_MAX_WORDS:
            raise ValueError(f"{view.shape[0]} words, limit: {NGRAM_MAX_WORDS}")
        cdef int32_t[NGRAM_MAX_COLUMNS] sums
        cdef int n = 0
        memset(sums, 0, sizeof(sums))
        result = numpy.empty(self.c.columns, numpy.float32)
        cdef float[::1] values = result
        with nogil:
            if view.shape[0]:
                n = ngram_sum(&self.c, &view[0], <int> view.shape[0], sums)
            ngram_values(&self.c, sums, n, &values[0])
        return result
