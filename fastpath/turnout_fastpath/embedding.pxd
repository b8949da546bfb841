from libc.stdint cimport int8_t, int16_t, int32_t, uint16_t

cdef enum:
    EMBEDDING_MAX_DIM = 256
    EMBEDDING_MAX_IDS = 1000


# Row i stands for weights[i] * rows[i]: the row's scale and the piece's pooling weight in one fixed-point number.
cdef struct embedding_t:
    const int8_t* rows
    const uint16_t* weights
    int32_t vocab_size
    int32_t dim


# Unit vectors as int8 rows; spans[i] is the Euclidean length of row i, times 32,767.
cdef struct vectors_t:
    const int8_t* rows
    const float* spans
    int32_t n
    int32_t dim


# Adds the weighted rows of `ids` to `sums` (`dim` of them). At most EMBEDDING_MAX_IDS ids between resets.
cdef void embedding_pool(const embedding_t* table, const int32_t* ids, int n, int32_t* sums) noexcept nogil

# Writes the unit vector of `sums` to `unit` and to `query` (times 32,767); returns 0 if the sum is zero.
cdef int embedding_normalise(const int32_t* sums, int dim, float* unit, int16_t* query) noexcept nogil

# Cosine of the query with each vector.
cdef void vectors_cosine(const vectors_t* vectors, const int16_t* query, int32_t* dots, float* cosines) noexcept nogil


cdef class EmbeddingTable:
    cdef embedding_t c
    cdef object rows
    cdef object weights


cdef class VectorSet:
    cdef vectors_t c
    cdef object rows
    cdef object spans
