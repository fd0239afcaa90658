/*
 * The shim: what TypeScript cannot do itself with a Linux TAP device. Open it, ask about it, read
 * and write bursts of frames, wait for one. It knows nothing of what is inside a frame and keeps no
 * state but a ring that carries many reads or writes into the kernel at once.
 *
 * Every function but tap_now returns a value >= 0, or -errno. Arguments are 32-bit
 * integers and pointers only: a 64-bit integer would fall off the fast call path of the binding
 * (ffi/tap.ts, same names).
 *
 * Read first: linux/Documentation/networking/tuntap.rst; virtio 1.2 section 5.1.6 for the header
 * that IFF_VNET_HDR puts in front of each frame; netdevice(7) for the socket ioctls; io_uring(7).
 *
 * Long because all that a program can ask of a TAP device is in one file that cc compiles alone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
  VNET_BYTES = 10,                        /* struct virtio_net_hdr */
  BURST_FRAMES = 64,                      /* as src/core/arena.ts */
  TURNS_PER_YIELD = 4,
  WRITE_RETRY_MS = 1,
  RING_UNKNOWN = -2,
  DEVICE_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
};

/* ---- signals --------------------------------------------------------------------------------- */

/* Lets in the signals that src/pack/launcher.c holds back until the program listens for them. */
int32_t tap_unblock(void) {
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGHUP);
  sigaddset(&held, SIGUSR2);
  return -pthread_sigmask(SIG_UNBLOCK, &held, NULL);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* How many more descriptors the process may open. */
int32_t tap_spare(void) {
  struct rlimit limit;
  DIR *open_ones = opendir("/proc/self/fd");
  if (!open_ones) return -errno;
  int32_t used = -3; /* ".", ".." and the one for reading it */
  while (readdir(open_ones)) used++;
  closedir(open_ones);
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  rlim_t most = limit.rlim_cur < INT32_MAX ? limit.rlim_cur : INT32_MAX;
  return (int32_t)most - used;
}

/*
 * ---- name of the process ----------------------------------------------------------------------
 */

/* PROGRAM_FD in src/pack/launcher.c: the last word that the launcher puts before the user's own. */
#define LAUNCHER_WORD "/proc/self/fd/40"

/*
 * The memory of the command line, from proc_pid_stat(5), fields 48 and 49. 0 where it is not told.
 */
static int find_arguments(char **start, char **end) {
  char line[1024];
  FILE *stat = fopen("/proc/self/stat", "re");
  if (!stat) return 0;
  size_t length = fread(line, 1, sizeof line - 1, stat);
  fclose(stat);
  line[length] = 0;
  char *at = strrchr(line, ')'); /* field 2, which may have spaces in it */
  for (int field = 2; at && field < 48; field++) at = strchr(at + 1, ' ');
  if (!at) return 0;
  *start = (char *)(uintptr_t)strtoull(at, &at, 10);
  *end = (char *)(uintptr_t)strtoull(at, NULL, 10);
  return *start && *end > *start;
}

/*
 * In the portable build ps and top show `proxy FLAGS` instead of the runtime and its flags: the
 * words of the launcher leave the command line. In other builds nothing changes. Called on the main
 * thread.
 */
int32_t tap_title(void) {
  char *start, *end;
  if (!find_arguments(&start, &end)) return 0;
  char *first = start + strnlen(start, (size_t)(end - start)) + 1;
  for (char *word = first; word < end; word += strnlen(word, (size_t)(end - word)) + 1) {
    if (strcmp(word, LAUNCHER_WORD) != 0) continue;
    char *own = word + sizeof LAUNCHER_WORD;
    memmove(first, own, (size_t)(end - own));
    memset(first + (end - own), 0, (size_t)(own - first));
    prctl(PR_SET_NAME, "proxy");
    return 1;
  }
  return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A new file descriptor of /dev/net/tun, not yet attached to a device. */
int32_t tap_node(void) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* Asks the kernel about a device by name, through a socket of the process's network namespace. */
static int ask(unsigned long request, struct ifreq *ifr) {
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0) return -errno;
  int status = ioctl(sock, request, ifr) < 0 ? -errno : 0;
  close(sock);
  return status;
}

