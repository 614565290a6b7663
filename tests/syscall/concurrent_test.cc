// Many calls at once, answered in any order, truly and falsely, with callers that are interrupted and killed and names
// that are invalidated meanwhile: every call ends, the tree of names stays a tree, and nothing is left.
#include <random>

#include "support/any_call.h"

namespace fusewire::test {
namespace {

class ConcurrentTest : public SyscallTest, public testing::WithParamInterface<unsigned> {
 protected:
  struct Task {
    std::unique_ptr<AnyCall> call;
    kernel::Caller caller;
    char storage[4096];
    syscall::Leave leave;
    std::string one, two;
    Bytes buffer = Bytes(600);
    OpenFile* file = nullptr;
  };

  unsigned dice(unsigned sides) { return random() % sides; }
  bool rarely(unsigned sides) { return dice(sides) == 0; }
  std::string path() {
    // Names long enough to have their own memory are among them.
    static const std::string lengthy(100, 'n');
    static const std::vector<std::string> parts = {"a", "b", "c", lengthy};
    std::string text = parts[dice(4)];
    for (unsigned n = dice(3); n > 0; --n) text += "/" + parts[dice(4)];
    return text;
  }

  void begin(Task& task) {
    task.caller = caller;
    task.caller.lock_owner = 1 + dice(3);
    task.leave.storage = task.storage;
    task.one = path();
    task.two = path();
    task.file = nullptr;
    const Place one{nullptr, task.one}, two{nullptr, task.two};
    kernel::Caller& who = task.caller;
    if (!files.empty() && rarely(3)) return begin_on_file(task);
    switch (dice(10)) {
      case 0:
        return put(task, fs->sys_statx(who, one, 0, basic_stats, task.leave));
      case 1:
        return put(task, fs->sys_mkdirat(who, one, 0755, task.leave));
      case 2:
        return put(task, fs->sys_unlinkat(who, one, rarely(2) ? 0x200 : 0, task.leave));
      case 3:
      case 4:
        return put(task, fs->sys_renameat2(who, one, two, rarely(3) ? 2 : 0, task.leave));
      case 5:
        return put(task, fs->sys_linkat(who, one, two, 0, task.leave));
      case 6:
        return put(task, fs->sys_symlinkat(who, task.two, one, task.leave));
      case 7:
        return put(task, fs->sys_openat(who, one, o_creat | o_rdwr, 0644, task.leave));
      default:
        return put(task, fs->sys_openat(who, one, 0, 0, task.leave));
    }
  }
  void begin_on_file(Task& task) {
    OpenFile& file = *files[dice(files.size())];
    kernel::Caller& who = task.caller;
    switch (dice(8)) {
      case 0:
        return put(task, fs->sys_getdents64(who, file, task.buffer));
      case 1:
        return put(task, fs->sys_read(who, file, task.buffer, dice(2) ? -1 : 5));
      case 2:
        return put(task, fs->sys_write(who, file, task.buffer, dice(2) ? -1 : 5));
      case 3:
        return put(task, fs->sys_fstat(who, file, basic_stats));
      case 4:
        return put(task, fs->sys_ftruncate(who, file, 3));
      case 5:
        return put(task, fs->sys_setlk(who, file, {0, 10, dice(3), 0}, rarely(2)));
      case 6:
        return put(task, fs->sys_openat(who, {&file, "a"}, o_creat | o_rdwr, 0644, task.leave));
      default:
        return put(task, fs->sys_flush(who, file));
    }
  }
  template <typename T>
  void put(Task& task, kernel::Task<kernel::Result<T>> call) {
    task.call = any_call(*connection, std::move(call));
  }
  void reap(Task& task) {
    if (!task.call || !task.call->done()) return;
    if (OpenFile* file = task.call->opened()) files.push_back(file);
    task.call.reset();
  }

