/* A load generator for unary gRPC calls over cleartext HTTP/2: one thread, many requests in turn, closed or open loop.
 *
 * Open loop: calls are due at random times of a Poisson process, whether earlier ones are answered or not, and a call's
 * latency runs from when it was due. What was due and not sent, or sent and not answered, counts with the time it had
 * waited when the run ended. So nothing that a slow server delays is left out ("coordinated omission").
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"

enum {
  READ_BYTES = 1 << 18,
  STREAM_WINDOW = 1 << 20,
  CONNECTION_WINDOW = 64 << 20,
  MAX_CONNECTIONS = 1024,
  MAX_EVENTS = 64,
  STATUSES = 17,
  RESOURCE_EXHAUSTED = 8,
  DETAILS_BYTES = 2048,
  SPIN_NS = 20000,               /* a sleep that short would end too late */
  SECOND_NS = 1000000000,
};

typedef struct {
  const uint8_t *data;
  uint32_t size;
} request_t;

typedef struct call {
  struct call *next;             /* among the free ones */
  const request_t *request;
  uint32_t sent;
  uint64_t due_ns;
  int http_status, status;       /* -1 until told */
  int is_counted, has_details, is_open;
  uint64_t message_bytes;
} call_t;

typedef struct {
  int fd, is_dead, is_dirty, waits_to_write;
  nghttp2_session *session;
  call_t *calls, *free;
  uint8_t *out;
  size_t begin, end, capacity;
} connection_t;

static struct {
  const char *host, *port, *path, *requests;
  int connections, streams, pid;
  double warm_up_s, seconds, drain_s, rate;
  uint64_t seed;
} options = {.host = "127.0.0.1", .path = "/turnout.v1.RoutingService/Route", .connections = 1, .streams = 1,
             .warm_up_s = 0.2, .seconds = 1, .drain_s = 2, .seed = 1};

static struct {
  uint64_t sent, answered, failed, unanswered, unsent;      /* of the whole run; unsent: of the counted stretch */
  uint64_t statuses[STATUSES];                             /* of the whole run */
  uint64_t window_statuses[STATUSES];                      /* answered within the counted stretch */
  uint64_t details, request_bytes, message_bytes;          /* of the whole run; message_bytes: of status 0 */
  histogram_t latency, refused, late;
  char first_details[DETAILS_BYTES];
} counts;

static request_t *requests;
static uint64_t n_requests, next_request;
static connection_t connections[MAX_CONNECTIONS];
static uint64_t begin_ns, window_ns, end_ns;
static int is_sending = 1, in_flight, n_alive;
static nghttp2_nv headers[7];

static uint64_t clock_ns(clockid_t clock) {
  struct timespec now;
  if (clock_gettime(clock, &now)) return 0;
  return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "generator: %s\n", what);
  exit(1);
}

static void *allocate(size_t n, size_t size) {
  void *memory = calloc(n, size);
  if (!memory) fail("out of memory");
  return memory;
}

/* Records of a 32-bit little-endian size and so many bytes. */
static void read_requests(void) {
  FILE *file = fopen(options.requests, "rb");
  uint8_t *data, *at;
  long size;
  if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) <= 0) fail("no requests in the file");
  rewind(file);
  data = allocate((size_t)size, 1);
  if (fread(data, 1, (size_t)size, file) != (size_t)size) fail("the file of requests cannot be read");
  fclose(file);
  requests = allocate((size_t)size / 4, sizeof(request_t));
  for (at = data; at < data + size; at += requests[n_requests++].size) {
    uint32_t length;
    if (data + size - at < 4) fail("the file of requests is cut short");
    memcpy(&length, at, 4);
    at += 4;
    if (length > (uint64_t)(data + size - at)) fail("the file of requests is cut short");
    requests[n_requests] = (request_t){at, length};
  }
}

static ssize_t give_body(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
  call_t *call = source->ptr;
  size_t left = call->request->size - call->sent;
  (void)session, (void)id, (void)user;
  if (left > size) left = size;
  memcpy(out, call->request->data + call->sent, left);
  call->sent += (uint32_t)left;
  if (call->sent == call->request->size) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return (ssize_t)left;
}

