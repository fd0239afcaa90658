/*
 * Frames of 60 bytes as fast as they go, over TCP connections that no kernel knows: packet(7).
 *
 *     frames answer DEVICE ADDRESS                     a backend: ARP for ADDRESS, SYN -> SYN/ACK,
 *                                                      one ACK in 256 -> ACK
 *     frames flood DEVICE ADDRESS FIRST CONNECTIONS WARM_UP SECONDS
 *                                                      clients of ADDRESS, on all its ports
 *
 * A flood has so many connections, numbered from FIRST on: two can run beside each other. It opens
 * them with whole handshakes, as often as one needs, sends bare ACKs over random ones for WARM_UP
 * seconds, prints "filled" and a line of JSON, waits for a line of input, then goes on for SECONDS
 * and prints another line of JSON. How many arrive is for the receiving interface's counter to say:
 * a filter lets nothing through to either program but ARP, segments with SYN, and to the backend a
 * few others at random, so that it is heard on each connection, as any host that is sent something.
 * Both speak for addresses of their own, in 192.168.0.0/24, which the interface must not have.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
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
  FRAME_BYTES = 60,
  BURST = 64,
  CLIENTS = 16, /* from FIRST_CLIENT on */
  FIRST_CLIENT = 0xc0a800c8, /* 192.168.0.200 */
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
static uint8_t out[BURST][FRAME_BYTES];
static struct iovec out_vectors[BURST];
static struct mmsghdr out_messages[BURST];
static int queued;

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

/* Receives ARP and SYNs, and of other TCP segments those for which ALL_BUT of 32 random bits are 0. */
static void open_device(const char *device, uint32_t all_but) {
  struct sock_filter wanted[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_ARP, 7, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETHERTYPE_IP, 0, 7),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 5),
    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 47),
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
    out_vectors[i] = (struct iovec){out[i], FRAME_BYTES};
    out_messages[i].msg_hdr = (struct msghdr){.msg_iov = &out_vectors[i], .msg_iovlen = 1};
  }
}

/* Sends what is queued; what the device has no room for is lost, as on any wire. */
static int send_queued(void) {
  int sent = queued > 0 ? sendmmsg(sock, out_messages, (unsigned)queued, 0) : 0;
  queued = 0;
  return sent < 0 ? 0 : sent;
}

/* The next frame to fill in, sending the full burst first. */
static uint8_t *next_frame(const uint8_t *to, uint16_t type) {
  if (queued == BURST) send_queued();
  uint8_t *frame = out[queued++];
  memcpy(frame, to, 6);
  memcpy(frame + 6, own_mac, 6);
  put16(frame + 12, type);
  return frame;
}

static uint16_t checksum(const uint8_t *at, int bytes, uint32_t sum) {
  for (int i = 0; i < bytes; i += 2) sum += get16(at + i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void queue_segment(const uint8_t *to, uint32_t source, uint32_t destination, uint16_t sport,
                          uint16_t dport, uint32_t seq, uint32_t ack, uint8_t flags) {
  uint8_t *ip = next_frame(to, ETHERTYPE_IP) + 14, *tcp = ip + 20;
  memset(ip, 0, FRAME_BYTES - 14);
  ip[0] = 0x45;
  put16(ip + 2, 40);
  put16(ip + 6, 0x4000);
  ip[8] = 64;
  ip[9] = IPPROTO_TCP;
  put32(ip + 12, source);
  put32(ip + 16, destination);
  put16(ip + 10, checksum(ip, 20, 0));
  put16(tcp, sport);
  put16(tcp + 2, dport);
  put32(tcp + 4, seq);
  put32(tcp + 8, ack);
  tcp[12] = 5 << 4;
  tcp[13] = flags;
  put16(tcp + 14, 0xffff);
  put16(tcp + 16, checksum(ip + 12, 28, IPPROTO_TCP + 20));
}

static void queue_arp(const uint8_t *to, uint16_t operation, uint32_t sender, uint32_t target) {
  uint8_t *arp = next_frame(to, ETHERTYPE_ARP) + 14;
  memset(arp, 0, FRAME_BYTES - 14);
  put16(arp, 1);
  put16(arp + 2, ETHERTYPE_IP);
  put16(arp + 4, 0x0604);
  put16(arp + 6, operation);
  memcpy(arp + 8, own_mac, 6);
  put32(arp + 14, sender);
  memcpy(arp + 18, to, 6);
  put32(arp + 24, target);
}

/* Answers an ARP request for one of `count` addresses from `first` on. */
static void answer_arp(const uint8_t *frame, uint32_t first, uint32_t count) {
  const uint8_t *arp = frame + 14;
  uint32_t target = get32(arp + 24);
  if (get16(arp + 6) == 1 && target - first < count) {
    queue_arp(frame + 6, 2, target, get32(arp + 14));
  }
}

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
    const uint8_t *ip = frame + 14, *tcp = ip + 20;
    if (get16(frame + 12) == ETHERTYPE_ARP) {
      answer_arp(frame, address, 1);
    } else if (get32(ip + 16) == address && tcp[13] == ACK) {
      queue_segment(frame + 6, address, get32(ip + 12), get16(tcp + 2), get16(tcp),
                    BACKEND_ISN + 1, get32(tcp + 4), ACK);
    } else if (get32(ip + 16) == address && tcp[13] == SYN) {
      queue_segment(frame + 6, address, get32(ip + 12), get16(tcp + 2), get16(tcp), BACKEND_ISN,
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
  static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
  for (int tries = 0; tries < TRIES; tries++) {
    queue_arp(everyone, 1, FIRST_CLIENT, address);
    const uint8_t *frame;
    while ((frame = receive(STALLED_MS)) != NULL) {
      if (get16(frame + 12) != ETHERTYPE_ARP) continue;
      answer_arp(frame, FIRST_CLIENT, CLIENTS);
      if (get16(frame + 20) != 2 || get32(frame + 28) != address) continue;
      memcpy(peer_mac, frame + 22, 6);
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
      if (get16(frame + 12) == ETHERTYPE_ARP) {
        answer_arp(frame, FIRST_CLIENT, CLIENTS);
        continue;
      }
      const uint8_t *ip = frame + 14, *tcp = ip + 20;
      uint32_t i = index_of(get32(ip + 16), get16(tcp + 2), get16(tcp)) - first;
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
    if (frame != NULL && get16(frame + 12) == ETHERTYPE_ARP) {
      answer_arp(frame, FIRST_CLIENT, CLIENTS);
    }
  }
  return sent;
}

int main(int argc, char **argv) {
  struct in_addr address;
  if (argc < 4 || inet_pton(AF_INET, argv[3], &address) != 1) {
    fprintf(stderr, "usage: frames answer|flood DEVICE ADDRESS …\n");
    return 2;
  }
  uint32_t to = ntohl(address.s_addr);
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
