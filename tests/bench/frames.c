/*
 * Bare ACKs as fast as they go, over TCP connections that no kernel knows: packet(7). Frames have 60
 * bytes, over IPv6 74.
 *
 *     frames answer DEVICE ADDRESS                     a backend: says where ADDRESS is, SYN ->
 *                                                      SYN/ACK, one ACK in 256 -> ACK
 *     frames flood DEVICE ADDRESS FIRST CONNECTIONS WARM_UP SECONDS
 *                                                      clients of ADDRESS, on all its ports
 *
 * A flood has so many connections, numbered from FIRST on: two can run beside each other. It opens
 * them with whole handshakes, as often as one needs, sends bare ACKs over random ones for WARM_UP
 * seconds, prints "filled" and a line of JSON, waits for a line of input, then goes on for SECONDS
 * and prints another line of JSON. How many arrive is for the receiving interface's counter to say:
 * a filter lets nothing through to either program but questions for addresses and their answers,
 * segments with SYN, and to the backend a few others at random, so that it is heard on each
 * connection, as any host that is sent something. Both speak for addresses of their own, in
 * 192.168.0.0/24, which the interface must not have. Over IPv6, which they speak if ADDRESS is of it,
 * these are their twins in 2001:db8:c0a8::/64: here an address is a number of 32 bits all the same.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  SHORTEST = 46, /* behind an Ethernet header */
  MOST_BYTES = 86, /* what asks for an address of IPv6 */
  BURST = 64,
  CLIENTS = 16, /* from FIRST_CLIENT on */
  NETWORK = 0xc0a80000, /* 192.168.0.0 */
  FIRST_CLIENT = NETWORK + 200,
  SERVICES = 32,
  FIRST_SERVICE = 2000,
  FIRST_PORT = 1024,
  CLIENT_ISN = 1000,
  BACKEND_ISN = 5000,
  WINDOW = 512, /* handshakes at a time */
  STALLED_MS = 50,
  TRIES = 200,
  SOME = 0xff, /* bits of a random number */
  ALL = -1,
  SYN = 0x02,
  ACK = 0x10,
};

static int sock;
static uint8_t own_mac[6], peer_mac[6];
static uint8_t out[BURST][MOST_BYTES];
static struct iovec out_vectors[BURST];
static struct mmsghdr out_messages[BURST];
static int queued;

static int ipv6, ip_bytes = 20, address_bytes = 4;

/* Of IPv6 addresses, and of the groups that are asked for one: all but the last byte. */
static const uint8_t network6[16] = {0x20, 0x01, 0x0d, 0xb8, 0xc0, 0xa8};
static const uint8_t asked6[16] = {0xff, 2, [11] = 1, 0xff};

