# A growable run of bytes.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove


cdef struct buffer_t:
    uint8_t* data
    size_t begin                 # what lies before has been used up
    size_t end
    size_t room


cdef inline size_t buffer_size(const buffer_t* buffer) noexcept nogil:
    return buffer.end - buffer.begin


# Room for `n` more bytes at the end: where they go, or NULL if there is no memory.
cdef inline uint8_t* buffer_reserve(buffer_t* buffer, size_t n) noexcept nogil:
    cdef size_t wanted
    cdef uint8_t* data
    if buffer.begin == buffer.end:
        buffer.begin = buffer.end = 0
    if buffer.room - buffer.end < n:
        if buffer.begin:
            memmove(buffer.data, buffer.data + buffer.begin, buffer.end - buffer.begin)
            buffer.end -= buffer.begin
            buffer.begin = 0
        wanted = buffer.end + n
        if wanted > buffer.room:
            wanted = max(wanted, 2 * buffer.room)
            data = <uint8_t*> realloc(buffer.data, wanted)
            if data == NULL:
                return NULL
            buffer.data = data
            buffer.room = wanted
    return buffer.data + buffer.end


cdef inline bint buffer_add(buffer_t* buffer, const void* data, size_t n) noexcept nogil:
    cdef uint8_t* out = buffer_reserve(buffer, n)
    if out == NULL:
        return False
    memcpy(out, data, n)
    buffer.end += n
    return True


cdef inline void buffer_free(buffer_t* buffer) noexcept nogil:
    free(buffer.data)
    buffer.data = NULL
    buffer.begin = buffer.end = buffer.room = 0
