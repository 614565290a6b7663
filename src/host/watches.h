// Watches: inotify on the files of one mount. The kernel makes the events, queues, merges and hands them out itself: a
// watched inode has a mirror, a file or directory in the namespace's directory, on which the program's own inotify
// watch lies, and what calls do with the inode or with names in it is done to the mirror too. So a watch is the
// kernel's in everything: dup, fork, poll, limits, one descriptor for files of mounts and others.
//
// A mirrored directory holds its names, each an empty file or directory; the half tells of all that changes
// (syscall/events.h). An open file keeps its mirrors open, so that its last close is theirs.
// Nothing tells of a watch's end. From time to time the watches of all processes are looked through, and mirrors that
// nobody watches go.
// Thread rule: one thread, under Connection::Entry.
#pragma once

#include <cstdint>
#include <expected>
#include <list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "abi/unique_fd.h"
#include "host/file_registry.h"
#include "kernel/file.h"
#include "syscall/events.h"

namespace fusewire::host {

class Watches final : public syscall::Events {
 public:
  // directory: where mirrors may be made.
  Watches(UniqueFd directory, uint32_t connection, FileRegistry& files)
      : directory_(std::move(directory)), connection_(connection), files_(files) {}

  void set_mount(syscall::Mount* mount) { mount_ = mount; }

  // The names of a directory that is about to be mirrored: what is read of it, and what calls do meanwhile.
  class Filling final : public syscall::NameSink {
   public:
    Filling(Watches& watches, const kernel::Inode& directory);
    ~Filling();
    Filling(const Filling&) = delete;
    void take(std::span<const std::byte> records) override;

   private:
    friend class Watches;
    Watches& watches_;
    const kernel::Inode& directory_;
    std::map<std::string, bool, std::less<>> names_;  // whether a directory
    std::set<std::string, std::less<>> gone_;         // since the reading began
  };

  bool empty() const { return mirrors_.empty() && held_.empty(); }
  bool mirrors(const kernel::Inode& inode) const { return mirrors_.contains(&inode); }
  // Makes the mirror of an inode that has none; names: of a directory. 0 or -errno.
  int add(kernel::Inode& inode, const Filling* names);
  // An O_PATH descriptor of the mirror, to be watched.
  std::expected<UniqueFd, int> reach(const kernel::Inode& inode);
  void release_all();

  void used(syscall::OpenFile& file, syscall::Use use) override;
  void changed(kernel::Dentry& dentry, syscall::Change change, syscall::OpenFile* file) override;
  void made(kernel::Inode& directory, std::string_view name, bool is_directory, kernel::Inode* linked) override;
  void removed(kernel::Inode& directory, std::string_view name, kernel::Inode& victim) override;
  void doubted(kernel::Inode& directory, std::string_view name) override;
  void moved(const Move& move) override;

 private:
  struct Mirror {
    kernel::Ref<kernel::Inode> inode;
    std::string name;     // in the pool
    UniqueFd names;       // of a directory; it keeps the end of the directory from being told
    uint64_t number = 0;  // st_ino
    uint64_t handed_at = 0;
    bool is_directory() const { return static_cast<bool>(names); }
  };
  using Mirrors = std::unordered_map<const kernel::Inode*, Mirror>;
  // The mirrors that stand for one open file: of its name, and of itself.
  struct Held {
    UniqueFd by_name, itself;
  };
  Mirror* find(const kernel::Inode& inode);
  Mirror* mirror_of_parent(const kernel::Dentry& dentry);
  std::string new_name() { return std::to_string(++last_name_); }
  int open_pool();

  void hold(syscall::OpenFile& file);
  void hold_open_files(Mirror& mirror);
  void hold_by_name(const kernel::Dentry& source, int directory, const std::string& name);
  void end(Mirrors::iterator at);
  void tell_moved_itself(const kernel::Inode& inode);
  void move_names(const Move& move);
  void note_name(const kernel::Inode& directory, std::string_view name, bool is_directory);
  void note_gone(const kernel::Inode& directory, std::string_view name);

  void look_for_watchers(uint64_t not_handed_since);
  void look_now_and_then();

  const UniqueFd directory_;
  const uint32_t connection_;
  FileRegistry& files_;
  syscall::Mount* mount_ = nullptr;
  UniqueFd pool_;  // the mirrors themselves, and what is on its way
  uint64_t last_name_ = 0;
  uint64_t looked_at_ = 0;
  Mirrors mirrors_;
  std::unordered_map<const syscall::OpenFile*, Held> held_;
  std::list<Filling*> fillings_;
};

}  // namespace fusewire::host
