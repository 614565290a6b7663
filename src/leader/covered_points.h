// CoveredPoints: what lies natively at the mount points, held so that it stays what it was, and watched.
// Thread rule: the leader's thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "abi/mount_table.h"
#include "abi/unique_fd.h"

namespace fusewire::leader {

// As in abi::MountEntry.
struct CoveredObject {
  abi::Cover cover = abi::Cover::unknown;
  uint64_t device = 0, inode = 0;
};

class CoveredPoints {
 public:
  CoveredPoints();
  // Looks at what lies at a mount point, and holds it. device, inode: what it is, as its mounter saw it, or 0 and 0.
  // Where the path leads to something else (it was mounted in another mount namespace) it stays Cover::unknown.
  CoveredObject cover(uint32_t mount, const std::string& path, uint64_t device, uint64_t inode);
  void uncover(uint32_t mount);
  // Readable when something has changed in a covered directory; -1: nothing is watched.
  int changes() const { return watch_.get(); }
  // The mounts whose directories may have changed.
  std::vector<uint32_t> take_changes();
  // Whether the directory covered by the mount is still bare.
  bool is_bare(uint32_t mount) const;

 private:
  struct Point {
    UniqueFd directory;
    int watch = -1;
  };

  UniqueFd watch_;
  std::map<uint32_t, Point> points_;  // by mount
};

}  // namespace fusewire::leader
