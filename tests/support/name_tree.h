// NameTree: a directory of the real file system to walk in, and a mount table in memory that the gate reads.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <string>

#include "abi/mount_table.h"
#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "support/temporary_directory.h"

namespace fusewire::gate {

class NameTree : public testing::Test {
 protected:
  void make_tree(std::initializer_list<const char*> directories) {
    for (const char* directory : directories) ASSERT_EQ(::mkdir(at(directory).c_str(), 0755), 0);
    table_ = std::make_unique<abi::MountTable>();
    std::memset(static_cast<void*>(table_.get()), 0, sizeof *table_);
  }
  // The process stands in it, and may hold files of mounts.
  void enter_tree() {
    use_mounts(table_.get());
    process_start();
    descriptors_start();
    forget_known_descriptors();
    possible.virtual_file = true;
    ASSERT_EQ(::chdir(root_.path().c_str()), 0);
  }
  void TearDown() override {
    use_mounts(nullptr);
    ASSERT_EQ(::chdir("/"), 0);
  }

  std::string at(const std::string& name) const { return root_.at(name); }
  void link(const std::string& target, const char* name) { ASSERT_EQ(::symlink(target.c_str(), at(name).c_str()), 0); }
  // In the native file system.
  abi::MountEntry& mount_at_path(const std::string& path) {
    const uint32_t index = table_->mounted++;
    abi::MountEntry& entry = table_->entry[index];
    entry.state = static_cast<uint32_t>(abi::MountState::mounted);
    entry.id = index + 1;
    entry.path_length = static_cast<uint32_t>(path.size());
    std::strcpy(table_->path[index], path.c_str());
    return entry;
  }

  const TemporaryDirectory root_;
  std::unique_ptr<abi::MountTable> table_;
};

}  // namespace fusewire::gate
