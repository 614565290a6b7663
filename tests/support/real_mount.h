// A file system of ours on the real kernel's FUSE, where this machine allows it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "daemon/device_transport.h"
#include "daemon/mount.h"
#include "daemon/session.h"

namespace fusewire::test {

// Why there is no real FUSE here; empty when there is.
inline std::string no_real_fuse() {
  if (geteuid() != 0) return "mounting on the real kernel needs root";
  UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device) return "no usable /dev/fuse";
  return {};
}

// Mounted from construction to destruction on a directory of its own, and served by a thread of this process.
class RealMount {
 public:
  RealMount(daemon::FileSystem& file_system, const std::string& options, unsigned threads = 2) {
    std::string name = "/tmp/fusewire-test-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) return;
    path_ = name;
    daemon::MountOptions mount_options;
    mount_options.add(options);
    auto mount = daemon::Mount::make(path_, mount_options);
    if (!mount) {
      why_ = mount.error();
      return;
    }
    mount_ = std::make_unique<daemon::Mount>(std::move(*mount));
    transport_ = std::make_unique<daemon::DeviceTransport>(mount_->take_device());
    daemon::SessionOptions session_options;
    session_options.threads = threads;
    session_ = std::make_unique<daemon::Session>(*transport_, file_system, session_options);
    thread_ = std::thread([this] { result_ = session_->run(); });
  }
  ~RealMount() {
    if (thread_.joinable()) {
      EXPECT_TRUE(end());
    }
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  bool live() const { return thread_.joinable(); }
  const std::string& why() const { return why_; }
  const std::string& path() const { return path_; }
  daemon::Session& session() { return *session_; }

  bool end() {
    EXPECT_EQ(mount_->unmount(), "");
    thread_.join();
    return result_.has_value();
  }

 private:
  std::string path_, why_;
  std::unique_ptr<daemon::Mount> mount_;
  std::unique_ptr<daemon::DeviceTransport> transport_;
  std::unique_ptr<daemon::Session> session_;
  std::thread thread_;
  daemon::Result<void> result_;
};

}  // namespace fusewire::test
