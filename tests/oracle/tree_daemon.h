// TreeDaemon: the scripted daemon of the oracle. A small tree in memory, answers computed from raw request bytes, and
// rules that make single answers fail or lie, or end the connection instead. It does no I/O, so the same daemon serves
// the real kernel and our half. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire/protocol.h"

namespace fusewire::oracle {

using Bytes = std::vector<std::byte>;

// What one answer does instead of the honest one. `label` stands in the trace.
struct Reaction {
  enum class Kind { fail, mangle, die, abort };
  Kind kind = Kind::fail;
  int error = 0;                       // fail
  std::function<void(Bytes&)> mangle;  // edits the whole honest reply, header first; len is not corrected
  std::string label;
};

Reaction fail(int error);
Reaction die();    // the daemon closes its device instead of answering
Reaction abort();  // somebody writes to fusectl's abort while the request is at the daemon
Reaction mangle(std::string label, std::function<void(Bytes&)> edit);
Reaction longer(size_t bytes);           // that much rubbish behind the reply, len says so
Reaction shorter(size_t bytes);          // that much cut off the end, len says so
Reaction error_value(int32_t error);     // the header's error as it is, no payload
Reaction error_with_payload(int error);  // an error and the honest payload
Reaction wrong_len(int32_t difference);  // len does not fit the message
// Edits the payload as a T.
template <typename T>
Reaction edit(std::string label, void (*change)(T&)) {
  return mangle(std::move(label), [change](Bytes& reply) {
    if (reply.size() >= sizeof(wire::OutHeader) + sizeof(T))
      change(*reinterpret_cast<T*>(reply.data() + sizeof(wire::OutHeader)));
  });
}

// Applies to requests of `opcode` whose first name, or whose node's name, is `name` ("": all).
struct Rule {
  wire::Opcode opcode;
  std::string name;
  Reaction reaction;
  int times = -1;  // how often; -1: always
};

// A node of the tree besides the standard ones.
struct Seed {
  std::string path;
  uint32_t mode;
  std::string content;  // a file's data, a symlink's target
  uint32_t uid = 0, gid = 0;
};

namespace flags {
inline constexpr uint64_t usual = wire::init_flag::big_writes | wire::init_flag::parallel_dirops |
                                  wire::init_flag::max_pages | wire::init_flag::handle_killpriv_v2;
}

// One scenario's daemon and mount. The standard tree, nodeids in brackets; st_ino is nodeid + 1000:
//   / [1]  file [2] "hello world"  dir/ [3]  dir/inner [4] "inner"  empty/ [5]  link [6] -> file  dirlink [7] -> dir
//   private [8], mode 0600;  nodes made later are [100], [101], ...
struct Script {
  uint32_t major = 7, minor = 45;
  uint64_t init_flags = flags::usual;
  int init_error = 0;
  size_t init_size = sizeof(wire::InitOut);  // of the reply's payload
  uint32_t max_write = 131072;
  uint16_t max_pages = 32;
  uint64_t entry_valid = 1000, attr_valid = 1000;  // seconds
  uint64_t negative_valid = 0;                     // seconds; 0: a missing name is answered with ENOENT
  uint32_t fopen_flags = wire::fopen_flag::direct_io;
  bool default_permissions = false, allow_other = false, read_only = false;
  uint32_t max_read = 0;  // mount option; 0: not given
  std::vector<Seed> seeds;
  std::vector<Rule> rules;
};

struct Answer {
  enum class Action { reply, none, die, abort };
  Action action = Action::reply;
  Bytes reply;
  std::string said;  // for the trace: "ok", "ENOENT", or the rule's label
};

class TreeDaemon {
 public:
  explicit TreeDaemon(Script script);
  Answer answer(std::span<const std::byte> request);

  // For scenarios that change the tree behind the kernel's back.
  void set_content(std::string_view path, std::string content);
  void set_mode(std::string_view path, uint32_t mode);
  void remove(std::string_view path);
  // The name's node becomes another one, with a fresh nodeid.
  void replace(std::string_view path);
  Script& script() { return script_; }

 private:
  struct Node {
    uint64_t id = 0, parent = 0, generation = 1;
    uint32_t mode = 0, uid = 0, gid = 0, nlink = 1, rdev = 0;
    std::string name, content;
    int64_t atime = 1000000001, mtime = 1000000002, ctime = 1000000003;
    std::map<std::string, uint64_t, std::less<>> children;
    std::map<std::string, std::string, std::less<>> xattrs;
  };
  struct Request;
  // 0 with the payload filled, or an errno.
  int serve(const Request& request, Bytes& payload);
  int serve_names(const Request& request, Bytes& payload);
  int serve_node(const Request& request, Node& node, Bytes& payload);
  int serve_xattr(const Request& request, Node& node, Bytes& payload);
  int serve_init(Bytes& payload);
  int make(const Request& request, Node& parent, std::string_view name, uint32_t mode, Bytes& payload);
  int unlink(Node& parent, std::string_view name, bool directory);
  int rename(const Request& request, Node& from, uint64_t newdir, uint32_t flags);
  int setattr(const Request& request, Node& node, Bytes& payload);
  int readdir(const Request& request, Node& node, bool plus, Bytes& payload);
  Rule* matching_rule(const Request& request);

  Node& add(uint64_t parent, std::string_view name, uint32_t mode);
  Node* find(uint64_t id);
  Node* find(std::string_view path);
  wire::Attr attr(const Node& node) const;
  wire::EntryOut entry(const Node& node) const;
  void put_entry(const Node& node, Bytes& payload) const;
  void put_attr(const Node& node, Bytes& payload) const;
  void put_open(Bytes& payload);

  Script script_;
  std::map<uint64_t, Node> nodes_;
  uint64_t next_id_ = 1, next_handle_ = 1;
};

}  // namespace fusewire::oracle
