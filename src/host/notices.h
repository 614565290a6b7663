// Notices: signals of changes in directories (fcntl F_NOTIFY; Linux fs/notify/dnotify). A noticed directory is mirrored
// as a watched one is (watches.h); the host watches the mirror itself, and signals what it learns before it answers the
// call that was the cause. They end with the open file.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "host/file_owner.h"

namespace fusewire::host {

struct Notice;

class Notices {
 public:
  // mask: DN_*, which add up. mirror: of the directory. 0 or -errno.
  int add(std::shared_ptr<Notice>& notice, FileOwner& owner, uint32_t mask, const UniqueFd& mirror);
  // Signals what has happened.
  void tell();

 private:
  std::vector<std::weak_ptr<Notice>> all_;
};

}  // namespace fusewire::host
