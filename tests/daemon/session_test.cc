#include "daemon/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "support/daemon_pair.h"

namespace fusewire::daemon {
namespace {

using test::Answer;
using test::DaemonPair;
using wire::Opcode;

// Answers a few requests and remembers what it was asked.
class Recorder final : public FileSystem {
 public:
  uint64_t wanted_capabilities() const override { return wanted; }
  void started(const Negotiated& negotiated) override { agreed = negotiated; }
  void stopped() override { ended = true; }

  Result<Entry> lookup(const Context& context, NodeId parent, std::string_view name) override {
    note("lookup", parent, name);
    last_context = context;
    Entry entry;
    entry.node = NodeId{7};
    entry.attributes.mode = 0100644;
    entry.entry_timeout = std::chrono::milliseconds(1500);
    return entry;
  }
  void forget(NodeId node, uint64_t lookups) override { note("forget", node, std::to_string(lookups)); }
  Result<size_t> read(const Context&, NodeId, FileHandle, uint64_t offset, std::span<std::byte> buffer) override {
    size_t n = std::min<size_t>(buffer.size(), answer_bytes);
    std::fill_n(buffer.begin(), n, std::byte{static_cast<uint8_t>(offset)});
    return n;
  }
  Result<size_t> write(const Context&, NodeId, FileHandle, uint64_t, std::span<const std::byte> data,
                       WriteFlags) override {
    return data.size();
  }
  Result<size_t> getxattr(const Context&, NodeId, std::string_view, std::span<std::byte> buffer) override {
    std::string_view value = "value";
    if (buffer.empty()) return value.size();
    if (buffer.size() < value.size()) return error(Errno::erange);
    std::memcpy(buffer.data(), value.data(), value.size());
    return value.size();
  }
  Result<void> readdir(const Context&, NodeId, FileHandle, uint64_t, DirectoryWriter& writer) override {
    writer.add(bad_name ? "a/b" : "name", 9, 0040755, 1);
    return {};
  }

  std::vector<std::string> calls() {
    std::lock_guard lock(mutex);
    return seen;
  }

  uint64_t wanted = 0;
  size_t answer_bytes = SIZE_MAX;
  bool bad_name = false;
  Negotiated agreed;
  RequestContext last_context;
  std::atomic<bool> ended{false};

