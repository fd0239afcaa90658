/* Threads of the process: how much of the processors each asks for. Read first: setpriority(2). */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/*
 * Gives the calling thread this nice value: Linux keeps one for each thread, in spite of POSIX. 0
 * or -errno.
 */
int32_t thread_nice(int32_t nice) {
  return setpriority(PRIO_PROCESS, 0, nice) == 0 ? 0 : -errno;
}

/* True if the thread's name begins so; a thread that is gone has none. */
static int is_named(const char *thread, const char *beginning) {
  char path[64], name[16] = "";
  snprintf(path, sizeof path, "/proc/self/task/%.16s/comm", thread);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, name, sizeof name);
  close(fd);
  size_t wanted = strlen(beginning);
  return length >= (ssize_t)wanted && memcmp(name, beginning, wanted) == 0;
}

/*
 * Gives this nice value to each of the process's threads whose name, of at most 15 bytes, begins
 * so. How many there are, or -errno.
 */
int32_t threads_nice(const char *beginning, int32_t nice) {
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return -errno;
  int32_t count = 0;
  for (struct dirent *task; (task = readdir(tasks));) {
    id_t thread = (id_t)atoi(task->d_name);
    if (thread == 0 || !is_named(task->d_name, beginning)) continue;
    if (setpriority(PRIO_PROCESS, thread, nice) == 0) count++;
  }
  closedir(tasks);
  return count;
}
