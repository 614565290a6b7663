#include "gate/dispatch/view_calls.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "gate/dispatch/clock.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mapped_views.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"

namespace fusewire::gate {

namespace {

// No clock: everything that ends has ended.
uint64_t latest_now() {
  const uint64_t now = coarse_clock();
  return now == 0 ? UINT64_MAX : now + coarse_clock_behind;
}

using Walk = abi::ViewWalk<abi::MappedView, uint64_t (*)()>;

// look(walk, view): what the view makes of the call, or not_known. A trace shows every call, so while there is one the
// host is told of each.
template <class Look>
long ask_view_of(uint32_t connection, Look look) {
  if (tracing()) return not_known;
  Process& p = process();
  {
    const ViewUse use(p, connection);
    if (use) {
      Walk walk(use.view().rows, use.view().caller, latest_now);
      const long result = look(walk, use.view());
      if (result != not_known) {
        use.count_hit();
        return result;
      }
      if (walk.is_cut()) use.retire();
    }
  }
  count_call(p, connection);
  return not_known;
}

bool find_start(const Walk& walk, const Where& where, abi::ViewStart& start) {
  if (where.start.token == 0) return walk.start_of(where.start.mount, start) == abi::ViewAnswer::found;
  start.inode = known_inode(where.start_fd, where.start.token);
  return start.inode != 0;
}

// judge(walk, start, row, view): what a file that was found makes of the call, or not_known.
template <class Judge>
long ask_view(const Where& where, bool follow, Judge judge) {
  if (where.text.overflowed()) return not_known;
  return ask_view_of(where.start.connection, [&](Walk& walk, const MappedViewSlot& view) -> long {
    abi::ViewStart start;
    if (!find_start(walk, where, start)) return not_known;
    abi::ViewInode row{};
    const abi::ViewAnswer answer = walk.walk(start, where.text.view(), follow, row);
    if (answer == abi::ViewAnswer::absent) return -ENOENT;
    return answer == abi::ViewAnswer::found ? judge(walk, start, row, view) : not_known;
  });
}

bool follows(long at_flags) { return (at_flags & AT_SYMLINK_NOFOLLOW) == 0; }

}  // namespace

void learn_start(const Where& where, uint64_t row) {
  if (where.start.token != 0) learn_inode(where.start_fd, where.start.token, row);
}

long known_stat(const Where& where, bool exact, long at_flags, uint32_t mask, abi::Stat& stat) {
  if ((at_flags & AT_STATX_FORCE_SYNC) != 0) return not_known;
  const bool may_be_old = (at_flags & AT_STATX_DONT_SYNC) != 0;
  return ask_view(where, follows(at_flags), [&](const auto& walk, const auto&, const auto& row, const auto& view) {
    if (!walk.shows(row, mask, exact, may_be_old)) return not_known;
    stat = abi::stat_of(row, view.dev);
    return 0L;
  });
}

long known_fstat(const VirtualFile& file, uint64_t row, uint32_t mask, abi::Stat& stat) {
  return ask_view_of(file.connection, [&](const Walk& walk, const MappedViewSlot& view) {
    abi::ViewInode inode{};
    if (!walk.find_inode(row, inode) || !walk.shows(inode, mask, false, false)) return not_known;
    stat = abi::stat_of(inode, view.dev);
    return 0L;
  });
}

long known_missing(const Where& where, uint64_t open_flags) {
  return ask_view(where, (open_flags & O_NOFOLLOW) == 0,
                  [](const auto&, const auto&, const auto&, const auto&) { return not_known; });
}

// What is on the mount, as noexec, is not known of where an open file stands.
long known_access(const Where& where, long at_flags, uint32_t mask) {
  if (where.start.token != 0) return not_known;
  return ask_view(where, follows(at_flags), [&](const auto& walk, const auto& start, const auto& row, const auto&) {
    return walk.allows(row, mask, start.mount_flags) ? 0L : not_known;
  });
}

long known_link(const Where& where, char (&text)[abi::view_chunk_bytes]) {
  return ask_view(where, false, [&](const auto& walk, const auto&, const auto& row, const auto&) {
    if ((row.mode & S_IFMT) != S_IFLNK) return not_known;
    const size_t length = walk.read_link(row, text);
    return length == 0 ? not_known : static_cast<long>(length);
  });
}

}  // namespace fusewire::gate
