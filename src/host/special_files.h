// SpecialFiles: what stands behind the fifos, devices and bound sockets of one mount. On Linux it lives in the client's
// kernel, on the inode; the daemon keeps the name alone. Here it is a real fifo, device or socket in a private
// directory of the namespace, found by the half's inode, so that renames, links and changes of mode are of no matter to
// it.
//
// A real one is held as long as it can be of use: a fifo or device as long as the inode has a name or somebody has it
// open, a socket as long as it is bound. So long the inode is held too. Nothing tells of a socket's end, so it is
// looked at when it matters: when names have been removed, and before an umount. A fifo loses its own name with the
// inode's last one; from then on its end, which inotify tells, is the last close.
// Thread rule: one thread, under Connection::Entry.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <expected>
#include <string>
#include <string_view>
#include <unordered_map>

#include "abi/unique_fd.h"
#include "host/file_registry.h"
#include "kernel/inode.h"
#include "syscall/mount.h"

namespace fusewire::host {

class SpecialFiles {
 public:
  // sockets_bound: told when the first socket is bound; may be nullptr.
  SpecialFiles(UniqueFd directory, uint32_t leader_pid, uint32_t connection, std::atomic<uint32_t>* sockets_bound)
      : directory_(std::move(directory)),
        leader_pid_(leader_pid),
        connection_(connection),
        sockets_bound_(sockets_bound) {}

  void set_mount(syscall::Mount* mount) { mount_ = mount; }

  // Whether the half has opened a file that is not the daemon's.
  static bool is_special(const syscall::OpenFile& file);
  // An O_PATH descriptor of the real fifo or device; the file is taken over. EACCES where no device can be made.
  std::expected<UniqueFd, int> open(syscall::OpenFile& file);
  // Binds the socket to the inode of file; address: sun_path, as its program will be told it. 0, and the file is taken
  // over; or -errno of bind(2).
  int bind(syscall::OpenFile& file, int socket, std::string_view address);
  // An O_PATH descriptor of the socket bound to the inode of file, which is let go. -ECONNREFUSED: none is.
  std::expected<UniqueFd, int> reach(syscall::OpenFile& file);

  // By the token in a real one's name; held until FileRegistry::unuse. nullptr when there is none.
  RegisteredFile* use(uint64_t token);
  // The address that the socket's program gave to bind.
  std::string_view address_of(uint64_t token) const;

  // Lets go of what no program can use any more; called when names have been removed.
  void reap();
  // Whether a socket is bound, or a program has a fifo or device open.
  bool in_use();
  void release_all();
  bool empty() const { return files_.empty(); }

 private:
  struct SpecialFile {
    RegisteredFile held;
    std::string name;       // in the directory
    std::string address;    // of a socket
    int socket_type = 0;    // SOCK_*; 0: no socket
    bool nameless = false;  // a fifo or device that lives as long as it is open
    bool ended = false;     // was nameless, and is not open any more
  };
  using Files = std::unordered_map<const kernel::Inode*, SpecialFile>;

  SpecialFile make(syscall::OpenFile& file) const;
  SpecialFile& keep(SpecialFile special);
  std::expected<UniqueFd, int> path_descriptor(const SpecialFile& special) const;
  bool is_bound(const SpecialFile& special) const;
  bool is_over(const SpecialFile& special) const;
  bool is_open_somewhere(const SpecialFile& special) const;
  Files::iterator drop(Files::iterator at);
  void take_name(SpecialFile& special);
  void take_ends();
  void remember(SpecialFile& special);

  const UniqueFd directory_;
  const uint32_t leader_pid_, connection_;
  std::atomic<uint32_t>* const sockets_bound_;
  syscall::Mount* mount_ = nullptr;
  Files files_;
  std::unordered_map<uint64_t, const kernel::Inode*> tokens_;
  // Of sockets that are gone: whoever was connected to one is still told its address.
  std::unordered_map<uint64_t, std::string> old_addresses_;
  std::deque<uint64_t> old_tokens_;            // their order
  UniqueFd inotify_;                           // of the nameless ones
  std::unordered_map<int, uint64_t> watches_;  // token by watch
};

}  // namespace fusewire::host
