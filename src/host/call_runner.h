// Call: one system call of a client on its way through the half, and run(), which carries it out on the mount.
// Everything of the slot that is looked at more than once (fields, paths, names, values) is a copy in host memory; file
// data of read and write alone is carried in place.
// Owner: the CallServer. Thread rule: the one of its connection.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/client.h"
#include "host/connection_view.h"
#include "host/file_registry.h"
#include "host/special_files.h"
#include "host/watches.h"
#include "syscall/mount.h"

namespace fusewire::host {

struct CallInfo;

struct CallEnd {
  // Under the connection lock, in the call's own coroutine: note it and return.
  virtual void finished(Call& call) = 0;

 protected:
  ~CallEnd() = default;
};

struct Call {
  std::shared_ptr<Client> client;
  uint32_t slot = 0;
  CallFields fields{};
  const CallInfo* info = nullptr;  // its row of the table (call_table.h)
  std::string path1, path2;
  std::vector<std::byte> data;  // in: the value; out: the first `output` bytes go to the slot
  size_t output = 0;
  std::array<char, 4096> leave_storage;
  syscall::Leave leave{};
  kernel::UserNamespace user_namespace{};  // the caller's, where it is another
  kernel::Caller caller{};
  RegisteredFile* file = nullptr;
  RegisteredFile* file2 = nullptr;
  RegisteredFile* root = nullptr;  // the caller's root directory, where it lies in this mount
  syscall::OpenFile* opened = nullptr;
  uint32_t position = 0;   // out: Slot::position
  uint64_t inode_row = 0;  // out: in the view
  uint64_t shadow = 0;     // out: a kept one that stands for what was opened, or that is kept from now on
  UniqueFd memory;         // for the client, with the answer
  syscall::Mount* mount = nullptr;
  SpecialFiles* special = nullptr;
  Watches* watches = nullptr;
  Notices* notices = nullptr;
  ConnectionView* view = nullptr;
  UniqueFd socket;  // in: what bind_socket binds
  UniqueFd handed;  // out: goes to the client with the result
  CallEnd* end = nullptr;
  bool interrupted = false;
  int64_t result = 0;  // 0.. or -errno
  std::optional<kernel::Task<kernel::Result<int64_t>>> task;

  kernel::Kmalloc& kmalloc() { return mount->kmalloc(); }
  std::span<std::byte> slot_data() const { return client->data(slot); }
};

// Fills paths and data from the slot; fields and info stand already. 0 or -errno when the slot holds nonsense.
int copy_arguments(Call& call);

// The whole call: sets result and opened, then tells end. Started by the server under Connection::Entry.
kernel::Task<kernel::Result<int64_t>> run(Call& call);

}  // namespace fusewire::host
