// The views of connections (abi/view_layout.h) that a process has mapped, to answer calls without the host: mapping
// them, and giving them up.
//
// A process maps a view once it has made some calls on the connection: until then the host answers cheaper than the
// page faults. A child of fork has its parent's. A view is given up with the rings: when credentials change.
//
// Thread rule: any thread. One that looks into a view counts among its users; it is unmapped when there are none.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "abi/mount_table.h"
#include "abi/view.h"

namespace fusewire::gate {

enum class ViewState : uint32_t {
  free = 0,
  claimed = 1,   // its fields are being written
  counting = 2,  // calls are counted
  refused = 3,   // this process gets no view of the connection
  live = 4,
  retired = 5,  // nobody begins to use it
};

struct MappedViewSlot {
  std::atomic<ViewState> state{ViewState::free};
  std::atomic<uint32_t> connection{0};
  std::atomic<uint32_t> calls{0};  // since counting began
  std::atomic<uint32_t> users{0};
  // Of a live one.
  abi::MappedView rows;
  void* memory = nullptr;
  size_t bytes = 0;
  uint64_t* counters = nullptr;
  uint64_t dev = 0;
  abi::ViewCaller caller;
  const abi::ConnectionEntry* host = nullptr;
};

inline constexpr size_t mapped_views_max = 8;

struct MappedViews {
  std::atomic<bool> none{false};  // none is used any more
  std::atomic<uint32_t> next_to_go{0};
  MappedViewSlot slot[mapped_views_max];
};

struct Process;

// The use of a connection's view, where the process has one that holds good.
class ViewUse {
 public:
  ViewUse(Process& p, uint32_t connection);
  ~ViewUse();
  ViewUse(const ViewUse&) = delete;
  ViewUse& operator=(const ViewUse&) = delete;

  explicit operator bool() const { return slot_ != nullptr; }
  const MappedViewSlot& view() const { return *slot_; }
  // A call was answered.
  void count_hit() const;
  // It has grown beyond what is mapped: to be mapped anew.
  void retire() const;

 private:
  Process& process_;
  MappedViewSlot* slot_ = nullptr;
};

// A call that a view might have answered goes to the host. Maps the view when there have been enough of them.
void count_call(Process& p, uint32_t connection);

// Credentials have changed, or are about to.
void retire_mapped_views(Process& p);
// For good: by this process and its children.
void use_no_views(Process& p);
// In the child of fork, which has the parent's memory and credentials: only its own thread is left.
void keep_mapped_views(Process& p);
// Of a process whose threads are gone, or that is another one now: they are unmapped.
void drop_mapped_views(Process& p);

}  // namespace fusewire::gate
