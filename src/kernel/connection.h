// Connection: one mount's link to its daemon (Linux struct fuse_conn): queues, what INIT negotiated, limits, counters.
// Made by Module::open_connection, mounted by mount(), ended by unmount, abort or the last Device::close.
// Freed at the end of the Entry in which the last of these went: its devices (close) and its mount (unmount). Whoever
// holds one of them may use the Connection; nobody else may.
//
// Thread rule: everything here runs under the connection lock. Drivers take it through Entry, whose end runs the
// coroutines that were woken meanwhile; code inside the half never makes an Entry.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "abi/mount_rules.h"
#include "kernel/args.h"
#include "kernel/caller.h"
#include "kernel/device.h"
#include "kernel/device_queues.h"
#include "kernel/errno.h"
#include "kernel/host.h"
#include "kernel/init.h"
#include "kernel/intrusive.h"
#include "kernel/lock.h"
#include "kernel/mount_options.h"
#include "kernel/request.h"
#include "kernel/request_queue.h"
#include "kernel/slab.h"
#include "kernel/task.h"
#include "kernel/trace.h"
#include "kernel/waitq.h"

namespace fusewire::kernel {

class Module;
class DeviceImpl;

// Operations that answered ENOSYS and are not asked again (§1.2, last column).
struct LearnedEnosys {
  bool open, opendir, flush, fsync, fsyncdir, access, create, setxattr, getxattr, listxattr, removexattr, rename2,
      lseek, statx, interrupt, link, fallocate, copy_file_range, copy_file_range_64, tmpfile, poll, bmap;
};

struct Counters {
  std::atomic<uint64_t> requests{0};  // put on pending since the mount
  std::atomic<uint64_t> replies{0};
  std::atomic<uint64_t> rejected{0};  // malformed replies and notifications
  std::atomic<uint64_t> forgets{0};
  std::atomic<uint64_t> lost_forgets{0};  // no memory to queue them: the daemon keeps a node too long
  std::atomic<uint32_t> waiting{0};       // fusectl's `waiting` (K030): from the attempt to allocate
};

// Told of events that concern the caches; implemented by the file system part (notify). May be nullptr: then ENOENT.
// payload is the daemon's, behind the header: at least the fixed struct of its code; nothing else of it is checked.
struct NotifyTarget {
  virtual Result<void> notify(wire::NotifyCode code, std::span<const std::byte> payload) = 0;

 protected:
  ~NotifyTarget() = default;
};

// Writes what changed where others see it, before the lock is let go.
struct Publisher {
  virtual void publish() = 0;

 protected:
  ~Publisher() = default;
};

class Connection : public boost::intrusive::list_base_hook<> {
 public:
  // RAII for drivers: locks; at the end runs woken coroutines, publishes, then unlocks. Not recursive.
  class Entry {
   public:
    explicit Entry(Connection& connection);
    ~Entry();
    Entry(const Entry&) = delete;

   private:
    Connection& connection_;
  };

  // Queues INIT (K002); mount(2) returns before the daemon answers. EINVAL for bad options, EBUSY when mounted already,
  // ENOTCONN when it has ended.
  Result<void> mount(const MountOptions& options);
  // Ends the connection because the mount is gone (K042): read gives ENODEV.
  void unmount();
  // As a write to fusectl's abort (K041). Idempotent. Sleepers get ECONNABORTED, later calls ENOTCONN.
  void abort();

  // Sleeps until INIT is answered or the connection has ended (K031). Every call begins with it, since what a request
  // looks like depends on the answer. EINTR when the caller was killed meanwhile.
  Task<Result<void>> wait_initialized(Caller& caller);
  // request_send and request_wait_answer in one (fuse_simple_request): the size of the last out argument, or the
  // daemon's errno. Waits for INIT's answer first unless args.force. ENOTCONN after the end, ECONNREFUSED after a bad
  // INIT (K032), EINTR when the caller was killed while the request was PENDING (K051). A Task that sleeps here must
  // not be destroyed: kill the caller, or end the connection, and let it finish.
  Task<Result<size_t>> send(Args& args, Caller& caller);
  // Without waiting (K034, K035): copies of the in arguments are taken; out arguments must live until `end`, which may
  // be nullptr. nocreds unless caller. EAGAIN, unless args.force, where Linux would sleep: before INIT's answer, and
  // while max_background requests are on their way.
  Result<void> send_background(const Args& args, RequestEnd* end, const Caller* caller = nullptr);
  // NOTIFY_REPLY, the answer to the daemon's NOTIFY_RETRIEVE: in front of args' opcode its own notify_unique (K214).
  Result<void> send_notify_reply(const Args& args, uint64_t notify_unique);
  // nodeid's nlookup references go back to the daemon (K060-K067).
  void queue_forget(uint64_t nodeid, uint64_t nlookup);