static int set_name(struct ifreq *ifr, const char *name) {
  memset(ifr, 0, sizeof *ifr);
  size_t length = strnlen(name, IFNAMSIZ);
  if (length == 0 || length == IFNAMSIZ) return -EINVAL;
  memcpy(ifr->ifr_name, name, length);
  return 0;
}

/* What `name` (NUL-terminated) is: 0 no such device, 1 another kind, 2 TUN, 3 TAP. */
int32_t tap_kind(const char *name) {
  struct ifreq ifr;
  int status = set_name(&ifr, name);
  if (status < 0) return status;
  status = ask(SIOCGIFINDEX, &ifr);
  if (status == -ENODEV) return 0;
  if (status < 0) return status;

  struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
  ifr.ifr_data = (char *)&info;
  if (ask(SIOCETHTOOL, &ifr) < 0 || strcmp(info.driver, "tun") != 0) return 1;
  return strcmp(info.bus_info, "tap") == 0 ? 3 : 2;
}

static int set_header(int fd) {
  int header_bytes = VNET_BYTES;
  return ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) < 0 ? -errno : 0;
}

/*
 * Attaches `fd` to the TAP device `name`, with a vnet header on each frame. With `create` 0 a
 * device that is not there is never made: TUNSETIFF would make it, so ask first, and if the device
 * went away between the question and the call, then what we hold is not persistent: let go of it.
 * The caller closes `fd` after an error, and with it such a device.
 */
int32_t tap_attach(int32_t fd, const char *name, int32_t create) {
  int kind = tap_kind(name);
  if (kind < 0) return kind;
  if (kind == 0 && !create) return -ENODEV;

  struct ifreq ifr;
  int status = set_name(&ifr, name);
  if (status < 0) return status;
  ifr.ifr_flags = DEVICE_FLAGS;
  if (ioctl(fd, TUNSETIFF, &ifr) < 0) return -errno;
  if (!create) {
    if (ioctl(fd, TUNGETIFF, &ifr) < 0) return -errno;
    if (!(ifr.ifr_flags & IFF_PERSIST)) return -ENODEV;
  }

  return set_header(fd);
}

/*
 * Whether the device behind `fd` is in our network namespace. Who may not be told (without
 * CAP_NET_ADMIN, before Linux 5.2) compares MAC addresses with the device of that name here.
 */
static int is_here(int fd, struct ifreq *ifr) {
  int namespace = ioctl(fd, TUNGETDEVNETNS);
  if (namespace >= 0) {
    struct stat its, ours;
    int known = fstat(namespace, &its) == 0 && stat("/proc/thread-self/ns/net", &ours) == 0;
    close(namespace);
    return known && its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
  }
  struct ifreq its = *ifr;
  return ioctl(fd, SIOCGIFHWADDR, &its) == 0 && ask(SIOCGIFHWADDR, ifr) == 0 &&
         memcmp(its.ifr_hwaddr.sa_data, ifr->ifr_hwaddr.sa_data, 6) == 0;
}

/*
 * Takes over `fd`, which somebody has kept for us, if it is attached to the TAP device `name` as we
 * would do it. -ENODEV: to another; -EINVAL: in another way; -EXDEV: in another network namespace;
 * -EBADFD: its device was deleted; -ENOTTY, -EBADF and others: it is none of a device. Of IFF_NO_PI
 * the kernel does not tell: its bit means IFF_NOFILTER here, and is set.
 */
int32_t tap_take(int32_t fd, const char *name) {
  struct ifreq held, wanted;
  int status = set_name(&wanted, name);
  if (status < 0) return status;
  memset(&held, 0, sizeof held);
  if (ioctl(fd, TUNGETIFF, &held) < 0) return -errno;
  if (strncmp(held.ifr_name, wanted.ifr_name, IFNAMSIZ) != 0) return -ENODEV;
  if (((uint16_t)held.ifr_flags & ~IFF_PERSIST) != DEVICE_FLAGS) return -EINVAL;
  if (!is_here(fd, &held)) return -EXDEV;
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) return -errno;
  return set_header(fd);
}

