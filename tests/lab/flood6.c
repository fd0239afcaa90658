/*
 * As flood.c, over IPv6:
 *
 *     flood6 DEVICE MAC ADDRESS PORT SECONDS [NAME=VALUE ...]
 *
 *     kind=syn|datagram|fragment|ping|solicitation|advertisement     what (default syn)
 *     rate=N                    so many a second (default: as fast as they leave)
 *     from=ADDRESS/64           from any address of that network (default: far away)
 *     to=ADDRESS/64             to any address of that network (default: ADDRESS)
 *     ttl=N                     hop limit (default 64; of the last two kinds always 255)
 *
 * A datagram is of one byte, a fragment the first of a longer one, which nothing follows. A
 * solicitation asks for any address of the network `to`; an advertisement says that the sender's own
 * address is at a MAC address that is nobody's, and overrides. Prints a line of JSON at its end.
 */
#define _GNU_SOURCE
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools.h"

enum { BURST = 64, SYN, DATAGRAM, FRAGMENT, PING, SOLICITATION, ADVERTISEMENT };

static int kind = SYN, rate, ttl = 64;
/* Upper halves of addresses; `has_…` tells whether the lower half is any. */
static uint8_t from[16], to[16];
static int has_from, has_to;

struct frame {
  uint16_t unused; /* so that the headers are aligned */
  struct ether_header ethernet;
  struct ip6_hdr ip;
  union {
    struct tcphdr tcp;
    struct icmp6_hdr icmp;
    struct {
      struct udphdr header;
      char byte, padding;
    } udp;
    struct {
      struct ip6_frag header;
      struct udphdr udp;
      char data[8];
    } fragment;
    struct {
      struct nd_neighbor_advert header; /* a solicitation has the same form */
      uint8_t option[8];
    } neighbor;
  };
};

/* Bytes behind the IPv6 header. */
static int body_bytes(void) {
  const struct frame *frame = NULL;
  if (kind == SYN) return sizeof frame->tcp;
  if (kind == DATAGRAM) return sizeof frame->udp - 1;
  if (kind == FRAGMENT) return sizeof frame->fragment;
  return kind == PING ? sizeof frame->icmp : sizeof frame->neighbor;
}

static int kind_of(const char *name) {
  static const char *const names[] = {"syn",  "datagram",     "fragment",
                                      "ping", "solicitation", "advertisement"};
  for (int i = 0; i < 6; i++) {
    if (strcmp(name, names[i]) == 0) return SYN + i;
  }
  return 0;
}

/* Reads ADDRESS/64. */
static int network(char *text, uint8_t *address) {
  char *slash = strchr(text, '/');
  if (slash == NULL || strcmp(slash, "/64") != 0) return 0;
  *slash = 0;
  return inet_pton(AF_INET6, text, address) == 1;
}

/* Takes one NAME=VALUE; false if it is none. */
static int option(char *text) {
  char *value = strchr(text, '=');
  if (value == NULL) return 0;
  *value++ = 0;
  if (strcmp(text, "kind") == 0) return (kind = kind_of(value)) != 0;
  if (strcmp(text, "rate") == 0) return (rate = atoi(value)) > 0;
  if (strcmp(text, "ttl") == 0) return (ttl = atoi(value)) > 0;
  if (strcmp(text, "from") == 0) return has_from = network(value, from);
  return strcmp(text, "to") == 0 && (has_to = network(value, to));
}

static void any_host(struct in6_addr *address, const uint8_t *network) {
  uint64_t bits = random64();
  memcpy(address, network, 8);
  memcpy((uint8_t *)address + 8, &bits, 8);
}

/* What differs from frame to frame, and the checksum. */
static void vary(struct frame *frame, unsigned long number) {
  uint64_t bits = random64();
  struct ip6_hdr *ip = &frame->ip;
  if (has_from) {
    any_host(&ip->ip6_src, from);
  } else {
    any_host(&ip->ip6_src, (const uint8_t *)&bits);
    memcpy(&ip->ip6_src, "\x26\x00\xde\xad", 4); /* global unicast, nobody's here */
  }
  uint16_t own = htons(1024 + number % 64512), *check = &frame->icmp.icmp6_cksum;
  if (kind <= PING) {
    if (has_to) any_host(&ip->ip6_dst, to);
    if (kind == SYN) {
      frame->tcp.source = own;
      frame->tcp.seq = bits >> 32;
      check = &frame->tcp.check;
    } else if (kind == DATAGRAM) {
      frame->udp.header.source = own;
      check = &frame->udp.header.check;
    } else if (kind == FRAGMENT) {
      frame->fragment.header.ip6f_ident = bits;
      frame->fragment.udp.source = own;
      return; /* it never gets as far as its checksum */
    } else {
      frame->icmp.icmp6_id = own;
    }
  } else if (kind == SOLICITATION) {
    any_host(&frame->neighbor.header.nd_na_target, has_to ? to : (const uint8_t *)&ip->ip6_src);
  } else {
    frame->neighbor.header.nd_na_target = ip->ip6_src;
  }
  *check = 0;
  int len = body_bytes();
  uint32_t pseudo = htons(ip->ip6_nxt) + htons(len);
  *check = folded(sum16(&frame->tcp, len + len % 2, sum16(&ip->ip6_src, 32, pseudo)));
}

