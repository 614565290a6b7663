// SyscallTest: a mount of a small tree that a scripted daemon serves; system calls are run to their end against it.
// TearDown unmounts, closes and proves that every slab is empty. What the tree does not answer by itself (changes of
// names, I/O) a test adds with daemon->on(); a request that nobody expected fails the test.
#pragma once

#include <sys/mman.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "abi/view.h"
#include "kernel/file.h"
#include "kernel/view.h"
#include "support/kernel_fixture.h"
#include "syscall/mount.h"

namespace fusewire::test {

// Memory for a view, which a test may read as a client would. There are tests with thousands of mounts: pages that are
// not written cost nothing, but to the thread sanitizer, which looks at all of them when they go.
class TestViewMemory final : public kernel::ViewMemory {
 public:
  explicit TestViewMemory(size_t bytes) : ViewMemory(nullptr, bytes), bytes_(bytes) {
    memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    use(memory_, bytes);
  }
  ~TestViewMemory() { ::munmap(memory_, bytes_); }
  TestViewMemory(const TestViewMemory&) = delete;
  bool back(uint64_t offset, uint64_t bytes) override {
    if (offset + bytes > limit) return false;
    return true;
  }
  abi::MappedView mapped() const { return {memory_, bytes_}; }

  uint64_t limit = UINT64_MAX;  // no memory from here on

 private:
  const size_t bytes_;
  void* memory_;
};

using kernel::Errno;
using syscall::Mount;
using syscall::OpenFile;
using syscall::Place;
using wire::Opcode;

inline constexpr uint32_t regular = 0100644, directory = 0040755, symbolic_link = 0120777;
inline constexpr uint32_t o_rdonly = 0, o_wronly = 1, o_rdwr = 2, o_creat = 0100, o_excl = 0200, o_trunc = 01000,
                          o_append = 02000, o_directory = 0200000, o_nofollow = 0400000, o_path = 010000000;
inline constexpr uint32_t basic_stats = 0x7ff;

// A call under way; stays where it is made.
template <typename T>
class PendingCall {
 public:
  PendingCall(kernel::Connection& connection, kernel::Task<kernel::Result<T>> task)
      : connection_(connection), task_(std::move(task)) {
    kernel::Connection::Entry entry(connection_);
    task_.start();
  }
  PendingCall(const PendingCall&) = delete;
  ~PendingCall() {
    if (task_.done()) return;
    ADD_FAILURE() << "a call is still waiting at the end of the test";
    kernel::Connection::Entry entry(connection_);
    connection_.abort();
  }
  bool done() const { return task_.done(); }
  kernel::Result<T> take() {
    if (done()) return task_.take();
    ADD_FAILURE() << "the call still waits";
    return kernel::error(Errno::eio);
  }

 private:
  kernel::Connection& connection_;
  kernel::Task<kernel::Result<T>> task_;
};

class SyscallTest : public KernelTest {
 protected:
  static constexpr uint64_t root = wire::root_id;

  SyscallTest() {
    init = ScriptedDaemon::default_init(init_flags);
    caller.capabilities = caller.permitted = kernel::all_capabilities;
    caller.pid = caller.tgid = 4711;
    caller.lock_owner = 1;
    other = caller;
    other.lock_owner = 2;
    leave.storage = leave_storage;
  }
  // Knobs, before mount_tree(): init_flags and what KernelTest has.
  uint64_t init_flags = wire::init_flag::init_ext | wire::init_flag::big_writes | wire::init_flag::max_pages |
                        wire::init_flag::parallel_dirops;
  // All tests run with a view beside, which must say after each call what the half knows.
  bool has_view = true;
  // Seconds of validity that entries and attributes get.
  uint64_t entry_valid = 100, attr_valid = 100;

  void mount_tree() {
    init.flags = static_cast<uint32_t>(init_flags);
    init.flags2 = static_cast<uint32_t>(init_flags >> 32);
    init.max_pages = 32;
    mount_and_init();
    kernel::Connection::Entry entry(*connection);
    auto made = Mount::create(*connection, 77);
    ASSERT_TRUE(made.has_value());
    fs = *made;
    if (has_view) {
      ASSERT_TRUE(fs->start_view(view_memory).has_value());
    }
    serve_tree();
  }
  void unmount_tree() {
    if (!fs) return;
    kernel::Connection::Entry entry(*connection);
    std::exchange(fs, nullptr)->unmount();
  }
  void TearDown() override {
    check_view();
    unmount_tree();
    if (daemon->quiet() == false) daemon->serve();
    daemon->close();
    connection = nullptr;
    module.exit();
    EXPECT_EQ(host.bytes_out(), 0u);
  }

  // A node under a name; the nodeid is its answer.
  uint64_t add(uint64_t parent, std::string name, uint32_t mode, uint64_t size = 0) {
    const uint64_t nodeid = next_nodeid++;
    wire::Attr attr{};
    attr.ino = nodeid + 1000;
    attr.mode = mode;
    attr.nlink = 1;
    attr.size = size;
    nodes[nodeid] = attr;
    names[{parent, std::move(name)}] = nodeid;
    return nodeid;
  }
  uint64_t add_link(uint64_t parent, std::string name, std::string target) {
    const uint64_t nodeid = add(parent, std::move(name), symbolic_link, target.size());
    targets[nodeid] = std::move(target);
    return nodeid;
  }
  wire::EntryOut entry_of(uint64_t nodeid) const {
    wire::EntryOut out{};
    out.nodeid = nodeid;
    out.entry_valid = entry_valid;
    out.attr_valid = attr_valid;
    out.attr = nodes.at(nodeid);
    return out;
  }
  wire::AttrOut attr_of(uint64_t nodeid) const { return {attr_valid, 0, 0, nodes.at(nodeid)}; }

