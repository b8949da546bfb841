from libc.stdint cimport int32_t

from turnout_fastpath.net cimport NET_MAX_INPUTS, NET_MAX_SCORES

cdef enum:
    # A bundle trained on top of a bundle has one more than that bundle.
    NET_MAX_TAILS = 16


# Heads on top of a net: scores = below @ carried + clip((x - mean) * scale) @ added + constants. Rows are padded to
# multiples of 4. Inputs that nothing is added for are left out of all four arrays.
cdef struct net_tail_t:
    int32_t n_below
    int32_t n_scores
    int32_t width                # padded
    int32_t n_used
    const int32_t* used          # (n_used,) of the inputs
    const float* mean            # (n_used,)
    const float* scale
    float low
    float high
    const float* carried         # (n_below, width)
    const float* added           # (n_used, width)
    const float* constants       # (width,)


# Replaces the scores below by those of the tail; there is room for NET_MAX_SCORES.
cdef void tail_run(const net_tail_t* tail, const float* inputs, float* scores) noexcept nogil


cdef class NetTail:
    cdef net_tail_t c
    cdef list kept               # arrays that the struct points into

    cdef const float* keep(self, array) except NULL
