// Every call, ended in every way at every step: while its request waits to be read, while the daemon has it, and by
// what the daemon may answer. The call comes to its end, and nothing of it is left (K041, K051, K061; every slab is
// empty at Module::exit).
#include <set>

#include "support/any_call.h"

namespace fusewire::test {
namespace {

enum class Ending {
  abort_pending,
  abort_sent,
  close_pending,
  close_sent,
  kill_pending,
  kill_sent,
  interrupt_pending,
  interrupt_sent,
  unmount_pending,
  forget_names_sent,  // the daemon invalidates all names while it has the request
  error,
  stale,
  unknown,  // ENOSYS
  too_long,
  too_short,
  zeros,
  count
};

bool ends_the_mount(Ending e) {
  return e == Ending::abort_pending || e == Ending::abort_sent || e == Ending::close_pending ||
         e == Ending::close_sent || e == Ending::unmount_pending;
}
bool while_pending(Ending e) {
  return e == Ending::abort_pending || e == Ending::close_pending || e == Ending::kill_pending ||
         e == Ending::interrupt_pending || e == Ending::unmount_pending;
}

// A mount of its own: dir/{file, link -> file, sub/}, dir2/, and dir/file open.
class Scene : public SyscallTest {
 public:
  // What the whole of a call may be made of: names and attributes that are asked every time.
  explicit Scene(bool knows_create) : knows_create_(knows_create) {
    entry_valid = attr_valid = 0;
    init_flags |= wire::init_flag::posix_locks | wire::init_flag::flock_locks | wire::init_flag::do_readdirplus;
    options.default_permissions = true;
    SetUp();
    mount_tree();
    const uint64_t dir = add(root, "dir", directory);
    node_ = add(dir, "file", regular, 5000);
    add_link(dir, "link", "file");
    add(dir, "sub", directory);
    add(root, "dir2", directory);
    file = open("dir/file", o_rdwr);
    folder = open("dir", o_rdonly | o_directory);
    count_setup();
  }
  ~Scene() override { TearDown(); }
  Scene(const Scene&) = delete;
  void TestBody() override {}

  template <typename T>
  std::unique_ptr<AnyCall> begin(kernel::Task<kernel::Result<T>> task) {
    return any_call(*connection, std::move(task));
  }

  // Whether the call came as far as to be ended.
  bool end_at(AnyCall& call, Ending ending, int step) {
    bool ended = false;
    for (int served = 0; !call.done(); ++served) {
      if (served == step && while_pending(ending)) {
        ended = true;
        apply(ending);
        if (call.done()) break;
      }
      auto request = next_request();
      if (!request) break;
      if (served == step && !while_pending(ending)) {
        ended = true;
        answer_so(*request, ending);
      } else {
        reply(*request, honest(*request));
      }
    }
    EXPECT_TRUE(call.done()) << "the call waits though nothing is asked of the daemon";
    return ended;
  }
  void finish(AnyCall& call) {
    if (OpenFile* made = call.opened()) drop(made);
    drop(file);
    drop(folder);
    serve();
  }
  void run(AnyCall& call) {
    serve();
    EXPECT_TRUE(call.done());
  }
  // Every lookup that the daemon has given is given back once all names are invalid, none twice (K060, K061).
  void expect_lookups_given_back() {
    for (const auto& [node, attr] : nodes) {
      for (const char* name : {"dir", "dir2", "file", "link", "sub", "new"}) inval_entry(node, name);
    }
    serve();
    given_.erase(root);
    EXPECT_EQ(given_, given_back_);
    EXPECT_EQ(handles_, std::set<uint64_t>()) << "RELEASE is due for these";
  }
  kernel::Module& half() { return module; }
  TestHost& test_host() { return host; }

  OpenFile *file = nullptr, *folder = nullptr;
  Bytes buffer = Bytes(9000);
  std::string link_text = std::string(100, '\0');

