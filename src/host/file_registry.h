// FileRegistry: the open files of one mount that programs hold descriptors of (D5), found by token.
//
// Each open file has a shadow: a memfd that the program's descriptors name, all of them O_PATH, so that a call which
// reaches the shadow instead of the file fails and changes nothing. The file is sealed and nobody else's, so its end,
// which the kernel tells by inotify, is the last close, however that comes: close, exit, kill -9, a message with it in
// flight dropped, a second open of it ended. Where the kernel's event queue overflowed, its list of living watches
// tells.
//
// A client that has the only descriptor of a file may keep the shadow when it closes that: by a descriptor of its own,
// which the program does not see. The shadow is `kept` then, stands for no file, and serves the same client's next
// open. Each file it stands for has a token of its own; the first one's, which is in the shadow's name, leads to
// whichever it stands for now. Who comes by the name, or is another client, has the descriptor from somewhere else:
// from then on the shadow stands for that file to its end. Thread rule: one thread, outside Connection::Entry (release
// takes it itself).
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <unordered_map>

#include "abi/types.h"
#include "abi/unique_fd.h"
#include "host/file_owner.h"
#include "host/notices.h"
#include "kernel/leases.h"
#include "syscall/mount.h"

namespace fusewire::host {

struct RegisteredFile {
  syscall::OpenFile* file = nullptr;  // nullptr: a shadow that is kept
  uint64_t token = 0;                 // in the shadow's name
  uint64_t file_token = 0;            // the file's own; the first one's is `token`
  uint64_t client = 0;                // for whom it was opened
  bool shared = false;                // others may have a descriptor
  uint32_t position = 0;              // Slot::position; the client has it while no call uses the file
  int watch = -1;
  uint32_t uses = 0;  // calls in flight that stand on it
  bool closed = false;
  FileOwner owner{};
  std::shared_ptr<Notice> notice{};
};

class FileRegistry final : public kernel::LeaseHolders {
 public:
  FileRegistry(uint32_t leader_pid, uint32_t connection) : leader_pid_(leader_pid), connection_(connection) {}

  // 0 or -errno: no inotify, no file is ever opened.
  int start();
  void set_mount(syscall::Mount* mount) { mount_ = mount; }
  // Readable when closes wait to be taken.
  int event_fd() const { return inotify_.get(); }
  void take_events();

  // Makes token and shadow of an open file; the descriptor goes to the program, and the caller's copy must be closed
  // once it is sent. client: whose call it is (Client::key). On failure (-errno) the file is still the caller's.
  std::expected<UniqueFd, int> add(syscall::OpenFile& file, uint64_t client, uint64_t& token);
  // A shadow that this client keeps stands for the file from now on: the file's token, or 0: it does not.
  uint64_t use_kept(uint64_t shadow, uint64_t client, syscall::OpenFile& file);
  // The client has closed the last descriptor of the file, in a call that uses it, and keeps the shadow: what is in its
  // name. 0: the file stays as it is.
  uint64_t keep(RegisteredFile& file, uint64_t client);
  void lease_broken(syscall::OpenFile& file) override;
  // Releases a file that nobody got the descriptor of.
  void abandon(uint64_t token);
  RegisteredFile* find(uint64_t token);
  // nullptr when there is no such file. Held until unuse. client: who uses it; 0: nobody that may keep shadows.
  RegisteredFile* use(uint64_t token, uint64_t client = 0);
  void unuse(RegisteredFile& file);
  void release_all();

  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [token, each] : files_)
      if (!each.closed && each.file) visit(*each.file);
  }
  size_t size() const { return files_.size() - kept_; }
  // mount: of those opened through it; 0: of all.
  bool any_writable(uint32_t mount = 0) const;
  uint64_t overflows() const { return overflows_; }

 private:
  uint64_t random_token();
  void close(RegisteredFile& file);  // its watch is gone
  void unwatch(RegisteredFile& file);
  void close_unwatched();
  void drop(RegisteredFile& file);
  void release(RegisteredFile& file);

  const uint32_t leader_pid_;
  const uint32_t connection_;
  syscall::Mount* mount_ = nullptr;
  UniqueFd inotify_;
  std::unordered_map<uint64_t, RegisteredFile> files_;  // by the token in the shadow's name
  std::unordered_map<uint64_t, uint64_t> later_files_;  // that token by the file's, of shadows that served before
  size_t kept_ = 0;                                     // shadows without a file
  std::unordered_map<int, uint64_t> watches_;           // token by watch
  uint64_t overflows_ = 0;
  std::array<uint64_t, 32> tokens_{};  // random ones, asked for together; each is used once
  size_t tokens_left_ = 0;
};

}  // namespace fusewire::host
