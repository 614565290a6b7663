// Module: the kernel's half as a whole, as Linux's fuse.ko: its slab caches and the list of its connections.
// init() brings up, in this order: file system (inode and dentry caches), device (request cache), sysfs, control;
// exit() undoes them in reverse and proves that nothing is left (it panics with the name of a slab that is not empty).
// One per process; the only root of state. The Host outlives it.
// Thread rule: init and exit alone; the rest from any thread.
#pragma once

#include "kernel/connection.h"
#include "kernel/control.h"
#include "kernel/errno.h"
#include "kernel/host.h"
#include "kernel/lock.h"
#include "kernel/slab.h"

namespace fusewire::kernel {

// Bytes of the file system's objects; they assert that they fit.
inline constexpr size_t inode_object_size = 176;
inline constexpr size_t dentry_object_size = 112;
inline constexpr size_t file_object_size = 256;

class Module {
 public:
  explicit Module(Host& host) : host_(host) {}
  Result<void> init();
  // Every connection must be gone: its devices closed and its mount unmounted.
  void exit();

  // A connection with its first Device, not yet mounted: reads and writes of it give EPERM (K001).
  // Freed when it has been ended and its last device and its mount are gone.
  Result<Connection*> open_connection();
  // Walks all connections (control file system, ps). No connection is freed meanwhile; f may take its Entry, but must
  // not end it nor open another.
  template <typename F>
  void for_each_connection(F&& f) {
    LockGuard guard(lock_, host_);
    for (Connection& connection : connections_) f(connection);
  }

  Host& host() { return host_; }
  Kmalloc& kmalloc() { return kmalloc_; }
  Control& control() { return control_; }
  SlabCache& requests() { return request_cache_; }
  SlabCache& forgets() { return forget_cache_; }
  SlabCache& inodes() { return inode_cache_; }
  SlabCache& dentries() { return dentry_cache_; }
  SlabCache& files() { return file_cache_; }
  // All slab caches but kmalloc's (`fusewire ps --slabs`).
  template <typename F>
  void for_each_cache(F&& f) {
    for (SlabCache* cache : {&inode_cache_, &dentry_cache_, &file_cache_, &request_cache_, &forget_cache_,
                             &device_cache_, &connection_cache_})
      f(*cache);
  }

 private:
  friend class Connection;
  friend class DeviceImpl;

  void file_system_init();
  void file_system_exit();
  void device_init();
  void device_exit();

  Result<DeviceImpl*> make_device(Connection& connection);
  void free_device(DeviceImpl& device);
  void free_connection(Connection& connection);

  Host& host_;
  Kmalloc kmalloc_;
  SlabCache connection_cache_, device_cache_, request_cache_, forget_cache_;
  SlabCache inode_cache_, dentry_cache_, file_cache_;
  Sysfs sysfs_;
  Control control_{*this};
  Mutex lock_;  // of the list and the ids; taken before a connection's lock, never inside one
  ConnectionList connections_;
  uint32_t next_id_ = 1;
};

}  // namespace fusewire::kernel
