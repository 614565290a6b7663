// Events: told of what calls use and change, where Linux tells fsnotify (include/linux/fsnotify.h), after the fact and
// in Linux's order; and, which Linux cannot, of what the daemon notifies. The host makes inotify's events of it. While nobody watches there is no Events object.
// Thread rule: under the connection lock. What is told is valid for the length of the call, and no call is made from
// it.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/dentry.h"
#include "syscall/mount.h"

namespace fusewire::syscall {

enum class Use : uint8_t { opened, accessed, modified, closed };
// Of attributes: as setattr's bits mean it to watchers. A size is contents; of the times one alone tells of its cause.
enum class Change : uint8_t { attributes, contents, access };

class Events {
 public:
  // closed comes for O_PATH files too, of which nothing else is told.
  virtual void used(OpenFile& file, Use use) = 0;
  // file: through which open file, or nullptr: by path.
  virtual void changed(kernel::Dentry& dentry, Change change, OpenFile* file) = 0;
  // linked: the inode that has got one more name, or nullptr: it is new.
  virtual void made(kernel::Inode& directory, std::string_view name, bool is_directory, kernel::Inode* linked) = 0;
  // The name is gone; victim.attr.nlink counts the names that are left.
  virtual void removed(kernel::Inode& directory, std::string_view name, kernel::Inode& victim) = 0;

  // The daemon says that the name is not what it was, and not what it is.
  virtual void doubted(kernel::Inode& directory, std::string_view name) = 0;

  struct Move {
    kernel::Inode &from, &to;  // directories
    std::string_view from_name, to_name;
    kernel::Dentry& source;  // already in its new place
    kernel::Inode* target;   // what had the new name, or nullptr
    bool exchange;           // the target has the old name now
  };
  virtual void moved(const Move& move) = 0;

 protected:
  ~Events() = default;
};

// Takes a directory's names, as getdents64 gives them.
class NameSink {
 public:
  virtual void take(std::span<const std::byte> records) = 0;

 protected:
  ~NameSink() = default;
};

}  // namespace fusewire::syscall
