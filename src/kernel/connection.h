// Connection: one mount's link to its daemon (Linux struct fuse_conn): queues, what INIT negotiated, limits, counters.
// Made by Module::open_connection, mounted by mount(), ended by unmount, abort or the last Device::close.
//
// Thread rule: everything here runs under the connection lock. Drivers take it through Entry, whose end runs the
// coroutines that were woken meanwhile; code inside the half never makes an Entry.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set.hpp>
#include <cstdint>
#include <string_view>

#include "kernel/args.h"
#include "kernel/caller.h"
#include "kernel/device.h"
#include "kernel/errno.h"
#include "kernel/host.h"
#include "kernel/request.h"
#include "kernel/slab.h"
#include "kernel/task.h"
#include "kernel/trace.h"
#include "kernel/waitq.h"

namespace fusewire::kernel {

class Module;
class DeviceImpl;

// Options of mount(2) that concern the half (K004); from mount_options.h's parser.
struct MountOptions {
  uint32_t rootmode = 0040000;
  uint32_t user_id = 0;
  uint32_t group_id = 0;
  bool default_permissions = false;
  bool allow_other = false;
  bool read_only = false;
  uint32_t max_read = UINT32_MAX;  // raised to 4096 at least
  // Upper bounds that the transport sets (a socket's SO_SNDBUF); 0: none.
  uint32_t transport_max_write = 0;
};

// What INIT agreed on (K031, §1.4). Read-only after the reply.
struct Negotiated {
  uint32_t minor = 0;
  uint64_t flags = 0;  // flags | flags2 << 32 of the daemon's reply
  uint32_t max_write = 4096;
  uint32_t max_readahead = 0;
  uint32_t max_pages = 32;
  uint32_t time_gran = 1;
  bool has(uint64_t flag) const { return (flags & flag) != 0; }
};

struct Limits {
  uint32_t max_background = 12;
  uint32_t congestion_threshold = 9;
};

// Operations that answered ENOSYS and are not asked again (§1.2, last column).
struct LearnedEnosys {
  bool open, opendir, flush, fsync, fsyncdir, access, create, setxattr, getxattr, listxattr, removexattr, rename2,
      lseek, statx, interrupt, link, fallocate, copy_file_range, copy_file_range_64, tmpfile, poll, bmap;
};

struct Counters {
  std::atomic<uint64_t> requests{0};   // put on pending since the mount
  std::atomic<uint64_t> replies{0};
  std::atomic<uint64_t> rejected{0};   // malformed replies and notifications
  std::atomic<uint64_t> forgets{0};
  std::atomic<uint32_t> waiting{0};    // fusectl's `waiting` (K030): from the attempt to allocate
};

// Told of events that concern the caches; implemented by the file system part (notify). May be nullptr.
struct NotifyTarget {
  virtual Result<void> notify(wire::NotifyCode code, std::span<const std::byte> payload) = 0;

 protected:
  ~NotifyTarget() = default;
};

class Connection : public boost::intrusive::list_base_hook<> {
 public:
  // RAII for drivers: locks; at the end runs woken coroutines, then unlocks.
  class Entry {
   public:
    explicit Entry(Connection& connection);
    ~Entry();
    Entry(const Entry&) = delete;

   private:
    Connection& connection_;
  };

  // Queues INIT (K002); mount(2) returns before the daemon answers. EINVAL for bad options, EBUSY when mounted already.
  Result<void> mount(const MountOptions& options);
  // Ends the connection because the mount is gone (K042): read gives ENODEV.
  void unmount();
  // As a write to fusectl's abort (K041). Idempotent. Sleepers get ECONNABORTED, later calls ENOTCONN.
  void abort();

  // request_send and request_wait_answer in one (fuse_simple_request): the size of the last out argument, or the
  // daemon's errno. Waits for INIT's answer first unless args.force. ENOTCONN after the end, ECONNREFUSED after a bad
  // INIT (K032), EINTR when the caller was killed while the request was PENDING (K051).
  Task<Result<size_t>> send(Args& args, Caller& caller);
  // Without waiting (K034, K035): copies of the in arguments are taken. end may be nullptr. nocreds unless caller.
  Result<void> send_background(const Args& args, RequestEnd* end, const Caller* caller = nullptr);
  // nodeid's nlookup references go back to the daemon (K060-K067).
  void queue_forget(uint64_t nodeid, uint64_t nlookup);

  // Drivers: a signal reached the caller, or the caller is gone.
  void interrupt(Caller& caller);
  void kill(Caller& caller);

  uint32_t id() const { return id_; }
  bool connected() const { return connected_; }
  bool initialized() const { return initialized_; }
  const Negotiated& negotiated() const { return negotiated_; }
  Limits& limits() { return limits_; }
  LearnedEnosys& learned_enosys() { return learned_enosys_; }
  Counters& counters() { return counters_; }
  const MountOptions& options() const { return options_; }
  Device& device() { return *first_device_; }
  Module& module() { return module_; }
  Host& host();
  Kmalloc& kmalloc();
  ReadyList& ready() { return ready_; }
  void set_notify_target(NotifyTarget* target) { notify_ = target; }
  void set_tracing(bool on) { tracing_ = on; }
  bool tracing() const { return tracing_; }
  void trace(TraceStep step, const Request& request, int32_t error, uint32_t bytes);
  void trace_call(TraceStep step, const char* name, const Caller& caller, int32_t error);

  // Counters that order replies and local changes (K091, K092, INC_EPOCH).
  uint64_t attr_version() const { return attr_version_; }
  uint64_t next_attr_version() { return ++attr_version_; }
  uint64_t evict_counter() const { return evict_counter_; }
  void count_eviction() { ++evict_counter_; }
  uint32_t epoch() const { return epoch_; }

  explicit Connection(Module& module, uint32_t id);

 private:
  friend class Module;
  friend class DeviceImpl;

  Module& module_;
  const uint32_t id_;
  std::atomic<uint32_t> lock_{0};
  ReadyList ready_;
  bool connected_ = false;    // from mount to the end
  bool initialized_ = false;  // INIT answered, or the connection ended
  bool conn_error_ = false;
  bool tracing_ = false;
  MountOptions options_{};
  Negotiated negotiated_{};
  Limits limits_{};
  LearnedEnosys learned_enosys_{};
  Counters counters_{};
  NotifyTarget* notify_ = nullptr;
  Device* first_device_ = nullptr;
  uint64_t attr_version_ = 1, evict_counter_ = 1;
  uint32_t epoch_ = 0;
  // H2: queues (pending, background, interrupt, forget), blocked waitq, devices.
};

using ConnectionList = boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>>;

}  // namespace fusewire::kernel
