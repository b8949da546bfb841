/* The part of libnghttp2's ABI (libnghttp2.so.14) that the listener needs, found by dlopen: the library is wanted only
 * where the decision port is, and building needs no headers of it. Declarations follow nghttp2.h 1.52. */
#ifndef TURNOUT_NGHTTP2_API_H
#define TURNOUT_NGHTTP2_API_H
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NGHTTP2_LIBRARY "libnghttp2.so.14"

typedef struct nghttp2_session nghttp2_session;
typedef struct nghttp2_session_callbacks nghttp2_session_callbacks;
typedef struct nghttp2_option nghttp2_option;

typedef struct {
  uint8_t *name;
  uint8_t *value;
  size_t namelen;
  size_t valuelen;
  uint8_t flags;
} nghttp2_nv;

typedef struct {
  size_t length;
  int32_t stream_id;
  uint8_t type;
  uint8_t flags;
  uint8_t reserved;
} nghttp2_frame_hd;

/* A union of all frames; each begins with its header. */
typedef struct {
  nghttp2_frame_hd hd;
} nghttp2_frame;

typedef union {
  int fd;
  void *ptr;
} nghttp2_data_source;

typedef ssize_t (*nghttp2_data_source_read_callback)(nghttp2_session *, int32_t, uint8_t *, size_t, uint32_t *,
                                                     nghttp2_data_source *, void *);

typedef struct {
  nghttp2_data_source source;
  nghttp2_data_source_read_callback read_callback;
} nghttp2_data_provider;

typedef struct {
  int32_t settings_id;
  uint32_t value;
} nghttp2_settings_entry;

enum {
  NGHTTP2_DATA = 0,
  NGHTTP2_HEADERS = 1,
  NGHTTP2_RST_STREAM = 3,
  NGHTTP2_SETTINGS = 4,
  NGHTTP2_PING = 6,
  NGHTTP2_CONTINUATION = 9,
};
enum { NGHTTP2_FLAG_END_STREAM = 1, NGHTTP2_FLAG_ACK = 1 };
enum {
  NGHTTP2_NV_FLAG_NONE = 0,
  NGHTTP2_NV_FLAG_NO_COPY_NAME = 2,
  NGHTTP2_NV_FLAG_NO_COPY_VALUE = 4,
};
enum { NGHTTP2_DATA_FLAG_EOF = 1, NGHTTP2_DATA_FLAG_NO_END_STREAM = 2 };
enum {
  NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS = 3,
  NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE = 4,
  NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE = 6,
};
enum {
  NGHTTP2_NO_ERROR = 0,
  NGHTTP2_PROTOCOL_ERROR = 1,
  NGHTTP2_INTERNAL_ERROR = 2,
  NGHTTP2_STREAM_CLOSED = 5,
  NGHTTP2_REFUSED_STREAM = 7,
  NGHTTP2_CANCEL = 8,
  NGHTTP2_ENHANCE_YOUR_CALM = 11,
};
enum {
  NGHTTP2_ERR_DEFERRED = -508,
  NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE = -521,
  NGHTTP2_ERR_CALLBACK_FAILURE = -902,
};

typedef int (*nghttp2_frame_callback)(nghttp2_session *, const nghttp2_frame *, void *);
typedef int (*nghttp2_frame_hd_callback)(nghttp2_session *, const nghttp2_frame_hd *, void *);
typedef int (*nghttp2_header_callback)(nghttp2_session *, const nghttp2_frame *, const uint8_t *, size_t,
                                       const uint8_t *, size_t, uint8_t, void *);
typedef int (*nghttp2_data_callback)(nghttp2_session *, uint8_t, int32_t, const uint8_t *, size_t, void *);
typedef int (*nghttp2_close_callback)(nghttp2_session *, int32_t, uint32_t, void *);

