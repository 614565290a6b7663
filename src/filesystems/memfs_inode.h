// What MemFs keeps of a node. Private to memfs*.cc; MemFs::mutex_ guards all of it.
#pragma once

#include <sys/stat.h>

#include <map>
#include <string>

#include "filesystems/memfs.h"

namespace fusewire::filesystems {

struct MemFs::DirectoryEntry {
  std::string name;
  uint64_t id;
};

// Entries by cookie. A cookie belongs to a name as long as the name exists, whatever it comes to name; new names get
// new, greater cookies. So a walk by cookies gives each name that stays exactly once, whatever else changes.
struct MemFs::Directory {
  static constexpr uint64_t dot_cookie = 1, dot_dot_cookie = 2;

  std::map<uint64_t, DirectoryEntry> by_cookie;
  std::unordered_map<std::string_view, uint64_t> by_name;  // names borrow from by_cookie, whose nodes never move
  uint64_t last_cookie = dot_dot_cookie;
  uint64_t parent = 0;  // node id; its own for the root, 0 once removed

  DirectoryEntry* find(std::string_view name) {
    auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : &by_cookie.at(found->second);
  }
  void add(std::string_view name, uint64_t id) {
    auto [entry, is_new] = by_cookie.emplace(++last_cookie, DirectoryEntry{std::string(name), id});
    by_name.emplace(entry->second.name, entry->first);
  }
  void remove(std::string_view name) {
    auto found = by_name.find(name);
    uint64_t cookie = found->second;
    by_name.erase(found);
    by_cookie.erase(cookie);
  }
};

struct MemFs::Inode {
  uint64_t id = 0;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0;
  uint32_t rdev = 0;
  uint32_t nlink = 1;
  timespec atime{}, mtime{}, ctime{};
  uint64_t lookups = 0;  // entries handed out and not forgotten
  uint64_t opens = 0;
  std::unique_ptr<Directory> directory;  // of directories
  std::unique_ptr<ChunkedData> data;     // of regular files
  std::string target;                    // of symbolic links
  Xattrs xattrs;
  uint64_t xattr_bytes = 0;

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_removed_directory() const { return directory && directory->parent == 0; }

  // What the kernel calls file_remove_privs: a changed file is no longer the one that was trusted.
  void drop_privileges() {
    if (is_directory()) return;
    mode &= ~uint32_t{S_ISUID};
    if (mode & S_IXGRP) mode &= ~uint32_t{S_ISGID};
  }
};

inline timespec current_time() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

}  // namespace fusewire::filesystems
