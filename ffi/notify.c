/*
 * Messages to a supervisor, as sd_notify(3) describes them: text in a datagram to the Unix socket
 * that it has named, and at most one descriptor that it shall keep. Read first: unix(7), cmsg(3).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Sends `text`, and `fd` if it is not negative, to `path`; one that begins with '@' is abstract. A
 * supervisor that does not read may hold us up for `timeout_us`, less than a second. 0 or -errno.
 */
int32_t notify_send(const char *path, uint32_t path_bytes, const char *text, uint32_t text_bytes,
                    int32_t fd, uint32_t timeout_us) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (path_bytes < 2 || (path[0] != '/' && path[0] != '@')) return -EINVAL;
  if (path_bytes >= sizeof to.sun_path) return -ENAMETOOLONG;
  memcpy(to.sun_path, path, path_bytes);
  if (path[0] == '@') to.sun_path[0] = '\0';

  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec part = {.iov_base = (void *)text, .iov_len = text_bytes};
  struct msghdr message = {
    .msg_name = &to,
    .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_bytes),
    .msg_iov = &part,
    .msg_iovlen = 1,
  };
  if (fd >= 0) {
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }

  int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (sock < 0) return -errno;
  struct timeval timeout = {.tv_usec = timeout_us}; /* 0 would mean forever */
  if (timeout_us > 0) setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  int flags = MSG_NOSIGNAL | (timeout_us > 0 ? 0 : MSG_DONTWAIT);
  int status = sendmsg(sock, &message, flags) < 0 ? -errno : 0;
  close(sock);
  return status;
}