/* Whether descriptor `fd` of process `pid` is attached to the device `name`. */
static int is_attached(const char *pid, const char *fd, const char *name) {
  char path[64], line[256], found[IFNAMSIZ];
  snprintf(path, sizeof path, "/proc/%.16s/fdinfo/%.16s", pid, fd);
  FILE *info = fopen(path, "re");
  if (!info) return 0;
  int attached = 0;
  while (!attached && fgets(line, sizeof line, info)) {
    attached = sscanf(line, "iff: %15s", found) == 1 && strcmp(found, name) == 0;
  }
  fclose(info);
  return attached;
}

static int shares_network(const char *pid) {
  char path[64];
  struct stat own, other;
  snprintf(path, sizeof path, "/proc/%.16s/ns/net", pid);
  return stat("/proc/self/ns/net", &own) == 0 && stat(path, &other) == 0 &&
         own.st_ino == other.st_ino;
}

/*
 * The process that is attached to the device `name`, and its name into `comm` (16 bytes); 0 if it
 * can't be found: another user's process does not show its descriptors.
 */
int32_t tap_holder(const char *name, char *comm) {
  int32_t holder = 0;
  DIR *all = opendir("/proc");
  if (!all) return 0;
  for (struct dirent *process; holder == 0 && (process = readdir(all));) {
    char path[64];
    if (!isdigit((unsigned char)process->d_name[0]) || !shares_network(process->d_name)) continue;
    snprintf(path, sizeof path, "/proc/%.16s/fdinfo", process->d_name);
    DIR *fds = opendir(path);
    if (!fds) continue;
    for (struct dirent *fd; holder == 0 && (fd = readdir(fds));) {
      if (is_attached(process->d_name, fd->d_name, name)) holder = atoi(process->d_name);
    }
    closedir(fds);
  }
  closedir(all);
  memset(comm, 0, 16);
  if (holder == 0) return 0;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/comm", holder);
  FILE *file = fopen(path, "re");
  if (file) {
    size_t length = fread(comm, 1, 15, file);
    comm[length] = 0;
    comm[strcspn(comm, "\n")] = 0;
    fclose(file);
  }
  return holder;
}

/* Says which unfinished work (TUN_F_*) the kernel may leave to us. */
int32_t tap_offload(int32_t fd, uint32_t features) {
  return ioctl(fd, TUNSETOFFLOAD, (unsigned long)features) < 0 ? -errno : 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Names the device of `fd`, which may have been renamed, and asks. -EBADFD: it was deleted. */
static int ask_fd(int fd, unsigned long request, struct ifreq *ifr) {
  memset(ifr, 0, sizeof *ifr);
  if (ioctl(fd, TUNGETIFF, ifr) < 0) return -errno;
  return ask(request, ifr);
}

/* Interface flags, IFF_UP (1) among them. */
int32_t tap_flags(int32_t fd) {
  struct ifreq ifr;
  int status = ask_fd(fd, SIOCGIFFLAGS, &ifr);
  return status < 0 ? status : (uint16_t)ifr.ifr_flags;
}

int32_t tap_mtu(int32_t fd) {
  struct ifreq ifr;
  int status = ask_fd(fd, SIOCGIFMTU, &ifr);
  return status < 0 ? status : ifr.ifr_mtu;
}

/* The address of the kernel's end, 6 bytes into `mac`. */
int32_t tap_mac(int32_t fd, uint8_t *mac) {
  struct ifreq ifr;
  int status = ask_fd(fd, SIOCGIFHWADDR, &ifr);
  if (status == 0) memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
  return status;
}

/* Number of the interface. */
int32_t tap_index(int32_t fd) {
  struct ifreq ifr;
  int status = ask_fd(fd, SIOCGIFINDEX, &ifr);
  return status < 0 ? status : ifr.ifr_ifindex;
}

/*
 * ---- links that come and go -------------------------------------------------------------------
 */

/* A socket that can be read, and waited for, when a link of this network namespace has changed. */
int32_t tap_links(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  struct sockaddr_nl all = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
  if (bind(fd, (struct sockaddr *)&all, sizeof all) == 0) return fd;
  int status = -errno;
  close(fd);
  return status;
}

/* Whether one has since the last call; how is asked elsewhere. */
int32_t tap_links_changed(int32_t fd) {
  int32_t changed = 0;
  char message; /* the rest is cut off */
  while (recv(fd, &message, sizeof message, 0) >= 0 || errno == ENOBUFS) changed = 1;
  return changed;
}

/*
 * ---- the kernel's end --------------------------------------------------------------------------
 */

static int set_address(struct ifreq *ifr, unsigned long request, uint32_t address) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
  memcpy(&ifr->ifr_addr, &in, sizeof in);
  return ask(request, ifr);
}

