/*
 * Traffic that a runtime is too slow for, as one program for the lab:
 *
 *     traffic serve ADDRESS PORT                       answers, as `storm` expects it
 *     traffic storm ADDRESS PORT CONNECTIONS           opens connections until its input ends
 *     traffic flood DEVICE MAC ADDRESS PORT SECONDS    SYNs from random sources: packet(7), sendmmsg(2)
 *             [ TTL PER_SECOND [ SOURCE ] ]            no faster, or all from one source
 *
 * A storm keeps CONNECTIONS of them open at a time. Each sends 8 bytes, gets them back and closes, so
 * that TIME_WAIT stays with the client (whose kernel may reuse the port after a second, where
 * net.ipv4.tcp_tw_reuse is 1) and the server is free for the next. A storm prints a line of JSON four
 * times a second, flood one at its end. The server resets what is idle for half a second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 8, MAX_FD = 4096, BURST = 64 };

/* What is known of a socket, by its number. A time of 0 means: not in use. */
static struct {
  int64_t since_ms;
  uint64_t sent;
  int connected;
} sockets[MAX_FD];

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void die(const char *what) {
  fprintf(stderr, "Cannot %s: %s\n", what, strerror(errno));
  exit(1);
}

/* xorshift64*: fast, and good enough for sources that only have to differ. */
static uint64_t random_state;
static uint64_t random64(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 0x2545F4914F6CDD1DULL;
}

static struct sockaddr_in endpoint(const char *address, const char *port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) die("parse the address");
  return to;
}

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
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in at = endpoint(address, port);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0) die("bind");
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

/* Starts a connection; false when that fails, or this host has no port left at the moment. */
static int open_connection(int epoll, const struct sockaddr_in *to, int64_t ms) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0 || fd >= MAX_FD) die("make a socket");
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) {
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

static int storm(const char *address, const char *port, int wanted) {
  const int64_t give_up_ms = 2000;
  int epoll = epoll_create1(0), open = 0, stopping = 0;
  struct sockaddr_in to = endpoint(address, port);
  int64_t told_ms = now_ms();
  while (!stopping || open > 0) {
    int64_t ms = now_ms();
    while (!stopping && open < wanted && open_connection(epoll, &to, ms)) open++;
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
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char ignored[64];
    if (poll(&input, 1, 0) > 0 && read(0, ignored, sizeof ignored) <= 0) stopping = 1;
  }
  report();
  return 0;
}

struct syn {
  struct ether_header ethernet;
  struct iphdr ip;
  struct tcphdr tcp;
} __attribute__((packed));

static uint32_t sum16(const void *bytes, int len, uint32_t sum) {
  for (int at = 0; at < len; at += 2) {
    uint16_t word;
    memcpy(&word, (const char *)bytes + at, 2);
    sum += word;
  }
  return sum;
}

static uint16_t folded(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return ~(sum + (sum >> 16));
}

/* An address that a host far away may have: neither 0/8, 10/8, 127/8, 192/8 nor multicast. */
static uint32_t random_source(void) {
  for (;;) {
    uint32_t address = random64() >> 32, net = address >> 24;
    if (net > 0 && net < 224 && net != 10 && net != 127 && net != 192) return htonl(address);
  }
}

/* `per_second` 0: as fast as they go; `source` null: random ones. */
static int flood(const char *device, const char *mac, const char *address, const char *port,
                 int seconds, int ttl, int per_second, const char *source) {
  static struct syn frames[BURST];
  static struct mmsghdr messages[BURST];
  static struct iovec parts[BURST];
  int fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd < 0) die("open a packet socket");
  struct sockaddr_ll out = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(device)};
  if (bind(fd, (struct sockaddr *)&out, sizeof out) != 0) die("bind to the device");
  struct sockaddr_in to = endpoint(address, port);
  for (int i = 0; i < BURST; i++) {
    struct syn *frame = &frames[i];
    uint8_t *at = frame->ethernet.ether_dhost;
    if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", at, at + 1, at + 2, at + 3, at + 4, at + 5) != 6)
      die("parse the MAC address");
    memcpy(frame->ethernet.ether_shost, "\x02\x66\x6c\x6f\x6f\x64", 6);
    frame->ethernet.ether_type = htons(ETHERTYPE_IP);
    frame->ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = ttl, .protocol = IPPROTO_TCP,
                               .tot_len = htons(sizeof frame->ip + sizeof frame->tcp),
                               .daddr = to.sin_addr.s_addr};
    frame->tcp = (struct tcphdr){.dest = to.sin_port, .doff = 5, .syn = 1, .window = htons(65535)};
    parts[i] = (struct iovec){frame, sizeof *frame};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  unsigned long sent = 0, refused = 0;
  int64_t start_ms = now_ms(), end_ms = start_ms + seconds * 1000LL;
  for (int64_t ms; (ms = now_ms()) < end_ms;) {
    if (per_second && (int64_t)sent > (ms - start_ms) * per_second / 1000) {
      usleep(1000);
      continue;
    }
    for (int i = 0; i < BURST; i++) {
      struct syn *frame = &frames[i];
      uint64_t bits = random64();
      frame->ip.saddr = source ? inet_addr(source) : random_source();
      frame->ip.id = bits;
      frame->ip.check = 0;
      frame->ip.check = folded(sum16(&frame->ip, sizeof frame->ip, 0));
      frame->tcp.source = htons(1024 + (bits >> 16) % 64512);
      frame->tcp.seq = bits >> 32;
      frame->tcp.check = 0;
      uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof frame->tcp);
      frame->tcp.check = folded(sum16(&frame->tcp, sizeof frame->tcp,
                                      sum16(&frame->ip.saddr, 8, pseudo)));
    }
    int count = sendmmsg(fd, messages, BURST, 0);
    if (count > 0) sent += count;
    else refused++;
  }
  printf("{\"sent\":%lu,\"refused\":%lu}\n", sent, refused);
  return 0;
}

int main(int argc, char **argv) {
  if (getrandom(&random_state, sizeof random_state, 0) < 0 || random_state == 0) random_state = 1;
  if (argc == 4 && strcmp(argv[1], "serve") == 0) serve(argv[2], argv[3]);
  if (argc == 5 && strcmp(argv[1], "storm") == 0) return storm(argv[2], argv[3], atoi(argv[4]));
  if (argc >= 7 && argc <= 10 && argc != 8 && strcmp(argv[1], "flood") == 0)
    return flood(argv[2], argv[3], argv[4], argv[5], atoi(argv[6]), argc > 8 ? atoi(argv[7]) : 64,
                 argc > 8 ? atoi(argv[8]) : 0, argc > 9 ? argv[9] : NULL);
  fprintf(stderr, "Cannot run: expected serve, storm or flood\n");
  return 2;
}
