/*
 * Traffic that a runtime is too slow for, as one program for the lab:
 *
 *     traffic serve ADDRESS PORT                       answers, as `storm` expects it
 *     traffic answer ADDRESS PORT                      sends back datagrams longer than a byte
 *     traffic storm ADDRESS PORT CONNECTIONS           opens connections until its input ends
 *     traffic crowd ADDRESS PORT FIRST COUNT ROUNDS    COUNT addresses open a connection each, ROUNDS times
 *
 * Addresses are of either family. A storm keeps CONNECTIONS of them open at a time, a crowd 200. Each sends 8 bytes, gets them back
 * and closes, so that TIME_WAIT stays with the client (whose kernel may reuse the port after a
 * second, where net.ipv4.tcp_tw_reuse is 1) and the server is free for the next. Both print a line
 * of JSON four times a second. The server resets what is idle for half a second. `flood.c` does
 * what needs no connections.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools.h"

enum { MESSAGE_BYTES = 8, MAX_FD = 4096 };

/* What is known of a socket, by its number. A time of 0 means: not in use. */
static struct {
  int64_t since_ms;
  uint64_t sent;
  int connected;
} sockets[MAX_FD];

static void watch(int epoll, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("watch a socket");
}

/* Closes with a RST: nothing of the connection stays behind on this host. */
static void reset(int fd) {
  struct linger hard = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  sockets[fd].since_ms = 0;
  close(fd);
}

_Noreturn static void serve(const char *address, const char *port) {
  int epoll = epoll_create1(0), one = 1;
  union host at = host_at(address, port);
  int listener = socket(at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, &at.any, size_of(&at)) != 0) die("bind");
  if (listen(listener, 4096) != 0) die("listen");
  watch(epoll, listener, EPOLLIN);
  printf("listening\n");
  fflush(stdout);
  int64_t swept_ms = now_ms();
  for (;;) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, 100);
    int64_t ms = now_ms();
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
          if (fd >= MAX_FD) { close(fd); continue; }
          sockets[fd].since_ms = ms;
          watch(epoll, fd, EPOLLIN);
        }
        continue;
      }
      char message[MESSAGE_BYTES];
      ssize_t len = recv(fd, message, sizeof message, 0);
      if (len > 0) {
        sockets[fd].since_ms = ms;
        if (send(fd, message, len, MSG_NOSIGNAL) == len) continue;
      } else if (len < 0 && errno == EAGAIN) {
        continue;
      }
      sockets[fd].since_ms = 0;
      close(fd);
    }
    if (ms - swept_ms < 100) continue;
    swept_ms = ms;
    for (int fd = 0; fd < MAX_FD; fd++) {
      if (sockets[fd].since_ms != 0 && ms - sockets[fd].since_ms > 500) reset(fd);
    }
  }
}

/* Why connections failed, by errno; 0: the wrong bytes came back. */
static unsigned long done, failed, failed_by[256];
static int64_t slowest_ms;

static void fail(int why) {
  failed++;
  failed_by[why & 255]++;
}

/*
 * Starts a connection, from an address or, if that is NULL, from any; false when that fails, or
 * this host has no port left at the moment.
 */
static int open_connection(int epoll, const union host *to, const union host *from, int64_t ms) {
  int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0 || fd >= MAX_FD) die("make a socket");
  if (from != NULL && bind(fd, &from->any, size_of(from)) != 0) die("bind to an address");
  if (connect(fd, &to->any, size_of(to)) != 0 && errno != EINPROGRESS) {
    if (errno != EADDRNOTAVAIL) fail(errno);
    close(fd);
    return 0;
  }
  sockets[fd].since_ms = ms;
  sockets[fd].sent = random64();
  sockets[fd].connected = 0;
  watch(epoll, fd, EPOLLIN | EPOLLOUT);
  return 1;
}

/* Goes on with a connection; true when it is over. */
static int advance(int epoll, int fd) {
  int error = 0;
  socklen_t len = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
  if (error != 0) return fail(error), 1;
  if (!sockets[fd].connected) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (send(fd, &sockets[fd].sent, MESSAGE_BYTES, MSG_NOSIGNAL) != MESSAGE_BYTES) {
      if (errno == EAGAIN) return 0;
      return fail(errno), 1;
    }
    sockets[fd].connected = 1;
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
    return 0;
  }
  uint64_t received;
  ssize_t got = recv(fd, &received, sizeof received, 0);
  if (got < 0) return errno == EAGAIN ? 0 : (fail(errno), 1);
  if (got != MESSAGE_BYTES || received != sockets[fd].sent) return fail(0), 1;
  done++;
  return 1;
}

