/* The floor: an HTTP/2 server on one thread that reads a request and answers every call with one fixed gRPC message.
 *
 * `nghttp2_echo RESPONSE_FILE` prints its port as JSON. The file holds the message without gRPC's five bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18, MAX_EVENTS = 64, MAX_MESSAGE_BYTES = 8192, MAX_STREAMS = 8192 };

typedef struct connection {
  int fd, waits_to_write;
  nghttp2_session *session;
  uint8_t out[2 * READ_BYTES];
  size_t size;
} connection_t;

static uint8_t answer[MAX_MESSAGE_BYTES];
static size_t answer_size;

#define HEADER(name, value)                                                                 \
  {                                                                                         \
    (uint8_t *)name, (uint8_t *)value, sizeof(name) - 1, sizeof(value) - 1,                 \
        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                        \
  }
static const nghttp2_nv headers[] = {HEADER(":status", "200"), HEADER("content-type", "application/grpc")};
static const nghttp2_nv trailers[] = {HEADER("grpc-status", "0")};

static ssize_t give_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                           nghttp2_data_source *source, void *user) {
  (void)source, (void)user;
  /* nghttp2 asks for frames of up to 16 KiB; a smaller window would need a remembered place. */
  if (size < answer_size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  memcpy(out, answer, answer_size);
  *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  nghttp2_submit_trailer(session, id, trailers, 1);
  return (ssize_t)answer_size;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  nghttp2_data_provider body = {.read_callback = give_answer};
  (void)user;
  if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
  return nghttp2_submit_response(session, frame->hd.stream_id, headers, 2, &body);
}

static void connection_close(connection_t *connection) {
  nghttp2_session_del(connection->session);
  close(connection->fd);
  free(connection);
}

/* Returns 0, or -1 if the connection is over. */
static int connection_send(connection_t *connection, int epoll) {
  const uint8_t *data;
  int wants = 0;
  for (;;) {
    ssize_t n = 0;
    while (connection->size < READ_BYTES && (n = nghttp2_session_mem_send(connection->session, &data)) > 0) {
      memcpy(connection->out + connection->size, data, (size_t)n);
      connection->size += (size_t)n;
    }
    if (n < 0) return -1;
    if (!connection->size) break;
    n = send(connection->fd, connection->out, connection->size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return -1;
    if ((wants = n < 0)) break;
    connection->size -= (size_t)n;
    memmove(connection->out, connection->out + n, connection->size);
  }
  if (connection->waits_to_write != wants) {
    struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = connection};
    connection->waits_to_write = wants;
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
  }
  return 0;
}

static void connection_open(int listener, int epoll, nghttp2_session_callbacks *callbacks, nghttp2_option *option) {
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
                                       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
  connection_t *connection = calloc(1, sizeof *connection);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  int one = 1;
  if (!connection) exit(1);
  connection->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (connection->fd < 0) {
    free(connection);
    return;
  }
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (nghttp2_session_server_new2(&connection->session, callbacks, connection, option)) exit(1);
  nghttp2_submit_settings(connection->session, 0, settings, 2);
  nghttp2_session_set_local_window_size(connection->session, 0, 0, 8 << 20);
  epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event);
  connection_send(connection, epoll);
}

static void serve(int listener, nghttp2_session_callbacks *callbacks, nghttp2_option *option) {
  static uint8_t memory[READ_BYTES];
  struct epoll_event events[MAX_EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int i = 0; i < n; i++) {
      connection_t *connection = events[i].data.ptr;
      if (!connection) {
        connection_open(listener, epoll, callbacks, option);
        continue;
      }
      if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        ssize_t size = recv(connection->fd, memory, READ_BYTES, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (size <= 0 || nghttp2_session_mem_recv(connection->session, memory, (size_t)size) < 0) {
          connection_close(connection);
          continue;
        }
      }
      if (connection_send(connection, epoll)) connection_close(connection);
    }
  }
}

int main(int n, char **words) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  nghttp2_session_callbacks *callbacks;
  nghttp2_option *option;
  FILE *file = n == 2 ? fopen(words[1], "rb") : NULL;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  uint32_t length;
  if (!file) return fprintf(stderr, "nghttp2_echo: needs a file with the answer\n"), 2;
  length = (uint32_t)fread(answer + 5, 1, sizeof answer - 5, file);
  if (!feof(file)) return fprintf(stderr, "nghttp2_echo: the answer is longer than 8 KiB\n"), 2;
  answer_size = length + 5;
  length = htonl(length);
  memcpy(answer + 1, &length, 4);
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024) ||
      getsockname(listener, (struct sockaddr *)&address, &size) || nghttp2_session_callbacks_new(&callbacks) ||
      nghttp2_option_new(&option))
    return perror("nghttp2_echo"), 1;
  /* As the decision port has it: no memory of closed streams for the sake of priorities. */
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  printf("{\"port\": %d}\n", ntohs(address.sin_port));
  fflush(stdout);
  serve(listener, callbacks, option);
}
