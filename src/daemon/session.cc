#include "daemon/session.h"

#include <pthread.h>
#include <signal.h>

#include <thread>

#include "daemon/negotiate.h"
#include "daemon/worker.h"

namespace fusewire::daemon {

Session::Session(Transport& transport, FileSystem& file_system, const SessionOptions& options)
    : transport_(transport), file_system_(file_system), options_(options) {}

Result<void> Session::run(const std::function<void()>& on_ready) {
  if (file_system_.wanted_capabilities() & ~honoured_capabilities) return error(Errno::einval);

  Worker first(*this);
  auto begun = loop(first, Phase::before_init);
  if (!begun || !initialised_) return begun;
  if (on_ready) on_ready();

  std::vector<std::thread> others;
  for (unsigned i = 1; i < options_.threads; ++i) {
    others.emplace_back([this] {
      Worker worker(*this);
      if (!loop(worker, Phase::running)) stop();
    });
  }
  auto ended = loop(first, Phase::running);
  if (!ended) stop();
  for (auto& thread : others) thread.join();
  file_system_.stopped();
  return ended;
}

void Session::interrupt(int signal) {
  stop();
  std::lock_guard lock(serving_lock_);
  for (pthread_t thread : serving_) pthread_kill(thread, signal);
}

Result<void> Session::loop(Worker& worker, Phase phase) {
  {
    std::lock_guard lock(serving_lock_);
    serving_.push_back(pthread_self());
  }
  auto served = serve_requests(worker, phase);
  std::lock_guard lock(serving_lock_);
  std::erase(serving_, pthread_self());
  return served;
}

// Phase::before_init ends when INIT has been answered.
Result<void> Session::serve_requests(Worker& worker, Phase phase) {
  while (!stopping_) {
    auto served = worker.serve_one();
    if (!served && served.error() == Errno::eintr) continue;
    if (!served) return std::unexpected(served.error());
    if (!*served) {
      stopping_ = true;
      return {};
    }
    if (phase == Phase::before_init && initialised_) return {};
  }
  return {};
}

Result<void> Session::notify_inval_inode(NodeId node, int64_t offset, int64_t length) {
  wire::NotifyInvalInodeOut body{static_cast<uint64_t>(node), offset, length};
  wire::OutHeader header{sizeof header + sizeof body, static_cast<int32_t>(wire::NotifyCode::inval_inode), 0};
  iovec parts[] = {{&header, sizeof header}, {&body, sizeof body}};
  return transport_.write_reply(parts);
}

Result<void> Session::notify_inval_entry(NodeId parent, std::string_view name) {
  wire::NotifyInvalEntryOut body{static_cast<uint64_t>(parent), static_cast<uint32_t>(name.size()), 0};
  char nul = 0;
  auto length = static_cast<uint32_t>(sizeof(wire::OutHeader) + sizeof body + name.size() + 1);
  wire::OutHeader header{length, static_cast<int32_t>(wire::NotifyCode::inval_entry), 0};
  iovec parts[] = {
      {&header, sizeof header}, {&body, sizeof body}, {const_cast<char*>(name.data()), name.size()}, {&nul, 1}};
  return transport_.write_reply(parts);
}

}  // namespace fusewire::daemon