 private:
  // What the fixture's daemon has given while the scene was set up.
  void count_setup() {
    for (const DaemonRequest& request : daemon->seen()) {
      const auto found = names.find({request.header.nodeid, request.name()});
      if (request.opcode == Opcode::lookup && found != names.end()) ++given_[found->second];
    }
    given_back_ = daemon->forgotten();
  }
  void drop(OpenFile* gone) {
    kernel::Connection::Entry entry(*connection);
    if (fs)
      fs->release(*gone);
    else
      unmounted_->release(*gone);
  }
  std::optional<DaemonRequest> next_request() {
    for (;;) {
      auto request = daemon->read();
      if (!request) return std::nullopt;
      const Opcode opcode = request->opcode;
      if (opcode == Opcode::forget)
        give_back({request->header.nodeid, request->as<wire::ForgetIn>().nlookup});
      else if (opcode == Opcode::batch_forget)
        give_back_all(*request);
      else if (opcode != Opcode::interrupt)
        return *request;
    }
  }
  void give_back(wire::ForgetOne one) { given_back_[one.nodeid] += one.nlookup; }
  void give_back_all(const DaemonRequest& request) {
    const auto batch = request.as<wire::BatchForgetIn>();
    for (uint32_t i = 0; i < batch.count; ++i)
      give_back(request.as<wire::ForgetOne>(sizeof(batch) + i * sizeof(wire::ForgetOne)));
  }
  static bool gives_lookup(Opcode opcode) {
    return opcode == Opcode::lookup || opcode == Opcode::mkdir || opcode == Opcode::mknod ||
           opcode == Opcode::symlink || opcode == Opcode::link || opcode == Opcode::create ||
           opcode == Opcode::tmpfile || opcode == Opcode::readdirplus;
  }
  void note_handle(const DaemonRequest& request, const DaemonReply& answer) {
    const Opcode opcode = request.opcode;
    if (opcode == Opcode::release || opcode == Opcode::releasedir) handles_.erase(request.as<wire::ReleaseIn>().fh);
    const bool opens =
        opcode == Opcode::open || opcode == Opcode::opendir || opcode == Opcode::create || opcode == Opcode::tmpfile;
    if (!opens || answer.bytes.size() < sizeof(wire::OpenOut)) return;
    wire::OpenOut out;
    std::memcpy(&out, answer.bytes.data() + answer.bytes.size() - sizeof(out), sizeof(out));
    if (out.fh != 0) handles_.insert(out.fh);
  }
  void serve() {
    while (auto request = next_request()) reply(*request, honest(*request));
  }
  void apply(Ending ending) {
    if (ending == Ending::close_pending || ending == Ending::close_sent) {
      gone_ = true;
      return daemon->close();
    }
    kernel::Connection::Entry entry(*connection);
    switch (ending) {
      case Ending::abort_pending:
      case Ending::abort_sent:
        return connection->abort();
      case Ending::kill_pending:
      case Ending::kill_sent:
        return connection->kill(caller);
      case Ending::interrupt_pending:
      case Ending::interrupt_sent:
        return connection->interrupt(caller);
      case Ending::unmount_pending:
        unmounted_ = std::exchange(fs, nullptr);
        return unmounted_->unmount();
      default:
        return;
    }
  }
  void answer_so(const DaemonRequest& request, Ending ending) {
    apply(ending);
    DaemonReply answer = honest(request);
    if (ending == Ending::interrupt_sent) answer = DaemonReply::failed(Errno::eintr);
    if (ending == Ending::error) answer = DaemonReply::failed(Errno::eio);
    if (ending == Ending::stale) answer = DaemonReply::failed(Errno::estale);
    if (ending == Ending::unknown) answer = DaemonReply::failed(Errno::enosys);
    if (ending == Ending::too_long) answer.bytes.resize(answer.bytes.size() + (1 << 20));
    if (ending == Ending::too_short) answer.bytes.resize(answer.bytes.size() / 2);
    if (ending == Ending::zeros) std::fill(answer.bytes.begin(), answer.bytes.end(), std::byte{0});
    if (ending == Ending::forget_names_sent) {
      for (const auto& [name, node] : names) inval_entry(name.first, name.second);
    }
    reply(request, answer);
  }
  // Refused replies are the daemon's loss: the call ends all the same.
  void reply(const DaemonRequest& request, const DaemonReply& answer) {
    if (gone_) return;
    if (answer.error) {
      (void)daemon->try_reply(request.header.unique, {}, -answer.error);
    } else {
      const auto accepted = daemon->try_reply(request.header.unique, answer.bytes);
      if (!accepted) return;
      note_handle(request, answer);
      if (!gives_lookup(request.opcode) || answer.bytes.size() < sizeof(wire::EntryOut)) return;
      wire::EntryOut entry;
      std::memcpy(&entry, answer.bytes.data(), sizeof(entry));
      if (entry.nodeid != 0) ++given_[entry.nodeid];
    }
  }

