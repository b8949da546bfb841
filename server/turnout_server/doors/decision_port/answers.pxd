from libc.stddef cimport size_t

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.decision_port.buffer cimport buffer_t
from turnout_server.doors.decision_port.model cimport *

cdef enum:
    # Until its answers are read, a stream of requests is given no new decisions.
    MAX_STREAM_OUT_BYTES = 256 << 10

# Counts what `out` has grown by among the thread's bytes.
cdef void count_out(stream_t* stream) noexcept nogil

# Sends what `out` holds, now and later.
cdef void answer(stream_t* stream) noexcept nogil

# The answer is whole.
cdef void succeed(stream_t* stream) noexcept nogil

# Ends a call with one of the failures that are worded beforehand.
cdef void fail(stream_t* stream, int which) noexcept nogil

# HTTP's own answer to a whole request that is no call of gRPC.
cdef void refuse_http(stream_t* stream) noexcept nogil

# The longer way: Python decides, or says why it cannot. True with the answer added to `out`; False with the call ended.
cdef bint ask_python(stream_t* stream, int call, bint is_drawn, slice_t message, double remaining_s,
                     buffer_t* out) noexcept with gil

# Python answers one message of Envoy's external processing.
cdef bint ask_processor(stream_t* stream, slice_t message, buffer_t* out) noexcept with gil
