// HostProcess: a process of its own for one connection. It runs the kernel's half (Module, one Connection, one Mount)
// between the clients' rings and the daemon's socket, in one thread that sleeps in epoll.
//
// Life: made by the leader at open("/dev/fuse"); mounted; then either the daemon ends first (calls answer ENOTCONN
// until the umount) or the umount comes first (the host lives until the last file is closed and the daemon has been
// told). It ends when both have happened, or when the leader is gone. Statistics go into the connection's entry of the
// mount table.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "abi/mount_table.h"
#include "abi/unique_fd.h"
#include "host/call_server.h"
#include "host/file_registry.h"
#include "host/host_control.h"
#include "host/log.h"
#include "host/process_host.h"
#include "host/socket_door.h"
#include "host/special_files.h"
#include "host/trace_writer.h"
#include "host/watches.h"
#include "kernel/module.h"

namespace fusewire::host {

struct HostStart {
  uint32_t leader_pid = 0;
  uint32_t connection = 0;
  uint32_t owner_uid = 0;
  UniqueFd control;            // to the leader
  UniqueFd device;             // the host's end of the device socket
  UniqueFd clients;            // where the leader hands on the sockets of processes that want to be clients
  UniqueFd objects;            // the namespace's directory of fifos, sockets and mirrors
  uint32_t device_buffer = 0;  // what raise_buffers gave, the smaller of both ends
  abi::MountStatistics* statistics = nullptr;
  std::atomic<uint32_t>* sockets_bound = nullptr;  // of the mount table
  std::string trace_file;                          // empty: no tracing yet
  Log log;
};

inline int32_t error_of(kernel::Errno error) { return -static_cast<int32_t>(error); }
inline HostMessage reply(int32_t error) { return {.kind = HostMessageKind::reply, .error = error}; }

class HostProcess {
 public:
  explicit HostProcess(HostStart start);
  ~HostProcess();
  HostProcess(const HostProcess&) = delete;

  // 0 or -errno when the half cannot be brought up.
  int set_up();
  // Serves until the end described above, and leaves nothing behind.
  void serve();
  const Log& log() const { return start_.log; }

 private:
  enum class Source : uint32_t { control, clients, device, files, deaths, client, doorbell };

  int watch(int fd, uint32_t events, Source source, uint64_t key = 0);
  void turn();
  int lease_timeout();
  void handle(Source source, uint64_t key, uint32_t events);
  void settle();
  bool is_over();
  bool special_in_use();
  bool is_unused();

  void take_control();
  HostMessage carry_out(const HostRequest& request);
  HostMessage mount(const HostRequest& request);
  HostMessage mount_again(const HostRequest& request);
  HostMessage mounted(const kernel::Result<void>& added, uint32_t mount);
  int32_t umount(const HostRequest& request);
  bool is_busy_in(uint32_t mount);
  HostMessage attach(const HostRequest& request);
  HostMessage bind(const HostRequest& request);
  int32_t attach_copy(const HostRequest& request);
  int32_t detach(uint32_t mount);
  HostMessage remount(const HostRequest& request);
  bool is_busy();
  void set_limits(const HostRequest& request);
  int32_t set_tracing(const HostRequest& request);
  void tell(HostMessageKind kind, uint32_t value = 0);

  void take_clients();
  void add_client(UniqueFd socket);
  void drop_client(uint64_t key);
  void drop_clients();
  void abort();
  void finish_umount();
  void close_device();
  void watch_device_for_room();
  void publish();
  void shut_down();

  HostStart start_;
  TraceWriter traces_;
  ProcessHost host_;
  kernel::Module module_;
  FileRegistry files_;
  SpecialFiles special_;
  Watches watches_;
  CallServer calls_;
  UniqueFd epoll_;
  kernel::Connection* connection_ = nullptr;  // until its device is closed and its mount is gone
  kernel::Device* device_ = nullptr;          // until closed
  std::unique_ptr<SocketDoor> door_;          // as long as device_
  syscall::Mount* mount_ = nullptr;           // from mount to the end of umount
  uint32_t mounts_ = 0;                       // places where it is mounted
  bool leader_gone_ = false;
  bool unmounting_ = false;
  std::optional<uint64_t> expiry_mark_;  // MNT_EXPIRE: how many calls there had been
  bool end_told_ = false;
  bool watches_room_ = false;
  uint32_t daemon_pid_ = 0;
};

}  // namespace fusewire::host