  // Drivers: a signal reached the caller, or the caller is gone.
  void interrupt(Caller& caller);
  void kill(Caller& caller);

  uint32_t id() const { return id_; }
  bool connected() const { return connected_; }
  bool initialized() const { return initialized_; }
  // INIT failed: every request gets ECONNREFUSED.
  bool refused() const { return conn_error_; }
  const Negotiated& negotiated() const { return negotiated_; }
  Limits& limits() { return limits_; }
  // Through the control file system; lets waiting background requests go on (K231).
  void set_max_background(uint32_t limit);
  LearnedEnosys& learned_enosys() { return learned_enosys_; }
  Counters& counters() { return counters_; }
  const MountOptions& options() const { return options_; }
  // MS_REMOUNT: what changes later.
  void set_read_only(bool read_only) { options_.read_only = read_only; }
  Device& device() { return *first_device_; }
  Module& module() { return module_; }
  Host& host();
  Kmalloc& kmalloc();
  ReadyList& ready() { return ready_; }
  void set_notify_target(NotifyTarget* target) { notify_ = target; }
  void set_publisher(Publisher* publisher) { publisher_ = publisher; }
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

  using DeviceList = boost::intrusive::list<DeviceQueues, boost::intrusive::constant_time_size<false>>;

  // Takes the daemon's answer to INIT.
  struct InitEnd final : RequestEnd {
    Connection& connection;
    wire::InitOut reply{};
    explicit InitEnd(Connection& c) : connection(c) {}
    void ended(Request& request, Result<size_t> result) override;
  };

  Result<void> queue_init();
  void finish_init(Result<size_t> result, const wire::InitOut& reply);
  void open_gate();
  bool over() const { return !mounted_ && devices_.empty(); }

  // Whether a request that is not forced may go out now; the errno it gets otherwise.
  Result<void> admission() const;
  void check_contract(const Args& args);
  void fill_header(Request& request, const Caller* caller);
  Result<Request*> make_background(const Args& args, RequestEnd* end, const Caller* caller);
  void queue(Request& request);
  void queue_interrupt(Request& request);
  void start_background();
  void wake_readers();
  // The request is over, and on no queue: wakes its sender, or tells and frees a background one.
  void finish(Request& request, Result<size_t> result);
  // was_waiting: it had not reached the input queue.
  void finish_background(Request& request, bool was_waiting);
  void release(Request& request);
  void drop(Forget& forget);

  void end();
  void finish_all(RequestList& requests);
  void resend();
  Result<void> dispatch_notify(int32_t code, std::span<const std::byte> payload);
  // For messages without a Request: FORGETs and INTERRUPTs. Nothing unless tracing.
  void trace_header(TraceStep step, const wire::InHeader& header);
  void trace_connection(TraceStep step, uint32_t code, uint32_t bytes, const char* name);
  TraceEvent make_event(TraceStep step) const;

  Module& module_;
  const uint32_t id_;
  Mutex lock_;
  ReadyList ready_;
  bool mounted_ = false;
  bool ended_ = false;
  bool freeing_ = false;
  bool connected_ = false;    // from mount to the end
  bool initialized_ = false;  // INIT answered, or the connection ended
  bool conn_error_ = false;
  bool aborted_ = false;  // ended by abort(), and the daemon asked to be told so (K010)
  bool tracing_ = false;
  MountOptions options_{};
  Negotiated negotiated_{};
  Limits limits_{};
  LearnedEnosys learned_enosys_{};
  Counters counters_{};
  NotifyTarget* notify_ = nullptr;
  Publisher* publisher_ = nullptr;
  Device* first_device_ = nullptr;
  uint64_t attr_version_ = 1, evict_counter_ = 1;
  uint32_t epoch_ = 0;

  InitEnd init_end_{*this};
  RequestList gated_;  // their senders wait for INIT's answer (Linux blocked_waitq)
  InputQueue input_;
  BackgroundQueue background_;
  DeviceList devices_;
};

using ConnectionList = boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>>;

}  // namespace fusewire::kernel
