"""The trainer's net as a kernel: what ONNX Runtime computes of the exported graph, at a fraction of the cost."""

import numpy

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset


cdef extern from "net_layer.h" nogil:
    enum:
        NET_COLUMNS
    net_layer_t net_layer_of(int lanes)
    void net_standardise(const float* inputs, int n, const float* mean, const float* scale, const float* rest, float low,
                         float high, float* z)
    int net_used(const float* values, int n, uint64_t* used)
    void net_rectify(float* values, int n)
    void net_softmax(const float* logits, int n, float* shares)
    void net_sigmoid(float* values, int n)


cdef enum:
    MAX_WORDS = NET_MAX_INPUTS >> 6  # of the rows of any layer, a bit each
    ROOM = 16                    # behind an array, for what is padded or read beyond its end


cdef inline void add_layer(const net_t* net, const float* weights, int width, const float* values, int n,
                           float* sums) noexcept nogil:
    """sums += values @ weights; rows whose value is 0 are left out."""
    cdef uint64_t[MAX_WORDS] used
    net.layer(weights, width, values, used, net_used(values, n, used), sums)


cdef void join_experts(const net_t* net, float* own, const float* kinds, const float* experts) noexcept nogil:
    """Adds to `own` what the experts say, weighed by the probability of each kind."""
    cdef float[NET_MAX_KINDS + ROOM] shares
    cdef float[NET_MAX_EXPERTS + ROOM] weights
    cdef int i
    net_softmax(kinds, net.n_kinds, shares)
    memset(weights, 0, net.spread_width * sizeof(float))
    add_layer(net, net.spread, net.spread_width, shares, net.n_kinds, weights)
    for i in range(net.n_experts):
        weights[i] *= experts[i]
    add_layer(net, net.collect, net.collect_width, weights, net.n_experts, own)


cdef void net_run(const net_t* net, const float* inputs, float* scores) noexcept nogil:
    cdef float[NET_MAX_HIDDEN + NET_MAX_MIXED + ROOM] sums
    cdef float[NET_MAX_INPUTS + ROOM] z
    cdef float[NET_MAX_SHIFTS + ROOM] shifts
    # A copy, since the padding of `collect` would run into the gates.
    cdef float[NET_MAX_SCORES + NET_MAX_SHIFTS + ROOM] joined
    cdef float* mixed = sums + net.n_hidden
    cdef int n_own = net.n_scores + net.n_shifts
    cdef const float* gates = mixed + n_own
    cdef const float* kinds = gates + net.n_shifts
    cdef int i
    memcpy(sums, net.base, net.width * sizeof(float))
    net_standardise(inputs, net.n_inputs, net.mean, net.scale, net.rest, net.low, net.high, z)
    add_layer(net, net.first, net.width, z, net.n_inputs, sums)
    net_rectify(sums, net.n_hidden)
    add_layer(net, net.outer, net.outer_width, sums, net.n_hidden, mixed)
    memcpy(joined, mixed, n_own * sizeof(float))
    memset(joined + n_own, 0, ROOM * sizeof(float))
    join_experts(net, joined, kinds, kinds + net.n_kinds)
    memcpy(shifts, gates, net.n_shifts * sizeof(float))
    net_sigmoid(shifts, net.n_shifts)
    for i in range(net.n_shifts):
        shifts[i] *= joined[net.n_scores + i]
    add_layer(net, net.place, net.place_width, shifts, net.n_shifts, joined)
    memcpy(scores, joined, net.n_scores * sizeof(float))


cdef int padded(Py_ssize_t width):
    return <int> ((width + NET_COLUMNS - 1) // NET_COLUMNS * NET_COLUMNS)


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


cdef net_layer_t widest_layer() noexcept:
    cdef net_layer_t layer
    for lanes in (16, 8, 4):
        layer = net_layer_of(lanes)
        if layer != NULL:
            return layer


cdef class Net:
    def __cinit__(self, graph not None, *, int lanes=0):
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
        self.c.place_width = padded(graph.n_scores)
        self.c.layer = net_layer_of(lanes) if lanes else widest_layer()
        if self.c.layer == NULL:
            raise ValueError(f"this processor has no vectors of {lanes} numbers")
        self.c.mean = self.keep(graph.mean)
        self.c.scale = self.keep(graph.scale)
        self.c.low = graph.low
        self.c.high = graph.high
        self.c.first = self.keep(first)
        self.c.base, self.c.rest = self.keep(bias), self.keep(numpy.zeros(n_inputs))
        self.c.outer = self.keep(widened(outer, hidden, self.c.outer_width))
        self.c.spread = self.keep(widened(graph.spread, len(graph.spread), self.c.spread_width))
        self.c.collect = self.keep(widened(graph.collect, n_experts, self.c.collect_width))
        self.c.place = self.keep(widened(graph.place, len(graph.place), self.c.place_width))
        self.rest()

    cdef void rest(self) noexcept:
        """Most inputs are 0 most of the time: what they come to then is added up once."""
        cdef float[NET_MAX_INPUTS + ROOM] inputs, z
        memset(inputs, 0, sizeof(inputs))
        net_standardise(inputs, self.c.n_inputs, self.c.mean, self.c.scale, self.c.rest, self.c.low, self.c.high, z)
        add_layer(&self.c, self.c.first, self.c.width, z, self.c.n_inputs, <float*> self.c.base)
        memcpy(<float*> self.c.rest, z, self.c.n_inputs * sizeof(float))

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
