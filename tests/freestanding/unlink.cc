// The proof that the kernel's half stands on nothing (docs/architecture.md, D1): a static program without libc brings
// the module up, mounts, runs INIT, LOOKUP and UNLINK against a scripted daemon in itself, and shuts down with every
// slab empty. Prints "freestanding ok" and ends with 0, else says what went wrong and ends with 1.
#include "kernel/device.h"
#include "kernel/module.h"
#include "raw_host.h"
#include "syscall/mount.h"

namespace fusewire::freestanding {

namespace {

using kernel::Connection;

void require(bool fact, const char* what) {
  if (fact) return;
  print("freestanding: not so: ");
  print(what);
  print("\n");
  exit(1);
}

// Knows one file, "file", nodeid 2, until it is unlinked.
class Daemon {
 public:
  explicit Daemon(kernel::Device& device) : device_(device) {}

  // Answers everything that waits.
  void serve() {
    while (auto size = device_.read(buffer_)) answer({buffer_, *size});
  }

  int inits = 0, lookups = 0, unlinks = 0, forgets = 0;

 private:
  void answer(std::span<const std::byte> request) {
    wire::InHeader in;
    __builtin_memcpy(&in, request.data(), sizeof in);
    switch (static_cast<wire::Opcode>(in.opcode)) {
      case wire::Opcode::init: {
        ++inits;
        wire::InitOut out{};
        out.major = wire::major_version, out.minor = wire::minor_version, out.max_write = 131072;
        return reply(in, out);
      }
      case wire::Opcode::lookup: {
        ++lookups;
        wire::EntryOut out{};
        out.nodeid = 2, out.attr.ino = 2, out.attr.mode = 0100644, out.attr.nlink = 1;
        return reply(in, out);
      }
      case wire::Opcode::unlink:
        ++unlinks;
        return write({sizeof(wire::OutHeader), 0, in.unique}, {});
      case wire::Opcode::forget:
      case wire::Opcode::batch_forget:
        ++forgets;
        return;
      default:
        require(false, "the half asks for INIT, LOOKUP, UNLINK and FORGET only");
    }
  }

  template <typename T>
  void reply(const wire::InHeader& in, const T& payload) {
    write({sizeof(wire::OutHeader) + sizeof payload, 0, in.unique}, std::as_bytes(std::span(&payload, 1)));
  }

  void write(const wire::OutHeader& header, std::span<const std::byte> payload) {
    std::byte message[sizeof header + sizeof(wire::EntryOut)];
    __builtin_memcpy(message, &header, sizeof header);
    if (!payload.empty()) __builtin_memcpy(message + sizeof header, payload.data(), payload.size());
    require(device_.write({message, header.len}).has_value(), "the half takes the daemon's reply");
  }

  kernel::Device& device_;
  std::byte buffer_[256 * 1024];
};

template <typename T>
T run(Connection& connection, Daemon& daemon, kernel::Task<T> task) {
  {
    Connection::Entry entry(connection);
    task.start();
  }
  daemon.serve();
  require(task.done(), "the call is over when the daemon has answered");
  return task.take();
}

syscall::Mount& mount(Connection& connection) {
  Connection::Entry entry(connection);
  require(connection.mount({}).has_value(), "the connection can be mounted");
  auto created = syscall::Mount::create(connection, 1);
  require(created.has_value(), "a Mount can be made");
  return **created;
}

void unlink_a_file(kernel::Module& module) {
  auto opened = module.open_connection();
  require(opened.has_value(), "a connection can be opened");
  Connection& connection = **opened;
  kernel::Device& device = connection.device();
  static Daemon daemon(device);
  syscall::Mount& mounted = mount(connection);
  daemon.serve();
  require(daemon.inits == 1 && connection.initialized(), "INIT was sent and answered");

  kernel::Caller caller;
  caller.capabilities = caller.permitted = kernel::all_capabilities;
  char storage[4096];
  syscall::Leave leave{storage};
  auto result = run(connection, daemon, mounted.sys_unlinkat(caller, {nullptr, "file"}, 0, leave));
  require(result.has_value(), "unlinkat succeeds");
  require(daemon.lookups == 1 && daemon.unlinks == 1, "unlinkat is one LOOKUP and one UNLINK");
  require(daemon.forgets == 1, "the unlinked node is forgotten");

  {
    Connection::Entry entry(connection);
    mounted.unmount();
  }
  daemon.serve();
  device.close();
}

}  // namespace

}  // namespace fusewire::freestanding

extern "C" int freestanding_main() {
  using namespace fusewire::freestanding;
  RawHost host;
  fusewire::kernel::Module module(host);
  require(module.init().has_value(), "the module comes up");
  unlink_a_file(module);
  module.for_each_cache([](fusewire::kernel::SlabCache& cache) { require(cache.in_use() == 0, cache.name()); });
  require(module.kmalloc().in_use() == 0, "kmalloc is empty");
  module.exit();
  require(host.bytes_out() == 0, "every page went back to the host");
  print("freestanding ok\n");
  return 0;
}
