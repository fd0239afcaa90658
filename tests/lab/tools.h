/* Shared by the programs of the lab: a clock, errors, random numbers, addresses, checksums. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

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

static void seed_random(void) {
  if (getrandom(&random_state, sizeof random_state, 0) < 0 || random_state == 0) random_state = 1;
}

/* The sum of an even count of bytes as 16-bit words, RFC 1071. */
static inline uint32_t sum16(const void *bytes, int len, uint32_t sum) {
  for (int at = 0; at < len; at += 2) {
    uint16_t word;
    memcpy(&word, (const char *)bytes + at, 2);
    sum += word;
  }
  return sum;
}

static inline uint16_t folded(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return ~(sum + (sum >> 16));
}

/* A socket's address in either family. */
union host {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static inline union host host_at(const char *address, const char *port) {
  union host to = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(port))}};
  if (inet_pton(AF_INET6, address, &to.v6.sin6_addr) == 1) return to;
  to = (union host){.v4 = {.sin_family = AF_INET, .sin_port = htons(atoi(port))}};
  if (inet_pton(AF_INET, address, &to.v4.sin_addr) != 1) die("parse the address");
  return to;
}

static inline socklen_t size_of(const union host *host) {
  return host->any.sa_family == AF_INET ? sizeof host->v4 : sizeof host->v6;
}

static inline struct sockaddr_in endpoint(const char *address, const char *port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) die("parse the address");
  return to;
}
