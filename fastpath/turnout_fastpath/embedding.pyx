"""Static embeddings: int8 rows with a weight each, pooled, normalised, compared."""

from libc.math cimport lrintf
from libc.stdint cimport int8_t, int16_t, int32_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef extern from "pooling.h" nogil:
    void pool_rows(const int8_t*, const uint16_t*, int, const int32_t*, int, int32_t*)
    void dot_rows(const int8_t*, int, int, const int16_t*, int32_t*)
    void divide_dots(const int32_t*, const float*, int, float*)
    int normalise_sums(const int32_t*, int, float*, int16_t*)


cdef void embedding_pool(const embedding_t* table, const int32_t* ids, int n, int32_t* sums) noexcept nogil:
    pool_rows(table.rows, table.weights, table.dim, ids, n, sums)


cdef int embedding_normalise(const int32_t* sums, int dim, float* unit, int16_t* query) noexcept nogil:
    return normalise_sums(sums, dim, unit, query)


cdef void vectors_cosine(const vectors_t* vectors, const int16_t* query, int32_t* dots, float* cosines) noexcept nogil:
    dot_rows(vectors.rows, vectors.n, vectors.dim, query, dots)
    divide_dots(dots, vectors.spans, vectors.n, cosines)


cdef int check_width(Py_ssize_t dim) except -1:
    if dim < 16 or dim > EMBEDDING_MAX_DIM or dim % 16:
        raise ValueError(f"rows are {dim} wide, needed: a multiple of 16 up to {EMBEDDING_MAX_DIM}")
    return 0


cdef class EmbeddingTable:
    def __cinit__(self, rows, weights):
        cdef const int8_t[:, ::1] row_view = rows
        cdef const uint16_t[::1] weight_view = weights
        check_width(row_view.shape[1])
        if weight_view.shape[0] != row_view.shape[0]:
            raise ValueError(f"{weight_view.shape[0]} weights for {row_view.shape[0]} rows")
        cdef Py_ssize_t i
        for i in range(weight_view.shape[0]):
            if weight_view[i] > 16383:
                raise ValueError(f"weight {weight_view[i]} of row {i} exceeds 16383")
        self.rows = rows
        self.weights = weights
        self.c.rows = &row_view[0, 0]
        self.c.weights = &weight_view[0]
        self.c.vocab_size = <int32_t> row_view.shape[0]
        self.c.dim = <int32_t> row_view.shape[1]

    @property
    def vocab_size(self):
        return self.c.vocab_size

    @property
    def dim(self):
        return self.c.dim

    def pool(self, ids):
        import numpy

        cdef const int32_t[::1] id_view = numpy.ascontiguousarray(ids, dtype=numpy.int32)
        cdef Py_ssize_t i, n = id_view.shape[0]
        if n > EMBEDDING_MAX_IDS:
            raise ValueError(f"{n} pieces, limit: {EMBEDDING_MAX_IDS}")
        for i in range(n):
            if id_view[i] < 0 or id_view[i] >= self.c.vocab_size:
                raise ValueError(f"piece {id_view[i]} at {i} is outside 0..{self.c.vocab_size - 1}")
        cdef int32_t[EMBEDDING_MAX_DIM] sums
        cdef int16_t[EMBEDDING_MAX_DIM] query
        cdef float[::1] unit = numpy.zeros(self.c.dim, numpy.float32)
        memset(sums, 0, sizeof(sums))
        with nogil:
            if n:
                embedding_pool(&self.c, &id_view[0], <int> n, sums)
            embedding_normalise(sums, self.c.dim, &unit[0], query)
        return numpy.asarray(unit)


cdef class VectorSet:
    def __cinit__(self, rows):
        import numpy

        cdef const int8_t[:, ::1] row_view = rows
        check_width(row_view.shape[1])
        lengths = numpy.linalg.norm(numpy.asarray(rows, dtype=numpy.float64), axis=1).astype(numpy.float32)
        for i, length in enumerate(lengths):
            if not length:
                raise ValueError(f"vector {i} is zero")
        cdef const float[::1] span_view = lengths * numpy.float32(32767)
        self.rows = rows
        self.spans = span_view.base
        self.c.n = <int32_t> row_view.shape[0]
        self.c.dim = <int32_t> row_view.shape[1]
        if self.c.n:
            self.c.rows = &row_view[0, 0]
            self.c.spans = &span_view[0]

    def __len__(self):
        return self.c.n

    @property
    def levels(self):
        return self.rows

    @staticmethod
    def quantise(vectors):
        import numpy

        given = numpy.asarray(vectors, dtype=numpy.float64)
        if given.ndim != 2:
            raise ValueError(f"vectors have shape {given.shape}, needed: (n, dim)")
        peak = numpy.abs(given).max(axis=1, keepdims=True) if len(given) else numpy.ones((0, 1))
        if len(given) and not peak.all():
            raise ValueError(f"vector {int(numpy.flatnonzero(peak[:, 0] == 0)[0])} is zero")
        return VectorSet(numpy.ascontiguousarray(numpy.rint(given / peak * 127).astype(numpy.int8)))

    def cosine(self, vector):
        import numpy

        cdef const float[::1] view = numpy.ascontiguousarray(vector, dtype=numpy.float32)
        if view.shape[0] != self.c.dim:
            raise ValueError(f"the vector has {view.shape[0]} dimensions, needed: {self.c.dim}")
        cdef int16_t[EMBEDDING_MAX_DIM] query
        cdef Py_ssize_t d
        for d in range(view.shape[0]):
            if not -1.0001 <= view[d] <= 1.0001:
                raise ValueError(f"component {d} is {view[d]}; a unit vector is needed")
            query[d] = <int16_t> lrintf(max(-1.0, min(1.0, view[d])) * 32767)
        result = numpy.empty(self.c.n, numpy.float32)
        cdef float[::1] cosines = result
        cdef int32_t* dots = <int32_t*> malloc(max(1, self.c.n) * sizeof(int32_t))
        if dots == NULL:
            raise MemoryError()
        if self.c.n:
            with nogil:
                vectors_cosine(&self.c, query, dots, &cosines[0])
        free(dots)
        return result
