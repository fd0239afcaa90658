/*
 * Tries, from inside a running program, what a sandbox is to forbid: a library that is loaded before
 * the program's own (LD_PRELOAD). At signal ASK every thread makes each attempt and writes a line to
 * the file of $ATTEMPTS:
 *
 *     THREAD NAME RESULT      0 or more: it worked; else -errno
 *
 * $ATTEMPTS_AWAY is a folder out of reach, $ATTEMPTS_KEPT one in which it may write, $ATTEMPTS_READ a
 * file that it may read. What ends or changes the program where it works is left out if
 * $ATTEMPTS_MILD is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { ASK = 40, TRY = 41 };

static int out = -1, is_mild;
static char away[512], kept[512], readable[512];
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* The program's ring: the first one that it has made. */
static int ring_fd = -1;
static struct io_uring_params ring;

/* Sees what the program asks of the kernel by number, the ring among it. */
long syscall(long number, ...) {
  static long (*next)(long, ...);
  if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  long result = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (number == SYS_io_uring_setup && result >= 0 && ring_fd < 0) {
    ring_fd = (int)result;
    ring = *(struct io_uring_params *)a[1];
  }
  return result;
}

static void tell(const char *name, long result) {
  char line[128];
  int length = snprintf(line, sizeof line, "%d %s %ld\n", (int)gettid(), name,
                        result < 0 ? -(long)errno : result);
  if (write(out, line, (size_t)length) < 0) abort();
}

/* Has the ring do `operation`: its result, as a call would give it. */
static long by_ring(struct io_uring_sqe operation) {
  if (ring_fd < 0) return errno = ENXIO, -1;
  size_t bytes = ring.cq_off.cqes + ring.cq_entries * sizeof(struct io_uring_cqe);
  size_t sqe_bytes = ring.sq_entries * sizeof operation;
  uint8_t *both = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQ_RING);
  struct io_uring_sqe *sqes =
    mmap(NULL, sqe_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQES);
  if (both == MAP_FAILED || sqes == MAP_FAILED) return -1;
  _Atomic uint32_t *sq_tail = (void *)(both + ring.sq_off.tail);
  _Atomic uint32_t *cq_head = (void *)(both + ring.cq_off.head);
  struct io_uring_cqe *cqes = (void *)(both + ring.cq_off.cqes);
  sqes[*sq_tail & (ring.sq_entries - 1)] = operation;
  (*sq_tail)++;
  long result = syscall(SYS_io_uring_enter, ring_fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
  if (result >= 0) {
    result = cqes[*cq_head & (ring.cq_entries - 1)].res;
    (*cq_head)++;
    if (result < 0) errno = (int)-result, result = -1;
  }
  munmap(both, bytes);
  munmap(sqes, sqe_bytes);
  return result;
}

static long opened(const char *path, int flags) {
  long fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd >= 0) close((int)fd);
  return fd < 0 ? -1 : 0;
}

static long made(long fd) {
  if (fd >= 0) close((int)fd);
  return fd < 0 ? -1 : 0;
}

static long from_root(const char *path) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  long fd = openat(root, path, O_RDONLY | O_CLOEXEC);
  int saved = errno;
  close(root);
  errno = saved;
  return made(fd);
}

static long forked(void) {
  long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  return child;
}

static void in(char *path, size_t size, const char *folder, const char *name) {
  snprintf(path, size, "%s/%s-%d", folder, name, (int)gettid());
}

static void on_try(int number) {
  (void)number;
  int saved = errno;
  char path[600];
  while (atomic_flag_test_and_set(&busy)) sched_yield();
  /* What it needs still works. */
  tell("read-own", opened(readable, O_RDONLY));
  in(path, sizeof path, kept, "kept");
  tell("write-own", opened(path, O_WRONLY | O_CREAT | O_EXCL));
  unlink(path);
  tell("own-signal", syscall(SYS_tgkill, getpid(), gettid(), 0));
  /* What it does not. */
  if (!is_mild) {
    char *arguments[] = {"true", NULL};
    tell("exec", execve("/bin/true", arguments, NULL));
    tell("fork", forked());
    tell("ptrace", syscall(SYS_ptrace, 0 /* PTRACE_TRACEME */, 0, 0, 0));
    tell("setuid", syscall(SYS_setresuid, 12345, 12345, 12345));
    tell("unshare", unshare(CLONE_NEWNS));
    tell("mount", syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL));
  }
  tell("netlink", made(syscall(SYS_socket, 16, 3, 0)));
  tell("packet", made(syscall(SYS_socket, 17, 3, 0)));
  tell("raw", made(syscall(SYS_socket, 2, 3, 1)));
  tell("shadow", opened("/etc/shadow", O_RDONLY));
  tell("shadow-by-proc", opened("/proc/self/root/etc/shadow", O_RDONLY));
  tell("shadow-by-folder", from_root("etc/shadow"));
  tell("passwd", opened("/etc/passwd", O_RDONLY));
  tell("init-memory", opened("/proc/1/environ", O_RDONLY));
  in(path, sizeof path, away, "away");
  tell("write-away", opened(path, O_WRONLY | O_CREAT | O_EXCL));
  tell("chmod-away", syscall(SYS_fchmodat, AT_FDCWD, away, 0700));
  tell("ring-setup", made(syscall(SYS_io_uring_setup, 4, &(struct io_uring_params){0})));
  tell("ring-socket", made(by_ring((struct io_uring_sqe){
                        .opcode = IORING_OP_SOCKET, .fd = 16, .off = 3})));
  tell("ring-openat", made(by_ring((struct io_uring_sqe){
                        .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t) "/dev/null"})));
  struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
  int socket = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
  tell("connect", syscall(SYS_connect, socket, &to, sizeof to));
  close(socket);
  tell("other-signal", syscall(SYS_kill, getppid(), 0));
#ifdef __x86_64__
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(20 /* getpid there */) : "memory", "r8", "r9",
                   "r10", "r11");
  if (result < 0) errno = (int)-result, result = -1;
  tell("call-32", result);
  tell("call-x32", syscall(0x40000000 + 39));
#endif
  tell("end", 0);
  atomic_flag_clear(&busy);
  errno = saved;
}

/* Passes it on to every thread. The folder is read without memory of its own. */
static void on_ask(int number) {
  (void)number;
  char entries[8192];
  int saved = errno;
  int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (long length; (length = syscall(SYS_getdents64, tasks, entries, sizeof entries)) > 0;) {
    for (long at = 0; at < length;) {
      int thread = atoi(entries + at + 19); /* struct linux_dirent64: d_name */
      if (thread > 0) syscall(SYS_tgkill, getpid(), thread, TRY);
      at += *(uint16_t *)(entries + at + 16);
    }
  }
  close(tasks);
  errno = saved;
}

static void take(char *to, size_t size, const char *variable) {
  const char *value = getenv(variable);
  snprintf(to, size, "%s", value ? value : "/nowhere");
}

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("ATTEMPTS");
  if (!file) return;
  out = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  is_mild = getenv("ATTEMPTS_MILD") != NULL;
  take(away, sizeof away, "ATTEMPTS_AWAY");
  take(kept, sizeof kept, "ATTEMPTS_KEPT");
  take(readable, sizeof readable, "ATTEMPTS_READ");
  struct sigaction ask = {.sa_handler = on_ask, .sa_flags = SA_RESTART};
  struct sigaction try = {.sa_handler = on_try, .sa_flags = SA_RESTART};
  sigaction(ASK, &ask, NULL);
  sigaction(TRY, &try, NULL);
}
