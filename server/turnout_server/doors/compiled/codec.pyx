"""The compiled codec as Python uses it."""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from turnout_fastpath.core cimport slice_t
from turnout_fastpath.decision cimport Decision
from turnout_fastpath.request cimport Request
from turnout_server.doors.compiled.request_parser cimport (
    ODD, request_measure, request_memory, request_parse, sizes_t,
)
from turnout_server.doors.compiled.response_writer cimport MAX_RESPONSE_BYTES, ResponseForm, response_write

cdef enum:
    INLINE_BYTES = 256


# A request whose texts lie in the message it came in.
cdef class WireRequest(Request):
    cdef char[INLINE_BYTES] inline_memory
    cdef char* memory
    cdef bytes message

    def __dealloc__(self):
        if self.memory != self.inline_memory:
            free(self.memory)


def read_request(bytes message not None, size_t max_text_bytes):
    cdef WireRequest request
    cdef slice_t given
    cdef sizes_t sizes
    cdef size_t needed
    given.data = PyBytes_AS_STRING(message)
    given.size = PyBytes_GET_SIZE(message)
    if request_measure(given, &sizes) == ODD:
        return None
    request = WireRequest.__new__(WireRequest, "")
    request.message = message
    request.memory = request.inline_memory
    needed = request_memory(&sizes)
    if needed > INLINE_BYTES:
        request.memory = <char*> malloc(needed)
        if request.memory == NULL:
            request.memory = request.inline_memory
            raise MemoryError()
    if request_parse(given, &sizes, request.memory, max_text_bytes, &request.c) == ODD:
        return None
    return request


cdef class ResponseWriter:
    cdef ResponseForm form

    def write(self, Decision decision not None):
        cdef uint8_t[MAX_RESPONSE_BYTES] out
        cdef size_t size
        if self.form is None or self.form.snapshot is not decision.snapshot:
            self.form = ResponseForm(decision.snapshot)
        size = response_write(&self.form.c, &decision.c, out)
        return PyBytes_FromStringAndSize(<const char*> out, size)