static void prepare(struct frame *frame, const char *mac, const struct in6_addr *address,
                    uint16_t port) {
  static const uint8_t own[6] = "\x02\x66\x6c\x6f\x6f\x64";
  uint8_t *at = frame->ethernet.ether_dhost;
  if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", at, at + 1, at + 2, at + 3, at + 4, at + 5) != 6)
    die("parse the MAC address");
  memcpy(frame->ethernet.ether_shost, own, 6);
  frame->ethernet.ether_type = htons(ETHERTYPE_IPV6);
  frame->ip.ip6_flow = htonl(6u << 28);
  frame->ip.ip6_plen = htons(body_bytes());
  static const uint8_t protocols[] = {[SYN] = IPPROTO_TCP, [DATAGRAM] = IPPROTO_UDP,
                                      [FRAGMENT] = IPPROTO_FRAGMENT};
  frame->ip.ip6_nxt = kind < PING ? protocols[kind] : IPPROTO_ICMPV6;
  frame->ip.ip6_hlim = kind <= PING ? ttl : 255;
  frame->ip.ip6_dst = *address;
  if (kind == SYN) {
    frame->tcp = (struct tcphdr){.dest = port, .doff = 5, .syn = 1, .window = htons(65535)};
  } else if (kind == DATAGRAM) {
    frame->udp.header = (struct udphdr){.dest = port, .len = htons(body_bytes())};
  } else if (kind == FRAGMENT) {
    frame->fragment.header = (struct ip6_frag){.ip6f_nxt = IPPROTO_UDP, .ip6f_offlg = IP6F_MORE_FRAG};
    frame->fragment.udp = (struct udphdr){.dest = port, .len = htons(1000)};
  } else if (kind == PING) {
    frame->icmp.icmp6_type = ICMP6_ECHO_REQUEST;
  } else {
    int asks = kind == SOLICITATION;
    frame->neighbor.header.nd_na_type = asks ? ND_NEIGHBOR_SOLICIT : ND_NEIGHBOR_ADVERT;
    frame->neighbor.header.nd_na_flags_reserved = asks ? 0 : ND_NA_FLAG_OVERRIDE;
    frame->neighbor.option[0] = asks ? ND_OPT_SOURCE_LINKADDR : ND_OPT_TARGET_LINKADDR;
    frame->neighbor.option[1] = 1;
    memcpy(frame->neighbor.option + 2, own, 6);
  }
}

static int flood(const char *device, const char *mac, const char *address, const char *port,
                 int seconds) {
  static struct frame frames[BURST];
  static struct mmsghdr messages[BURST];
  static struct iovec parts[BURST];
  int fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd < 0) die("open a packet socket");
  struct sockaddr_ll out = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(device)};
  if (bind(fd, (struct sockaddr *)&out, sizeof out) != 0) die("bind to the device");
  struct in6_addr destination;
  if (inet_pton(AF_INET6, address, &destination) != 1) die("parse the address");
  for (int i = 0; i < BURST; i++) {
    prepare(&frames[i], mac, &destination, htons(atoi(port)));
    parts[i] = (struct iovec){&frames[i].ethernet, 14 + sizeof frames[i].ip + body_bytes()};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  unsigned long sent = 0, refused = 0;
  int64_t start_ms = now_ms(), ms = start_ms;
  for (; ms < start_ms + seconds * 1000LL; ms = now_ms()) {
    if (rate > 0 && (int64_t)sent > (ms - start_ms) * rate / 1000) {
      usleep(1000);
      continue;
    }
    for (int i = 0; i < BURST; i++) vary(&frames[i], sent + i);
    int count = sendmmsg(fd, messages, BURST, 0);
    if (count > 0) sent += count;
    else refused++;
  }
  printf("{\"sent\":%lu,\"refused\":%lu}\n", sent, refused);
  return 0;
}

int main(int argc, char **argv) {
  seed_random();
  int fits = argc >= 6;
  for (int i = 6; i < argc; i++) fits = fits && option(argv[i]);
  if (fits) return flood(argv[1], argv[2], argv[3], argv[4], atoi(argv[5]));
  fprintf(stderr, "Cannot run: expected DEVICE MAC ADDRESS PORT SECONDS [NAME=VALUE ...]\n");
  return 2;
}
