/*
 * Very many clients of an HTTP server at once, until SIGTERM:
 *
 *     clients SOCKET-PATH|ADDRESS:PORT TARGET CLIENTS
 *
 * Every other one asks for the target time after time, each on a connection of its own; the others
 * connect and say nothing. Who is not let in, or has been answered, comes again a second later. Prints a line of JSON at
 * its end: connections that were made, and answers that began.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools.h"

enum { AGAIN_MS = 1000, EVENTS = 256 };

struct client {
  int fd; /* -1: none */
  int is_connected;
  int64_t next_ms;
};

static volatile sig_atomic_t is_over;
static struct sockaddr_storage to;
static socklen_t to_len;
static char request[512];
static int epoll_fd;
static unsigned long connected, answered;

static void end(int signal) {
  (void)signal;
  is_over = 1;
}

static void read_address(char *text) {
  char *colon = strrchr(text, ':');
  if (text[0] == '/') {
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    if (strlen(text) >= sizeof path.sun_path) die("use so long a path");
    strcpy(path.sun_path, text);
    memcpy(&to, &path, to_len = sizeof path);
  } else {
    if (colon == NULL) die("parse the address");
    *colon = 0;
    struct sockaddr_in address = endpoint(text, colon + 1);
    memcpy(&to, &address, to_len = sizeof address);
  }
}

static void leave(struct client *client) {
  close(client->fd);
  client->fd = -1;
  client->is_connected = 0;
  client->next_ms = now_ms() + AGAIN_MS / 2 + random64() % AGAIN_MS;
}

static void come(struct client *client) {
  client->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (client->fd < 0) die("open a socket");
  if (connect(client->fd, (struct sockaddr *)&to, to_len) != 0 && errno != EINPROGRESS) {
    leave(client);
    return;
  }
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) != 0) die("wait for a socket");
}

static void go_on(struct client *client, uint32_t events, int asks) {
  char answer[65536];
  if (client->fd < 0) return;
  if (events & (EPOLLERR | EPOLLHUP)) {
    leave(client);
    return;
  }
  if (!client->is_connected && (events & EPOLLOUT)) {
    client->is_connected = 1;
    connected++;
    if (asks && send(client->fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
      leave(client);
      return;
    }
  }
  if (events & EPOLLIN) {
    if (recv(client->fd, answer, sizeof answer, 0) > 0) answered++;
    leave(client); /* it has had the beginning of an answer, or nobody has one for it */
  }
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "Cannot run: expected SOCKET-PATH|ADDRESS:PORT TARGET CLIENTS\n");
    return 2;
  }
  int count = atoi(argv[3]);
  seed_random();
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) die("open so many sockets");
  read_address(argv[1]);
  snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
  signal(SIGTERM, end);
  epoll_fd = epoll_create1(0);
  struct client *clients = calloc(count, sizeof *clients);
  if (epoll_fd < 0 || clients == NULL) die("begin");
  for (int i = 0; i < count; i++) clients[i].fd = -1;
  while (!is_over) {
    int64_t ms = now_ms();
    for (int i = 0; i < count && !is_over; i++) {
      if (clients[i].fd < 0 && clients[i].next_ms <= ms) come(&clients[i]);
    }
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll_fd, events, EVENTS, 20);
    for (int i = 0; i < ready; i++) {
      struct client *client = events[i].data.ptr;
      go_on(client, events[i].events, (client - clients) % 2);
    }
  }
  printf("{\"connected\":%lu,\"answered\":%lu}\n", connected, answered);
  return 0;
}
