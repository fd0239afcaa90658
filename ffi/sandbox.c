/*
 * Gives up what the process does not need: capabilities, another user, files (Landlock), system
 * calls (seccomp). Nothing of it can be taken back.
 *
 * Linux keeps credentials, no_new_privs and Landlock for each thread, and the runtime has started
 * its threads before. So a signal goes to every one of them, whose handler makes the calls there;
 * threads that are made later inherit what their makers have. The C library's setuid would reach
 * all threads, too, but of capabilities and Landlock it knows nothing.
 *
 * Every function returns a value >= 0, or -errno. Read first: capabilities(7), landlock(7),
 * seccomp(2), prctl(2), tgkill(2).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- who ------------------------------------------------------------------------------------- */

/*
 * What the user `name` is: number, group, and all groups into `ids` (room for 2 + most). How many
 * groups; -ENOENT: there is no such user.
 */
int32_t sandbox_user(const char *name, uint32_t *ids, uint32_t most) {
  char text[4096];
  struct passwd entry, *found;
  int error = getpwnam_r(name, &entry, text, sizeof text, &found);
  if (!found) return error == 0 || error == ESRCH ? -ENOENT : -error;
  ids[0] = entry.pw_uid;
  ids[1] = entry.pw_gid;
  int count = (int)most;
  return getgrouplist(name, entry.pw_gid, (gid_t *)(ids + 2), &count) < 0 ? -E2BIG : count;
}

/* Whether this process is that user with that group already. */
int32_t sandbox_is(const uint32_t *ids) {
  return geteuid() == ids[0] && getuid() == ids[0] && getegid() == ids[1] && getgid() == ids[1];
}

/* The calling thread alone becomes the user. 0 or -errno. */
static int become(const uint32_t *ids, uint32_t groups) {
  if (syscall(SYS_setgroups, groups, ids + 2) < 0) return -errno;
  if (syscall(SYS_setresgid, ids[1], ids[1], ids[1]) < 0) return -errno;
  if (syscall(SYS_setresuid, ids[0], ids[0], ids[0]) < 0) return -errno;
  return 0;
}

struct question {
  const uint32_t *ids;
  uint32_t groups;
  const char *path;
  int32_t mode, answer;
};

static void *ask_as(void *given) {
  struct question *question = given;
  question->answer = become(question->ids, question->groups);
  if (question->answer < 0) return NULL;
  int status = faccessat(AT_FDCWD, question->path, question->mode, AT_EACCESS);
  question->answer = status < 0 ? -errno : 1;
  return NULL;
}

/*
 * Whether the user of `ids` may use `path` in this way (R_OK …): 1, or -errno. Asked by a thread
 * that becomes this user and ends.
 */
int32_t sandbox_may(const uint32_t *ids, uint32_t groups, const char *path, int32_t mode) {
  struct question question = {ids, groups, path, mode, 0};
  int dumpable = prctl(PR_GET_DUMPABLE);
  pthread_t thread;
  int error = pthread_create(&thread, NULL, ask_as, &question);
  if (error != 0) return -error;
  pthread_join(thread, NULL);
  prctl(PR_SET_DUMPABLE, dumpable == 1); /* the thread's new user has taken it from all of us */
  return question.answer;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* As in linux/landlock.h, of which older systems have older ones. */
enum {
  CREATE_RULESET_VERSION = 1,
  RULE_PATH_BENEATH = 1,
  OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15, /* execute, write, read, truncate, ioctl */
};
struct ruleset_attr {
  uint64_t fs, net;
};
struct path_attr {
  uint64_t allowed;
  int32_t folder;
} __attribute__((packed));

/* The version of Landlock that this kernel has. */
int32_t sandbox_landlock(void) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
  return abi < 0 ? -errno : (int32_t)abi;
}

/* A descriptor of rules that allow nothing of what version `abi` knows. */
int32_t sandbox_ruleset(int32_t abi) {
  int files = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
  struct ruleset_attr attr = {.fs = (1U << files) - 1, .net = abi >= 4 ? 3 : 0};
  size_t size = abi >= 4 ? sizeof attr : offsetof(struct ruleset_attr, net);
  long fd = syscall(SYS_landlock_create_ruleset, &attr, size, 0);
  return fd < 0 ? -errno : (int32_t)fd;
}

/* Allows the `rights` that version `abi` knows to the file, or to all in the folder, `path`. */
int32_t sandbox_allow(int32_t ruleset, int32_t abi, const char *path, uint32_t rights) {
  struct stat stat;
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return -errno;
  int status = fstat(fd, &stat) < 0 ? -errno : 0;
  if (status == 0 && !S_ISDIR(stat.st_mode)) rights &= OF_FILES;
  if (abi < 3) rights &= ~(1U << 14);
  if (abi < 5) rights &= ~(1U << 15);
  struct path_attr attr = {.allowed = rights, .folder = fd};
  if (status == 0 && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0) < 0) {
    status = -errno;
  }
  close(fd);
  return status;
}

/* ---- every thread ---------------------------------------------------------------------------- */

enum { PATIENCE_MS = 2000, NAP_NS = 20000, MOST_THREADS = 4096 };

/* What each thread does when the signal comes, and how that went. */
static struct {
  const uint32_t *ids; /* NULL: it stays who it is */
  uint32_t groups;
  int ruleset; /* negative: none */
  int error;   /* the first one, as -errno */
  int answered;
} order;

