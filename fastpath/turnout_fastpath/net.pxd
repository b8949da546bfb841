from libc.stdint cimport int32_t, uint64_t

# sums += values @ weights, (weights, width, values, used, words, sums); net_layer.h.
ctypedef void (*net_layer_t)(const float*, int, const float*, const uint64_t*, int, float*) noexcept nogil

cdef enum:
    NET_MAX_INPUTS = 1024
    NET_MAX_HIDDEN = 1024
    NET_MAX_SCORES = 64
    NET_MAX_SHIFTS = 64
    NET_MAX_KINDS = 256
    NET_MAX_EXPERTS = 512
    NET_MAX_MIXED = NET_MAX_SCORES + 2 * NET_MAX_SHIFTS + NET_MAX_KINDS + NET_MAX_EXPERTS + 16


# The net that the trainer exports. z = clip((x - mean) * scale), a = relu(z @ inner + inner_bias); then
# [own | gate | kind | expert] = z @ direct + a @ outer + bias; joined = own + (expert * (softmax(kind) @ spread)) @ collect;
# scores = joined[:n_scores] + (joined[n_scores:] * sigmoid(gate)) @ place. Rows are padded to multiples of 16. Of the first
# layer, only rows are added whose input is not at rest, which is 0: base = [inner_bias | bias] + rest @ first, and
# (z - rest) @ first comes to it.
cdef struct net_t:
    int32_t n_inputs
    int32_t n_hidden             # padded
    int32_t n_scores
    int32_t n_shifts             # of joined, behind the scores
    int32_t n_kinds
    int32_t n_experts
    int32_t width                # of `first`: hidden units, then [own | gate | kind | expert]
    int32_t outer_width          # experts are linear in z alone
    int32_t spread_width
    int32_t collect_width
    int32_t place_width
    const float* mean
    const float* scale
    float low
    float high
    const float* first           # (n_inputs, width)
    const float* rest            # (n_inputs,) z of inputs of 0
    const float* base            # (width,)
    const float* outer           # (n_hidden, outer_width)
    const float* spread          # (n_kinds, spread_width)
    const float* collect         # (n_experts, collect_width)
    const float* place           # (n_shifts, place_width)
    net_layer_t layer            # the widest of this processor


# Scores of one row of inputs.
cdef void net_run(const net_t* net, const float* inputs, float* scores) noexcept nogil


cdef class Net:
    cdef net_t c
    cdef list kept               # arrays that the struct points into

    cdef void rest(self) noexcept
    cdef const float* keep(self, array) except NULL