  DaemonReply honest(const DaemonRequest& request) {
    const uint64_t node = request.header.nodeid;
    const wire::OpenOut opened{next_handle++, 0, 0};
    switch (request.opcode) {
      case Opcode::lookup: {
        const auto found = names.find({node, request.name()});
        return found == names.end() ? DaemonReply::failed(Errno::enoent) : DaemonReply::ok(entry_of(found->second));
      }
      case Opcode::mkdir:
        return made(request, request.name(sizeof(wire::MkdirIn)), directory);
      case Opcode::mknod:
        return made(request, request.name(sizeof(wire::MknodIn)), request.as<wire::MknodIn>().mode);
      case Opcode::symlink:
        return made(request, request.name(), symbolic_link);
      case Opcode::link:
        return DaemonReply::ok(entry_of(node_));
      case Opcode::create: {
        if (!knows_create_) return DaemonReply::failed(Errno::enosys);
        DaemonReply reply = made(request, request.name(sizeof(wire::CreateIn)), regular);
        append_bytes(reply.bytes, opened);
        return reply;
      }
      case Opcode::tmpfile:
        return DaemonReply::ok(entry_of(add(0, "", regular)), opened);
      case Opcode::getattr:
      case Opcode::setattr:
        return DaemonReply::ok(attr_of(nodes.contains(node) ? node : node_));
      case Opcode::open:
      case Opcode::opendir:
        return DaemonReply::ok(opened);
      case Opcode::readlink:
        return DaemonReply::ok(targets[node]);
      case Opcode::read:
        return DaemonReply::ok(Bytes(request.as<wire::ReadIn>().size, std::byte{'r'}));
      case Opcode::write:
        return DaemonReply::ok(wire::WriteOut{request.as<wire::WriteIn>().size, 0});
      case Opcode::readdirplus:
        return DaemonReply::ok(entry_of(node_), wire::Dirent{7, 1, 4, 8}, std::string_view("file\0\0\0\0", 8));
      case Opcode::statfs:
        return DaemonReply::ok(wire::StatfsOut{});
      case Opcode::lseek:
        return DaemonReply::ok(wire::LseekOut{17});
      case Opcode::getlk:
        return DaemonReply::ok(wire::LkOut{{0, 0, 2, 0}});
      case Opcode::getxattr:
      case Opcode::listxattr: {
        const uint32_t room = request.as<wire::GetxattrIn>().size;
        if (room == 0) return DaemonReply::ok(wire::GetxattrOut{3, 0});
        return DaemonReply::ok(std::string_view("ab\0", 3));
      }
      case Opcode::ioctl:
        return DaemonReply::ok(wire::IoctlOut{}, uint32_t{5});
      case Opcode::statx:
        return DaemonReply::failed(Errno::enosys);
      default:
        return DaemonReply::ok();
    }
  }
  DaemonReply made(const DaemonRequest& request, const std::string& name, uint32_t mode) {
    return DaemonReply::ok(entry_of(add(request.header.nodeid, name, mode)));
  }

