/*
 * The front of the portable single file (made by src/pack/package.ts):
 *
 *     launcher | Deno's executable | the program | the shim | what draws SVG | the page | trailer
 *
 * It copies them into anonymous files in memory (the last two only for `policy svg` and for a run) and becomes Deno,
 * so nothing is left on disk and the process id, standard streams, arguments and exit code are the
 * program's own. The program gets its least permissions here, and no variable of the caller's
 * environment can configure the runtime.
 *
 * What the runtime would end by with a dump or without a word is said or prevented here, in this
 * order: closed standard streams, too low limits, signals that come before the program listens, a
 * working directory that has been removed.
 *
 * Read first: memfd_create(2), fexecve(3), getrlimit(2), proc(5) for /proc/self/exe and
 * /proc/self/fd.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3: says what was the default before */
#endif

#define MAGIC "treegate"

struct trailer {
  uint64_t deno_bytes, program_bytes, shim_bytes, svg_bytes, page_bytes;
  char magic[8];
};

/* Low enough for a small RLIMIT_NOFILE, away from the 63, 62 … of a shell's <(command). They are
 * known to src/pack/portable.ts. */
enum { PROGRAM_FD = 40, SHIM_FD = 41, SVG_FD = 42, PAGE_FD = 43 };

/* Leaves room below PROGRAM_FD for what is open meanwhile. */
enum { MOST_HANDED_OVER = 32 };

/* The packet path is many small functions: with V8's usual limits (460 and 920 bytes of bytecode)
 * about a quarter of its time goes into calls between them. Young objects have 2 MiB, not 32: a
 * reload makes many that stay, and packets wait while they are moved. src/pack/package.ts says the
 * same to deno compile, deno.json to the tasks.
 *
 * Permissions: load the shim, read a policy file, the three variables commander asks for, and those
 * of src/process/supervisor.ts. */
static const char *const DENO_ARGS[] = {
    "run",
    "--quiet",
    "--v8-flags=--max-inlined-bytecode-size=1000,--max-inlined-bytecode-size-cumulative=5000,"
    "--max-semi-space-size=2",
    "--no-config",
    "--no-lock",
    "--no-npm",
    "--no-remote",
    "--cached-only",
    "--no-prompt",
    "--no-code-cache",
    "--allow-read",
    "--allow-write", /* this and the next three are given up when what the command needs is open: */
    "--allow-net",   /* see src/cli/main.ts and src/process/run.ts; the control socket needs three */
    "--allow-sys",
    "--allow-ffi", /* not for the shim alone, as memory is shared with the kernel */
    "--allow-env=NO_COLOR,FORCE_COLOR,CLICOLOR_FORCE,"
    "LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES,NOTIFY_SOCKET,WATCHDOG_USEC,WATCHDOG_PID",
    "--ext=js",
    "/proc/self/fd/40", /* tap_title in ffi/tap.c knows it */
};
enum { DENO_ARG_COUNT = sizeof DENO_ARGS / sizeof *DENO_ARGS };

#define MIB (1024UL * 1024)

/*
 * What the runtime takes for granted. V8 reserves addresses: a cage of 32 GiB for its C++ objects,
 * with half as much around it to align it, and some smaller ones, 48.4 GiB at the peak. Of what is
 * writable it takes 0.7 GiB with a million connections, and it counts on a stack of 1 MiB. For the
 * descriptors see PROGRAM_FD.
 */
static const struct need {
  int resource;
  rlim_t least, unit;
  const char *name, *unit_name;
} NEEDS[] = {
    {RLIMIT_AS, 52 * 1024 * MIB, 1024, "address space (ulimit -v)", " KiB"},
    {RLIMIT_DATA, 1024 * MIB, 1024, "data (ulimit -d)", " KiB"},
    {RLIMIT_STACK, 2 * MIB, 1024, "stack (ulimit -s)", " KiB"},
    {RLIMIT_NOFILE, 64, 1, "open files (ulimit -n)", ""},
};

/* Names that begin so would configure Deno or its parts. */
static const char *const SCRUBBED[] = {"DENO_", "NODE_", "OTEL_", "RUST_"};

static void fail(const char *what) {
  fprintf(stderr, "Cannot start: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* Closed standard streams lead to /dev/null, as the runtime would have it: no other file may get
 * their numbers. */
static void open_standard_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2);
  if (fd >= 0) close(fd);
}

static void check_limits(void) {
  for (size_t i = 0; i < sizeof NEEDS / sizeof *NEEDS; i++) {
    const struct need *need = &NEEDS[i];
    struct rlimit limit;
    if (getrlimit(need->resource, &limit) < 0) fail(need->name);
    if (limit.rlim_cur >= need->least) continue;
    fprintf(stderr, "Cannot start: the limit of %s is %llu%s: expected at least %llu%s\n", need->name,
            (unsigned long long)(limit.rlim_cur / need->unit), need->unit_name,
            (unsigned long long)(need->least / need->unit), need->unit_name);
    exit(1);
  }
}

/* True if the arguments ask for a run: all words are flags or values of flags. As isRun in
 * src/process/signals.ts. */
static int is_run(int argc, char **argv) {
  int is_value = 0;
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    int is_flag = strncmp(word, "--", 2) == 0;
    if (!is_flag && !is_value) return 0;
    is_value = is_flag && !strchr(word, '=') && strcmp(word, "--preserve-source") != 0 &&
               strcmp(word, "--admin-insecure-bind") != 0;
  }
  return 1;
}

