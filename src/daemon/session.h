// Serves one file system over one transport: INIT, then requests until the end. Every request is checked whole
// (wire/check.h) before the file system sees it; a malformed one is answered with an error and harms nothing.
//
// Owns neither transport nor file system; both outlive it. Thread rule: run() once; everything else from any thread.
#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

#include "daemon/file_system.h"
#include "daemon/transport.h"
#include "wire/opcode_table.h"

namespace fusewire::daemon {

struct SessionOptions {
  unsigned threads = 1;              // each reads, works and replies; 0 counts as 1
  uint32_t max_write = 1024 * 1024;  // bytes of one WRITE, and of one READ; lowered to what the transport carries
  uint32_t max_readahead = UINT32_MAX;
  uint16_t max_background = 0;  // 0: the kernel's half's own default
  uint16_t congestion_threshold = 0;
};

struct SessionCounters {
  std::atomic<uint64_t> requests{0};     // taken in, well formed or not
  std::atomic<uint64_t> malformed{0};    // refused before the file system saw them
  std::atomic<uint64_t> undelivered{0};  // answers that the kernel's half did not take
};

class Session {
 public:
  Session(Transport& transport, FileSystem& file_system, const SessionOptions& options);

  // Serves until the connection ends (no error) or cannot go on. on_ready is called once, in this thread, when INIT has
  // been answered. EINVAL at once: the file system wants capabilities that a session cannot honour. EPROTO: the
  // kernel's half speaks another major version.
  Result<void> run(const std::function<void()>& on_ready = {});

  // Each thread returns after the request it works on. Those that wait for a request return when their wait ends: end
  // the connection (unmount) to wake them.
  void stop() { stopping_ = true; }

  // As stop(), and wakes those that wait for a request: sends `signal`, which has a handler and no SA_RESTART, to their
  // threads. One that is just about to wait is missed: call it again until run() returns.
  void interrupt(int signal);

  // Tells the kernel's half that what it caches is stale. ENOENT: it does not know the node, or the name.
  // It may wait for requests of the same node that are under way: never call these from within a file system's
  // function about that node.
  // length <= 0: to the end; offset < 0: attributes only.
  Result<void> notify_inval_inode(NodeId node, int64_t offset, int64_t length);
  Result<void> notify_inval_entry(NodeId parent, std::string_view name);

  const SessionCounters& counters() const { return counters_; }
  const Negotiated& negotiated() const { return negotiated_; }  // after on_ready

 private:
  friend class Worker;
  enum class Phase { before_init, running };

  Result<void> loop(class Worker& worker, Phase until);
  Result<void> serve_requests(Worker& worker, Phase until);

  Transport& transport_;
  FileSystem& file_system_;
  const SessionOptions options_;
  SessionCounters counters_;
  std::atomic<bool> stopping_{false};
  std::mutex serving_lock_;
  std::vector<pthread_t> serving_;  // the threads inside loop()
  // Written while one worker alone runs, before the others start.
  bool initialised_ = false;
  Negotiated negotiated_;
  wire::Dialect dialect_;
  uint32_t payload_limit_ = 0;  // bytes of data one answer may be asked for
};

}  // namespace fusewire::daemon