  const bool knows_create_;
  std::map<uint64_t, uint64_t> given_, given_back_;
  std::set<uint64_t> handles_;
  uint64_t node_ = 0;
  Mount* unmounted_ = nullptr;
  bool gone_ = false;
};

struct NamedCall {
  const char* name;
  std::unique_ptr<AnyCall> (*begin)(Scene&);
  bool knows_create = true;
};

// Members of the fixture are protected: what the calls need of it.
struct Access : Scene {
  using Scene::caller;
  using Scene::fs;
  using Scene::leave;
};
template <typename F>
auto of(Scene& scene, F call) {
  Mount& fs = *(scene.*&Access::fs);
  return call(fs, scene.*&Access::caller, scene.*&Access::leave);
}

#define CALL(expression)                                              \
  [](Scene& s) {                                                      \
    return s.begin(of(s, [&s](Mount& fs, auto& caller, auto& leave) { \
      (void)s, (void)leave;                                           \
      return expression;                                              \
    }));                                                              \
  }

const NamedCall calls[] = {
    {"open", CALL(fs.sys_openat(caller, {nullptr, "dir/link"}, o_rdwr | o_trunc, 0, leave))},
    {"open_path", CALL(fs.sys_openat(caller, {nullptr, "dir/file"}, o_path, 0, leave))},
    {"create", CALL(fs.sys_openat(caller, {nullptr, "dir/new"}, o_rdwr | o_creat | o_trunc, 0600, leave))},
    {"create_exclusive", CALL(fs.sys_openat(caller, {nullptr, "dir/new"}, o_rdwr | o_creat | o_excl, 0600, leave))},
    {"create_existing", CALL(fs.sys_openat(caller, {nullptr, "dir/link"}, o_rdwr | o_creat, 0600, leave))},
    {"create_by_mknod", CALL(fs.sys_openat(caller, {nullptr, "dir/new"}, o_rdwr | o_creat, 0600, leave)), false},
    {"tmpfile", CALL(fs.sys_openat(caller, {nullptr, "dir"}, o_rdwr | o_directory | 020000000, 0600, leave))},
    {"execve", CALL(fs.sys_open_exec(caller, {nullptr, "dir/link"}, leave))},
    {"stat", CALL(fs.sys_statx(caller, {nullptr, "dir/../dir/link"}, 0, 0xfff, leave))},
    {"access", CALL(fs.sys_faccessat(caller, {nullptr, "dir/file"}, 4, 0, leave))},
    {"readlink", CALL(fs.sys_readlinkat(caller, {nullptr, "dir/link"}, std::span<char>(s.link_text), leave))},
    {"mkdir", CALL(fs.sys_mkdirat(caller, {nullptr, "dir/new"}, 0700, leave))},
    {"mknod", CALL(fs.sys_mknodat(caller, {nullptr, "dir/new"}, 0010600, 0, leave))},
    {"symlink", CALL(fs.sys_symlinkat(caller, "text", {nullptr, "dir/new"}, leave))},
    {"unlink", CALL(fs.sys_unlinkat(caller, {nullptr, "dir/file"}, 0, leave))},
    {"rmdir", CALL(fs.sys_unlinkat(caller, {nullptr, "dir/sub"}, 0x200, leave))},
    {"rename", CALL(fs.sys_renameat2(caller, {nullptr, "dir/sub"}, {nullptr, "dir2/new"}, 0, leave))},
    {"rename_over", CALL(fs.sys_renameat2(caller, {nullptr, "dir/file"}, {nullptr, "dir/link"}, 0, leave))},
    {"exchange", CALL(fs.sys_renameat2(caller, {nullptr, "dir/file"}, {nullptr, "dir2"}, 2, leave))},
    {"link", CALL(fs.sys_linkat(caller, {nullptr, "dir/file"}, {nullptr, "dir2/new"}, 0, leave))},
    {"chmod", CALL(fs.sys_fchmodat(caller, {nullptr, "dir/file"}, 0600, 0, leave))},
    {"chown", CALL(fs.sys_fchownat(caller, {nullptr, "dir/file"}, 5, 5, 0, leave))},
    {"truncate", CALL(fs.sys_truncate(caller, {nullptr, "dir/file"}, 10, leave))},
    {"utimens", CALL(fs.sys_utimensat(caller, {nullptr, "dir/file"}, {1, 0}, {2, 0}, 0, leave))},
    {"statfs", CALL(fs.sys_statfs(caller, {nullptr, "dir"}, leave))},
    {"chdir", CALL(fs.sys_chdir(caller, {nullptr, "dir"}, leave))},
    {"setxattr",
     CALL(fs.sys_setxattr(caller, {nullptr, "dir/file"}, "user.x", std::span(s.buffer).first(5), 0, 0, leave))},
    {"getxattr", CALL(fs.sys_getxattr(caller, {nullptr, "dir/file"}, "user.x", std::span(s.buffer), 0, leave))},
    {"listxattr", CALL(fs.sys_listxattr(caller, {nullptr, "dir/file"}, std::span<char>(s.link_text), 0, leave))},
    {"removexattr", CALL(fs.sys_removexattr(caller, {nullptr, "dir/file"}, "user.x", 0, leave))},
    {"read", CALL(fs.sys_read(caller, *s.file, s.buffer, 100))},
    {"read_at_position", CALL(fs.sys_read(caller, *s.file, s.buffer, -1))},
    {"write", CALL(fs.sys_write(caller, *s.file, s.buffer, 100))},
    {"write_at_position", CALL(fs.sys_write(caller, *s.file, s.buffer, -1))},
    {"seek_end", CALL(fs.sys_lseek(caller, *s.file, 0, 2))},
    {"seek_data", CALL(fs.sys_lseek(caller, *s.file, 0, 3))},
    {"getdents", CALL(fs.sys_getdents64(caller, *s.folder, s.buffer))},
    {"fstat", CALL(fs.sys_fstat(caller, *s.file, basic_stats))},
    {"ftruncate", CALL(fs.sys_ftruncate(caller, *s.file, 1))},
    {"fchmod", CALL(fs.sys_fchmod(caller, *s.file, 0600))},
    {"futimens", CALL(fs.sys_futimens(caller, *s.file, {1, 0}, {2, 0}))},
    {"fsync", CALL(fs.sys_fsync(caller, *s.file, false))},
    {"fallocate", CALL(fs.sys_fallocate(caller, *s.file, 0, 0, 9000))},
    {"copy_file_range", CALL(fs.sys_copy_file_range(caller, *s.file, *s.file, {-1, 100'000, 9000}))},
    {"fstatfs", CALL(fs.sys_fstatfs(caller, *s.file))},
    {"setlkw", CALL(fs.sys_setlk(caller, *s.file, {0, 5, 1, 0}, true))},
    {"getlk", CALL(fs.sys_getlk(caller, *s.file, {0, 5, 1, 0}))},
    {"flock", CALL(fs.sys_flock(caller, *s.file, 2))},
    {"flush", CALL(fs.sys_flush(caller, *s.file))},
    {"ioctl", CALL(fs.sys_ioctl(caller, *s.file, 0xc0047804, 0, std::span(s.buffer).first(4)))},
};

class EndingsTest : public testing::TestWithParam<size_t> {};

TEST_P(EndingsTest, a_call_leaves_nothing_behind_however_it_ends) {
  const NamedCall& named = calls[GetParam()];
  for (int kind = 0; kind < static_cast<int>(Ending::count); ++kind) {
    bool reached = true;
    for (int step = 0; reached; ++step) {
      SCOPED_TRACE("ending " + std::to_string(kind) + " at step " + std::to_string(step));
      Scene scene(named.knows_create);
      auto call = named.begin(scene);
      reached = scene.end_at(*call, static_cast<Ending>(kind), step);
      scene.finish(*call);
      if (!ends_the_mount(static_cast<Ending>(kind))) scene.expect_lookups_given_back();
      ASSERT_FALSE(HasFailure());
      ASSERT_LT(step, 60);
    }
  }
}

// All objects of one size of the half but some, so that the next ones cannot be had.
class Shortage {
 public:
  using Alloc = void* (*)(kernel::Module&);
  using Free = void (*)(kernel::Module&, void*);
  struct Kind {
    Alloc alloc;
    Free free;
  };
  Shortage(kernel::Module& module, TestHost& host, Kind kind, int left) : module_(module), host_(host), kind_(kind) {
    // A FORGET without memory is counted as lost, a RELEASE is not sent: there shall be some for them.
    module_.forgets().free(module_.forgets().alloc());
    module_.kmalloc().free(module_.kmalloc().alloc(sizeof(wire::ReleaseIn)), sizeof(wire::ReleaseIn));
    host_.limit_allocations(0);
    while (void* object = kind_.alloc(module_)) taken_.push_back(object);
    for (; left > 0 && !taken_.empty(); --left) give_one_back();
  }
  ~Shortage() {
    while (!taken_.empty()) give_one_back();
    host_.limit_allocations(UINT64_MAX);
  }
  Shortage(const Shortage&) = delete;

 private:
  void give_one_back() {
    kind_.free(module_, taken_.back());
    taken_.pop_back();
  }
  kernel::Module& module_;
  TestHost& host_;
  Kind kind_;
  std::vector<void*> taken_;
};

template <size_t bytes>
constexpr Shortage::Kind kmalloc_of = {[](kernel::Module& m) { return m.kmalloc().alloc(bytes); },
                                       [](kernel::Module& m, void* object) { m.kmalloc().free(object, bytes); }};
#define SLAB(cache)                                                     \
  {                                                                     \
    [](kernel::Module& m) { return m.cache().alloc(); },                \
        [](kernel::Module& m, void* object) { m.cache().free(object); } \
  }
constexpr Shortage::Kind kinds[] = {SLAB(requests),  SLAB(inodes),     SLAB(dentries),   SLAB(files),
                                    kmalloc_of<32>,  kmalloc_of<64>,   kmalloc_of<128>,  kmalloc_of<256>,
                                    kmalloc_of<512>, kmalloc_of<1024>, kmalloc_of<2048>, kmalloc_of<4096>,
                                    kmalloc_of<8192>};
#undef SLAB

TEST_P(EndingsTest, a_call_that_finds_no_memory_leaves_nothing_behind) {
  const NamedCall& named = calls[GetParam()];
  for (size_t kind = 0; kind < std::size(kinds); ++kind) {
    for (int left = 0; left < 12; ++left) {
      SCOPED_TRACE("all but " + std::to_string(left) + " objects of kind " + std::to_string(kind));
      Scene scene(named.knows_create);
      std::unique_ptr<AnyCall> call;
      {
        Shortage shortage(scene.half(), scene.test_host(), kinds[kind], left);
        call = named.begin(scene);
        scene.run(*call);
      }
      scene.finish(*call);
      scene.expect_lookups_given_back();
      ASSERT_FALSE(HasFailure());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, EndingsTest, testing::Range(size_t{0}, std::size(calls)),
                         [](const auto& info) { return std::string(calls[info.param].name); });

}  // namespace
}  // namespace fusewire::test