 private:
  void note(std::string what, NodeId node, std::string_view more) {
    std::lock_guard lock(mutex);
    seen.push_back(what + " " + std::to_string(static_cast<uint64_t>(node)) + " " + std::string(more));
  }
  std::mutex mutex;
  std::vector<std::string> seen;
};

Answer lookup(DaemonPair& pair, std::string_view name) {
  return pair.ask(Opcode::lookup, 1, [&](auto& request) { request.name(name); });
}

TEST(Init, both_sides_speak_the_older_minor) {
  Recorder fs;
  DaemonPair pair(fs);
  auto answer = pair.init(UINT64_MAX, 31);
  EXPECT_EQ(answer.error(), 0);
  EXPECT_EQ(answer.get<wire::InitOut>().major, 7u);
  EXPECT_EQ(answer.get<wire::InitOut>().minor, 31u);
  EXPECT_EQ(answer.body.size(), sizeof(wire::InitOut));
}

TEST(Init, minors_below_23_get_the_short_answer) {
  Recorder fs;
  DaemonPair pair(fs);
  EXPECT_EQ(pair.init(0xffff, 22).body.size(), wire::compat_22_init_out_size);
}

TEST(Init, a_newer_major_is_asked_to_come_again) {
  Recorder fs;
  DaemonPair pair(fs);
  auto answer = pair.init(0, 0, 8);
  EXPECT_EQ(answer.error(), 0);
  EXPECT_EQ(answer.get<wire::InitOut>().major, 7u);
  EXPECT_FALSE(pair.ready());
  EXPECT_EQ(pair.init().error(), 0);
  EXPECT_EQ(lookup(pair, "x").error(), 0);
}

TEST(Init, an_older_major_is_refused) {
  Recorder fs;
  DaemonPair pair(fs);
  EXPECT_EQ(pair.init(0, 0, 6).error(), EPROTO);
}

TEST(Init, nothing_is_agreed_that_was_not_offered) {
  Recorder fs;
  fs.wanted = wire::init_flag::atomic_o_trunc | wire::init_flag::writeback_cache;
  DaemonPair pair(fs);
  auto out = pair.init(wire::init_flag::atomic_o_trunc | wire::init_flag::big_writes).get<wire::InitOut>();
  EXPECT_EQ(out.flags, wire::init_flag::atomic_o_trunc | wire::init_flag::big_writes);
  EXPECT_EQ(out.flags2, 0u);
  EXPECT_EQ(out.max_write, 131072u);
  EXPECT_EQ(fs.agreed.capabilities, wire::init_flag::atomic_o_trunc | wire::init_flag::big_writes);
}

TEST(Init, capabilities_that_cannot_be_honoured_are_refused_before_it_begins) {
  Recorder fs;
  fs.wanted = wire::init_flag::passthrough;
  DaemonPair pair(fs);
  auto ended = pair.end();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error(), Errno::einval);
}

TEST(Init, requests_before_it_are_eio) {
  Recorder fs;
  DaemonPair pair(fs);
  EXPECT_EQ(lookup(pair, "x").error(), EIO);
  EXPECT_TRUE(fs.calls().empty());
}

TEST(Init, a_second_one_is_refused) {
  Recorder fs;
  DaemonPair pair(fs);
  pair.init();
  EXPECT_EQ(pair.init().error(), EIO);
  EXPECT_EQ(lookup(pair, "x").error(), 0);
}

TEST(Init, limits_stay_below_what_the_socket_carries) {
  Recorder fs;
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  UniqueFd other(ends[0]);
  int bytes = 100'000;
  setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  DeviceTransport transport{UniqueFd(ends[1])};
  EXPECT_EQ(transport.max_message(), 100'000u);
}

class Running : public testing::Test {
 protected:
  Running() { pair.init(); }
  Recorder fs;
  DaemonPair pair{fs};
};

TEST_F(Running, an_entry_is_encoded_with_its_timeouts) {
  pair.uid = 12;
  pair.gid = 34;
  auto answer = lookup(pair, "name");
  auto entry = answer.get<wire::EntryOut>();
  EXPECT_EQ(entry.nodeid, 7u);
  EXPECT_EQ(entry.entry_valid, 1u);
  EXPECT_EQ(entry.entry_valid_nsec, 500'000'000u);
  EXPECT_EQ(fs.last_context.uid, 12u);
  EXPECT_EQ(fs.last_context.gid, 34u);
  EXPECT_EQ(fs.last_context.pid, 4711);
}

TEST_F(Running, what_a_file_system_does_not_have_is_enosys) {
  EXPECT_EQ(pair.ask(Opcode::statfs, 1).error(), ENOSYS);
  EXPECT_EQ(pair.ask_struct(Opcode::flush, 1, wire::FlushIn{}).error(), ENOSYS);
}

TEST_F(Running, unknown_opcodes_are_enosys) { EXPECT_EQ(pair.ask(Opcode{999}, 1).error(), ENOSYS); }

TEST_F(Running, forgets_are_not_answered) {
  pair.post(Opcode::forget, 7, [](auto& request) { request.add(wire::ForgetIn{3}); });
  wire::ForgetOne ones[] = {{8, 1}, {9, 2}};
  pair.post(Opcode::batch_forget, 0, [&](auto& request) {
    request.add(wire::BatchForgetIn{2, 0});
    request.add(ones[0]).add(ones[1]);
  });
  EXPECT_EQ(lookup(pair, "x").error(), 0);
  EXPECT_THAT(fs.calls(), testing::ElementsAre("forget 7 3", "forget 8 1", "forget 9 2", "lookup 1 x"));
}

TEST_F(Running, interrupts_are_declined_once_and_for_all) {
  EXPECT_EQ(pair.ask_struct(Opcode::interrupt, 0, wire::InterruptIn{2}).error(), ENOSYS);
}

TEST_F(Running, malformed_requests_are_einval_and_never_reach_the_file_system) {
  auto refused = [&](Opcode opcode, auto add) { return pair.ask(opcode, 1, add).error(); };
  EXPECT_EQ(refused(Opcode::lookup, [](auto&) {}), EINVAL) << "no name";
  EXPECT_EQ(refused(Opcode::lookup, [](auto& r) { r.data(wire::bytes_of("abc")); }), EINVAL) << "no NUL";
  EXPECT_EQ(refused(Opcode::lookup, [](auto& r) { r.name("a/b"); }), EINVAL) << "slash";
  EXPECT_EQ(refused(Opcode::lookup, [](auto& r) { r.name(""); }), EINVAL) << "empty name";
  EXPECT_EQ(refused(Opcode::lookup, [](auto& r) { r.name(".."); }), EINVAL) << "dot dot";
  EXPECT_EQ(refused(Opcode::lookup, [](auto& r) { r.name("a").name("b"); }), EINVAL) << "trailing bytes";
  EXPECT_EQ(refused(Opcode::read, [](auto& r) { r.add(wire::ReadIn{}, 16); }), EINVAL) << "short struct";
  EXPECT_EQ(refused(Opcode::write, [](auto& r) { r.add(wire::WriteIn{0, 0, 100, 0, 0, 0, 0}).name("x"); }), EINVAL);
  EXPECT_TRUE(fs.calls().empty());
  EXPECT_EQ(pair.session().counters().malformed, 8u);
  EXPECT_EQ(lookup(pair, "x").error(), 0) << "the session goes on";
}

TEST_F(Running, malformed_requests_without_reply_are_only_counted) {
  pair.post(Opcode::forget, 7, [](auto&) {});
  pair.post(Opcode::batch_forget, 0, [](auto& r) { r.add(wire::BatchForgetIn{1000, 0}); });
  std::byte junk[20]{};
  pair.send(junk);
  wire::InHeader lying{5000, 1, 2, 1, 0, 0, 0, 0, 0};
  pair.send(wire::bytes_of_struct(lying));
  EXPECT_EQ(lookup(pair, "x").error(), 0);
  EXPECT_EQ(pair.session().counters().malformed, 4u);
}

TEST_F(Running, a_read_beyond_the_agreed_size_is_einval) {
  EXPECT_EQ(pair.ask_struct(Opcode::read, 1, wire::ReadIn{0, 0, 1u << 30, 0, 0, 0, 0}).error(), EINVAL);
  EXPECT_EQ(pair.ask_struct(Opcode::readdir, 1, wire::ReadIn{0, 0, UINT32_MAX, 0, 0, 0, 0}).error(), EINVAL);
}

TEST_F(Running, data_come_back_as_they_are) {
  fs.answer_bytes = 1000;
  auto answer = pair.ask_struct(Opcode::read, 1, wire::ReadIn{0, 65, 4096, 0, 0, 0, 0});
  EXPECT_EQ(answer.text(), std::string(1000, 'A'));
}

TEST_F(Running, a_mebibyte_goes_through_both_ways) {
  EXPECT_EQ(pair.ask_struct(Opcode::read, 1, wire::ReadIn{0, 0, 1 << 20, 0, 0, 0, 0}).body.size(), 1u << 20);
  std::string data(1 << 20, 'w');
  auto answer = pair.ask(Opcode::write, 1, [&](auto& request) {
    request.add(wire::WriteIn{0, 0, 1 << 20, 0, 0, 0, 0}).data(wire::bytes_of(data));
  });
  EXPECT_EQ(answer.get<wire::WriteOut>().size, 1u << 20);
}

TEST_F(Running, extended_attributes_are_sized_then_fetched) {
  auto get = [&](uint32_t room) { return pair.ask_struct(Opcode::getxattr, 1, wire::GetxattrIn{room, 0}, "user.x"); };
  EXPECT_EQ(get(0).get<wire::GetxattrOut>().size, 5u);
  EXPECT_EQ(get(100).text(), "value");
  EXPECT_EQ(get(4).error(), ERANGE);
}

TEST_F(Running, a_name_that_no_kernel_takes_is_eio) {
  EXPECT_EQ(pair.ask_struct(Opcode::readdir, 1, wire::ReadIn{0, 0, 4096, 0, 0, 0, 0}).error(), 0);
  fs.bad_name = true;
  EXPECT_EQ(pair.ask_struct(Opcode::readdir, 1, wire::ReadIn{0, 0, 4096, 0, 0, 0, 0}).error(), EIO);
}

TEST_F(Running, the_end_of_the_connection_ends_the_session_without_error) {
  EXPECT_TRUE(pair.end());
  EXPECT_TRUE(fs.ended);
}

TEST_F(Running, notifications_carry_what_is_stale) {
  ASSERT_TRUE(pair.session().notify_inval_inode(NodeId{7}, 0, -1));
  auto inode = pair.receive();
  EXPECT_EQ(inode.header.unique, 0u);
  EXPECT_EQ(inode.header.error, static_cast<int>(wire::NotifyCode::inval_inode));
  EXPECT_EQ(inode.get<wire::NotifyInvalInodeOut>().ino, 7u);
  ASSERT_TRUE(pair.session().notify_inval_entry(NodeId{1}, "name"));
  auto entry = pair.receive();
  EXPECT_EQ(entry.get<wire::NotifyInvalEntryOut>().namelen, 4u);
  EXPECT_EQ(entry.text().substr(sizeof(wire::NotifyInvalEntryOut)), std::string("name\0", 5));
}

TEST(Threads, many_serve_one_connection) {
  Recorder fs;
  SessionOptions options;
  options.threads = 4;
  DaemonPair pair(fs, options);
  pair.init();
  std::set<uint64_t> open;
  for (int i = 0; i < 200; ++i) {
    open.insert(pair.post(Opcode::lookup, 1, [](auto& request) { request.name("x"); }));
  }
  for (int i = 0; i < 200; ++i) open.erase(pair.receive().header.unique);
  EXPECT_TRUE(open.empty());
  EXPECT_TRUE(pair.end());
}

// A transport that answers from a list, and refuses replies on demand.
class FakeTransport final : public Transport {
 public:
  Result<size_t> read_request(std::span<std::byte> buffer) override {
    if (requests.empty()) return 0;
    auto message = requests.front();
    requests.pop_front();
    std::memcpy(buffer.data(), message.data(), message.size());
    return message.size();
  }
  Result<void> write_reply(std::span<const iovec> parts) override {
    size_t bytes = 0;
    for (const iovec& part : parts) bytes += part.iov_len;
    sizes.push_back(bytes);
    if (bytes > longest) return error(Errno::emsgsize);
    if (gone && sizes.size() > 1) return error(Errno::enoent);
    return {};
  }
  size_t max_message() const override { return SIZE_MAX; }

  template <typename Add>
  void add(Opcode opcode, uint64_t node, Add add) {
    std::vector<std::byte> buffer(4096);
    wire::RequestBuilder request(buffer, opcode, 2, node);
    add(request);
    buffer.resize(request.finish().size());
    requests.push_back(buffer);
  }
  void add_init() {
    wire::InitIn in{};
    in.major = 7;
    in.minor = 45;
    add(Opcode::init, 0, [&](auto& request) { request.add(in); });
  }

  std::deque<std::vector<std::byte>> requests;
  std::vector<size_t> sizes;
  size_t longest = SIZE_MAX;
  bool gone = false;
};

TEST(Undelivered, an_entry_that_nobody_took_is_forgotten) {
  Recorder fs;
  FakeTransport transport;
  transport.add_init();
  transport.add(Opcode::lookup, 1, [](auto& request) { request.name("x"); });
  transport.gone = true;
  Session session(transport, fs, {});
  EXPECT_TRUE(session.run());
  EXPECT_THAT(fs.calls(), testing::ElementsAre("lookup 1 x", "forget 7 1"));
}

TEST(Undelivered, an_answer_too_long_for_the_transport_becomes_eio) {
  Recorder fs;
  FakeTransport transport;
  transport.add_init();
  transport.add(Opcode::read, 1, [](auto& request) { request.add(wire::ReadIn{0, 0, 65536, 0, 0, 0, 0}); });
  transport.longest = 1000;
  Session session(transport, fs, {});
  EXPECT_TRUE(session.run());
  ASSERT_EQ(transport.sizes.size(), 3u);
  EXPECT_EQ(transport.sizes.back(), sizeof(wire::OutHeader));
}

}  // namespace
}  // namespace fusewire::daemon