static int bring_up(int fd) {
  struct ifreq ifr;
  int status = ask_fd(fd, SIOCGIFFLAGS, &ifr);
  if (status < 0) return status;
  ifr.ifr_flags |= IFF_UP;
  return ask(SIOCSIFFLAGS, &ifr);
}

/* Gives the kernel's end of the device an IPv4 address with its mask, and brings it up. */
int32_t tap_host(int32_t fd, uint32_t address, uint32_t mask) {
  struct ifreq ifr;
  int status = ask_fd(fd, SIOCGIFFLAGS, &ifr); /* for its name */
  if (status == 0) status = set_address(&ifr, SIOCSIFADDR, address);
  if (status == 0) status = set_address(&ifr, SIOCSIFNETMASK, mask);
  return status < 0 ? status : bring_up(fd);
}

/* struct in6_ifreq, whose header can't be had beside netinet/in.h. */
struct host6 {
  uint8_t address[16];
  uint32_t prefix_length;
  int32_t index;
};

/* The same for an IPv6 address of 16 bytes; it may have it already. */
int32_t tap_host6(int32_t fd, const uint8_t *address, uint32_t prefix_length) {
  int32_t index = tap_index(fd);
  if (index < 0) return index;
  struct host6 host = {.prefix_length = prefix_length, .index = index};
  memcpy(host.address, address, sizeof host.address);
  int sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0) return -errno;
  int status = ioctl(sock, SIOCSIFADDR, &host) < 0 && errno != EEXIST ? -errno : 0;
  close(sock);
  return status < 0 ? status : bring_up(fd);
}

/* ---- moving frames --------------------------------------------------------------------------- */

/* The monotonic clock, in milliseconds. */
double tap_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/*
 * One turn of a spin; whether to go on. A process that waits for this processor gets it now and
 * then: under full load it is a sender or a receiver, without whom nothing will come.
 */
static int spins_on(int64_t end_us, uint32_t *turns) {
  if (++*turns % TURNS_PER_YIELD == 0) sched_yield();
  return now_us() < end_us;
}

/* One record, waited for: non-blocking reads for `spin_us`, then asleep for up to `wait_ms`. */
static ssize_t first_record(int fd, uint8_t *to, size_t size, int32_t spin_us, int32_t wait_ms) {
  ssize_t got = read(fd, to, size);
  if (got >= 0 || errno != EAGAIN) return got;
  if (spin_us > 0) {
    int64_t end_us = now_us() + spin_us;
    uint32_t turns = 0;
    do {
      got = read(fd, to, size);
      if (got >= 0 || errno != EAGAIN) return got;
    } while (spins_on(end_us, &turns));
  }
  if (wait_ms > 0) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, wait_ms) > 0) return read(fd, to, size);
    errno = EAGAIN;
  }
  return -1;
}

/*
 * The ring, for the one thread that reads and writes: a burst costs one system call instead of one
 * for each frame. Where the reader of what is written shares our processor, it can't take over
 * between two writes either.
 */
static struct {
  int fd; /* RING_UNKNOWN: not asked for yet; -1: this kernel or container does not give one */
  uint32_t sq_mask, cq_mask;
  uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail;
  struct io_uring_sqe *sqes;
  const struct io_uring_cqe *cqes;
} ring = {.fd = RING_UNKNOWN};

/*
 * A ring that only reads and writes, for good: what else it can do, the filter of system calls
 * would not see. -1: this kernel has no such ring, it needs Linux 5.10.
 */
static int make_ring(struct io_uring_params *params) {
  struct io_uring_restriction only[] = {
    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
    {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE},
  };
  *params = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED};
  int fd = (int)syscall(SYS_io_uring_setup, BURST_FRAMES, params);
  if (fd < 0) return -1;
  if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, only, 2) == 0 &&
      syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

