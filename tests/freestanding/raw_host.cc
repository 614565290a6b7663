#include "raw_host.h"

namespace fusewire::freestanding {

namespace {
namespace nr {
constexpr long mmap = 9, munmap = 11, futex = 202, clock_gettime = 228, getrandom = 318;
}
}  // namespace

uint64_t RawHost::clock(long id) {
  struct {
    long seconds, nanoseconds;
  } time{};
  system_call(nr::clock_gettime, id, reinterpret_cast<long>(&time));
  return static_cast<uint64_t>(time.seconds) * 1'000'000'000 + static_cast<uint64_t>(time.nanoseconds);
}

void* RawHost::alloc_pages(size_t bytes) {
  constexpr long read_write = 3, private_anonymous = 0x22;
  // Twice as much has an aligned half.
  const long length = static_cast<long>(bytes), mapped = is_aligned(bytes) ? 2 * length : length;
  const long address = system_call(nr::mmap, 0, mapped, read_write, private_anonymous, -1);
  if (address < 0) return nullptr;
  const long start = mapped == length ? address : (address + length - 1) & -length;
  if (start != address) system_call(nr::munmap, address, start - address);
  const long rest = address + mapped - (start + length);
  if (rest != 0) system_call(nr::munmap, start + length, rest);
  bytes_out_ += bytes;
  return reinterpret_cast<void*>(start);
}

void RawHost::free_pages(void* pages, size_t bytes) {
  bytes_out_ -= bytes;
  system_call(nr::munmap, reinterpret_cast<long>(pages), static_cast<long>(bytes));
}

uint64_t RawHost::random() {
  uint64_t number = 0;
  system_call(nr::getrandom, reinterpret_cast<long>(&number), sizeof number);
  return number;
}

void RawHost::wait(std::atomic<uint32_t>& word, uint32_t value) {
  constexpr long wait_private = 128;
  system_call(nr::futex, reinterpret_cast<long>(&word), wait_private, value);
}

void RawHost::wake_one(std::atomic<uint32_t>& word) {
  constexpr long wake_private = 129;
  system_call(nr::futex, reinterpret_cast<long>(&word), wake_private, 1);
}

void RawHost::panic(const char* what) {
  print("panic: ");
  print(what);
  print("\n");
  exit(2);
}

}  // namespace fusewire::freestanding