/* Makes a call on a connection that has one free. */
static void call_start(connection_t *connection, uint64_t due_ns, uint64_t now) {
  call_t *call = connection->free;
  nghttp2_data_provider body = {.source.ptr = call, .read_callback = give_body};
  connection->free = call->next;
  call->request = &requests[next_request];
  next_request = next_request + 1 == n_requests ? 0 : next_request + 1;
  call->sent = 0;
  call->due_ns = due_ns;
  call->http_status = call->status = -1;
  call->has_details = 0;
  call->message_bytes = 0;
  call->is_open = 1;
  call->is_counted = due_ns >= window_ns && due_ns < end_ns;
  if (call->is_counted) histogram_add(&counts.late, now > due_ns ? now - due_ns : 0);
  if (nghttp2_submit_request(connection->session, NULL, headers, sizeof headers / sizeof *headers, &body, call) < 0)
    fail("no stream can be opened");
  counts.sent++;
  counts.request_bytes += call->request->size;
  in_flight++;
  connection->is_dirty = 1;
}

static void call_end(connection_t *connection, call_t *call, int is_answered) {
  uint64_t now = clock_ns(CLOCK_MONOTONIC);
  call->is_open = 0;
  call->next = connection->free;
  connection->free = call;
  in_flight--;
  if (!is_answered || call->http_status != 200 || call->status < 0 || call->status >= STATUSES) {
    counts.failed++;
    return;
  }
  counts.answered++;
  counts.statuses[call->status]++;
  if (now >= window_ns && now < end_ns) counts.window_statuses[call->status]++;
  if (call->status && call->has_details) counts.details++;
  if (!call->status) counts.message_bytes += call->message_bytes;
  if (!call->is_counted) return;
  if (!call->status) histogram_add(&counts.latency, now - call->due_ns);
  if (call->status == RESOURCE_EXHAUSTED) histogram_add(&counts.refused, now - call->due_ns);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *user) {
  call_t *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  (void)flags, (void)user;
  if (!call) return 0;
  if (name_size == 7 && !memcmp(name, ":status", 7))
    call->http_status = atoi((const char *)value);
  else if (name_size == 11 && !memcmp(name, "grpc-status", 11))
    call->status = atoi((const char *)value);
  else if (name_size == 23 && !memcmp(name, "grpc-status-details-bin", 23)) {
    call->has_details = 1;
    if (!counts.first_details[0] && value_size < DETAILS_BYTES) memcpy(counts.first_details, value, value_size);
  }
  return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t size, void *user) {
  call_t *call = nghttp2_session_get_stream_user_data(session, id);
  (void)flags, (void)data, (void)user;
  if (call) call->message_bytes += size;
  return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user) {
  connection_t *connection = user;
  call_t *call = nghttp2_session_get_stream_user_data(session, id);
  if (!call) return 0;
  /* A server may answer before it has read everything, and then resets with NO_ERROR. */
  call_end(connection, call, error == NGHTTP2_NO_ERROR || call->status > 0);
  if (!options.rate && is_sending && !connection->is_dead) {
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    if (now < end_ns) call_start(connection, now, now);
  }
  return 0;
}

static void connection_kill(connection_t *connection) {
  if (connection->is_dead) return;
  connection->is_dead = 1;
  n_alive--;
  for (int i = 0; i < options.streams; i++)
    if (connection->calls[i].is_open) call_end(connection, &connection->calls[i], 0);
  close(connection->fd);
}

static void want_write(connection_t *connection, int epoll, int wants) {
  struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.ptr = connection};
  if (connection->waits_to_write == wants) return;
  connection->waits_to_write = wants;
  epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static void connection_send(connection_t *connection, int epoll) {
  connection->is_dirty = 0;
  while (!connection->is_dead) {
    const uint8_t *data;
    ssize_t n = 0;
    while (connection->end - connection->begin < READ_BYTES && (n = nghttp2_session_mem_send(connection->session, &data)) > 0) {
      if (connection->end + (size_t)n > connection->capacity) fail("a frame is larger than the buffer");
      memcpy(connection->out + connection->end, data, (size_t)n);
      connection->end += (size_t)n;
    }
    if (n < 0) connection_kill(connection);
    if (connection->is_dead || connection->begin == connection->end) break;
    n = send(connection->fd, connection->out + connection->begin, connection->end - connection->begin, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      want_write(connection, epoll, 1);
      return;
    }
    if (n < 0) {
      connection_kill(connection);
      return;
    }
    connection->begin += (size_t)n;
    memmove(connection->out, connection->out + connection->begin, connection->end - connection->begin);
    connection->end -= connection->begin;
    connection->begin = 0;
  }
  if (!connection->is_dead) want_write(connection, epoll, 0);
}

