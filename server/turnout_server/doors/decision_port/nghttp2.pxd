# libnghttp2 by function pointers. They are each module's own: one that calls the library calls `nghttp2_load` first,
# which does nothing but find them.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, strlen

from turnout_fastpath.core cimport slice_t

ctypedef Py_ssize_t ssize_t

cdef extern from "nghttp2_api.h" nogil:
    ctypedef struct nghttp2_session:
        pass
    ctypedef struct nghttp2_session_callbacks:
        pass
    ctypedef struct nghttp2_option:
        pass
    ctypedef struct nghttp2_nv:
        uint8_t* name
        uint8_t* value
        size_t namelen
        size_t valuelen
        uint8_t flags
    ctypedef struct nghttp2_frame_hd:
        size_t length
        int32_t stream_id
        uint8_t type
        uint8_t flags
    ctypedef struct nghttp2_frame:
        nghttp2_frame_hd hd
    ctypedef union nghttp2_data_source:
        void* ptr
    ctypedef ssize_t (*nghttp2_data_source_read_callback)(
        nghttp2_session*, int32_t, uint8_t*, size_t, uint32_t*, nghttp2_data_source*, void*) noexcept nogil
    ctypedef struct nghttp2_data_provider:
        nghttp2_data_source source
        nghttp2_data_source_read_callback read_callback
    ctypedef struct nghttp2_settings_entry:
        int32_t settings_id
        uint32_t value
    int NGHTTP2_DATA, NGHTTP2_HEADERS, NGHTTP2_RST_STREAM, NGHTTP2_SETTINGS, NGHTTP2_PING, NGHTTP2_CONTINUATION
    int NGHTTP2_FLAG_END_STREAM, NGHTTP2_FLAG_ACK
    int NGHTTP2_NV_FLAG_NONE, NGHTTP2_NV_FLAG_NO_COPY_NAME, NGHTTP2_NV_FLAG_NO_COPY_VALUE
    int NGHTTP2_DATA_FLAG_EOF, NGHTTP2_DATA_FLAG_NO_END_STREAM
    int NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    int NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    uint32_t NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_STREAM_CLOSED, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM
    int NGHTTP2_ERR_DEFERRED, NGHTTP2_ERR_CALLBACK_FAILURE, NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    const char* nghttp2_load()
    int h2_session_callbacks_new(nghttp2_session_callbacks**)
    void h2_session_callbacks_del(nghttp2_session_callbacks*)
    void h2_session_callbacks_set_on_begin_frame_callback(nghttp2_session_callbacks*, void*)
    void h2_session_callbacks_set_on_begin_headers_callback(nghttp2_session_callbacks*, void*)
    void h2_session_callbacks_set_on_header_callback(nghttp2_session_callbacks*, void*)
    void h2_session_callbacks_set_on_frame_recv_callback(nghttp2_session_callbacks*, void*)
    void h2_session_callbacks_set_on_frame_send_callback(nghttp2_session_callbacks*, void*)
    void h2_session_callbacks_set_on_data_chunk_recv_callback(nghttp2_session_callbacks*, void*)
    void h2_session_callbacks_set_on_stream_close_callback(nghttp2_session_callbacks*, void*)
    int h2_option_new(nghttp2_option**)
    void h2_option_del(nghttp2_option*)
    void h2_option_set_no_auto_window_update(nghttp2_option*, int)
    void h2_option_set_no_closed_streams(nghttp2_option*, int)
    void (*h2_option_set_stream_reset_rate_limit)(nghttp2_option*, uint64_t, uint64_t)
    int h2_session_server_new2(nghttp2_session**, const nghttp2_session_callbacks*, void*, const nghttp2_option*)
    void h2_session_del(nghttp2_session*)
    ssize_t h2_session_mem_recv(nghttp2_session*, const uint8_t*, size_t)
    ssize_t h2_session_mem_send(nghttp2_session*, const uint8_t**)
    int h2_session_want_read(nghttp2_session*)
    int h2_session_want_write(nghttp2_session*)
    int h2_session_consume_connection(nghttp2_session*, size_t)
    int h2_session_consume_stream(nghttp2_session*, int32_t, size_t)
    int h2_session_resume_data(nghttp2_session*, int32_t)
    int h2_session_set_local_window_size(nghttp2_session*, uint8_t, int32_t, int32_t)
    int h2_session_set_stream_user_data(nghttp2_session*, int32_t, void*)
    void* h2_session_get_stream_user_data(nghttp2_session*, int32_t)
    int32_t h2_session_get_last_proc_stream_id(nghttp2_session*)
    int h2_session_terminate_session(nghttp2_session*, uint32_t)
    int h2_submit_settings(nghttp2_session*, uint8_t, const nghttp2_settings_entry*, size_t)
    int h2_submit_response(nghttp2_session*, int32_t, const nghttp2_nv*, size_t, const nghttp2_data_provider*)
    int h2_submit_trailer(nghttp2_session*, int32_t, const nghttp2_nv*, size_t)
    int h2_submit_rst_stream(nghttp2_session*, uint8_t, int32_t, uint32_t)
    int h2_submit_goaway(nghttp2_session*, uint8_t, int32_t, uint32_t, const uint8_t*, size_t)
    int h2_submit_shutdown_notice(nghttp2_session*)
    int h2_submit_ping(nghttp2_session*, uint8_t, const uint8_t*)


cdef inline nghttp2_nv header(slice_t name, slice_t value, int flags) noexcept nogil:
    cdef nghttp2_nv pair
    pair.name = <uint8_t*> name.data
    pair.namelen = name.size
    pair.value = <uint8_t*> value.data
    pair.valuelen = value.size
    pair.flags = <uint8_t> flags
    return pair


cdef inline slice_t text_of(const char* text) noexcept nogil:
    cdef slice_t slice
    slice.data = text
    slice.size = strlen(text)
    return slice


cdef inline bint equals(const uint8_t* data, size_t size, slice_t text) noexcept nogil:
    return size == text.size and memcmp(data, text.data, size) == 0
