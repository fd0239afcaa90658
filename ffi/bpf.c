/*
 * What is needed to have programs of one's own in the kernel, and memory that is shared with them.
 * The binding, with the same names, is ffi/bpf.ts.
 *
 * Every function but bpf_map returns a value >= 0, or -errno. Read first: bpf(2), membarrier(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * bpf(2); `attr` is a union bpf_attr, which the caller fills in. Signals wait meanwhile: with one
 * that has come the kernel would not load a program (EAGAIN).
 */
int32_t bpf_call(int32_t command, void *attr, uint32_t attr_bytes) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  long result = syscall(__NR_bpf, command, attr, attr_bytes);
  int32_t status = result < 0 ? -errno : (int32_t)result;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

/* Maps the value of an array map into memory: where, or NULL and an errno in `error`. */
void *bpf_map(int32_t fd, uint32_t bytes, int32_t *error) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory != MAP_FAILED) return memory;
  *error = errno;
  return NULL;
}

/* Returns when all programs that run in the kernel now, on whatever processor, have ended. */
int32_t bpf_wait(void) {
  return syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0 ? -errno : 0;
}
