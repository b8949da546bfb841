from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint64_t

from turnout_fastpath.core cimport request_t, slice_t

cdef enum:
    PARSED = 0
    ODD = 1


# What a request's memory must hold.
cdef struct sizes_t:
    int32_t n_messages
    int32_t n_deployments
    int32_t n_regions
    size_t joined_bytes          # texts of turns that have parts

# A request is read in two passes over its bytes: what it holds, then what it says.
#
# Both return ODD for what the protobuf library and `codec.py` must read: what is no message, breaks a limit of the
# contract, asks for an explanation, or is legal but never made by generated code (groups, a singular message in
# pieces). So whatever is PARSED here reads the same there, and errors are worded in one place.
cdef int request_measure(slice_t bytes, sizes_t* sizes) noexcept nogil

# Bytes of memory that `request_parse` needs.
cdef size_t request_memory(const sizes_t* sizes) noexcept nogil

# Fills `request`, whose slices point into `bytes` and `memory`; both must outlive it. `max_text_bytes` is the operator's
# limit.
cdef int request_parse(slice_t bytes, const sizes_t* sizes, char* memory, size_t max_text_bytes,
                       request_t* request) noexcept nogil