/* Makes the ring at the first call; whether there is one. */
static int have_ring(void) {
  if (ring.fd != RING_UNKNOWN) return ring.fd >= 0;
  struct io_uring_params params;
  ring.fd = make_ring(&params);
  if (ring.fd < 0) return 0;
  size_t sq_bytes = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  size_t cq_bytes = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  size_t bytes = sq_bytes > cq_bytes ? sq_bytes : cq_bytes;
  int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
  uint8_t *both = mmap(NULL, bytes, protection, flags, ring.fd, IORING_OFF_SQ_RING);
  void *sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), protection, flags,
                    ring.fd, IORING_OFF_SQES);
  /* RW_CUR_POS came with IORING_OP_READ and _WRITE, in Linux 5.6. */
  uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_RW_CUR_POS;
  if ((params.features & needed) != needed || both == MAP_FAILED || sqes == MAP_FAILED) {
    close(ring.fd);
    ring.fd = -1;
    return 0;
  }
  ring.sqes = sqes;
  ring.cqes = (void *)(both + params.cq_off.cqes);
  ring.sq_head = (void *)(both + params.sq_off.head);
  ring.sq_tail = (void *)(both + params.sq_off.tail);
  ring.cq_head = (void *)(both + params.cq_off.head);
  ring.cq_tail = (void *)(both + params.cq_off.tail);
  ring.sq_mask = params.sq_entries - 1;
  ring.cq_mask = params.cq_entries - 1;
  uint32_t *array = (void *)(both + params.sq_off.array);
  for (uint32_t i = 0; i < params.sq_entries; i++) array[i] = i;
  return 1;
}

/* Makes the ring now, as a process that has given up privileges may not; whether there is one. */
int32_t tap_ring(void) {
  return have_ring();
}

/* A record to read or write, and what came of it: a length, or -errno. */
struct transfer {
  uintptr_t at;
  uint32_t length;
  int32_t result;
};

/*
 * Reads or writes (`opcode`) up to BURST_FRAMES records with one call, in order; none waits for
 * anything. Where there is no ring, or it is of no use with this kernel's devices, results are
 * negative: calls of their own do better.
 */
static void transfer_all(int fd, uint8_t opcode, struct transfer *transfers, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) transfers[i].result = -EAGAIN;
  if (!have_ring()) return;
  uint32_t tail = *ring.sq_tail;
  for (uint32_t i = 0; i < count; i++) {
    ring.sqes[tail++ & ring.sq_mask] = (struct io_uring_sqe){
      .opcode = opcode,
      .fd = fd,
      .addr = transfers[i].at,
      .len = transfers[i].length,
      .rw_flags = RWF_NOWAIT,
      .user_data = i,
    };
  }
  __atomic_store_n(ring.sq_tail, tail, __ATOMIC_RELEASE);
  for (uint32_t ended = 0; ended < count;) {
    uint32_t waiting = tail - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE);
    long status = syscall(SYS_io_uring_enter, ring.fd, waiting, count - ended,
                          IORING_ENTER_GETEVENTS, NULL, 0);
    uint32_t head = *ring.cq_head;
    for (; head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE); head++, ended++) {
      const struct io_uring_cqe *cqe = &ring.cqes[head & ring.cq_mask];
      transfers[cqe->user_data].result = cqe->res;
    }
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    if ((status < 0 && errno != EINTR) || transfers[0].result == -EOPNOTSUPP) {
      close(ring.fd);
      ring.fd = -1;
      return;
    }
  }
}

/*
 * Reads a burst of up to `batch` records (vnet header, frame), one into each slot of `slot_bytes`
 * bytes from arena[start] on; frames[] gets the offset and the length of each frame, without its
 * vnet header. Looks and sleeps for one if there is none. Returns the number of frames, 0 if none
 * came.
 */