static void connection_read(connection_t *connection, uint8_t *memory) {
  ssize_t n = recv(connection->fd, memory, READ_BYTES, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0 || nghttp2_session_mem_recv(connection->session, memory, (size_t)n) < 0)
    connection_kill(connection);
  connection->is_dirty = 1;
}

static void connection_open(connection_t *connection, nghttp2_session_callbacks *callbacks, int epoll) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
                                       {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
  int one = 1;
  if (getaddrinfo(options.host, options.port, &hints, &found)) fail("the host is not known");
  connection->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection->fd < 0 || connect(connection->fd, found->ai_addr, found->ai_addrlen)) fail("nobody listens there");
  freeaddrinfo(found);
  setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  connection->capacity = 2 * READ_BYTES;
  connection->out = allocate(connection->capacity, 1);
  connection->calls = allocate((size_t)options.streams, sizeof(call_t));
  for (int i = 0; i < options.streams; i++) {
    connection->calls[i].next = connection->free;
    connection->free = &connection->calls[i];
  }
  if (nghttp2_session_client_new(&connection->session, callbacks, connection) ||
      nghttp2_submit_settings(connection->session, 0, settings, 2) ||
      nghttp2_session_set_local_window_size(connection->session, 0, 0, CONNECTION_WINDOW) ||
      epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event))
    fail("no session");
  connection_send(connection, epoll);
  n_alive++;
}