/* A write beyond the limit of file sizes fails (EFBIG) instead of ending the process. What a run
 * listens for waits until it does: tap_unblock in ffi/tap.c lets it in. Ignoring it would not do,
 * because the runtime catches SIGHUP before anybody can listen, and then ends by it. */
static void hold_signals(int run) {
  signal(SIGXFSZ, SIG_IGN);
  if (!run) return;
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGHUP);
  sigaddset(&held, SIGUSR2);
  sigprocmask(SIG_BLOCK, &held, NULL);
}

/* Deno does not start in a directory that has been removed. In this one relative paths are refused:
 * src/process/file_error.ts says why. */
static void leave_removed_directory(void) {
  char path[PATH_MAX];
  if (getcwd(path, sizeof path) || errno != ENOENT) return;
  if (chdir("/proc/self/fdinfo") < 0) fail("the working directory has been removed");
}

/*
 * What a supervisor hands over (sd_listen_fds(3)) begins at 3 and must not meet our own
 * descriptors.
 */
static void check_handed_over(void) {
  const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
  if (!pid || !count || strtol(pid, NULL, 10) != (long)getpid()) return;
  if (strtol(count, NULL, 10) <= MOST_HANDED_OVER) return;
  fprintf(stderr, "Cannot start: LISTEN_FDS is %s: expected at most %d descriptors\n", count,
          MOST_HANDED_OVER);
  exit(1);
}

/* The next `size` bytes of `from` as a read-only file in memory. */
static int unpack(const char *name, int from, off_t *at, uint64_t size) {
  int fd = memfd_create(name, MFD_ALLOW_SEALING | MFD_EXEC);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_ALLOW_SEALING);
  if (fd < 0) fail("no anonymous file (memfd_create)");
  for (uint64_t left = size; left > 0;) {
    ssize_t copied = sendfile(fd, from, at, left);
    if (copied == 0) errno = EIO;
    if (copied < 0 && errno == EFBIG) {
      fail("the program could not be copied to memory (is the limit of file sizes, ulimit -f, too low?)");
    }
    if (copied <= 0) fail("the program could not be copied to memory");
    left -= (uint64_t)copied;
  }
  fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

static void renumber(int fd, int wanted) {
  if (fd == wanted) return;
  if (dup2(fd, wanted) < 0) fail("no file descriptor 42");
  close(fd);
}

/* A cache directory that cannot exist: Deno then keeps its caches in memory. On a terminal it would
 * say so, hence its own log without the module that does. */
static void clean_environment(void) {
  char **kept = environ;
  for (char **entry = environ; *entry; entry++) {
    int scrub = 0;
    for (size_t i = 0; i < sizeof SCRUBBED / sizeof *SCRUBBED; i++) {
      scrub |= strncmp(*entry, SCRUBBED[i], strlen(SCRUBBED[i])) == 0;
    }
    if (!scrub) *kept++ = *entry;
  }
  *kept = NULL;
  if (putenv("DENO_DIR=/dev/null/none") || putenv("DENO_NO_UPDATE_CHECK=1")) fail("environment");
  if (putenv("DENO_LOG=error,deno::cache::cache_db=off")) fail("environment");
}

int main(int argc, char **argv) {
  open_standard_streams();
  check_limits();
  check_handed_over();
  int run = is_run(argc, argv);
  hold_signals(run);
  leave_removed_directory();
  int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat stat;
  if (self < 0 || fstat(self, &stat) < 0) fail("/proc/self/exe");

  struct trailer parts;
  off_t end = stat.st_size - (off_t)sizeof parts;
  if (pread(self, &parts, sizeof parts, end) != (ssize_t)sizeof parts ||
      memcmp(parts.magic, MAGIC, sizeof parts.magic) != 0) {
    errno = ENOEXEC;
    fail("this file is not complete, build or copy it again");
  }

  struct rlimit file_size, most; /* the copies are files, too */
  if (getrlimit(RLIMIT_FSIZE, &file_size) < 0) fail("limits");
  most = (struct rlimit){file_size.rlim_max, file_size.rlim_max};
  setrlimit(RLIMIT_FSIZE, &most);
  off_t at = end - (off_t)(parts.deno_bytes + parts.program_bytes + parts.shim_bytes +
                           parts.svg_bytes + parts.page_bytes);
  int deno = unpack("proxy", self, &at, parts.deno_bytes);
  int program = unpack("program", self, &at, parts.program_bytes);
  int shim = unpack("shim", self, &at, parts.shim_bytes);
  fcntl(deno, F_SETFD, FD_CLOEXEC);
  renumber(program, PROGRAM_FD);
  renumber(shim, SHIM_FD);
  if (argc > 2 && strcmp(argv[1], "policy") == 0 && strcmp(argv[2], "svg") == 0) {
    renumber(unpack("svg", self, &at, parts.svg_bytes), SVG_FD);
  }
  if (run) {
    at = end - (off_t)parts.page_bytes;
    renumber(unpack("page", self, &at, parts.page_bytes), PAGE_FD);
  }
  setrlimit(RLIMIT_FSIZE, &file_size);

  char **args = calloc((size_t)argc + DENO_ARG_COUNT + 2, sizeof *args);
  if (!args) fail("arguments");
  size_t count = 0;
  args[count++] = argc > 0 ? argv[0] : "proxy";
  for (size_t i = 0; i < DENO_ARG_COUNT; i++) args[count++] = (char *)DENO_ARGS[i];
  for (int i = 1; i < argc; i++) args[count++] = argv[i];

  clean_environment();
  fexecve(deno, args, environ);
  fail("the runtime could not be executed");
}