static int give_up(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {0};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  /* Who has no CAP_SETPCAP keeps the bounding set, which sandbox_threads shows. */
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  /* A thread that was made meanwhile has all of this from its maker. */
  int is_other = order.ids && !sandbox_is(order.ids);
  int status = is_other ? become(order.ids, order.groups) : 0;
  if (status < 0) return status;
  if (is_other) prctl(PR_SET_DUMPABLE, 1); /* or /proc/self would be root's, and the runtime needs it */
  if (syscall(SYS_capset, &header, none) < 0) return -errno;
  if (order.ruleset < 0) return 0;
  return syscall(SYS_landlock_restrict_self, order.ruleset, 0) < 0 ? -errno : 0;
}

static void on_signal(int number) {
  (void)number;
  int saved = errno;
  int status = give_up();
  if (status < 0 && order.error == 0) order.error = status;
  __atomic_store_n(&order.answered, 1, __ATOMIC_RELEASE);
  errno = saved;
}

/* Has the thread do it: 1, 0 if it has ended, or -errno. */
static int tell(int number, pid_t thread) {
  __atomic_store_n(&order.answered, 0, __ATOMIC_RELEASE);
  if (syscall(SYS_tgkill, getpid(), thread, number) < 0) return errno == ESRCH ? 0 : -errno;
  struct timespec nap = {.tv_nsec = NAP_NS}, start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (!__atomic_load_n(&order.answered, __ATOMIC_ACQUIRE)) {
    if (syscall(SYS_tgkill, getpid(), thread, 0) < 0) return 0;
    nanosleep(&nap, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t waited = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
    if (waited > PATIENCE_MS) return -EBUSY;
  }
  return order.error < 0 ? order.error : 1;
}

/* One round over all threads: how many had not been told yet. */
static int tell_new(int number, pid_t *told, int *count) {
  int fresh = 0, status = 0;
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return -errno;
  for (struct dirent *task; status >= 0 && (task = readdir(tasks));) {
    pid_t thread = (pid_t)atoi(task->d_name);
    int is_known = thread <= 0;
    for (int i = 0; i < *count && !is_known; i++) is_known = told[i] == thread;
    if (is_known) continue;
    if (*count == MOST_THREADS) status = -E2BIG;
    else status = tell(number, thread);
    if (status >= 0) told[(*count)++] = thread;
    fresh++;
  }
  closedir(tasks);
  return status < 0 ? status : fresh;
}

/*
 * In every thread: no_new_privs, no capabilities, the user of `ids` (NULL: the same as now), and
 * the rules of `ruleset` (negative: none). 0 or -errno; -EBUSY: a thread did not answer.
 */
int32_t sandbox_restrict(const uint32_t *ids, uint32_t groups, int32_t ruleset) {
  pid_t *told = calloc(MOST_THREADS, sizeof *told);
  if (!told) return -ENOMEM;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
  int number = SIGRTMAX - 1, count = 0, status;
  sigfillset(&action.sa_mask);
  order.ids = ids;
  order.groups = groups;
  order.ruleset = ruleset;
  order.error = 0;
  status = sigaction(number, &action, &before) < 0 ? -errno : 1;
  /* Until a round finds no thread that has been made by one that had not been told. */
  while (status > 0) status = tell_new(number, told, &count);
  sigaction(number, &before, NULL);
  free(told);
  return status;
}

/* ---- system calls ---------------------------------------------------------------------------- */

/*
 * Has every thread ask the classic BPF program of `count` instructions before each system call. Old
 * kernels would slow down such a process's loads and stores, as if it ran programs of others:
 * SPEC_ALLOW.
 */
int32_t sandbox_filter(const void *program, uint32_t count) {
  struct sock_fprog filter = {.len = (unsigned short)count, .filter = (struct sock_filter *)program};
  unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  long status = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  return status < 0 ? -errno : status > 0 ? -EBUSY : 0;
}

/* ---- what is in force ------------------------------------------------------------------------ */

/* The number after `name` in a thread's status, or -1. */
static int64_t field(const char *status, const char *name, int base) {
  const char *at = strstr(status, name);
  return at ? (int64_t)strtoull(at + strlen(name), NULL, base) : -1;
}

/*
 * How many threads there are, and of how many it is true that they: get no new privileges; have no
 * capabilities; can't get any (the bounding set); ask a filter before system calls.
 */
int32_t sandbox_threads(uint32_t *counts) {
  memset(counts, 0, 5 * sizeof *counts);
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return -errno;
  for (struct dirent *task; (task = readdir(tasks));) {
    char path[64], text[4096];
    if (atoi(task->d_name) <= 0) continue;
    snprintf(path, sizeof path, "/proc/self/task/%.16s/status", task->d_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) continue;
    text[length] = 0;
    counts[0]++;
    counts[1] += field(text, "\nNoNewPrivs:", 10) == 1;
    counts[2] += field(text, "\nCapEff:", 16) == 0 && field(text, "\nCapPrm:", 16) == 0;
    counts[3] += field(text, "\nCapBnd:", 16) == 0;
    counts[4] += field(text, "\nSeccomp:", 10) == 2;
  }
  closedir(tasks);
  return 0;
}
