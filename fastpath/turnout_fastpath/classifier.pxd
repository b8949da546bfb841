from libc.stddef cimport size_t
from libc.stdint cimport int64_t

from turnout_fastpath.net cimport Net, net_t
from turnout_fastpath.net_tail cimport NET_MAX_TAILS, net_tail_t


cdef extern from "ort_api.h" nogil:
    ctypedef void ort_object
    ctypedef void* ort_status
    ctypedef const void* const* ort_api


cdef struct classifier_t:
    const net_t* net             # NULL: ONNX Runtime runs the model
    net_tail_t[NET_MAX_TAILS] tails    # behind the net, the lowest first
    int n_tails
    ort_api api
    ort_object* session
    const char* input_name
    const char* output_name
    int n_inputs
    int n_outputs


# One worker's input and output; for ONNX Runtime wrapped once as tensors over the worker's own memory.
cdef struct classifier_io_t:
    float* inputs
    float* outputs
    ort_object* input_value
    ort_object* output_value


# 0, or -1 if the runtime refused; `io.outputs` is then undefined.
cdef int classifier_run(const classifier_t* classifier, classifier_io_t* io) noexcept nogil


cdef class Classifier:
    cdef classifier_t c
    cdef ort_object* memory_info
    cdef object model
    cdef Net net
    cdef list tails
    cdef object input_name
    cdef object output_name

    cdef int open_session(self) except -1
    cdef int open_io(self, classifier_io_t* io, int64_t rows) except -1
    cdef void close_io(self, classifier_io_t* io) noexcept
