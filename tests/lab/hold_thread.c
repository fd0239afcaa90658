/*
 * Stops one thread of a process, while its other threads go on, until this program ends or the
 * process does:
 *
 *     hold_thread THREAD
 *
 * Prints `held` once it is stopped. Read first: ptrace(2), PTRACE_SEIZE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

static void die(const char *what) {
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  pid_t thread = atoi(argv[1]);
  int status;
  if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) < 0) die("seize");
  if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0) die("interrupt");
  if (waitpid(thread, &status, __WALL) < 0) die("wait");
  puts("held");
  fflush(stdout);
  while (!WIFEXITED(status) && !WIFSIGNALED(status)) {
    if (waitpid(thread, &status, __WALL) < 0) die("wait");
  }
  return 0;
}
