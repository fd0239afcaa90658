/*
 * A supervisor that keeps descriptors as systemd does: starts a program, takes its messages, stores
 * the descriptors that it sends, and hands them over when it starts it again.
 *
 *     supervisor path|abstract PROGRAM ARGUMENTS…
 *
 * Prints each message as `notify: TEXT`, with `+fd` behind it if one came along. The program's
 * output goes where its own does. Signals: SIGHUP is passed on, SIGUSR1 ends the program by SIGTERM
 * and starts it again, SIGUSR2 by SIGKILL; a program that ends by itself is started again, too.
 * SIGTERM ends it for good.
 *
 * Read first: sd_notify(3), sd_listen_fds(3), cmsg(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_FD = 3, MAX_STORED = 8, NAME_BYTES = 64, MAX_STARTS = 20 };

static struct stored {
  int fd;
  char name[NAME_BYTES];
} store[MAX_STORED];
static int stored_count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* Binds the socket for messages and names it in NOTIFY_SOCKET. */
static int notify_socket(int is_abstract) {
  struct sockaddr_un own = {.sun_family = AF_UNIX};
  char name[100];
  snprintf(name, sizeof name, "%ctmp/treegate-supervisor-%d", is_abstract ? '@' : '/', (int)getpid());
  size_t length = strlen(name);
  memcpy(own.sun_path, name, length);
  if (is_abstract) own.sun_path[0] = '\0';
  else unlink(name);
  int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0 || bind(sock, (struct sockaddr *)&own, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0) {
    fail("socket");
  }
  setenv("NOTIFY_SOCKET", name, 1);
  return sock;
}

/* The value of a line `NAME=value` of the message; NULL if there is none. */
static const char *line_of(const char *text, const char *name, char *value, size_t size) {
  const char *at = strstr(text, name);
  if (!at || (at != text && at[-1] != '\n')) return NULL;
  at += strlen(name);
  snprintf(value, size, "%.*s", (int)strcspn(at, "\n"), at);
  return value;
}

/* Keeps the descriptor beside others of the same name. */
static void keep(int fd, const char *name) {
  if (stored_count == MAX_STORED) {
    close(fd);
    return;
  }
  store[stored_count].fd = fd;
  snprintf(store[stored_count++].name, NAME_BYTES, "%s", name);
}

/* Keeps none of that name any more. */
static void forget(const char *name) {
  int left = 0;
  for (int i = 0; i < stored_count; i++) {
    if (strcmp(store[i].name, name) == 0) close(store[i].fd);
    else store[left++] = store[i];
  }
  stored_count = left;
}

/* Takes all messages that wait. */
static void receive(int sock) {
  for (;;) {
    char text[4096], name[NAME_BYTES];
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec part = {text, sizeof text - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(sock, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0) return;
    text[got] = '\0';
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (header && header->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(header), sizeof fd);
    for (char *c = text; *c; c++) if (*c == '\n' && c[1]) *c = ' ';
    printf("notify: %.*s%s\n", (int)strcspn(text, "\n"), text, fd >= 0 ? " +fd" : "");
    fflush(stdout);
    for (char *c = text; *c; c++) if (*c == ' ') *c = '\n';
    if (fd >= 0 && strstr(text, "FDSTORE=1")) {
      keep(fd, line_of(text, "FDNAME=", name, sizeof name) ? name : "stored");
    } else if (fd >= 0) {
      close(fd);
    }
    if (strstr(text, "FDSTOREREMOVE=1") && line_of(text, "FDNAME=", name, sizeof name)) forget(name);
  }
}

static pid_t start(char **argv) {
  pid_t pid = fork();
  if (pid != 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  char text[MAX_STORED * NAME_BYTES] = "";
  for (int i = 0; i < stored_count; i++) {
    int high = fcntl(store[i].fd, F_DUPFD, 100); /* out of the way of those that follow */
    dup2(high, FIRST_FD + i);
    close(high);
    if (i > 0) strcat(text, ":");
    strcat(text, store[i].name);
  }
  if (stored_count > 0) {
    setenv("LISTEN_FDNAMES", text, 1);
    snprintf(text, sizeof text, "%d", stored_count);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%d", (int)getpid());
    setenv("LISTEN_PID", text, 1);
  }
  execvp(argv[0], argv);
  fail(argv[0]);
  return -1;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  sigset_t signals;
  sigemptyset(&signals);
  int wanted[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) sigaddset(&signals, wanted[i]);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  /* Stored descriptors and our own stay clear of the numbers that the program gets. */
  for (int fd = FIRST_FD; fd < FIRST_FD + MAX_STORED; fd++) {
    if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) fail("/dev/null");
  }
  int sock = notify_socket(strcmp(argv[1], "abstract") == 0);
  int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
  pid_t child = start(argv + 2);
  int starts = 1, is_ending = 0;
  struct pollfd ready[] = {{.fd = sock, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
  for (;;) {
    if (poll(ready, 2, -1) < 0 && errno != EINTR) fail("poll");
    receive(sock);
    if (!(ready[1].revents & POLLIN)) continue;
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGHUP) kill(child, SIGHUP);
    if (info.ssi_signo == SIGUSR1) kill(child, SIGTERM);
    if (info.ssi_signo == SIGUSR2) kill(child, SIGKILL);
    if (info.ssi_signo == SIGTERM) is_ending = 1, kill(child, SIGTERM);
    int status;
    if (waitpid(child, &status, WNOHANG) != child) continue;
    receive(sock);
    if (is_ending || starts++ == MAX_STARTS) return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    child = start(argv + 2);
  }
}
