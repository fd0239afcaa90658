/*
 * The front of the portable single file (made by ffi/package.ts):
 *
 *     launcher | Deno's executable | the program | the shim | what draws SVG | struct trailer
 *
 * It copies them into anonymous files in memory (the last only for `policy svg`) and becomes Deno, so
 * nothing is left on disk and the process id, standard streams, arguments and exit code are the program's own. The program gets
 * its least permissions here, and no variable of the caller's environment can configure the runtime.
 *
 * Read first: memfd_create(2), fexecve(3), proc(5) for /proc/self/exe and /proc/self/fd.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3: says what was the default before */
#endif

#define MAGIC "treegate"

struct trailer {
  uint64_t deno_bytes, program_bytes, shim_bytes, svg_bytes;
  char magic[8];
};

/* Low enough for a small RLIMIT_NOFILE, away from the 63, 62 … of a shell's <(command). SHIM_FD and
 * SVG_FD are known to ffi/portable.ts. */
enum { PROGRAM_FD = 40, SHIM_FD = 41, SVG_FD = 42 };

/* The packet path is many small functions: with V8's usual limits (460 and 920 bytes of bytecode) about a
 * quarter of its time goes into calls between them. ffi/package.ts says the same to deno compile, deno.json
 * to the tasks.
 *
 * Permissions: load the shim, read a policy file, and the three variables commander asks for. */
static const char *const DENO_ARGS[] = {
    "run",
    "--quiet",
    "--v8-flags=--max-inlined-bytecode-size=1000,--max-inlined-bytecode-size-cumulative=5000",
    "--no-config",
    "--no-lock",
    "--no-npm",
    "--no-remote",
    "--cached-only",
    "--no-prompt",
    "--no-code-cache",
    "--allow-ffi=/proc/self/fd/41",
    "--allow-read",
    "--allow-write", /* given up at once, except by `replay --out`: see src/app/main.ts */
    "--allow-env=NO_COLOR,FORCE_COLOR,CLICOLOR_FORCE",
    "--ext=js",
    "/proc/self/fd/40",
};
enum { DENO_ARG_COUNT = sizeof DENO_ARGS / sizeof *DENO_ARGS };

/* Names that begin so would configure Deno or its parts. */
static const char *const SCRUBBED[] = {"DENO_", "NODE_", "OTEL_", "RUST_"};

static void fail(const char *what) {
  fprintf(stderr, "Cannot start: %s: %s\n", what, strerror(errno));
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
    if (copied <= 0) fail("the program could not be copied to memory");
    left -= (uint64_t)copied;
  }
  fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  return fd;
}

static void renumber(int fd, int wanted) {
  if (fd == wanted) return;
  if (dup2(fd, wanted) < 0) fail("no file descriptor 42 (is the limit, ulimit -n, below 64?)");
  close(fd);
}

/* A cache directory that cannot exist: Deno then keeps its caches in memory. */
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
}

int main(int argc, char **argv) {
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

  off_t at = end - (off_t)(parts.deno_bytes + parts.program_bytes + parts.shim_bytes +
                           parts.svg_bytes);
  int deno = unpack("proxy", self, &at, parts.deno_bytes);
  int program = unpack("program", self, &at, parts.program_bytes);
  int shim = unpack("shim", self, &at, parts.shim_bytes);
  fcntl(deno, F_SETFD, FD_CLOEXEC);
  renumber(program, PROGRAM_FD);
  renumber(shim, SHIM_FD);
  if (argc > 2 && strcmp(argv[1], "policy") == 0 && strcmp(argv[2], "svg") == 0) {
    renumber(unpack("svg", self, &at, parts.svg_bytes), SVG_FD);
  }

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
