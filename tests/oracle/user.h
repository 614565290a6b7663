// User: what a scenario is written with. Each call goes to the System, then the daemon settles, and call and outcome
// are on the log with the requests between them. A value comes back to the scenario only where it is a handle.
#pragma once

#include <fcntl.h>

#include <string>
#include <string_view>

#include "oracle/system.h"

namespace fusewire::oracle {

class User {
 public:
  User(System& system, Log& log) : system_(system), log_(log) {}

  // The end of the mount, whose line the back end has written, with its INIT; then the scenario's steps.
  void run(Steps steps);
  // The end of every scenario.
  void umount();

  int open(const char* path, int flags, int mode = 0644);
  void close(int h);
  int dup(int h);
  void read(int h, size_t size, int64_t offset = -1);
  void write(int h, std::string_view data, int64_t offset = -1);
  void lseek(int h, int64_t offset, int whence);
  void getdents(int h, size_t room = 4096);
  void list(const char* path);  // open, getdents to the end, close
  void stat(const char* path);
  void lstat(const char* path);
  void statx_btime(const char* path);
  void statx(const char* path, int at_flags, uint32_t mask = 0x7ff);
  void fstat(int h);
  void access(const char* path, int mask);
  void readlink(const char* path, size_t room = 4095);
  void mkdir(const char* path, int mode = 0777);
  void mknod(const char* path, int mode, int rdev = 0);
  void symlink(const char* target, const char* path);
  void unlink(const char* path);
  void rmdir(const char* path);
  void rename(const char* from, const char* to, uint32_t flags = 0);
  void link(const char* from, const char* to);
  void chmod(const char* path, int mode);
  void fchmod(int h, int mode);
  void chown(const char* path, uint32_t uid, uint32_t gid);
  void lchown(const char* path, uint32_t uid, uint32_t gid);
  void truncate(const char* path, int64_t size);
  void ftruncate(int h, int64_t size);
  void utimens(const char* path, Time atime, Time mtime);
  void futimens(int h, Time atime, Time mtime);
  void statfs(const char* path);
  void setxattr(const char* path, const char* name, std::string_view value, int flags = 0);
  void getxattr(const char* path, const char* name, size_t room = 100);
  void listxattr(const char* path, size_t room = 100);
  void removexattr(const char* path, const char* name);
  void fsync(int h, bool datasync = false);
  void fallocate(int h, int mode, int64_t offset, int64_t length);
  void setlk(int h, int type, int64_t start, int64_t length, bool wait = false);
  void getlk(int h, int type, int64_t start, int64_t length);
  void flock(int h, int operation);
  void ioctl(int h, uint32_t number, std::string_view data);
  void umask(int mask);
  void become(uint32_t uid, uint32_t gid);
  void abort();

  void inval_entry(uint64_t parent, std::string_view name, uint32_t flags = 0);
  void inval_inode(uint64_t nodeid, int64_t offset, int64_t length);
  void delete_entry(uint64_t parent, uint64_t child, std::string_view name);
  void store(uint64_t nodeid, uint64_t offset, std::string_view data);
  void daemon(const char* what, DaemonAction action);
  void daemon_dies();

 private:
  template <typename F>
  Outcome step(std::string text, F&& call);
  System& system_;
  Log& log_;
};

}  // namespace fusewire::oracle
