from libc.stdint cimport int32_t

cdef enum:
    NET_MAX_INPUTS = 1024
    NET_MAX_HIDDEN = 1024
    NET_MAX_COLUMNS = 64
    NET_MAX_MIXED = 3 * NET_MAX_COLUMNS
    NET_MAX_WIDTH = NET_MAX_HIDDEN + NET_MAX_MIXED


# The net that the trainer exports: z = clip((x - mean) * scale); base, difference and gate are linear in z and in
# relu(z @ inner + bias); scores = base + sigmoid(gate) * difference. Columns whose difference is always 0 have none.
cdef struct net_t:
    int32_t n_inputs
    int32_t n_hidden             # a multiple of 16
    int32_t n_columns            # of the scores
    int32_t n_mixed              # columns that have a difference and a gate
    int32_t width                # of `first`: hidden units, then mixed outputs; a multiple of 16
    int32_t outer_width          # of `outer`; a multiple of 16
    const float* mean
    const float* scale
    float low
    float high
    const float* first           # (n_inputs, width)
    const float* bias            # (width,)
    const float* outer           # (n_hidden, outer_width)
    int32_t[NET_MAX_COLUMNS] mixed   # columns with a difference, in order


# Scores of one row of inputs.
cdef void net_run(const net_t* net, const float* inputs, float* scores) noexcept nogil


cdef class Net:
    cdef net_t c
    cdef list kept               # arrays that the struct points into

    cdef const float* keep(self, array) except NULL
