#include "kernel/module.h"

#include "kernel/device_impl.h"

namespace fusewire::kernel {

Result<void> Module::init() {
  kmalloc_.init(host_);
  file_system_init();
  device_init();
  sysfs_.init();
  control_.init(sysfs_);
  return {};
}

void Module::exit() {
  if (!connections_.empty()) host_.panic("a connection is left at exit: unmount it and close its devices");
  control_.exit();
  sysfs_.exit();
  device_exit();
  file_system_exit();
  kmalloc_.destroy();
}

void Module::file_system_init() {
  inode_cache_.init(host_, "fuse_inode", inode_object_size);
  dentry_cache_.init(host_, "fuse_dentry", dentry_object_size);
  file_cache_.init(host_, "fuse_file", file_object_size);
}

void Module::file_system_exit() {
  file_cache_.destroy();
  dentry_cache_.destroy();
  inode_cache_.destroy();
}

void Module::device_init() {
  request_cache_.init(host_, "fuse_req", sizeof(Request));
  forget_cache_.init(host_, "fuse_forget", sizeof(Forget));
  device_cache_.init(host_, "fuse_dev", sizeof(DeviceImpl));
  connection_cache_.init(host_, "fuse_conn", sizeof(Connection));
}

void Module::device_exit() {
  connection_cache_.destroy();
  device_cache_.destroy();
  forget_cache_.destroy();
  request_cache_.destroy();
}

Result<Connection*> Module::open_connection() {
  LockGuard guard(lock_, host_);
  Connection* connection = connection_cache_.make<Connection>(*this, next_id_);
  if (!connection) return error(Errno::enomem);
  auto device = make_device(*connection);
  if (!device) {
    connection_cache_.drop(connection);
    return error(device.error());
  }
  connection->first_device_ = *device;
  connections_.push_back(*connection);
  ++next_id_;
  return connection;
}

Result<DeviceImpl*> Module::make_device(Connection& connection) {
  DeviceImpl* device = device_cache_.make<DeviceImpl>(connection);
  if (!device) return error(Errno::enomem);
  connection.devices_.push_back(*device);
  return device;
}

void Module::free_device(DeviceImpl& device) { device_cache_.drop(&device); }

void Module::free_connection(Connection& connection) {
  {
    LockGuard guard(lock_, host_);
    connections_.erase(connections_.iterator_to(connection));
  }
  connection_cache_.drop(&connection);
}

}  // namespace fusewire::kernel