static void header_set(int i, const char *name, const char *value) {
  headers[i] = (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* Until the next call is due: exponential, from a xorshift64* generator. */
static uint64_t draw_gap_ns(void) {
  options.seed ^= options.seed >> 12;
  options.seed ^= options.seed << 25;
  options.seed ^= options.seed >> 27;
  double uniform = (double)((options.seed * 2685821657736338717ull) >> 11) * 0x1p-53;
  return (uint64_t)(-log1p(-uniform) / options.rate * SECOND_NS);
}

static connection_t *find_free(void) {
  static int last;
  for (int i = 0; i < options.connections; i++) {
    last = last + 1 == options.connections ? 0 : last + 1;
    if (!connections[last].is_dead && connections[last].free) return &connections[last];
  }
  return NULL;
}

/* Sends what is due, as far as streams are free. */
static void send_due(uint64_t *due, uint64_t now) {
  connection_t *connection;
  while (*due <= now && *due < end_ns && (connection = find_free())) {
    call_start(connection, *due, now);
    *due += draw_gap_ns();
  }
}

static void run(int epoll) {
  struct epoll_event events[MAX_EVENTS];
  uint8_t *memory = allocate(READ_BYTES, 1);
  clockid_t server = ((clockid_t)~options.pid << 3) | 2;
  uint64_t due, cpu_begin = 0, cpu_end = 0, own_begin = 0, own_end = 0, now = clock_ns(CLOCK_MONOTONIC);
  uint64_t stop_ns;
  int state = 0;
  begin_ns = due = now;
  window_ns = begin_ns + (uint64_t)(options.warm_up_s * SECOND_NS);
  end_ns = window_ns + (uint64_t)(options.seconds * SECOND_NS);
  stop_ns = end_ns + (uint64_t)(options.drain_s * SECOND_NS);
  if (!options.rate)
    for (int i = 0; i < options.connections; i++)
      while (connections[i].free) call_start(&connections[i], now, now);
  while (n_alive && now < stop_ns && (is_sending || in_flight)) {
    uint64_t next = is_sending ? (state ? end_ns : window_ns) : stop_ns;
    struct timespec wait = {0, 0};
    if (options.rate && is_sending) {
      send_due(&due, now);
      if (due > now && due < next) next = due;
    }
    for (int i = 0; i < options.connections; i++)
      if (connections[i].is_dirty) connection_send(&connections[i], epoll);
    now = clock_ns(CLOCK_MONOTONIC);
    if (next > now + SPIN_NS) {
      wait.tv_sec = (time_t)((next - now) / SECOND_NS);
      wait.tv_nsec = (long)((next - now) % SECOND_NS);
    }
    int n = epoll_pwait2(epoll, events, MAX_EVENTS, &wait, NULL);
    for (int i = 0; i < n; i++) {
      connection_t *connection = events[i].data.ptr;
      if (connection->is_dead) continue;
      if (events[i].events & EPOLLOUT) connection_send(connection, epoll);
      if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) connection_read(connection, memory);
    }
    now = clock_ns(CLOCK_MONOTONIC);
    if (!state && now >= window_ns) {
      state = 1;
      cpu_begin = options.pid ? clock_ns(server) : 0;
      own_begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    }
    if (state == 1 && now >= end_ns) {
      state = 2;
      cpu_end = options.pid ? clock_ns(server) : 0;
      own_end = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
      if (options.rate) send_due(&due, now);
      is_sending = 0;
    }
  }
  /* What never got an answer waited until now. */
  for (int i = 0; i < options.connections; i++)
    for (int j = 0; j < options.streams; j++)
      if (connections[i].calls[j].is_open) {
        counts.unanswered++;
        if (connections[i].calls[j].is_counted) histogram_add(&counts.latency, now - connections[i].calls[j].due_ns);
      }
  if (options.rate)
    for (; due < end_ns; due += draw_gap_ns())
      if (due >= window_ns) {
        counts.unsent++;
        histogram_add(&counts.latency, now > due ? now - due : 0);
      }
  printf("{\"connections_lost\":%d,\"seconds\":%.6f,\"server_cpu_ns\":%" PRIu64 ",\"own_cpu_ns\":%" PRIu64 ",",
         options.connections - n_alive, options.seconds, cpu_end - cpu_begin, own_end - own_begin);
}

static void print_statuses(const char *name, const uint64_t *statuses) {
  const char *comma = "";
  printf("\"%s\":{", name);
  for (int i = 0; i < STATUSES; i++)
    if (statuses[i]) {
      printf("%s\"%d\":%" PRIu64, comma, i, statuses[i]);
      comma = ",";
    }
  printf("},");
}

static void print_report(void) {
  printf("\"requests\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"failed\":%" PRIu64
         ",\"unanswered\":%" PRIu64 ",\"unsent\":%" PRIu64 ",\"details\":%" PRIu64 ",\"request_bytes\":%" PRIu64
         ",\"message_bytes\":%" PRIu64 ",\"first_details\":\"%s\",",
         n_requests, counts.sent, counts.answered, counts.failed, counts.unanswered, counts.unsent, counts.details,
         counts.request_bytes, counts.message_bytes, counts.first_details);
  print_statuses("statuses", counts.statuses);
  print_statuses("window_statuses", counts.window_statuses);
  printf("\"latency\":");
  histogram_print(&counts.latency);
  printf(",\"refused\":");
  histogram_print(&counts.refused);
  printf(",\"late\":");
  histogram_print(&counts.late);
  printf("}\n");
}

static void read_options(int n, char **words) {
  for (int i = 1; i + 1 < n; i += 2) {
    const char *name = words[i], *value = words[i + 1];
    if (!strcmp(name, "--host")) options.host = value;
    else if (!strcmp(name, "--port")) options.port = value;
    else if (!strcmp(name, "--path")) options.path = value;
    else if (!strcmp(name, "--requests")) options.requests = value;
    else if (!strcmp(name, "--connections")) options.connections = atoi(value);
    else if (!strcmp(name, "--streams")) options.streams = atoi(value);
    else if (!strcmp(name, "--pid")) options.pid = atoi(value);
    else if (!strcmp(name, "--warm-up-s")) options.warm_up_s = atof(value);
    else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
    else if (!strcmp(name, "--drain-s")) options.drain_s = atof(value);
    else if (!strcmp(name, "--rate")) options.rate = atof(value);
    else if (!strcmp(name, "--seed")) options.seed = strtoull(value, NULL, 10) | 1;
    else fail(name);
  }
  if (n % 2 == 0 || !options.port || !options.requests) fail("needs --port and --requests, each option with a value");
  if (options.connections < 1 || options.connections > MAX_CONNECTIONS || options.streams < 1 || options.rate < 0)
    fail("--connections is 1 to 1024, --streams at least 1, --rate not negative");
}

int main(int n, char **words) {
  nghttp2_session_callbacks *callbacks;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  read_options(n, words);
  read_requests();
  prctl(PR_SET_TIMERSLACK, 1ul);
  header_set(0, ":method", "POST");
  header_set(1, ":scheme", "http");
  header_set(2, ":path", options.path);
  header_set(3, ":authority", options.host);
  header_set(4, "te", "trailers");
  header_set(5, "content-type", "application/grpc");
  header_set(6, "user-agent", "turnout-load");
  if (epoll < 0 || nghttp2_session_callbacks_new(&callbacks)) fail("no epoll or no nghttp2");
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  for (int i = 0; i < options.connections; i++) connection_open(&connections[i], callbacks, epoll);
  run(epoll);
  print_report();
  return 0;
}
