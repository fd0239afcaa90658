/*
 * Files in a folder: one that is read once and then gone, or replaced as a whole, and new ones that
 * grow. The folder is opened at the start, so that nothing has to be allowed to write anywhere
 * later; no link is followed.
 *
 * Every function returns a value >= 0, or -errno. Read first: open(2), rename(2), fsync(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A descriptor of the folder `path`, in which we may make files. */
int32_t file_folder(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0) return fd;
  int status = -errno;
  close(fd);
  return status;
}

/*
 * Opens `name` and removes it: a descriptor, and in `size` its length. -ELOOP: it is a link;
 * -EISDIR; -EINVAL: no regular file; -EPERM: somebody else's, or others may have written it;
 * -EFBIG: longer than `most_bytes`.
 */
int32_t file_take(int32_t folder, const char *name, uint32_t most_bytes, uint32_t *size) {
  int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return -errno;
  struct stat stat;
  int status = fstat(fd, &stat) < 0 ? -errno : 0;
  if (status == 0 && S_ISDIR(stat.st_mode)) status = -EISDIR;
  if (status == 0 && !S_ISREG(stat.st_mode)) status = -EINVAL;
  int is_ours = stat.st_uid == geteuid() && (stat.st_mode & (S_IWGRP | S_IWOTH)) == 0;
  if (status == 0 && (!is_ours || stat.st_nlink != 1)) status = -EPERM;
  if (status == 0 && stat.st_size > (off_t)most_bytes) status = -EFBIG;
  if (status == 0 && unlinkat(folder, name, 0) < 0) status = -errno;
  if (status < 0) {
    close(fd);
    return status;
  }
  *size = (uint32_t)stat.st_size;
  return fd;
}

/* Reads `length` bytes and closes `fd`: how many there were. */
int32_t file_read(int32_t fd, uint8_t *bytes, uint32_t length) {
  uint32_t done = 0;
  int status = 0;
  while (done < length && status == 0) {
    ssize_t got = read(fd, bytes + done, length - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      status = got < 0 ? -errno : 0;
      break;
    }
    done += (uint32_t)got;
  }
  close(fd);
  return status < 0 ? status : (int32_t)done;
}

static int write_all(int fd, const uint8_t *bytes, uint32_t length) {
  for (uint32_t done = 0; done < length;) {
    ssize_t sent = write(fd, bytes + done, length - done);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return -errno;
    done += (uint32_t)sent;
  }
  return 0;
}

/*
 * Makes `name` a file of our own with these bytes, at once or not at all: written beside, under the
 * name with ".new" behind it, and renamed. Both are on the disk then.
 */
int32_t file_put(int32_t folder, const char *name, const uint8_t *bytes, uint32_t length) {
  char beside[256];
  int chars = snprintf(beside, sizeof beside, "%s.new", name);
  if (chars < 0 || (size_t)chars >= sizeof beside) return -ENAMETOOLONG;
  if (unlinkat(folder, beside, 0) < 0 && errno != ENOENT) return -errno;
  int fd = openat(folder, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int status = write_all(fd, bytes, length);
  if (status == 0 && fsync(fd) < 0) status = -errno;
  close(fd);
  if (status == 0 && renameat(folder, beside, folder, name) < 0) status = -errno;
  if (status < 0) unlinkat(folder, beside, 0);
  else if (fsync(folder) < 0) status = -errno;
  return status;
}

/*
 * Makes `name` a new file of our own, empty: a descriptor. -EEXIST: there is one. If `replaces`, one
 * of ours goes first; -ELOOP: it is a link; -EINVAL: no regular file; -EPERM: somebody else's.
 */
int32_t file_create(int32_t folder, const char *name, int32_t replaces) {
  struct stat stat;
  if (replaces && fstatat(folder, name, &stat, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISLNK(stat.st_mode)) return -ELOOP;
    if (S_ISDIR(stat.st_mode)) return -EISDIR;
    if (!S_ISREG(stat.st_mode)) return -EINVAL;
    if (stat.st_uid != geteuid()) return -EPERM;
    if (unlinkat(folder, name, 0) < 0) return -errno;
  }
  int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return fd < 0 ? -errno : fd;
}

/*
 * Writes all bytes at the end of the file, or none of them: what had found room is cut off again.
 */
int32_t file_append(int32_t fd, const uint8_t *bytes, uint32_t length) {
  off_t before = lseek(fd, 0, SEEK_END);
  if (before < 0) return -errno;
  int status = write_all(fd, bytes, length);
  if (status < 0 && ftruncate(fd, before) < 0) return -errno;
  return status;
}

/*
 * Writes to `id` the 36 characters that tell this start of the machine from others; see random(4).
 */
int32_t file_boot(uint8_t *id) {
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  return file_read(fd, id, 36);
}

int32_t file_close(int32_t fd) {
  return close(fd) < 0 ? -errno : 0;
}
