// Identity: the credentials of a thread, as far as a host judges calls by them. On Linux they are a thread's own:
// setfsuid(2) and the raw set*id calls change those of one thread.
// Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fusewire::gate {

struct Identity {
  uint32_t uid[4] = {}, gid[4] = {};  // real, effective, saved, fs
  uint32_t groups = 0;
  uint64_t groups_hash = 0;
  uint64_t effective = 0, permitted = 0;  // capabilities

  bool operator==(const Identity&) const = default;
};

// One user in all places, and no capability to become another.
bool is_final(const Identity& identity);

// What is known of threads, by their ids. A thread alone writes and reads its own entry; it goes with the thread.
class ThreadIdentities {
 public:
  // That of the calling thread. The first time it asks the kernel, eight calls; threads for which there is no room do
  // so always.
  Identity of_thread(uint32_t tid);
  // The calling thread has changed it, or ends.
  void forget(uint32_t tid);
  void forget_all();

 private:
  static constexpr size_t room = 64;
  struct Entry {
    std::atomic<uint32_t> tid{0};  // 0: nobody's
    Identity identity;
  };
  Entry* find(uint32_t tid);
  Entry entry_[room];
};

}  // namespace fusewire::gate
