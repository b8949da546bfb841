from libc.stdint cimport int8_t, int32_t, uint32_t, uint64_t

cdef enum:
    NGRAM_MAX_COLUMNS = 64
    NGRAM_MAX_WORDS = 1024


# `n_buckets` rows (a power of two) of `columns` int8 each (a multiple of 16), and a scale for each column.
cdef struct ngrams_t:
    const int8_t* rows
    const float* scales
    int32_t bits
    int32_t columns


# Buckets of the 1-grams and 2-grams of `words`; returns how many (2n - 1). No 2-gram spans two calls.
cdef int ngram_buckets(const uint64_t* words, int n_words, int bits, uint32_t* buckets) noexcept nogil

# Adds the rows of `words`' 1-grams and 2-grams to `sums` (`columns` of them); returns the number of n-grams.
cdef int ngram_sum(const ngrams_t* table, const uint64_t* words, int n_words, int32_t* sums) noexcept nogil

# values[c] = scales[c] * sums[c] / sqrt(n); zero if n is.
cdef void ngram_values(const ngrams_t* table, const int32_t* sums, int n, float* values) noexcept nogil


cdef class NgramTable:
    cdef ngrams_t c
    cdef object rows
    cdef object scales
