/*
 * HTTP requests and who answers them, counted and timed exactly:
 *
 *     requests serve ADDRESS PORT                           answers; closes if the request says so
 *     requests connect ADDRESS PORT AT_ONCE SECONDS         one request a connection
 *     requests first ADDRESS PORT AT_ONCE COUNT             so many connections, as connect
 *     requests keepalive ADDRESS PORT SECONDS            one connection, one request after another
 *
 * The server closes first, as HTTP/1.0 servers do: TIME_WAIT is its. A client prints a line of JSON
 * at its end. Failed is whatever is not a whole answer: a refused or reset connection, a short or
 * different answer, one that has not come GRACE_S after the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REQUEST "GET / HTTP/1.1\r\nHost: backend\r\nConnection: "
#define ONCE REQUEST "close\r\n\r\n"
#define AGAIN REQUEST "keep-alive\r\n\r\n"
#define ANSWER                                                                                     \
  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n"                      \
  "Sixty-four bytes of text, which is about what health checks get\n"

enum {
  EVENTS = 256,
  MAX_FD = 4096,
  ANSWER_BYTES = sizeof ANSWER - 1,
  GRACE_S = 5,
  FIRST_S = 60, /* what `first` may take */
  TENTHS = 1000000, /* of a microsecond: latencies up to 100 ms are told apart */
};

static _Noreturn void die(const char *what) {
  fprintf(stderr, "Cannot %s: %s\n", what, strerror(errno));
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Of either family. */
static const struct addrinfo *endpoint(const char *address, const char *port) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                           .ai_socktype = SOCK_STREAM};
  struct addrinfo *found;
  if (getaddrinfo(address, port, &hints, &found) != 0) die("parse the address");
  return found;
}

static void watch(int epoll, int operation, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, operation, fd, &event) != 0) die("watch a socket");
}

static _Noreturn void serve(const struct addrinfo *at) {
  int epoll = epoll_create1(0), one = 1;
  int listener = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, at->ai_addr, at->ai_addrlen) != 0) die("bind");
  if (listen(listener, 4096) != 0) die("listen");
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
        }
        continue;
      }
      char text[1024];
      ssize_t got = recv(fd, text, sizeof text, 0);
      if (got < 0 && errno == EAGAIN) continue;
      int once = got == sizeof ONCE - 1 && memcmp(text, ONCE, sizeof ONCE - 1) == 0;
      if (got > 0) send(fd, ANSWER, ANSWER_BYTES, MSG_NOSIGNAL);
      if (got <= 0 || once) close(fd);
    }
  }
}

/*
 * ---- one request a connection ------------------------------------------------------------------
 */

static uint64_t begun, done, failed;
static int in_flight;
static struct {
  int sent;
  uint32_t got_bytes;
} state[MAX_FD];

static void begin(int epoll, const struct addrinfo *to) {
  int fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0 || fd >= MAX_FD) die("open a socket");
  if (connect(fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS) die("connect");
  state[fd].sent = 0;
  state[fd].got_bytes = 0;
  watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
  in_flight++;
  begun++;
}

static void end(int fd, int well) {
  close(fd);
  in_flight--;
  if (well) done++;
  else failed++;
}

static void step(int epoll, int fd) {
  if (!state[fd].sent) {
    if (send(fd, ONCE, sizeof ONCE - 1, MSG_NOSIGNAL) != sizeof ONCE - 1) return end(fd, 0);
    state[fd].sent = 1;
    return watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
  }
  char text[1024];
  for (;;) {
    ssize_t got = recv(fd, text, sizeof text, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return end(fd, got == 0 && state[fd].got_bytes == ANSWER_BYTES);
    uint32_t at = state[fd].got_bytes, length = (uint32_t)got;
    if (at + length > ANSWER_BYTES || memcmp(text, ANSWER + at, length) != 0) return end(fd, 0);
    state[fd].got_bytes += length;
  }
}

/* Until so many have begun, or so many seconds are over. */
static void connections(const struct addrinfo *to, int at_once, uint64_t most, double seconds) {
  int epoll = epoll_create1(0);
  int64_t start = now_ns(), stop = start + (int64_t)(seconds * 1e9), last = stop;
  for (int i = 0; i < at_once; i++) begin(epoll, to);
  while (in_flight > 0) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, 100);
    int64_t now = now_ns();
    if (now > stop + GRACE_S * 1000000000LL) break;
    for (int i = 0; i < count; i++) step(epoll, events[i].data.fd);
    while (now < stop && begun < most && in_flight < at_once) begin(epoll, to);
    if (count > 0) last = now;
  }
  printf("{\"done\":%llu,\"failed\":%llu,\"seconds\":%.4f}\n", (unsigned long long)done,
         (unsigned long long)failed + (unsigned)in_flight, (last - start) / 1e9);
}

/*
 * ---- one connection ----------------------------------------------------------------------------
 */

static double percentile_us(const uint32_t *histogram, uint64_t count, double part) {
  uint64_t below = 0, wanted = (uint64_t)(count * part);
  for (int i = 0; i < TENTHS; i++) {
    below += histogram[i];
    if (below > wanted) return i / 10.0;
  }
  return TENTHS / 10.0;
}

static void keepalive(const struct addrinfo *to, double seconds) {
  static uint32_t histogram[TENTHS];
  int fd = socket(to->ai_family, SOCK_STREAM, 0), one = 1;
  struct timeval grace = {.tv_sec = GRACE_S};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &grace, sizeof grace);
  if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) die("connect");
  int64_t start = now_ns(), sent = start, stop = start + (int64_t)(seconds * 1e9);
  while (sent < stop && failed == 0) {
    char text[ANSWER_BYTES];
    ssize_t got = send(fd, AGAIN, sizeof AGAIN - 1, MSG_NOSIGNAL);
    if (got > 0) got = recv(fd, text, sizeof text, MSG_WAITALL);
    int64_t now = now_ns(), tenths = (now - sent) / 100;
    failed += got != ANSWER_BYTES || memcmp(text, ANSWER, ANSWER_BYTES) != 0;
    done++;
    histogram[tenths < TENTHS ? tenths : TENTHS - 1]++;
    sent = now;
  }
  printf("{\"done\":%llu,\"failed\":%llu,\"seconds\":%.4f,\"p50\":%.1f,\"p99\":%.1f}\n",
         (unsigned long long)done, (unsigned long long)failed, (sent - start) / 1e9,
         percentile_us(histogram, done, 0.5), percentile_us(histogram, done, 0.99));
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: requests serve|connect|first|keepalive ADDRESS PORT …\n");
    return 2;
  }
  const struct addrinfo *to = endpoint(argv[2], argv[3]);
  if (strcmp(argv[1], "serve") == 0) serve(to);
  else if (strcmp(argv[1], "connect") == 0 && argc == 6) {
    connections(to, atoi(argv[4]), UINT64_MAX, atof(argv[5]));
  } else if (strcmp(argv[1], "first") == 0 && argc == 6) {
    connections(to, atoi(argv[4]), strtoull(argv[5], NULL, 10), FIRST_S);
  }
  else if (strcmp(argv[1], "keepalive") == 0 && argc == 5) keepalive(to, atof(argv[4]));
  else return 2;
  return 0;
}
