/* Threads of the process: how much of the processors each asks for. Read first: setpriority(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>

/*
 * Gives the calling thread this nice value: Linux keeps one for each thread, in spite of POSIX. 0
 * or -errno.
 */
int32_t thread_nice(int32_t nice) {
  return setpriority(PRIO_PROCESS, 0, nice) == 0 ? 0 : -errno;
}