  template <typename T>
  PendingCall<T> start(kernel::Task<kernel::Result<T>> task) {
    return PendingCall<T>(*connection, std::move(task));
  }
  // Runs a call to its end, the daemon answering.
  template <typename T>
  kernel::Result<T> run(kernel::Task<kernel::Result<T>> task) {
    PendingCall<T> call(*connection, std::move(task));
    while (!call.done() && daemon->serve() != 0) {
    }
    check_view();
    return call.take();
  }
  // The errno of a call run to its end; 0 for success.
  template <typename T>
  int error_of(kernel::Task<kernel::Result<T>> task) {
    auto result = run(std::move(task));
    return result ? 0 : as_int(result.error());
  }

  void check_view() {
    if (!fs) return;
    kernel::Connection::Entry entry(*connection);
    EXPECT_TRUE(fs->view_agrees());
  }

  kernel::Result<syscall::Stat> stat(std::string_view path, uint32_t at_flags = 0) {
    return run(fs->sys_statx(caller, {nullptr, path}, at_flags, basic_stats, leave));
  }
  int stat_error(std::string_view path, uint32_t at_flags = 0) {
    auto result = stat(path, at_flags);
    return result ? 0 : as_int(result.error());
  }
  OpenFile* open(std::string_view path, uint32_t flags = o_rdonly, uint32_t mode = 0644) {
    auto file = run(fs->sys_openat(caller, {nullptr, path}, flags, mode, leave));
    EXPECT_TRUE(file.has_value()) << "open of " << path << ": errno " << (file ? 0 : as_int(file.error()));
    return file ? *file : nullptr;
  }
  int open_error(std::string_view path, uint32_t flags, uint32_t mode = 0644) {
    auto file = run(fs->sys_openat(caller, {nullptr, path}, flags, mode, leave));
    if (!file) return as_int(file.error());
    release(*file);
    return 0;
  }
  int close(OpenFile* file) {
    const int result = error_of(fs->sys_flush(caller, *file));
    release(file);
    return result;
  }
  // The last descriptor goes without close(2).
  void release(OpenFile* file) {
    {
      kernel::Connection::Entry entry(*connection);
      fs->release(*file);
    }
    daemon->serve();
  }
  std::string path_of(OpenFile* file) {
    std::string text(4096, '\0');
    kernel::Connection::Entry entry(*connection);
    uint32_t mount = 0;
    auto length = fs->sys_path({.start = file, .path = {}}, text, mount);
    text.resize(length ? *length : 0);
    return text;
  }
  kernel::Result<std::string> read(OpenFile* file, size_t bytes, int64_t offset = -1) {
    std::string text(bytes, '\0');
    auto got = run(fs->sys_read(caller, *file, std::as_writable_bytes(std::span(text)), offset));
    if (!got) return kernel::error(got.error());
    text.resize(*got);
    return text;
  }
  kernel::Result<size_t> write(OpenFile* file, std::string_view text, int64_t offset = -1) {
    return run(fs->sys_write(caller, *file, std::as_bytes(std::span(text)), offset));
  }
  void kill(kernel::Caller& who) {
    kernel::Connection::Entry entry(*connection);
    connection->kill(who);
  }
  void interrupt(kernel::Caller& who) {
    kernel::Connection::Entry entry(*connection);
    connection->interrupt(who);
  }
  int notify(wire::NotifyCode code, const Bytes& payload) { return errno_of(daemon->notify(code, payload)); }
  int inval_entry(uint64_t parent, std::string_view name, uint32_t flags = 0) {
    const wire::NotifyInvalEntryOut out{parent, static_cast<uint32_t>(name.size()), flags};
    return notify(wire::NotifyCode::inval_entry, bytes_of(out, name, '\0'));
  }

  TestViewMemory view_memory{256 << 10};
  Mount* fs = nullptr;
  kernel::Caller caller, other;
  char leave_storage[4096];
  syscall::Leave leave;
  std::map<std::pair<uint64_t, std::string>, uint64_t> names;
  std::map<uint64_t, wire::Attr> nodes;
  std::map<uint64_t, std::string> targets;
  uint64_t next_nodeid = 2;
  uint64_t next_handle = 1;

 private:
  // What any tree answers: LOOKUP, GETATTR, READLINK, OPEN, FLUSH, RELEASE and their directory twins.
  void serve_tree() {
    wire::Attr root_attr{};
    root_attr.ino = 1;
    root_attr.mode = directory;
    root_attr.nlink = 2;
    nodes[root] = root_attr;
    daemon->on(Opcode::lookup, [this](const DaemonRequest& request) {
      const auto found = names.find({request.header.nodeid, request.name()});
      if (found == names.end()) return DaemonReply::failed(Errno::enoent);
      return DaemonReply::ok(entry_of(found->second));
    });
    daemon->on(Opcode::getattr,
               [this](const DaemonRequest& request) { return DaemonReply::ok(attr_of(request.header.nodeid)); });
    daemon->on(Opcode::readlink,
               [this](const DaemonRequest& request) { return DaemonReply::ok(targets[request.header.nodeid]); });
    for (const Opcode opcode : {Opcode::open, Opcode::opendir}) {
      daemon->on(opcode, [this](const DaemonRequest&) { return DaemonReply::ok(wire::OpenOut{next_handle++, 0, 0}); });
    }
    for (const Opcode opcode : {Opcode::flush, Opcode::release, Opcode::releasedir}) daemon->on_ok(opcode);
    daemon->on_error(Opcode::getxattr, Errno::enosys);
  }
};

}  // namespace fusewire::test
