"""The trainer's net as a kernel: what ONNX Runtime computes of the exported graph, at a fraction of the cost."""

import numpy

from libc.math cimport exp
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset


cdef extern from "net_layer.h" nogil:
    void net_layer(const float* weights, int width, const int32_t* rows, const float* values, int n, float* sums)


cdef enum:
    MAX_ROWS = NET_MAX_INPUTS    # of any layer


cdef inline void add_layer(const float* weights, int width, const float* values, int n, float* sums) noexcept nogil:
    """sums += values @ weights; rows whose value is 0 are left out."""
    cdef int32_t[MAX_ROWS] rows
    cdef float[MAX_ROWS] kept
    cdef int i, used = 0
    for i in range(n):
        rows[used] = i
        kept[used] = values[i]
        used += values[i] != 0
    net_layer(weights, width, rows, kept, used, sums)


cdef void join_experts(const net_t* net, float* own, const float* kinds, const float* experts) noexcept nogil:
    """Adds to `own` what the experts say, weighed by the probability of each kind."""
    cdef float[NET_MAX_KINDS] shares
    cdef float[NET_MAX_EXPERTS] weights
    cdef double[NET_MAX_KINDS] grown
    cdef double total = 0
    cdef float peak = kinds[0]
    cdef int i
    for i in range(1, net.n_kinds):
        peak = max(peak, kinds[i])
    for i in range(net.n_kinds):
        # Most kinds are out of the question: what is below e^-20 of the likeliest counts as nothing.
        grown[i] = exp(<double> kinds[i] - peak) if kinds[i] > peak - 20 else 0
        total += grown[i]
    for i in range(net.n_kinds):
        shares[i] = <float> (grown[i] / total)
    memset(weights, 0, net.spread_width * sizeof(float))
    add_layer(net.spread, net.spread_width, shares, net.n_kinds, weights)
    for i in range(net.n_experts):
        weights[i] *= experts[i]
    add_layer(net.collect, net.collect_width, weights, net.n_experts, own)


cdef void net_run(const net_t* net, const float* inputs, float* scores) noexcept nogil:
    cdef float[NET_MAX_HIDDEN + NET_MAX_MIXED] sums
    cdef float[NET_MAX_INPUTS] z
    # A copy, since the padding of `collect` would run into the gates.
    cdef float[NET_MAX_SCORES + NET_MAX_SHIFTS + 16] joined
    cdef float* mixed = sums + net.n_hidden
    cdef int n_own = net.n_scores + net.n_shifts
    cdef const float* gates = mixed + n_own
    cdef const float* kinds = gates + net.n_shifts
    cdef double share = 0
    cdef float shift
    cdef int i, j
    memcpy(sums, net.bias, net.width * sizeof(float))
    for i in range(net.n_inputs):
        z[i] = min(max((inputs[i] - net.mean[i]) * net.scale[i], net.low), net.high)
    add_layer(net.first, net.width, z, net.n_inputs, sums)
    for i in range(net.n_hidden):
        sums[i] = max(sums[i], <float> 0)
    add_layer(net.outer, net.outer_width, sums, net.n_hidden, mixed)
    memset(joined, 0, sizeof(joined))
    memcpy(joined, mixed, n_own * sizeof(float))
    join_experts(net, joined, kinds, kinds + net.n_kinds)
    memcpy(scores, joined, net.n_scores * sizeof(float))
    for i in range(net.n_shifts):
        # Many shifts share one gate.
        if i == 0 or gates[i] != gates[i - 1]:
            share = 1 / (1 + exp(-<double> gates[i]))
        shift = <float> share * joined[net.n_scores + i]
        for j in range(net.n_scores):
            scores[j] += shift * net.place[i * net.n_scores + j]


cdef int padded(Py_ssize_t width):
    return <int> ((width + 15) // 16 * 16)


def net_fits(graph):
    limits = ((len(graph.mean), NET_MAX_INPUTS), (graph.inner.shape[1], NET_MAX_HIDDEN),
              (graph.n_scores, NET_MAX_SCORES), (len(graph.place), NET_MAX_SHIFTS),
              (len(graph.spread), NET_MAX_KINDS), (len(graph.collect), NET_MAX_EXPERTS))
    linear = not graph.outer[:, graph.outer.shape[1] - len(graph.collect):].any()
    return linear and all(given <= limit for given, limit in limits)


cdef object widened(array, int rows, int width):
    """The array with rows and columns of 0 behind its own."""
    out = numpy.zeros((rows, width), numpy.float32)
    out[:array.shape[0], :array.shape[1]] = array
    return out


cdef class Net:
    def __cinit__(self, graph not None):
        if not net_fits(graph):
            raise ValueError("the net does not fit the kernel")
        n_inputs, n_hidden = graph.inner.shape
        mixed = graph.direct.shape[1]
        hidden = padded(n_hidden)
        n_experts = len(graph.collect)
        outer = graph.outer[:, :mixed - n_experts]
        first = numpy.zeros((n_inputs, hidden + padded(mixed)), numpy.float32)
        first[:, :n_hidden] = graph.inner
        first[:, hidden:hidden + mixed] = graph.direct
        bias = numpy.zeros(hidden + padded(mixed), numpy.float32)
        bias[:n_hidden] = graph.inner_bias
        bias[hidden:hidden + mixed] = graph.bias
        self.kept = []
        self.c.n_inputs = n_inputs
        self.c.n_hidden = hidden
        self.c.n_scores = graph.n_scores
        self.c.n_shifts = len(graph.place)
        self.c.n_kinds = len(graph.spread)
        self.c.n_experts = n_experts
        self.c.width = hidden + padded(mixed)
        self.c.outer_width = padded(outer.shape[1])
        self.c.spread_width = padded(n_experts)
        self.c.collect_width = padded(graph.collect.shape[1])
        self.c.mean = self.keep(graph.mean)
        self.c.scale = self.keep(graph.scale)
        self.c.low = graph.low
        self.c.high = graph.high
        self.c.first = self.keep(first)
        self.c.bias = self.keep(bias)
        self.c.outer = self.keep(widened(outer, hidden, self.c.outer_width))
        self.c.spread = self.keep(widened(graph.spread, len(graph.spread), self.c.spread_width))
        self.c.collect = self.keep(widened(graph.collect, n_experts, self.c.collect_width))
        self.c.place = self.keep(graph.place)

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
    def n_scores(self):
        return self.c.n_scores

    def run(self, const float[:, ::1] rows not None):
        """(n, n_scores) scores of (n, n_inputs) rows."""
        cdef Py_ssize_t i
        if rows.shape[1] != self.c.n_inputs:
            raise ValueError(f"rows have {rows.shape[1]} columns, needed: {self.c.n_inputs}")
        cdef float[:, ::1] scores = numpy.empty((rows.shape[0], self.c.n_scores), numpy.float32)
        for i in range(rows.shape[0]):
            net_run(&self.c, &rows[i, 0], &scores[i, 0])
        return numpy.asarray(scores)
