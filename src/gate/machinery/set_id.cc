#include "gate/machinery/set_id.h"

#include <linux/capability.h>
#include <linux/prctl.h>
#include <sys/vfs.h>

#include "gate/machinery/base.h"

namespace fusewire::gate {

namespace {

constexpr long keep_id = -1;

bool gives_nothing(int fd) {
  if (raw_syscall(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return true;
  constexpr long nosuid = 2;  // ST_NOSUID
  struct statfs fs;
  return raw_syscall(__NR_fstatfs, fd, argument(&fs)) == 0 && (fs.f_flags & nosuid) != 0;
}

bool has_capabilities(const ProgramFile& file) {
  if (file.is_virtual) return file.capabilities;
  return raw_syscall(__NR_fgetxattr, file.fd, argument("security.capability"), 0, 0) > 0;
}

// Whether the next image has the capability: execve gives root what is not bounded, others what is ambient.
bool will_have(int capability) {
  constexpr long no_root = 1;  // SECBIT_NOROOT
  const bool root = raw_syscall(__NR_geteuid) == 0 && (raw_syscall(__NR_prctl, PR_GET_SECUREBITS) & no_root) == 0;
  if (root) return raw_syscall(__NR_prctl, PR_CAPBSET_READ, capability, 0, 0, 0) == 1;
  return raw_syscall(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1;
}

}  // namespace

SetId set_id_of(const ProgramFile& file) {
  const uint32_t mode = file.is_virtual ? file.mode : file.status.st_mode;
  const auto user = static_cast<uint32_t>(raw_syscall(__NR_geteuid));
  constexpr uint32_t gives_group = S_ISGID | S_IXGRP;
  SetId ids;
  ids.uid = file.is_virtual ? file.uid : file.status.st_uid;
  ids.gid = file.is_virtual ? file.gid : file.status.st_gid;
  ids.user = (mode & S_ISUID) != 0 && ids.uid != user;
  ids.group = (mode & gives_group) == gives_group && ids.gid != static_cast<uint32_t>(raw_syscall(__NR_getegid));
  ids.capabilities = user != 0 && has_capabilities(file);
  if (!ids.any()) return ids;
  return gives_nothing(file.fd) ? SetId{} : ids;
}

bool may_take(const SetId& ids) {
  if (ids.capabilities) return false;
  const auto is = [](long call, uint32_t id) { return static_cast<uint32_t>(raw_syscall(call)) == id; };
  return (!ids.user || is(__NR_getuid, ids.uid) || will_have(CAP_SETUID)) &&
         (!ids.group || is(__NR_getgid, ids.gid) || will_have(CAP_SETGID));
}

// bprm_fill_uid: without a mapping of both there is neither.
long take_ids(SetId& ids) {
  constexpr long unmapped = -22;  // EINVAL
  const long old_group = ids.group ? raw_syscall(__NR_getegid) : keep_id;
  long r = ids.group ? raw_syscall(__NR_setresgid, keep_id, ids.gid, ids.gid) : 0;
  if (r == 0 && ids.user) {
    r = raw_syscall(__NR_setresuid, keep_id, ids.uid, ids.uid);
    if (r < 0 && ids.group) raw_syscall(__NR_setresgid, keep_id, old_group, old_group);
  }
  if (r != unmapped) return r;
  ids = {};
  return 0;
}

}  // namespace fusewire::gate
