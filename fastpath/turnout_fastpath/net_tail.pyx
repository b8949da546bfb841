"""Heads on top of the trainer's net as a kernel: what ONNX Runtime computes of training/head_export.py's nodes."""

import numpy

from libc.string cimport memcpy


cdef inline void add_row(const float* row, int width, float value, float* sums) noexcept nogil:
    cdef int j
    for j in range(width):
        sums[j] += value * row[j]


cdef void tail_run(const net_tail_t* tail, const float* inputs, float* scores) noexcept nogil:
    cdef float[NET_MAX_SCORES] sums
    cdef float z
    cdef int i
    memcpy(sums, tail.constants, tail.width * sizeof(float))
    for i in range(tail.n_below):
        add_row(tail.carried + i * tail.width, tail.width, scores[i], sums)
    for i in range(tail.n_used):
        z = min(max((inputs[tail.used[i]] - tail.mean[i]) * tail.scale[i], tail.low), tail.high)
        add_row(tail.added + i * tail.width, tail.width, z, sums)
    memcpy(scores, sums, tail.n_scores * sizeof(float))


def tails_fit(graph):
    widths = [len(tail.constants) for tail in graph.tails]
    return len(widths) <= NET_MAX_TAILS and max(widths, default=0) <= NET_MAX_SCORES


cdef class NetTail:
    def __cinit__(self, graph not None):
        cdef const int32_t[::1] used
        n_below, n_scores = graph.carried.shape
        n_inputs = len(graph.mean)
        if max(n_below, n_scores) > NET_MAX_SCORES or n_inputs > NET_MAX_INPUTS:
            raise ValueError("the tail does not fit the kernel")
        width = (n_scores + 3) // 4 * 4
        # Most corrections are of a few columns, or there are none.
        rows = numpy.flatnonzero(graph.added.any(axis=1)).astype(numpy.int32)
        self.kept = []
        self.c.n_below = n_below
        self.c.n_scores = n_scores
        self.c.width = width
        self.c.n_used = len(rows)
        if len(rows):
            used = rows
            self.kept.append(rows)
            self.c.used = &used[0]
        self.c.mean = self.keep(graph.mean[rows])
        self.c.scale = self.keep(graph.scale[rows])
        self.c.low = graph.low
        self.c.high = graph.high
        added, carried, constants = (
            numpy.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, width - n_scores)])
            for array in (graph.added[rows], graph.carried, graph.constants)
        )
        self.c.added = self.keep(added)
        self.c.carried = self.keep(carried)
        self.c.constants = self.keep(constants)

    cdef const float* keep(self, array) except NULL:
        """The array's memory, for as long as the tail lives."""
        held = numpy.zeros(max(array.size, 1), numpy.float32)
        held[:array.size] = array.ravel()
        self.kept.append(held)
        cdef float[::1] view = held
        return &view[0]

    def run(self, const float[:, ::1] rows not None, const float[:, ::1] below not None):
        """(n, n_scores) scores of (n, n_inputs) rows and the (n, n_below) scores below."""
        cdef Py_ssize_t i
        cdef float[NET_MAX_SCORES] scores
        if below.shape[1] != self.c.n_below or rows.shape[0] != below.shape[0]:
            raise ValueError(f"scores below have shape {below.shape[0], below.shape[1]}, "
                             f"needed: {rows.shape[0], self.c.n_below}")
        cdef float[:, ::1] found = numpy.empty((rows.shape[0], self.c.n_scores), numpy.float32)
        for i in range(rows.shape[0]):
            memcpy(scores, &below[i, 0], self.c.n_below * sizeof(float))
            tail_run(&self.c, &rows[i, 0], scores)
            memcpy(&found[i, 0], scores, self.c.n_scores * sizeof(float))
        return numpy.asarray(found)