  wire::EntryOut any_entry() {
    wire::EntryOut entry{};
    entry.nodeid = dice(9);
    entry.generation = rarely(20);
    entry.entry_valid = dice(2);
    entry.attr_valid = dice(2);
    // A node's number says its type, most of the time.
    entry.attr.mode = (entry.nodeid < 6) != rarely(30) ? directory : regular;
    entry.attr.size = 10;
    entry.attr.nlink = 1;
    return entry;
  }
  DaemonReply any_answer(const DaemonRequest& request) {
    if (rarely(10)) return DaemonReply::failed(static_cast<Errno>(1 + dice(40)));
    const wire::EntryOut entry = any_entry();
    switch (request.opcode) {
      case Opcode::mkdir:
      case Opcode::lookup:
      case Opcode::symlink:
      case Opcode::link:
        return DaemonReply::ok(entry);
      case Opcode::create:
        return DaemonReply::ok(entry, wire::OpenOut{});
      case Opcode::getattr:
      case Opcode::setattr:
        return DaemonReply::ok(wire::AttrOut{dice(2), 0, 0, any_entry().attr});
      case Opcode::open:
      case Opcode::opendir:
        return DaemonReply::ok(wire::OpenOut{});
      case Opcode::write:
        return DaemonReply::ok(wire::WriteOut{dice(700), 0});
      case Opcode::read:
        return DaemonReply::ok(std::string_view("some bytes"));
      case Opcode::readdirplus:
        return DaemonReply::ok(entry, wire::Dirent{1, 2, 1, 4}, std::string_view("a\0\0\0\0\0\0\0", 8));
      default:
        return DaemonReply::ok();
    }
  }
  // Names stay as they were when the request was made.
  static bool sound_name(const DaemonRequest& request) {
    if (request.opcode != Opcode::lookup && request.opcode != Opcode::unlink && request.opcode != Opcode::rmdir)
      return true;
    const std::string name = request.name();
    return name.size() + 1 == request.body.size() && (name.size() == 100 || name.size() == 1);
  }
  void read_some() {
    for (;;) {
      auto request = daemon->read();
      if (!request) return;
      const Opcode opcode = request->opcode;
      EXPECT_TRUE(sound_name(*request)) << "opcode " << request->header.opcode << " '" << request->name() << "'";
      if (opcode != Opcode::forget && opcode != Opcode::batch_forget && opcode != Opcode::interrupt)
        asked.push_back(*request);
      if (rarely(4)) return;
    }
  }
  void answer_one() {
    if (asked.empty()) return;
    const size_t which = dice(asked.size());
    const DaemonRequest request = asked[which];
    asked.erase(asked.begin() + static_cast<ptrdiff_t>(which));
    const DaemonReply answer = any_answer(request);
    (void)daemon->try_reply(request.header.unique, answer.bytes, -answer.error);
  }
  void disturb(Task& task) {
    kernel::Connection::Entry entry(*connection);
    if (!task.call || task.call->done()) return;
    if (rarely(2))
      connection->kill(task.caller);
    else
      connection->interrupt(task.caller);
  }
  void drop_a_file() {
    if (files.empty()) return;
    std::swap(files[dice(files.size())], files.back());
    std::string where = path_of(files.back());
    EXPECT_FALSE(where.empty());
    kernel::Connection::Entry entry(*connection);
    fs->release(*files.back());
    files.pop_back();
  }

  std::mt19937 random{GetParam()};
  std::vector<Task> tasks = std::vector<Task>(8);
  std::vector<OpenFile*> files;
  std::vector<DaemonRequest> asked;
};

TEST_P(ConcurrentTest, calls_end_and_names_stay_a_tree) {
  init_flags |= wire::init_flag::do_readdirplus | wire::init_flag::cache_symlinks;
  mount_tree();
  for (int round = 0; round < 4000; ++round) {
    Task& task = tasks[dice(tasks.size())];
    reap(task);
    if (!task.call) begin(task);
    if (rarely(2)) read_some();
    if (rarely(2)) answer_one();
    if (rarely(40)) disturb(task);
    if (rarely(20)) inval_entry(dice(9), rarely(2) ? "a" : "b");
    if (rarely(50)) host.advance_seconds(1);
    if (rarely(10)) drop_a_file();
    ASSERT_FALSE(HasFailure());
  }
  for (Task& task : tasks) {
    while (task.call && !task.call->done()) {
      {
        kernel::Connection::Entry entry(*connection);
        connection->kill(task.caller);
      }
      read_some();
      answer_one();
    }
    reap(task);
  }
  while (!files.empty()) drop_a_file();
  for (auto request = daemon->read(); request; request = daemon->read()) {
    const DaemonReply answer = any_answer(*request);
    (void)daemon->try_reply(request->header.unique, answer.bytes, -answer.error);
  }
  for (const DaemonRequest& request : asked) (void)daemon->try_reply(request.header.unique, {}, -5);
}

INSTANTIATE_TEST_SUITE_P(, ConcurrentTest, testing::Range(0u, 20u));

}  // namespace
}  // namespace fusewire::test
