"""The trainer's net as a kernel: what ONNX Runtime computes of the exported graph, at a tenth of the cost."""

import numpy

from libc.math cimport exp
from libc.stdint cimport int32_t
from libc.string cimport memcpy


cdef extern from "net_layer.h" nogil:
    void net_layer(const float* weights, int width, const int32_t* rows, const float* values, int n, float* sums)


cdef void net_run(const net_t* net, const float* inputs, float* scores) noexcept nogil:
    cdef float[NET_MAX_WIDTH] sums
    cdef int32_t[NET_MAX_INPUTS] rows
    cdef float[NET_MAX_INPUTS] values
    cdef float* outputs = sums + net.n_hidden
    cdef const float* differences = outputs + net.n_columns
    cdef const float* gates = differences + net.n_mixed
    cdef float value
    cdef double share = 0
    cdef int i, n = 0
    memcpy(sums, net.bias, net.width * sizeof(float))
    for i in range(net.n_inputs):
        value = min(max((inputs[i] - net.mean[i]) * net.scale[i], net.low), net.high)
        if value != 0:
            rows[n] = i
            values[n] = value
            n += 1
    net_layer(net.first, net.width, rows, values, n, sums)
    n = 0
    for i in range(net.n_hidden):
        if sums[i] > 0:
            rows[n] = i
            values[n] = sums[i]
            n += 1
    net_layer(net.outer, net.outer_width, rows, values, n, outputs)
    memcpy(scores, outputs, net.n_columns * sizeof(float))
    for i in range(net.n_mixed):
        # Most columns share one gate.
        if i == 0 or gates[i] != gates[i - 1]:
            share = 1 / (1 + exp(-<double> gates[i]))
        scores[net.mixed[i]] += <float> share * differences[i]


cdef int padded(Py_ssize_t width):
    return <int> ((width + 15) // 16 * 16)


cdef class Net:
    def __cinit__(self, graph not None):
        inner, outer, direct = graph.inner, graph.outer, graph.direct
        n_inputs, n_hidden = inner.shape
        columns = len(graph.bias) // 3
        if n_inputs > NET_MAX_INPUTS or padded(n_hidden) > NET_MAX_HIDDEN or columns > NET_MAX_COLUMNS:
            raise ValueError(f"a net of {n_inputs} inputs, {n_hidden} hidden units and {columns} columns, "
                             f"limits: {NET_MAX_INPUTS}, {NET_MAX_HIDDEN} and {NET_MAX_COLUMNS}")
        # The columns of base, difference and gate that can differ from 0.
        mixed = [i for i in range(columns) if outer[:, columns + i].any() or direct[:, columns + i].any()
                 or graph.bias[columns + i] != 0]
        chosen = [*range(columns), *(columns + i for i in mixed), *(2 * columns + i for i in mixed)]
        hidden = padded(n_hidden)
        outer_width = padded(len(chosen))
        first = numpy.zeros((n_inputs, hidden + outer_width), numpy.float32)
        first[:, :n_hidden] = inner
        first[:, hidden:hidden + len(chosen)] = direct[:, chosen]
        bias = numpy.zeros(hidden + outer_width, numpy.float32)
        bias[:n_hidden] = graph.inner_bias
        bias[hidden:hidden + len(chosen)] = graph.bias[chosen]
        last = numpy.zeros((hidden, outer_width), numpy.float32)
        last[:n_hidden, :len(chosen)] = outer[:, chosen]
        self.kept = []
        self.c.n_inputs = n_inputs
        self.c.n_hidden = hidden
        self.c.n_columns = columns
        self.c.n_mixed = len(mixed)
        self.c.width = hidden + outer_width
        self.c.outer_width = outer_width
        self.c.mean = self.keep(graph.mean)
        self.c.scale = self.keep(graph.scale)
        self.c.low = graph.low
        self.c.high = graph.high
        self.c.first = self.keep(first)
        self.c.bias = self.keep(bias)
        self.c.outer = self.keep(last)
        for i, column in enumerate(mixed):
            self.c.mixed[i] = column

    cdef const float* keep(self, array) except NULL:
        """The array's memory, in lines of the cache, for as long as the net lives."""
        size = array.size
        room = numpy.zeros(size + 16, numpy.float32)
        start = (-room.ctypes.data % 64) // 4
        aligned = room[start:start + size]
        aligned[:] = numpy.ascontiguousarray(array, numpy.float32).ravel()
        self.kept.append(aligned)
        cdef float[::1] view = aligned
        return &view[0]

    @property
    def n_inputs(self):
        return self.c.n_inputs

    @property
    def n_columns(self):
        return self.c.n_columns

    def run(self, const float[:, ::1] rows not None):
        """(n, n_columns) scores of (n, n_inputs) rows."""
        cdef Py_ssize_t i
        if rows.shape[1] != self.c.n_inputs:
            raise ValueError(f"rows have {rows.shape[1]} columns, needed: {self.c.n_inputs}")
        cdef float[:, ::1] scores = numpy.empty((rows.shape[0], self.c.n_columns), numpy.float32)
        for i in range(rows.shape[0]):
            net_run(&self.c, &rows[i, 0], &scores[i, 0])
        return numpy.asarray(scores)
