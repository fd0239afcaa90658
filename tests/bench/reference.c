/*
 * The benchmark's yardstick: the least C program that does the proxy's translation on the same TAP
 * device, through the same ffi/tap.c, in the same bursts, with the same offloads.
 *
 *     reference DEVICE ADDRESS SPIN_US CONNECTIONS BACKEND…
 *
 *     client:p ──▶ ADDRESS:s   becomes   ADDRESS:q ──▶ backend:s       a client's packet
 *     client:p ◀── ADDRESS:s   becomes   ADDRESS:q ◀── backend:s       a backend's
 *
 * It answers ARP for ADDRESS, asks once for the backends (and says "ready" when all have answered),
 * sends clients' packets back to the station they came from, gives each new TCP connection the next
 * backend, and remembers it for ever: one hash look-up a packet, no states, no timers, no policy.
 * What is not TCP over unfragmented IPv4 is dropped. Checksums are adjusted as RFC 1624 says.
 */
#include "../../ffi/tap.c" /* whole, so that its functions can't be called wrongly */

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  SLOT_BYTES = 1027 * 64, /* as src/core/arena.ts */
  ARENA_BYTES = BURST_FRAMES * SLOT_BYTES,
  BURST_BYTES = 1 << 18, /* as src/device/tap.ts */
  MAX_BACKENDS = 16,
  WAIT_MS = 100,
  FIRST_PORT = 1024,
};

struct arp_packet {
  struct ethhdr ether;
  uint16_t hardware, protocol;
  uint8_t hardware_bytes, protocol_bytes;
  uint16_t operation;
  uint8_t sender_mac[6];
  uint32_t sender;
  uint8_t target_mac[6];
  uint32_t target;
} __attribute__((packed));

/*
 * One direction of a connection: packets with this source address and these ports (both as on the
 * wire) leave for `peer` with `new_ports`. Clients and backends are different hosts, so one table
 * has both.
 */
struct flow {
  uint32_t source;
  uint32_t ports; /* 0: the slot is free */
  uint32_t peer;
  uint32_t new_ports;
  uint8_t mac[6];
} __attribute__((aligned(32)));

struct backend {
  uint32_t address;
  uint8_t mac[6];
  int known;
};

static struct {
  int fd;
  uint32_t address;
  uint8_t mac[6];
  struct backend backends[MAX_BACKENDS];
  uint32_t backend_count, known_count, next_backend, next_port;
  struct flow *flows; /* open addressing */
  uint32_t mask, shift, room;
} self;

static _Alignas(64) uint8_t arena[ARENA_BYTES];
static uint32_t rx[2 * BURST_FRAMES], tx[2 * BURST_FRAMES];

static _Noreturn void die(const char *what, int error) {
  fprintf(stderr, "Cannot %s: %s\n", what, strerror(error));
  exit(1);
}

/*
 * ---- connections ------------------------------------------------------------------------------
 */

static void make_table(uint32_t connections) {
  uint32_t bits = 2;
  while ((1u << bits) < 4 * connections) bits++; /* two slots each, at most half of them full */
  size_t size = sizeof(struct flow) << bits;
  self.mask = (1u << bits) - 1;
  self.shift = 64 - bits;
  self.room = connections;
  self.flows = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (self.flows == MAP_FAILED) die("make the table", errno);
  madvise(self.flows, size, MADV_HUGEPAGE);
}

/* The slot of this source and ports, or the free one where it belongs. */
static inline struct flow *slot_of(uint32_t source, uint32_t ports) {
  uint64_t key = (uint64_t)source << 32 | ports;
  uint32_t at = (key * 0x9e3779b97f4a7c15u) >> self.shift;
  for (;; at = (at + 1) & self.mask) {
    struct flow *flow = &self.flows[at];
    if (flow->ports == 0 || (flow->ports == ports && flow->source == source)) return flow;
  }
}

static uint32_t ports_of(uint16_t source, uint16_t destination) {
  uint16_t both[2] = {source, destination};
  uint32_t ports;
  memcpy(&ports, both, sizeof ports);
  return ports;
}

