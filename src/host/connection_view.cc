#include "host/connection_view.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

#include "abi/ring.h"
#include "abi/view_layout.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace fusewire::host {
namespace {

constexpr int fixed_size = F_SEAL_SHRINK | F_SEAL_GROW;

// A sparse file in memory, mapped for writing here.
struct SharedFile {
  UniqueFd file;
  void* memory = nullptr;
};

SharedFile make_file(const char* name, uint64_t bytes) {
  SharedFile made{UniqueFd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)), nullptr};
  rlimit limit;
  const bool fits = ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && bytes <= limit.rlim_cur;
  if (!made.file || !fits || ::ftruncate(made.file.get(), static_cast<off_t>(bytes)) != 0) return {};
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, made.file.get(), 0);
  if (at == MAP_FAILED) return {};
  made.memory = at;
  return made;
}

}  // namespace

// Memory is allotted before it is written: where there is none, a store would end this process.
class ConnectionView::Rows final : public kernel::ViewMemory {
 public:
  static std::unique_ptr<Rows> create() {
    for (uint64_t bytes = abi::view_bytes_max; bytes >= smallest; bytes /= 16) {
      SharedFile made = make_file("fusewire-view", bytes);
      if (!made.memory) continue;
      std::unique_ptr<Rows> rows(new Rows(std::move(made), bytes));
      const int seals = fixed_size | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
      return ::fcntl(rows->file(), F_ADD_SEALS, seals) == 0 ? std::move(rows) : nullptr;
    }
    return nullptr;
  }
  ~Rows() { ::munmap(shared_.memory, bytes()); }
  Rows(const Rows&) = delete;

  int file() const { return shared_.file.get(); }
  bool back(uint64_t offset, uint64_t length) override {
    while (backed_ < offset + length) {
      const uint64_t step = std::min(at_once, bytes() - backed_);
      if (step == 0 || ::fallocate(file(), 0, static_cast<off_t>(backed_), static_cast<off_t>(step)) != 0) return false;
      backed_ += step;
    }
    return true;
  }

 private:
  static constexpr uint64_t smallest = 4 << 20, at_once = 64 << 10;

  Rows(SharedFile shared, uint64_t bytes) : ViewMemory(shared.memory, bytes), shared_(std::move(shared)) {}

  SharedFile shared_;
  uint64_t backed_ = 0;
};

ConnectionView::ConnectionView() = default;

ConnectionView::~ConnectionView() {
  if (counters_) ::munmap(const_cast<uint64_t*>(counters_), abi::view_counters_bytes);
}

std::expected<UniqueFd, int> ConnectionView::rows(syscall::Mount& mount) {
  if (!rows_) {
    auto made = Rows::create();
    if (!made) return std::unexpected(-ENOMEM);
    if (const auto started = mount.start_view(*made); !started)
      return std::unexpected(-static_cast<int>(started.error()));
    rows_ = std::move(made);
  }
  UniqueFd copy(::fcntl(rows_->file(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return std::unexpected(-errno);
  return copy;
}

std::expected<UniqueFd, int> ConnectionView::counters() {
  if (!counters_) {
    SharedFile made = make_file("fusewire-counters", abi::view_counters_bytes);
    if (!made.memory || ::fcntl(made.file.get(), F_ADD_SEALS, fixed_size | F_SEAL_SEAL) != 0)
      return std::unexpected(-ENOMEM);
    counters_ = static_cast<const uint64_t*>(made.memory);
    counters_file_ = std::move(made.file);
  }
  UniqueFd copy(::fcntl(counters_file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return std::unexpected(-errno);
  return copy;
}

uint64_t ConnectionView::used_bytes(syscall::Mount& mount) const {
  const kernel::View* view = mount.view();
  return view ? view->used_bytes() : 0;
}

uint64_t ConnectionView::handle_of(uint32_t cell) const {
  if (cell == 0 || !rows_) return 0;
  return rows_->word(cell * abi::view_cell_bytes + offsetof(abi::ViewInode, handle));
}

uint64_t ConnectionView::hits() const {
  uint64_t sum = 0;
  for (size_t i = 0; counters_ && i < abi::view_counters; i++)
    sum += __atomic_load_n(&counters_[i * abi::view_counter_words], __ATOMIC_RELAXED);
  return sum;
}

}  // namespace fusewire::host
