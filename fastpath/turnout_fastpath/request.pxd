from libc.stdint cimport int32_t

from turnout_fastpath.core cimport message_t, request_t, slice_t

cdef enum:
    INLINE_MESSAGES = 8


cdef class Request:
    cdef request_t c
    cdef readonly bint explain
    cdef message_t[INLINE_MESSAGES] inline_messages
    cdef message_t* messages     # inline_messages, or malloc'd for more
    cdef list kept               # objects whose memory `c` points into

    cdef slice_t slice_of(self, object text, str field)
    cdef int fill_messages(self, object prompt, object messages) except -1
    cdef slice_t name(self, str text, str field)
    cdef const slice_t* names(self, object values, str field, int limit, int32_t* n) except? NULL
