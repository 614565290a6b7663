// Module: the kernel's half as a whole, as Linux's fuse.ko: its slab caches and the list of its connections.
// init() brings up, in this order: file system (inode and dentry caches), device (request cache), sysfs, control;
// exit() undoes them in reverse and proves that nothing is left (it panics with the name of a slab that is not empty).
// One per process; the only root of state. The Host outlives it.
// Thread rule: init and exit alone; the rest under the lock of the connection concerned.
#pragma once

#include "kernel/connection.h"
#include "kernel/errno.h"
#include "kernel/host.h"
#include "kernel/slab.h"

namespace fusewire::kernel {

class Module {
 public:
  explicit Module(Host& host) : host_(host) {}
  Result<void> init();
  void exit();

  // A connection with its first Device, not yet mounted: reads and writes of it give EPERM (K001).
  // Freed when it has been ended and its last device and its mount are gone.
  Result<Connection*> open_connection();
  // Walks all connections (control file system, ps).
  template <typename F>
  void for_each_connection(F&& f) {
    for (Connection& connection : connections_) f(connection);
  }

  Host& host() { return host_; }
  Kmalloc& kmalloc() { return kmalloc_; }
  SlabCache& requests() { return request_cache_; }
  SlabCache& inodes() { return inode_cache_; }
  SlabCache& dentries() { return dentry_cache_; }
  SlabCache& files() { return file_cache_; }

 private:
  friend class Connection;
  Host& host_;
  Kmalloc kmalloc_;
  SlabCache connection_cache_, device_cache_, request_cache_, forget_cache_;
  SlabCache inode_cache_, dentry_cache_, file_cache_;
  ConnectionList connections_;
  uint32_t next_id_ = 1;
};

}  // namespace fusewire::kernel