static _Noreturn void die(const char *what) {
  fprintf(stderr, "Cannot %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static void put16(uint8_t *at, uint16_t value) { at[0] = value >> 8; at[1] = value & 255; }
static void put32(uint8_t *at, uint32_t value) { put16(at, value >> 16); put16(at + 2, value); }

static uint32_t get_address(const uint8_t *at) {
  if (!ipv6) return get32(at);
  return memcmp(at, network6, 15) == 0 ? NETWORK | at[15] : 0;
}
static void put_address(uint8_t *at, uint32_t value) {
  if (!ipv6) return put32(at, value);
  memcpy(at, network6, 15);
  at[15] = (uint8_t)value;
}

/*
 * Receives ARP or ICMPv6, and SYNs, and of other TCP segments those for which ALL_BUT of 32 random
 * bits are 0.
 */
static void open_device(const char *device, uint32_t all_but) {
  struct sock_filter wanted[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_ARP, ipv6 ? 1 : 8, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP, 0, 8),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ipv6 ? 20 : 23),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 5, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 5),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(14 + ip_bytes + 13)),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 2, 0),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, all_but, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, 0xffff),
    BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof wanted / sizeof wanted[0], .filter = wanted};
  struct ifreq ifr = {0};
  int one = 1, buffer_bytes = 64 << 20;
  strncpy(ifr.ifr_name, device, IFNAMSIZ - 1);
  sock = socket(AF_PACKET, SOCK_RAW, 0);
  if (sock < 0) die("open a packet socket");
  if (ioctl(sock, SIOCGIFHWADDR, &ifr) < 0) die("find the device");
  memcpy(own_mac, ifr.ifr_hwaddr.sa_data, 6);
  own_mac[5] ^= 1; /* so that the kernel sees at once that it is not meant, and does no more */
  setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes);
  setsockopt(sock, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
  setsockopt(sock, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
  struct sockaddr_ll at = {
    .sll_family = AF_PACKET,
    .sll_protocol = htons(ETH_P_ALL),
    .sll_ifindex = (int)if_nametoindex(device),
  };
  if (bind(sock, (struct sockaddr *)&at, sizeof at) < 0) die("bind to the device");
  for (int i = 0; i < BURST; i++) {
    out_vectors[i].iov_base = out[i];
    out_messages[i].msg_hdr = (struct msghdr){.msg_iov = &out_vectors[i], .msg_iovlen = 1};
  }
}

/* Sends what is queued; what the device has no room for is lost, as on any wire. */
static int send_queued(void) {
  int sent = queued > 0 ? sendmmsg(sock, out_messages, (unsigned)queued, 0) : 0;
  queued = 0;
  return sent < 0 ? 0 : sent;
}

/* The next frame to fill in, of so many bytes: what is behind its header. Sends a full burst first. */
static uint8_t *next_frame(const uint8_t *to, uint16_t type, size_t bytes) {
  if (queued == BURST) send_queued();
  out_vectors[queued].iov_len = 14 + bytes;
  uint8_t *frame = out[queued++];
  memset(frame + 14, 0, bytes);
  memcpy(frame, to, 6);
  memcpy(frame + 6, own_mac, 6);
  put16(frame + 12, type);
  return frame + 14;
}

static uint16_t checksum(const uint8_t *at, int bytes, uint32_t sum) {
  for (int i = 0; i < bytes; i += 2) sum += get16(at + i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void queue_segment(const uint8_t *to, uint32_t source, uint32_t destination, uint16_t sport,
                          uint16_t dport, uint32_t seq, uint32_t ack, uint8_t flags) {
  uint8_t *ip = next_frame(to, ipv6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP, ipv6 ? 60 : SHORTEST);
  uint8_t *tcp = ip + ip_bytes, *addresses = tcp - 2 * address_bytes;
  put_address(addresses, source);
  put_address(addresses + address_bytes, destination);
  if (ipv6) {
    ip[0] = 0x60;
    put16(ip + 4, 20);
    ip[6] = IPPROTO_TCP;
    ip[7] = 64;
  } else {
    ip[0] = 0x45;
    put16(ip + 2, 40);
    put16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    put16(ip + 10, checksum(ip, 20, 0));
  }
  put16(tcp, sport);
  put16(tcp + 2, dport);
  put32(tcp + 4, seq);
  put32(tcp + 8, ack);
  tcp[12] = 5 << 4;
  tcp[13] = flags;
  put16(tcp + 14, 0xffff);
  put16(tcp + 16, checksum(addresses, 2 * address_bytes + 20, IPPROTO_TCP + 20));
}

/*
 * ---- where an address is: ARP, and neighbour discovery over IPv6 --------------------------------
 */

enum { SEGMENT, QUESTION, ANSWER, OTHER };

/* What a received frame is; of a question or an answer, for which address. */
static int kind_of(const uint8_t *frame, uint32_t *address) {
  if (ipv6) {
    if (frame[20] == IPPROTO_TCP) return SEGMENT;
    *address = get_address(frame + 62);
    int answers = frame[54] == ND_NEIGHBOR_ADVERT;
    return frame[54] == ND_NEIGHBOR_SOLICIT ? QUESTION : answers ? ANSWER : OTHER;
  }
  if (get16(frame + 12) != ETHERTYPE_ARP) return SEGMENT;
  int asks = get16(frame + 20) == 1;
  *address = get32(frame + (asks ? 38 : 28));
  return asks ? QUESTION : ANSWER;
}

static void queue_arp(const uint8_t *to, uint16_t operation, uint32_t sender, uint32_t target) {
  uint8_t *arp = next_frame(to, ETHERTYPE_ARP, SHORTEST);
  put16(arp, 1);
  put16(arp + 2, ETHERTYPE_IP);
  put16(arp + 4, 0x0604);
  put16(arp + 6, operation);
  memcpy(arp + 8, own_mac, 6);
  put32(arp + 14, sender);
  memcpy(arp + 18, to, 6);
  put32(arp + 24, target);
}

static void queue_discovery(const uint8_t *to, uint8_t type, uint32_t sender,
                            const uint8_t *destination, uint32_t target) {
  uint8_t *ip = next_frame(to, ETHERTYPE_IPV6, MOST_BYTES - 14), *icmp = ip + 40;
  int answers = type == ND_NEIGHBOR_ADVERT;
  ip[0] = 0x60;
  put16(ip + 4, 32);
  ip[6] = IPPROTO_ICMPV6;
  ip[7] = 255;
  put_address(ip + 8, sender);
  memcpy(ip + 24, destination, 16);
  icmp[0] = type;
  icmp[4] = answers ? 0x60 : 0; /* solicited, override */
  put_address(icmp + 8, target);
  icmp[24] = answers ? ND_OPT_TARGET_LINKADDR : ND_OPT_SOURCE_LINKADDR;
  icmp[25] = 1;
  memcpy(icmp + 26, own_mac, 6);
  put16(icmp + 2, checksum(ip + 8, 64, IPPROTO_ICMPV6 + 32));
}

static void queue_question(uint32_t address) {
  static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
  if (!ipv6) return queue_arp(everyone, 1, FIRST_CLIENT, address);
  uint8_t group[16], mac[6] = {0x33, 0x33, 0xff, [5] = (uint8_t)address};
  memcpy(group, asked6, 15);
  group[15] = (uint8_t)address;
  queue_discovery(mac, ND_NEIGHBOR_SOLICIT, FIRST_CLIENT, group, address);
}

/* Answers a question for one of `count` addresses from `first` on. */
static void answer_question(const uint8_t *frame, uint32_t first, uint32_t count) {
  uint32_t address;
  if (kind_of(frame, &address) != QUESTION || address - first >= count) return;
  if (ipv6) queue_discovery(frame + 6, ND_NEIGHBOR_ADVERT, address, frame + 22, address);
  else queue_arp(frame + 6, 2, address, get32(frame + 28));
}

/*
 * ---- a backend ---------------------------------------------------------------------------------
 */

/* A received frame, or NULL when none came in so many milliseconds. */
static const uint8_t *receive(int wait_ms) {
  static uint8_t frame[256];
  for (;;) {
    ssize_t got = recv(sock, frame, sizeof frame, MSG_DONTWAIT);
    if (got >= 42) return frame;
    if (got >= 0) continue;
    send_queued();
    struct pollfd ready = {.fd = sock, .events = POLLIN};
    if (wait_ms == 0 || poll(&ready, 1, wait_ms) <= 0) return NULL;
  }
}

static _Noreturn void answer(uint32_t address) {
  printf("listening\n");
  fflush(stdout);
  for (;;) {
    const uint8_t *frame = receive(1000);
    if (frame == NULL) continue;
    uint32_t asked;
    if (kind_of(frame, &asked) != SEGMENT) {
      answer_question(frame, address, 1);
      continue;
    }
    const uint8_t *tcp = frame + 14 + ip_bytes;
    if (get_address(tcp - address_bytes) != address) continue;
    uint32_t peer = get_address(tcp - 2 * address_bytes);
    if (tcp[13] == ACK) {
      queue_segment(frame + 6, address, peer, get16(tcp + 2), get16(tcp), BACKEND_ISN + 1,
                    get32(tcp + 4), ACK);
    } else if (tcp[13] == SYN) {
      queue_segment(frame + 6, address, peer, get16(tcp + 2), get16(tcp), BACKEND_ISN,
                    get32(tcp + 4) + 1, SYN | ACK);
    }
  }
}

/*
 * ---- clients: connection i is (client, port, service), each its own bits of i -------------------
 */

static uint32_t client_of(uint32_t i) { return FIRST_CLIENT + i % CLIENTS; }
static uint16_t service_of(uint32_t i) { return FIRST_SERVICE + i / CLIENTS % SERVICES; }
static uint16_t port_of(uint32_t i) { /* clients of one service have different ports */
  return (uint16_t)(FIRST_PORT + i / (CLIENTS * SERVICES) * CLIENTS + i % CLIENTS);
}
static uint32_t index_of(uint32_t client, uint16_t port, uint16_t service) {
  uint32_t row = (uint32_t)(port - FIRST_PORT) / CLIENTS;
  return (row * SERVICES + (uint32_t)(service - FIRST_SERVICE)) * CLIENTS + (client - FIRST_CLIENT);
}

static void queue_packet(uint32_t i, uint32_t to, uint8_t flags) {
  uint32_t started = flags == SYN ? 0 : 1;
  queue_segment(peer_mac, client_of(i), to, port_of(i), service_of(i), CLIENT_ISN + started,
                started ? BACKEND_ISN + 1 : 0, flags);
}

static void find_peer(uint32_t address) {
  for (int tries = 0; tries < TRIES; tries++) {
    queue_question(address);
    const uint8_t *frame;
    while ((frame = receive(STALLED_MS)) != NULL) {
      uint32_t found;
      answer_question(frame, FIRST_CLIENT, CLIENTS);
      if (kind_of(frame, &found) != ANSWER || found != address) continue;
      memcpy(peer_mac, frame + 6, 6);
      return;
    }
  }
  errno = EHOSTUNREACH;
  die("find the address");
}

/*
 * Opens all connections: a window of SYNs, each answer moves it on; what was lost is sent again.
 * How many are open.
 */
static uint32_t fill(uint32_t address, uint32_t first, uint32_t connections) {
  uint8_t *is_open = calloc(connections, 1);
  uint32_t done = 0;
  for (int tries = 0; done < connections && tries < TRIES; tries++) {
    uint32_t next = 0, open_before = done, sent = 0;
    for (;;) {
      for (; next < connections && sent - (done - open_before) < WINDOW; next++) {
        if (is_open[next]) continue;
        queue_packet(first + next, address, SYN);
        sent++;
      }
      const uint8_t *frame = receive(STALLED_MS);
      if (frame == NULL) {
        if (next == connections) break;
        sent = done - open_before; /* these were lost: later */
        continue;
      }
      uint32_t asked;
      if (kind_of(frame, &asked) != SEGMENT) {
        answer_question(frame, FIRST_CLIENT, CLIENTS);
        continue;
      }
      const uint8_t *tcp = frame + 14 + ip_bytes;
      uint32_t client = get_address(tcp - address_bytes);
      uint32_t i = index_of(client, get16(tcp + 2), get16(tcp)) - first;
      if (tcp[13] != (SYN | ACK) || i >= connections) continue;
      queue_packet(first + i, address, ACK);
      done += !is_open[i];
      is_open[i] = 1;
      if (done == connections) break;
    }
  }
  send_queued();
  free(is_open);
  return done;
}

/* Sends for so long; how many frames. */
static uint64_t flood(uint32_t address, uint32_t first, uint32_t connections, double seconds) {
  uint64_t sent = 0, random = 0x9e3779b97f4a7c15u;
  double end = now_s() + seconds;
  while (now_s() < end) {
    for (int i = 0; i < BURST; i++) {
      random ^= random << 13; /* xorshift64 */
      random ^= random >> 7;
      random ^= random << 17;
      queue_packet(first + (uint32_t)((random >> 32) * connections >> 32), address, ACK);
    }
    sent += (uint64_t)send_queued();
    const uint8_t *frame = receive(0);
    if (frame != NULL) answer_question(frame, FIRST_CLIENT, CLIENTS);
  }
  return sent;
}

/* Reads an address, and with it which family is spoken; 0 if it is none, or of another network. */
static uint32_t address_of(const char *text) {
  uint8_t address[16];
  ipv6 = inet_pton(AF_INET6, text, address) == 1;
  if (!ipv6) return inet_pton(AF_INET, text, address) == 1 ? get32(address) : 0;
  ip_bytes = 40;
  address_bytes = 16;
  return get_address(address);
}

int main(int argc, char **argv) {
  uint32_t to = argc < 4 ? 0 : address_of(argv[3]);
  if (to == 0) {
    fprintf(stderr, "usage: frames answer|flood DEVICE ADDRESS …\n");
    return 2;
  }
  int is_backend = strcmp(argv[1], "answer") == 0;
  open_device(argv[2], is_backend ? SOME : ALL);
  if (is_backend) answer(to);
  if (argc != 8) return 2;
  uint32_t first = (uint32_t)atoi(argv[4]), connections = (uint32_t)atoi(argv[5]);
  char line[16];
  find_peer(to);
  double start = now_s();
  uint32_t opened = fill(to, first, connections);
  double filled = now_s();
  flood(to, first, connections, atof(argv[6]));
  printf("filled\n{\"connections\":%u,\"seconds\":%.3f}\n", opened, filled - start);
  fflush(stdout);
  if (fgets(line, sizeof line, stdin) == NULL) return 0;
  start = now_s();
  uint64_t sent = flood(to, first, connections, atof(argv[7]));
  printf("{\"sent\":%llu,\"seconds\":%.4f}\n", (unsigned long long)sent, now_s() - start);
  return 0;
}
