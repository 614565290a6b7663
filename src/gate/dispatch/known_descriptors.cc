#include "gate/dispatch/known_descriptors.h"

#include <fcntl.h>

#include <atomic>
#include <cstddef>

#include "gate/dispatch/process.h"

namespace fusewire::gate {

namespace {

constexpr size_t numbers = expected_descriptors;

enum Kind : uint32_t { unknown, native, virtual_file, being_written, closed };
constexpr uint32_t kinds = 8, changes_unit = kinds, ages_unit = 1u << 26, ages = 64;

// A word, and the same with the token of its file upon it: what belongs to another file is not mistaken.
struct OfFile {
  std::atomic<uint64_t> word, word_and_token;

  uint64_t get(uint64_t token) const {
    const uint64_t there = word.load(std::memory_order_relaxed);
    return (there ^ word_and_token.load(std::memory_order_relaxed)) == token ? there : 0;
  }
  void put(uint64_t token, uint64_t value) {
    word.store(value, std::memory_order_relaxed);
    word_and_token.store(value ^ token, std::memory_order_relaxed);
  }
};

struct Known {
  // Kind; how often numbers had changed hands when this one did; the age, which forgetting all begins anew.
  std::atomic<uint32_t> word;
  std::atomic<uint32_t> connection;
  std::atomic<uint64_t> token;
  std::atomic<uint32_t> changing;  // so many calls put something else there
  OfFile row, position;
};
GATE_LARGE Known known[numbers];
OfFile row_of_cwd;
std::atomic<uint32_t> changes{0};
std::atomic<uint32_t> age{0};
std::atomic<bool> is_shared{false};

bool is_kept(int fd) { return fd >= 0 && static_cast<size_t>(fd) < numbers; }

Kind kind_of(uint32_t word) {
  return word / ages_unit == age.load(std::memory_order_relaxed) ? static_cast<Kind>(word % kinds) : unknown;
}

uint32_t word_of(uint32_t change, Kind kind) {
  return age.load(std::memory_order_relaxed) * ages_unit + change * changes_unit % ages_unit + kind;
}

// What is known at this moment.
Kind kind_at(int fd) {
  if (is_shared.load(std::memory_order_relaxed) || !is_alone_in_memory()) return unknown;
  const Kind kind = kind_of(known[fd].word.load(std::memory_order_acquire));
  return known[fd].changing.load(std::memory_order_acquire) == 0 ? kind : unknown;
}

// Puts kind in the place of what stands there, unless a number has changed hands since the look.
bool put(int fd, uint32_t look, Kind kind, bool opened) {
  if (is_shared.load(std::memory_order_relaxed) || !is_alone_in_memory()) return false;
  uint32_t seen = known[fd].word.load(std::memory_order_acquire);
  const Kind before = kind_of(seen);
  if (before == being_written || (before == closed && !opened)) return false;
  if (changes.load(std::memory_order_acquire) != look) return false;
  return known[fd].word.compare_exchange_strong(seen, word_of(look, kind));
}

void put_native(int fd, uint32_t look, bool opened) {
  if (is_kept(fd) && kind_at(fd) != native) put(fd, look, native, opened);
}

void put_virtual(int fd, const VirtualFile& file, uint32_t look, bool opened) {
  if (!is_kept(fd)) return;
  expect_virtual(fd, true);
  if (kind_at(fd) == virtual_file || !put(fd, look, being_written, opened)) return;
  known[fd].connection.store(file.connection, std::memory_order_relaxed);
  known[fd].token.store(file.token, std::memory_order_relaxed);
  uint32_t mine = word_of(look, being_written);
  known[fd].word.compare_exchange_strong(mine, word_of(look, virtual_file), std::memory_order_release);
}

// Of this number something else is known from now on, if at all.
void change(int fd, Kind kind) {
  if (is_kept(fd)) known[fd].word.store(word_of(changes.fetch_add(1) + 1, kind), std::memory_order_release);
}

}  // namespace

constinit uint8_t expected_virtual[expected_descriptors] = {};

bool is_known_native(int fd) { return is_kept(fd) && kind_at(fd) == native; }

bool is_known_virtual(int fd, VirtualFile& file) {
  if (!is_kept(fd) || kind_at(fd) != virtual_file) return false;
  const Known& k = known[fd];
  const uint32_t before = k.word.load(std::memory_order_acquire);
  const VirtualFile there{k.connection.load(std::memory_order_relaxed), k.token.load(std::memory_order_relaxed)};
  std::atomic_thread_fence(std::memory_order_acquire);
  if (kind_at(fd) != virtual_file || k.word.load(std::memory_order_relaxed) != before) return false;
  file = there;
  return true;
}

uint64_t known_inode(int fd, uint64_t token) {
  if (fd == AT_FDCWD) return row_of_cwd.get(token);
  return is_kept(fd) ? known[fd].row.get(token) : 0;
}

void learn_inode(int fd, uint64_t token, uint64_t row) {
  if (fd == AT_FDCWD) row_of_cwd.put(token, row);
  if (is_kept(fd)) known[fd].row.put(token, row);
}

uint64_t known_position(int fd, uint64_t token) { return is_kept(fd) ? known[fd].position.get(token) : 0; }

void learn_position(int fd, uint64_t token, uint64_t position) {
  if (is_kept(fd)) known[fd].position.put(token, position);
}

bool is_expected_virtual(int fd) {
  return !is_kept(fd) || __atomic_load_n(&expected_virtual[fd], __ATOMIC_RELAXED) != 0;
}

void expect_virtual(int fd, bool is_virtual) {
  if (!is_kept(fd) || is_expected_virtual(fd) == is_virtual) return;
  __atomic_store_n(&expected_virtual[fd], is_virtual ? 1 : 0, __ATOMIC_RELAXED);
}

uint32_t look_begins() { return changes.load(std::memory_order_acquire); }

void found_native(int fd, uint32_t look) { put_native(fd, look, false); }

void opened_native(int fd, uint32_t look) { put_native(fd, look, true); }

void found_virtual(int fd, const VirtualFile& file, uint32_t look) { put_virtual(fd, file, look, false); }

void opened_virtual(int fd, const VirtualFile& file, uint32_t look) { put_virtual(fd, file, look, true); }

void closes(int fd) {
  if (!is_kept(fd)) return;
  expect_virtual(fd, false);
  change(fd, closed);
}

ChangesHands::ChangesHands(int fd) : fd_(fd) {
  if (is_kept(fd_)) known[fd_].changing++;
  change(fd_, unknown);
}

ChangesHands::~ChangesHands() {
  change(fd_, unknown);
  if (is_kept(fd_)) known[fd_].changing--;
}

void forget_known_descriptors() { age = (age + 1) % ages; }

void share_known_descriptors(bool are_shared) { is_shared = are_shared; }

}  // namespace fusewire::gate