static void report(void) {
  printf("{\"done\":%lu,\"failed\":%lu,\"slowestMs\":%lld,\"errors\":{", done, failed,
         (long long)slowest_ms);
  const char *comma = "";
  for (int why = 0; why < 256; why++) {
    if (failed_by[why] == 0) continue;
    printf("%s\"%s\":%lu", comma, why ? strerror(why) : "wrong bytes", failed_by[why]);
    comma = ",";
  }
  printf("}}\n");
  fflush(stdout);
  slowest_ms = 0;
}

/* The address that follows `first` by so many. */
static union host nth(const union host *first, uint32_t n) {
  union host host = *first;
  uint32_t *last = host.any.sa_family == AF_INET ? &host.v4.sin_addr.s_addr
                                                  : &host.v6.sin6_addr.s6_addr32[3];
  *last = htonl(ntohl(*last) + n);
  return host;
}

/*
 * Connections until the input ends; or, with `count_from` > 0, `total` from as many addresses in
 * turn.
 */
static int storm(const char *address, const char *port, int wanted, const char *first,
                 int count_from, long total) {
  const int64_t give_up_ms = 2000;
  int epoll = epoll_create1(0), open = 0, stopping = 0;
  long opened = 0;
  union host to = host_at(address, port), first_from;
  if (first != NULL) first_from = host_at(first, "0");
  int64_t told_ms = now_ms();
  while (!stopping || open > 0) {
    int64_t ms = now_ms();
    while (!stopping && open < wanted) {
      union host from;
      if (first != NULL) from = nth(&first_from, opened % count_from);
      if (!open_connection(epoll, &to, first == NULL ? NULL : &from, ms)) break;
      open++;
      if (++opened == total) stopping = 1;
    }
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, 10);
    ms = now_ms();
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      int64_t took_ms = ms - sockets[fd].since_ms;
      if (!advance(epoll, fd)) continue;
      if (took_ms > slowest_ms) slowest_ms = took_ms;
      sockets[fd].since_ms = 0;
      close(fd);
      open--;
    }
    if (ms - told_ms < 250) continue;
    told_ms = ms;
    report();
    for (int fd = 0; fd < MAX_FD; fd++) {
      if (sockets[fd].since_ms == 0 || ms - sockets[fd].since_ms < give_up_ms) continue;
      fail(ETIMEDOUT);
      reset(fd);
      open--;
    }
    if (count_from > 0) continue;
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char ignored[64];
    if (poll(&input, 1, 0) > 0 && read(0, ignored, sizeof ignored) <= 0) stopping = 1;
  }
  report();
  return 0;
}

_Noreturn static void answer(const char *address, const char *port) {
  union host at = host_at(address, port);
  int fd = socket(at.any.sa_family, SOCK_DGRAM, 0), buffer = 8 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  if (bind(fd, &at.any, size_of(&at)) != 0) die("bind");
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    char data[2048];
    union host from;
    socklen_t size = sizeof from;
    ssize_t len = recvfrom(fd, data, sizeof data, 0, &from.any, &size);
    if (len > 1) sendto(fd, data, len, 0, &from.any, size);
  }
}

int main(int argc, char **argv) {
  seed_random();
  if (argc == 4 && strcmp(argv[1], "serve") == 0) serve(argv[2], argv[3]);
  if (argc == 4 && strcmp(argv[1], "answer") == 0) answer(argv[2], argv[3]);
  if (argc == 5 && strcmp(argv[1], "storm") == 0)
    return storm(argv[2], argv[3], atoi(argv[4]), NULL, 0, 0);
  if (argc == 7 && strcmp(argv[1], "crowd") == 0) {
    int count = atoi(argv[5]);
    return storm(argv[2], argv[3], 200, argv[4], count, (long)count * atoi(argv[6]));
  }
  fprintf(stderr, "Cannot run: expected serve, answer, storm or crowd\n");
  return 2;
}