/* A new connection into its free slot; 0 when there is no room, else 1. */
static int open_flow(struct flow *flow, const struct iphdr *ip, const struct tcphdr *tcp,
                     const uint8_t *client_mac) {
  if (self.room == 0) return 0;
  const struct backend *backend = &self.backends[self.next_backend];
  self.next_backend = (self.next_backend + 1) % self.backend_count;

  uint16_t port = tcp->source; /* kept where it is free towards this backend and port */
  struct flow *back = slot_of(backend->address, ports_of(tcp->dest, port));
  for (uint32_t tries = 0; back->ports != 0; tries++) {
    if (tries == UINT16_MAX) return 0;
    self.next_port = self.next_port == UINT16_MAX ? FIRST_PORT : self.next_port + 1;
    port = htons((uint16_t)self.next_port);
    back = slot_of(backend->address, ports_of(tcp->dest, port));
  }
  self.room--;
  back->source = backend->address;
  back->ports = ports_of(tcp->dest, port);
  back->peer = ip->saddr;
  back->new_ports = ports_of(tcp->dest, tcp->source);
  memcpy(back->mac, client_mac, 6);

  if (flow->ports != 0 || flow == back) flow = slot_of(ip->saddr, ports_of(tcp->source, tcp->dest));
  flow->source = ip->saddr;
  flow->ports = ports_of(tcp->source, tcp->dest);
  flow->peer = backend->address;
  flow->new_ports = ports_of(port, tcp->dest);
  memcpy(flow->mac, backend->mac, 6);
  return 1;
}

/*
 * ---- packets ----------------------------------------------------------------------------------
 */

/* One's complement addition of any words folds to the same 16 bits (RFC 1071). */
static inline uint16_t fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static inline uint64_t change(uint32_t from, uint32_t to) {
  return (uint64_t)(uint32_t)~from + to;
}

/* An IPv4 packet to us; 1 when it is to leave, rewritten in place. */
static inline int forward(uint8_t *frame, uint32_t length) {
  struct ethhdr *ether = (struct ethhdr *)frame;
  struct iphdr *ip = (struct iphdr *)(frame + ETH_HLEN);
  if (length < ETH_HLEN + sizeof *ip + sizeof(struct tcphdr)) return 0;
  uint32_t header_bytes = ip->ihl * 4u, total_bytes = ntohs(ip->tot_len);
  if (ip->version != 4 || header_bytes < sizeof *ip || ip->daddr != self.address) return 0;
  if (total_bytes < header_bytes + sizeof(struct tcphdr) || total_bytes > length - ETH_HLEN) return 0;
  if (ip->protocol != IPPROTO_TCP || (ip->frag_off & htons(0x3fff)) != 0 || ip->ttl <= 1) return 0;

  struct tcphdr *tcp = (struct tcphdr *)((uint8_t *)ip + header_bytes);
  uint32_t ports;
  memcpy(&ports, tcp, sizeof ports);
  if (tcp->source == 0 || tcp->dest == 0) return 0;
  struct flow *flow = slot_of(ip->saddr, ports);
  if (flow->ports == 0) {
    for (uint32_t i = 0; i < self.backend_count; i++) {
      if (self.backends[i].address == ip->saddr) return 0;
    }
    if (!tcp->syn || !open_flow(flow, ip, tcp, ether->h_source)) return 0;
    flow = slot_of(ip->saddr, ports);
  }

  uint64_t addresses = change(ip->saddr, self.address) + change(ip->daddr, flow->peer);
  const struct virtio_net_hdr *vnet = (const void *)(frame - VNET_BYTES);
  if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) { /* the pseudo-header's sum alone */
    tcp->check = fold(tcp->check + addresses);
  } else {
    tcp->check = ~fold((uint16_t)~tcp->check + addresses + change(ports, flow->new_ports));
  }
  memcpy(tcp, &flow->new_ports, sizeof flow->new_ports);
  ip->saddr = self.address;
  ip->daddr = flow->peer;
  ip->ttl--;
  ip->check = ~fold((uint16_t)~ip->check + addresses + (uint16_t)~htons(0x0100));
  memcpy(ether->h_dest, flow->mac, 6);
  memcpy(ether->h_source, self.mac, 6);
  return 1;
}

/* Learns where backends are; 1 when the packet asked for our address and has become the answer. */
static int answer_arp(struct arp_packet *arp, uint32_t length) {
  if (length < sizeof *arp || arp->protocol != htons(ETH_P_IP)) return 0;
  for (uint32_t i = 0; i < self.backend_count; i++) {
    struct backend *backend = &self.backends[i];
    if (backend->address != arp->sender) continue;
    memcpy(backend->mac, arp->sender_mac, 6);
    self.known_count += !backend->known;
    if (!backend->known && self.known_count == self.backend_count) {
      printf("ready\n");
      fflush(stdout);
    }
    backend->known = 1;
  }
  if (arp->operation != htons(1) || arp->target != self.address) return 0;
  arp->operation = htons(2);
  memcpy(arp->target_mac, arp->sender_mac, 6);
  memcpy(arp->sender_mac, self.mac, 6);
  arp->target = arp->sender;
  arp->sender = self.address;
  memcpy(arp->ether.h_dest, arp->target_mac, 6);
  memcpy(arp->ether.h_source, self.mac, 6);
  return 1;
}