#define NGHTTP2_FUNCTIONS(F)                                                                                         \
  F(int, session_callbacks_new, (nghttp2_session_callbacks **))                                                      \
  F(void, session_callbacks_del, (nghttp2_session_callbacks *))                                                      \
  F(void, session_callbacks_set_on_begin_frame_callback, (nghttp2_session_callbacks *, nghttp2_frame_hd_callback))   \
  F(void, session_callbacks_set_on_begin_headers_callback, (nghttp2_session_callbacks *, nghttp2_frame_callback))    \
  F(void, session_callbacks_set_on_header_callback, (nghttp2_session_callbacks *, nghttp2_header_callback))          \
  F(void, session_callbacks_set_on_frame_recv_callback, (nghttp2_session_callbacks *, nghttp2_frame_callback))       \
  F(void, session_callbacks_set_on_frame_send_callback, (nghttp2_session_callbacks *, nghttp2_frame_callback))       \
  F(void, session_callbacks_set_on_data_chunk_recv_callback, (nghttp2_session_callbacks *, nghttp2_data_callback))   \
  F(void, session_callbacks_set_on_stream_close_callback, (nghttp2_session_callbacks *, nghttp2_close_callback))     \
  F(int, option_new, (nghttp2_option **))                                                                            \
  F(void, option_del, (nghttp2_option *))                                                                            \
  F(void, option_set_no_auto_window_update, (nghttp2_option *, int))                                                 \
  F(void, option_set_no_closed_streams, (nghttp2_option *, int))                                                     \
  F(int, session_server_new2,                                                                                        \
    (nghttp2_session **, const nghttp2_session_callbacks *, void *, const nghttp2_option *))                         \
  F(void, session_del, (nghttp2_session *))                                                                          \
  F(ssize_t, session_mem_recv, (nghttp2_session *, const uint8_t *, size_t))                                         \
  F(ssize_t, session_mem_send, (nghttp2_session *, const uint8_t **))                                                \
  F(int, session_want_read, (nghttp2_session *))                                                                     \
  F(int, session_want_write, (nghttp2_session *))                                                                    \
  F(int, session_consume_connection, (nghttp2_session *, size_t))                                                    \
  F(int, session_consume_stream, (nghttp2_session *, int32_t, size_t))                                               \
  F(int, session_resume_data, (nghttp2_session *, int32_t))                                                          \
  F(int, session_set_local_window_size, (nghttp2_session *, uint8_t, int32_t, int32_t))                              \
  F(int, session_set_stream_user_data, (nghttp2_session *, int32_t, void *))                                         \
  F(void *, session_get_stream_user_data, (nghttp2_session *, int32_t))                                              \
  F(int32_t, session_get_last_proc_stream_id, (nghttp2_session *))                                                   \
  F(int, session_terminate_session, (nghttp2_session *, uint32_t))                                                   \
  F(int, submit_settings, (nghttp2_session *, uint8_t, const nghttp2_settings_entry *, size_t))                      \
  F(int, submit_response,                                                                                            \
    (nghttp2_session *, int32_t, const nghttp2_nv *, size_t, const nghttp2_data_provider *))                         \
  F(int, submit_trailer, (nghttp2_session *, int32_t, const nghttp2_nv *, size_t))                                   \
  F(int, submit_rst_stream, (nghttp2_session *, uint8_t, int32_t, uint32_t))                                         \
  F(int, submit_goaway, (nghttp2_session *, uint8_t, int32_t, uint32_t, const uint8_t *, size_t))                    \
  F(int, submit_shutdown_notice, (nghttp2_session *))                                                                \
  F(int, submit_ping, (nghttp2_session *, uint8_t, const uint8_t *))

#define NGHTTP2_DECLARE(result, name, arguments) static result(*h2_##name) arguments;
NGHTTP2_FUNCTIONS(NGHTTP2_DECLARE)
#undef NGHTTP2_DECLARE

/* Since 1.57, and in older ones that distributions have mended. */
static void (*h2_option_set_stream_reset_rate_limit)(nghttp2_option *, uint64_t, uint64_t);

/* Loads the library once. NULL, or what is missing: the library itself or one of its functions. */
static const char *nghttp2_load(void) {
  static int is_loaded;
  void *library;
  if (is_loaded) return NULL;
  library = dlopen(NGHTTP2_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return NGHTTP2_LIBRARY;
#define NGHTTP2_FIND(result, name, arguments) \
  if ((h2_##name = (result(*) arguments)dlsym(library, "nghttp2_" #name)) == NULL) return "nghttp2_" #name;
  NGHTTP2_FUNCTIONS(NGHTTP2_FIND)
#undef NGHTTP2_FIND
  h2_option_set_stream_reset_rate_limit =
      (void (*)(nghttp2_option *, uint64_t, uint64_t))dlsym(library, "nghttp2_option_set_stream_reset_rate_limit");
  is_loaded = 1;
  return NULL;
}
#endif
