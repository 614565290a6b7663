#include "host/notices.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fusewire::host {

// Of one open directory. Owned by its RegisteredFile, as the owner is.
struct Notice {
  FileOwner& owner;
  UniqueFd inotify;
  bool many = false;  // DN_MULTISHOT
  bool over = false;
};

namespace {

// dnotify.c convert_arg.
uint32_t events_of(uint32_t mask) {
  constexpr struct {
    uint32_t notice, events;
  } all[] = {{DN_ACCESS, IN_ACCESS},
             {DN_MODIFY, IN_MODIFY},
             {DN_ATTRIB, IN_ATTRIB},
             {DN_RENAME, IN_MOVED_FROM},
             {DN_CREATE, IN_CREATE | IN_MOVED_TO},
             {DN_DELETE, IN_DELETE | IN_MOVED_FROM}};
  uint32_t events = 0;
  for (const auto& [notice, its_events] : all)
    if (mask & notice) events |= its_events;
  return events;
}

void tell(Notice& notice) {
  alignas(inotify_event) char buffer[4096];
  for (;;) {
    const ssize_t size = ::read(notice.inotify.get(), buffer, sizeof buffer);
    if (size <= 0) return;
    for (ssize_t at = 0; at < size && !notice.over;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if (event.mask & (IN_IGNORED | IN_Q_OVERFLOW)) continue;
      notice.owner.signal();
      notice.over = !notice.many;
    }
  }
}

}  // namespace

int Notices::add(std::shared_ptr<Notice>& notice, FileOwner& owner, uint32_t mask, const UniqueFd& mirror) {
  const bool is_new = !notice || notice->over;
  std::shared_ptr<Notice> wanted = is_new ? std::make_shared<Notice>(Notice{.owner = owner, .inotify = {}}) : notice;
  if (is_new) wanted->inotify.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const std::string path = fmt::format("/proc/self/fd/{}", mirror.get());
  const uint32_t events = events_of(mask) | IN_MASK_ADD;
  if (!wanted->inotify || ::inotify_add_watch(wanted->inotify.get(), path.c_str(), events) < 0) return -errno;
  wanted->many = wanted->many || (mask & DN_MULTISHOT) != 0;
  if (is_new) all_.emplace_back(wanted);
  notice = std::move(wanted);
  return 0;
}

void Notices::tell() {
  if (all_.empty()) return;
  std::erase_if(all_, [](const std::weak_ptr<Notice>& each) {
    const std::shared_ptr<Notice> notice = each.lock();
    if (notice) host::tell(*notice);
    return !notice || notice->over;
  });
}

}  // namespace fusewire::host