static void ask_for_backends(void) {
  uint32_t outcome[2], count = 0;
  for (uint32_t i = 0; i < self.backend_count; i++) {
    if (self.backends[i].known) continue;
    uint32_t offset = 64 * count + VNET_BYTES;
    memset(arena + offset - VNET_BYTES, 0, 64);
    struct arp_packet *arp = (struct arp_packet *)(arena + offset);
    memset(arp->ether.h_dest, 0xff, 6);
    memcpy(arp->ether.h_source, self.mac, 6);
    arp->ether.h_proto = htons(ETH_P_ARP);
    arp->hardware = htons(1);
    arp->protocol = htons(ETH_P_IP);
    arp->hardware_bytes = 6;
    arp->protocol_bytes = 4;
    arp->operation = htons(1);
    memcpy(arp->sender_mac, self.mac, 6);
    arp->sender = self.address;
    arp->target = self.backends[i].address;
    tx[2 * count] = offset;
    tx[2 * count + 1] = sizeof *arp;
    count++;
  }
  tap_write(self.fd, arena, ARENA_BYTES, tx, count, outcome);
}

/* As many frames as have come, twice as many where more may wait: as src/device/tap.ts. */
static uint32_t next_batch(int32_t count, uint32_t batch) {
  if (count <= 0) return 1;
  uint32_t bytes = 0, wanted = (uint32_t)count < batch ? (uint32_t)count : 2 * batch;
  for (int32_t i = 0; i < count; i++) bytes += rx[2 * i + 1];
  uint32_t most = (BURST_BYTES * (uint32_t)count + bytes - 1) / bytes;
  if (wanted > BURST_FRAMES) wanted = BURST_FRAMES;
  return wanted < most ? wanted : most;
}

/* Reads one burst and writes what came of it; the number of frames read. */
static int32_t pump(int32_t spin_us) {
  static uint32_t batch = 1;
  int32_t count = tap_read(self.fd, arena, 0, SLOT_BYTES, rx, batch, spin_us, WAIT_MS);
  batch = next_batch(count, batch);
  uint32_t sent = 0, outcome[2];
  for (int32_t i = 0; i < count; i++) {
    uint32_t offset = rx[2 * i], length = rx[2 * i + 1];
    struct ethhdr *ether = (struct ethhdr *)(arena + offset);
    int leaves = 0;
    if (length < ETH_HLEN) continue;
    if (ether->h_proto == htons(ETH_P_ARP)) {
      leaves = answer_arp((struct arp_packet *)ether, length);
    } else if (ether->h_proto == htons(ETH_P_IP) && memcmp(ether->h_dest, self.mac, 6) == 0) {
      leaves = forward(arena + offset, length);
    }
    if (!leaves) continue;
    tx[2 * sent] = offset;
    tx[2 * sent + 1] = length;
    sent++;
  }
  if (sent > 0) tap_write(self.fd, arena, ARENA_BYTES, tx, sent, outcome);
  return count;
}

static uint32_t address_of(const char *text) {
  struct in_addr address;
  if (inet_pton(AF_INET, text, &address) != 1) die("parse the address", EINVAL);
  return address.s_addr;
}

int main(int argc, char **argv) {
  if (argc < 6 || argc > 5 + MAX_BACKENDS) {
    fprintf(stderr, "usage: reference DEVICE ADDRESS SPIN_US CONNECTIONS BACKEND…\n");
    return 2;
  }
  self.address = address_of(argv[2]);
  self.mac[0] = 0x02;
  memcpy(self.mac + 2, &self.address, 4);
  self.next_port = FIRST_PORT;
  int32_t spin_us = atoi(argv[3]);
  make_table((uint32_t)atoi(argv[4]));
  for (int i = 5; i < argc; i++) self.backends[self.backend_count++].address = address_of(argv[i]);

  self.fd = tap_node();
  if (self.fd < 0) die("open /dev/net/tun", -self.fd);
  int status = tap_attach(self.fd, argv[1], 1);
  if (status < 0) die("attach to the device", -status);
  status = tap_offload(self.fd, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
  if (status < 0) die("set the offloads", -status);

  while (self.known_count < self.backend_count) {
    ask_for_backends();
    pump(0);
  }
  for (int32_t count = 0;;) {
    count = pump(count > 0 ? spin_us : 0); /* as src/device/tap.ts */
    if (count < 0) die("read from the device", -count);
  }
}
