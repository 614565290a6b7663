// MountImpl: what stands behind Mount: the superblock, the notifications' target, and the count of what keeps them
// alive: calls under way, open files, RELEASEs not answered.
// Thread rule: under the connection lock.
#pragma once

#include "kernel/attributes.h"
#include "kernel/file.h"
#include "kernel/notify.h"
#include "kernel/superblock.h"
#include "syscall/events.h"
#include "syscall/mount.h"
#include "syscall/walk.h"

namespace fusewire::syscall {

namespace abi = kernel::abi;
using kernel::Dentry;
using kernel::error;
using kernel::File;
using kernel::FileUse;
using kernel::Inode;
using kernel::Ref;
using kernel::Superblock;

class MountImpl final : public Mount, private Superblock::IdleListener, private kernel::NotifyListener {
 public:
  MountImpl(kernel::Connection& connection, Superblock& superblock);
  ~MountImpl() = default;

  Superblock& sb;
  Events* events = nullptr;

  // Places that start at the mount's root find it no more (ENOTCONN) once it is unmounted; open files go on.
  Result<void> reachable(const Place& place) const;
  void unmount();
  bool is_unmounted() const { return unmounted_; }
  void file_opened(File& file, uint32_t through);
  // Of the mount that a place lies in, or a file was opened through. read_only: it or the file system is (Linux
  // __mnt_is_readonly).
  uint32_t flags_of(const Place& place) const { return sb.mounts.flags(mount_of(place)); }
  bool is_read_only(uint32_t through) const;
  bool is_read_only(const Place& place) const { return is_read_only(mount_of(place)); }
  bool is_no_exec(const Place& place) const { return (flags_of(place) & fusewire::abi::mount_flag::noexec) != 0; }
  void file_released(File& file);
  size_t open_files() const { return open_files_; }
  void call_began() { ++calls_; }
  void call_ended();

 private:
  void idle() override { free_if_unused(); }
  void inode_changed(Inode& inode, bool contents) override;
  void name_changed(Inode& directory, std::string_view name) override;
  void name_deleted(Inode& directory, std::string_view name, Inode& child) override;
  void free_if_unused();

  kernel::Notify notify_;
  uint32_t calls_ = 0;
  size_t open_files_ = 0;
  bool unmounted_ = false;
};

inline MountImpl& impl(Mount& mount) { return static_cast<MountImpl&>(mount); }

// One system call: keeps the mount alive, and traces entry and return.
class Call {
 public:
  Call(MountImpl& mount, const Caller& caller, const char* name);
  ~Call();
  Call(const Call&) = delete;

  template <typename T>
  void returned(const Result<T>& result) {
    error_ = result ? 0 : -static_cast<int32_t>(result.error());
  }

 private:
  MountImpl& mount_;
  const Caller& caller_;
  const char* name_;
  int32_t error_ = 0;
};

// Runs the body of a call inside a Call. Instantiated in mount.cc, for the results that calls have: GCC 12 cannot link
// a coroutine template that several files instantiate (constants name the frame's destroy function of a dropped copy).
template <typename T>
Task<T> run(MountImpl& mount, Caller& caller, const char* name, Task<T> body);

// Where the one or two paths of a call start; nullptr: at the root.
struct Starts {
  OpenFile *first = nullptr, *second = nullptr;
};

class StartUse {
 public:
  explicit StartUse(OpenFile* file) : file_(file) {
    if (file_) file_->use();
  }
  ~StartUse() {
    if (file_) file_->unuse();
  }
  StartUse(const StartUse&) = delete;

 private:
  OpenFile* file_;
};

// A call by path: make() gives its body. Where the daemon answers ESTALE, it is made and run once more, and no cached
// name is believed then (Linux retry_estale). The files that its places start at are used until its end. make is a
// lambda of one file, so no two files share an instance.
template <typename Make>
auto run_path(MountImpl& mount, Caller& caller, const char* name, Starts starts, Make make) -> decltype(make()) {
  Call call(mount, caller, name);
  StartUse first(starts.first), second(starts.second);
  decltype(make().take()) result;
  kernel::Connection& connection = mount.sb.connection;
  if (!connection.initialized()) {
    auto ready = co_await connection.wait_initialized(caller);
    if (!ready) result = error(ready.error());
  }
  if (result) {
    auto body = make();
    result = co_await body;
  }
  if (!result && result.error() == Errno::estale) {
    caller.revalidate = true;
    auto again = make();
    result = co_await again;
    caller.revalidate = false;
  }
  call.returned(result);
  co_return result;
}

// The dentry of a path that must exist; with AT_EMPTY_PATH and "" the start itself.
Task<Result<Ref<Dentry>>> resolve(MountImpl& mount, Caller& caller, Place place, uint32_t at_flags, Leave& leave);
// At-flags for resolve from "follow or not".
constexpr uint32_t nofollow_unless(bool follow) { return follow ? 0 : abi::at_symlink_nofollow; }

Stat stat_of(const MountImpl& mount, const kernel::Attributes& shown);

}  // namespace fusewire::syscall