int32_t tap_read(int32_t fd, uint8_t *arena, uint32_t start, uint32_t slot_bytes, uint32_t *frames,
                 uint32_t batch, int32_t spin_us, int32_t wait_ms) {
  struct transfer slots[BURST_FRAMES];
  for (uint32_t i = 0; i < batch; i++) {
    slots[i] = (struct transfer){(uintptr_t)(arena + start + i * slot_bytes), slot_bytes, -EAGAIN};
  }
  if (batch > 1) transfer_all(fd, IORING_OP_READ, slots, batch);

  uint32_t count = 0;
  for (uint32_t i = 0; i < batch; i++) {
    if (slots[i].result <= VNET_BYTES) continue;
    frames[2 * count] = start + i * slot_bytes + VNET_BYTES;
    frames[2 * count + 1] = (uint32_t)slots[i].result - VNET_BYTES;
    count++;
  }
  if (count > 0) return (int32_t)count;

  /* None so far, or no ring. */
  do {
    uint8_t *record = arena + start + count * slot_bytes;
    ssize_t got = count == 0 ? first_record(fd, record, slot_bytes, spin_us, wait_ms)
                             : read(fd, record, slot_bytes);
    if (got < 0 && count == 0 && errno != EAGAIN && errno != EINTR) return -errno;
    if (got <= VNET_BYTES) break;
    frames[2 * count] = start + count * slot_bytes + VNET_BYTES;
    frames[2 * count + 1] = (uint32_t)got - VNET_BYTES;
    count++;
  } while (count < batch && ring.fd < 0);
  return (int32_t)count;
}

/* One record out; a full queue gets one short chance to drain. 0 or -errno. */
static int write_record(int fd, const void *record, size_t size) {
  for (int attempt = 0;; attempt++) {
    if (write(fd, record, size) >= 0) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || attempt > 0) return -errno;
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    poll(&ready, 1, WRITE_RETRY_MS);
  }
}

static int is_inside(uint32_t offset, uint32_t length, uint32_t arena_bytes) {
  return offset >= VNET_BYTES && offset <= arena_bytes && length <= arena_bytes - offset;
}

/*
 * Writes `count` frames given as in tap_read; the VNET_BYTES in front of a frame are its vnet
 * header. A frame the device refuses is skipped. Returns how many it took, or -errno if it refused
 * them all; outcome[0] is the number refused, outcome[1] the first errno among them.
 */
int32_t tap_write(int32_t fd, const uint8_t *arena, uint32_t arena_bytes, const uint32_t *frames,
                  uint32_t count, uint32_t *outcome) {
  uint32_t refused = 0;
  int first_error = 0;
  for (uint32_t done = 0; done < count; done += BURST_FRAMES) {
    struct transfer records[BURST_FRAMES];
    uint32_t here = count - done < BURST_FRAMES ? count - done : BURST_FRAMES;
    for (uint32_t i = 0; i < here; i++) {
      uint32_t offset = frames[2 * (done + i)], length = frames[2 * (done + i) + 1];
      int fits = is_inside(offset, length, arena_bytes);
      records[i] = (struct transfer){
        fits ? (uintptr_t)(arena + offset - VNET_BYTES) : 0, VNET_BYTES + length, -EAGAIN};
    }
    if (here > 1) transfer_all(fd, IORING_OP_WRITE, records, here);
    for (uint32_t i = 0; i < here; i++) {
      int status = records[i].at == 0 ? -EFAULT : 0;
      if (status == 0 && records[i].result < 0) {
        status = write_record(fd, (const void *)records[i].at, records[i].length);
      }
      if (status < 0 && refused++ == 0) first_error = -status;
    }
  }
  outcome[0] = refused;
  outcome[1] = (uint32_t)first_error;
  return count > 0 && refused == count ? -first_error : (int32_t)(count - refused);
}

/*
 * Waits up to `wait_ms` for something to read or for the end of a device, `fd` or `other` (-1:
 * none): 1, or 0 after the time.
 */
int32_t tap_wait(int32_t fd, int32_t other, int32_t wait_ms) {
  struct pollfd ready[] = {{.fd = fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
  int status = poll(ready, 2, wait_ms);
  if (status < 0) return errno == EINTR ? 0 : -errno;
  return status > 0;
}

/* As tap_wait, but looks for `spin_us` before it sleeps: tap_read does this for one device. */
int32_t tap_spin(int32_t fd, int32_t other, int32_t spin_us, int32_t wait_ms) {
  if (spin_us > 0) {
    int64_t end_us = now_us() + spin_us;
    uint32_t turns = 0;
    do {
      int32_t status = tap_wait(fd, other, 0);
      if (status != 0) return status;
    } while (spins_on(end_us, &turns));
  }
  return tap_wait(fd, other, wait_ms);
}

int32_t tap_close(int32_t fd) {
  return close(fd) < 0 ? -errno : 0;
}
