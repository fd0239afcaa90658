/*
 * What `ffi/sandbox.c` offers, on a kernel that can do as little as MISSING says: 1 no Landlock, 2 no
 * filter of system calls. All else works, and has no effect.
 */
#include <errno.h>
#include <stdint.h>

int32_t sandbox_user(const char *name, uint32_t *ids, uint32_t most) {
  (void)name, (void)ids, (void)most;
  return -ENOENT;
}
int32_t sandbox_is(const uint32_t *ids) {
  (void)ids;
  return 0;
}
int32_t sandbox_may(const uint32_t *ids, uint32_t groups, const char *path, int32_t mode) {
  (void)ids, (void)groups, (void)path, (void)mode;
  return 1;
}
int32_t sandbox_landlock(void) {
  return MISSING & 1 ? -EOPNOTSUPP : 1;
}
int32_t sandbox_ruleset(int32_t abi) {
  (void)abi;
  return 1000;
}
int32_t sandbox_allow(int32_t ruleset, int32_t abi, const char *path, uint32_t rights) {
  (void)ruleset, (void)abi, (void)path, (void)rights;
  return 0;
}
int32_t sandbox_restrict(const uint32_t *ids, uint32_t groups, int32_t ruleset) {
  (void)ids, (void)groups;
  return ruleset == (MISSING & 1 ? -1 : 1000) ? 0 : -EINVAL;
}
int32_t sandbox_filter(const void *program, uint32_t count) {
  (void)program;
  return count < 100 || MISSING & 2 ? -EINVAL : 0;
}
int32_t sandbox_threads(uint32_t *counts) {
  for (int i = 0; i < 4; i++) counts[i] = 9;
  counts[4] = MISSING & 2 ? 0 : 9;
  return 0;
}
int32_t tap_close(int32_t fd) {
  (void)fd;
  return 0;
}
