#include "oracle/tree_daemon.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fusewire::oracle {

using wire::Opcode;

namespace {

template <typename T>
void put(Bytes& to, const T& value, size_t size = sizeof(T)) {
  auto* bytes = reinterpret_cast<const std::byte*>(&value);
  to.insert(to.end(), bytes, bytes + size);
}
void put_text(Bytes& to, std::string_view text) {
  auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  to.insert(to.end(), bytes, bytes + text.size());
}
wire::OutHeader& header(Bytes& reply) { return *reinterpret_cast<wire::OutHeader*>(reply.data()); }

}  // namespace

Reaction fail(int error) { return {Reaction::Kind::fail, error, {}, strerrorname_np(error)}; }
Reaction die() { return {Reaction::Kind::die, 0, {}, "the daemon dies"}; }
Reaction abort() { return {Reaction::Kind::abort, 0, {}, "aborted"}; }
Reaction mangle(std::string label, std::function<void(Bytes&)> edit) {
  return {Reaction::Kind::mangle, 0, std::move(edit), "mangled: " + label};
}
Reaction longer(size_t bytes) {
  return mangle(std::to_string(bytes) + " bytes too long", [bytes](Bytes& reply) {
    reply.resize(reply.size() + bytes);
    header(reply).len = reply.size();
  });
}
Reaction shorter(size_t bytes) {
  return mangle(std::to_string(bytes) + " bytes too short", [bytes](Bytes& reply) {
    reply.resize(reply.size() - bytes);
    header(reply).len = reply.size();
  });
}
Reaction error_value(int32_t error) {
  return mangle("error " + std::to_string(error), [error](Bytes& reply) {
    reply.resize(sizeof(wire::OutHeader));
    header(reply).len = reply.size();
    header(reply).error = error;
  });
}
Reaction error_with_payload(int error) {
  return mangle("error with payload", [error](Bytes& reply) { header(reply).error = -error; });
}
Reaction wrong_len(int32_t difference) {
  return mangle("len off by " + std::to_string(difference),
                [difference](Bytes& reply) { header(reply).len += difference; });
}

// One request, taken apart: header, the fixed part, and the names behind it.
struct TreeDaemon::Request {
  std::span<const std::byte> bytes;
  wire::InHeader in;
  size_t fixed = 0;  // size of the op struct
  std::vector<std::string_view> names;

  template <typename T>
  T body() const {
    T value{};
    std::memcpy(&value, bytes.data() + sizeof in, std::min(sizeof value, bytes.size() - sizeof in));
    return value;
  }
  std::string_view name(size_t n = 0) const { return n < names.size() ? names[n] : std::string_view(); }
  std::string_view data() const {
    const size_t at = sizeof in + fixed;
    return {reinterpret_cast<const char*>(bytes.data()) + at, bytes.size() - at};
  }
};

namespace {

// Size of the op struct in front of names or data.
size_t fixed_size(Opcode opcode, const Script& script) {
  switch (opcode) {
    case Opcode::mknod:
      return script.minor < 12 ? wire::compat_mknod_in_size : sizeof(wire::MknodIn);
    case Opcode::mkdir:
      return sizeof(wire::MkdirIn);
    case Opcode::rename:
      return sizeof(wire::RenameIn);
    case Opcode::rename2:
      return sizeof(wire::Rename2In);
    case Opcode::link:
      return sizeof(wire::LinkIn);
    case Opcode::create:
      return script.minor < 12 ? sizeof(wire::OpenIn) : sizeof(wire::CreateIn);
    case Opcode::tmpfile:
      return sizeof(wire::CreateIn);
    case Opcode::write:
      return script.minor < 9 ? wire::compat_write_in_size : sizeof(wire::WriteIn);
    case Opcode::getxattr:
      return sizeof(wire::GetxattrIn);
    case Opcode::setxattr:
      return script.init_flags & wire::init_flag::setxattr_ext ? sizeof(wire::SetxattrIn)
                                                               : wire::compat_setxattr_in_size;
    default:
      return 0;
  }
}

size_t name_count(Opcode opcode) {
  switch (opcode) {
    case Opcode::lookup:
    case Opcode::mknod:
    case Opcode::mkdir:
    case Opcode::unlink:
    case Opcode::rmdir:
    case Opcode::link:
    case Opcode::create:
    case Opcode::tmpfile:
    case Opcode::getxattr:
    case Opcode::setxattr:
    case Opcode::removexattr:
      return 1;
    case Opcode::symlink:
    case Opcode::rename:
    case Opcode::rename2:
      return 2;
    default:
      return 0;
  }
}

}  // namespace

TreeDaemon::TreeDaemon(Script script) : script_(std::move(script)) {
  Node& root = nodes_[1];
  root.id = 1, root.mode = S_IFDIR | 0755, root.nlink = 2;
  next_id_ = 2;
  add(1, "file", S_IFREG | 0644).content = "hello world";
  Node& dir = add(1, "dir", S_IFDIR | 0755);
  add(dir.id, "inner", S_IFREG | 0644).content = "inner";
  add(1, "empty", S_IFDIR | 0755);
  add(1, "link", S_IFLNK | 0777).content = "file";
  add(1, "dirlink", S_IFLNK | 0777).content = "dir";
  add(1, "private", S_IFREG | 0600).content = "private";
  next_id_ = 20;
  for (const Seed& seed : script_.seeds) {
    const size_t slash = seed.path.rfind('/');
    Node* parent = slash == std::string::npos ? &nodes_[1] : find(std::string_view(seed.path).substr(0, slash));
    Node& node = add(parent->id, seed.path.substr(slash == std::string::npos ? 0 : slash + 1), seed.mode);
    node.content = seed.content, node.uid = seed.uid, node.gid = seed.gid;
  }
  next_id_ = 100;
}

TreeDaemon::Node& TreeDaemon::add(uint64_t parent, std::string_view name, uint32_t mode) {
  Node& node = nodes_[next_id_];
  node.id = next_id_++, node.parent = parent, node.name = name, node.mode = mode;
  node.nlink = S_ISDIR(mode) ? 2 : 1;
  nodes_[parent].children[std::string(name)] = node.id;
  return node;
}

TreeDaemon::Node* TreeDaemon::find(uint64_t id) {
  auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : &found->second;
}

TreeDaemon::Node* TreeDaemon::find(std::string_view path) {
  Node* node = &nodes_[1];
  while (node && !path.empty()) {
    const size_t slash = path.find('/');
    auto child = node->children.find(path.substr(0, slash));
    node = child == node->children.end() ? nullptr : find(child->second);
    path = slash == path.npos ? "" : path.substr(slash + 1);
  }
  return node;
}

void TreeDaemon::set_content(std::string_view path, std::string content) { find(path)->content = std::move(content); }
void TreeDaemon::set_mode(std::string_view path, uint32_t mode) { find(path)->mode = mode; }
void TreeDaemon::remove(std::string_view path) {
  Node* node = find(path);
  nodes_[node->parent].children.erase(node->name);
}
void TreeDaemon::replace(std::string_view path) {
  const Node old = *find(path);
  Node& fresh = add(old.parent, old.name, old.mode);
  fresh.content = old.content;
}

wire::Attr TreeDaemon::attr(const Node& node) const {
  wire::Attr a{};
  a.ino = node.id + 1000;
  a.size = S_ISDIR(node.mode) ? 0 : node.content.size();
  a.blocks = (a.size + 511) / 512;
  a.atime = node.atime, a.mtime = node.mtime, a.ctime = node.ctime;
  a.mode = node.mode, a.nlink = node.nlink, a.uid = node.uid, a.gid = node.gid, a.rdev = node.rdev;
  a.blksize = 4096;
  return a;
}
wire::EntryOut TreeDaemon::entry(const Node& node) const {
  wire::EntryOut out{};
  out.nodeid = node.id, out.generation = node.generation;
  out.entry_valid = script_.entry_valid, out.attr_valid = script_.attr_valid;
  out.attr = attr(node);
  return out;
}
void TreeDaemon::put_entry(const Node& node, Bytes& payload) const {
  put(payload, entry(node), script_.minor < 9 ? wire::compat_entry_out_size : sizeof(wire::EntryOut));
}
void TreeDaemon::put_attr(const Node& node, Bytes& payload) const {
  wire::AttrOut out{};
  out.attr_valid = script_.attr_valid, out.attr = attr(node);
  put(payload, out, script_.minor < 9 ? wire::compat_attr_out_size : sizeof out);
}
void TreeDaemon::put_open(Bytes& payload) {
  wire::OpenOut out{};
  out.fh = next_handle_++, out.open_flags = script_.fopen_flags;
  put(payload, out);
}

Rule* TreeDaemon::matching_rule(const Request& request) {
  Node* node = find(request.in.nodeid);
  for (Rule& rule : script_.rules) {
    if (rule.opcode != static_cast<Opcode>(request.in.opcode) || rule.times == 0) continue;
    if (rule.name.empty() || rule.name == request.name() || (node && rule.name == node->name)) return &rule;
  }
  return nullptr;
}

Answer TreeDaemon::answer(std::span<const std::byte> bytes) {
  Request request{bytes, {}, 0, {}};
  std::memcpy(&request.in, bytes.data(), sizeof request.in);
  const auto opcode = static_cast<Opcode>(request.in.opcode);
  request.fixed = fixed_size(opcode, script_);
  std::string_view rest = request.data();
  for (size_t n = name_count(opcode); n > 0 && !rest.empty(); --n) {
    const size_t end = std::min(rest.find('\0'), rest.size());
    request.names.push_back(rest.substr(0, end));
    rest = rest.substr(std::min(end + 1, rest.size()));
  }
  if (opcode == Opcode::forget || opcode == Opcode::batch_forget || opcode == Opcode::interrupt)
    return {Answer::Action::none, {}, ""};

  Rule* rule = matching_rule(request);
  if (rule && rule->times > 0) --rule->times;
  if (rule && rule->reaction.kind == Reaction::Kind::die) return {Answer::Action::die, {}, rule->reaction.label};
  if (rule && rule->reaction.kind == Reaction::Kind::abort) return {Answer::Action::abort, {}, rule->reaction.label};

  Bytes payload;
  const bool refused = rule && rule->reaction.kind == Reaction::Kind::fail;
  const int error = refused ? rule->reaction.error : serve(request, payload);
  if (error) payload.clear();
  Answer answer{Answer::Action::reply, {}, error ? strerrorname_np(error) : "ok"};
  wire::OutHeader out{static_cast<uint32_t>(sizeof out + payload.size()), -error, request.in.unique};
  put(answer.reply, out);
  answer.reply.insert(answer.reply.end(), payload.begin(), payload.end());
  if (rule && rule->reaction.kind == Reaction::Kind::mangle) {
    rule->reaction.mangle(answer.reply);
    answer.said = rule->reaction.label;
  }
  return answer;
}

int TreeDaemon::serve(const Request& request, Bytes& payload) {
  if (static_cast<Opcode>(request.in.opcode) == Opcode::init) return serve_init(payload);
  Node* node = find(request.in.nodeid);
  if (!node) return ESTALE;
  if (!request.names.empty()) {
    switch (static_cast<Opcode>(request.in.opcode)) {
      case Opcode::setxattr:
      case Opcode::getxattr:
      case Opcode::removexattr:
        return serve_xattr(request, *node, payload);
      default:
        return serve_names(request, payload);
    }
  }
  return serve_node(request, *node, payload);
}

int TreeDaemon::serve_init(Bytes& payload) {
  if (script_.init_error) return script_.init_error;
  wire::InitOut out{};
  out.major = script_.major, out.minor = script_.minor;
  out.max_readahead = 131072;
  out.flags = static_cast<uint32_t>(script_.init_flags), out.flags2 = static_cast<uint32_t>(script_.init_flags >> 32);
  out.max_write = script_.max_write, out.max_pages = script_.max_pages, out.time_gran = 1;
  put(payload, out, script_.init_size);
  return 0;
}

int TreeDaemon::make(const Request& request, Node& parent, std::string_view name, uint32_t mode, Bytes& payload) {
  if (parent.children.contains(name)) return EEXIST;
  Node& node = add(parent.id, name, mode);
  node.uid = request.in.uid, node.gid = request.in.gid;
  put_entry(node, payload);
  return 0;
}

int TreeDaemon::serve_names(const Request& request, Bytes& payload) {
  Node& parent = *find(request.in.nodeid);
  const std::string_view name = request.name();
  switch (static_cast<Opcode>(request.in.opcode)) {
    case Opcode::lookup: {
      auto child = parent.children.find(name);
      if (child != parent.children.end()) {
        put_entry(*find(child->second), payload);
        return 0;
      }
      if (!script_.negative_valid) return ENOENT;
      wire::EntryOut out{};
      out.entry_valid = script_.negative_valid;
      put(payload, out, script_.minor < 9 ? wire::compat_entry_out_size : sizeof out);
      return 0;
    }
    case Opcode::mknod: {
      auto in = request.body<wire::MknodIn>();
      if (int error = make(request, parent, name, in.mode, payload)) return error;
      find(parent.children.find(name)->second)->rdev = in.rdev;
      return 0;
    }
    case Opcode::mkdir:
      return make(request, parent, name, S_IFDIR | (request.body<wire::MkdirIn>().mode & 07777), payload);
    case Opcode::create: {
      auto in = request.body<wire::CreateIn>();
      const uint32_t mode = script_.minor < 12 ? 0644 : in.mode & 07777;
      if (int error = make(request, parent, name, S_IFREG | mode, payload)) return error;
      put_open(payload);
      return 0;
    }
    // A node without a name.
    case Opcode::tmpfile: {
      Node& node = nodes_[next_id_];
      node.id = next_id_++, node.parent = parent.id, node.nlink = 0;
      node.mode = S_IFREG | (request.body<wire::CreateIn>().mode & 07777);
      put_entry(node, payload);
      put_open(payload);
      return 0;
    }
    case Opcode::symlink: {
      if (int error = make(request, parent, name, S_IFLNK | 0777, payload)) return error;
      Node& node = *find(parent.children.find(name)->second);
      node.content = request.name(1);
      payload.clear();
      put_entry(node, payload);
      return 0;
    }
    case Opcode::link: {
      Node* node = find(request.body<wire::LinkIn>().oldnodeid);
      if (!node) return ESTALE;
      if (parent.children.contains(name)) return EEXIST;
      parent.children[std::string(name)] = node->id;
      ++node->nlink;
      put_entry(*node, payload);
      return 0;
    }
    case Opcode::unlink:
      return unlink(parent, name, false);
    case Opcode::rmdir:
      return unlink(parent, name, true);
    case Opcode::rename:
      return rename(request, parent, request.body<wire::RenameIn>().newdir, 0);
    case Opcode::rename2: {
      auto in = request.body<wire::Rename2In>();
      return rename(request, parent, in.newdir, in.flags);
    }
    default:
      return ENOSYS;
  }
}

int TreeDaemon::unlink(Node& parent, std::string_view name, bool directory) {
  auto child = parent.children.find(name);
  if (child == parent.children.end()) return ENOENT;
  Node& node = *find(child->second);
  if (directory && !S_ISDIR(node.mode)) return ENOTDIR;
  if (!directory && S_ISDIR(node.mode)) return EISDIR;
  if (!node.children.empty()) return ENOTEMPTY;
  parent.children.erase(child);
  --node.nlink;
  return 0;
}

int TreeDaemon::rename(const Request& request, Node& from, uint64_t newdir, uint32_t flags) {
  constexpr uint32_t noreplace = 1, exchange = 2;
  Node* to = find(newdir);
  if (!to) return ESTALE;
  auto old_child = from.children.find(request.name(0));
  auto new_child = to->children.find(request.name(1));
  if (old_child == from.children.end()) return ENOENT;
  if (new_child != to->children.end() && (flags & noreplace)) return EEXIST;
  if (flags & exchange) {
    if (new_child == to->children.end()) return ENOENT;
    std::swap(old_child->second, new_child->second);
    return 0;
  }
  const uint64_t id = old_child->second;
  from.children.erase(old_child);
  to->children[std::string(request.name(1))] = id;
  find(id)->name = request.name(1), find(id)->parent = newdir;
  return 0;
}

int TreeDaemon::setattr(const Request& request, Node& node, Bytes& payload) {
  auto in = request.body<wire::SetattrIn>();
  if (in.valid & wire::fattr::mode) node.mode = (node.mode & S_IFMT) | (in.mode & 07777);
  if (in.valid & wire::fattr::uid) node.uid = in.uid;
  if (in.valid & wire::fattr::gid) node.gid = in.gid;
  if (in.valid & wire::fattr::size) node.content.resize(in.size);
  // A fixed time stands for "now": traces must not depend on when they are made.
  if (in.valid & wire::fattr::atime) node.atime = in.valid & wire::fattr::atime_now ? 1000000011 : in.atime;
  if (in.valid & wire::fattr::mtime) node.mtime = in.valid & wire::fattr::mtime_now ? 1000000012 : in.mtime;
  put_attr(node, payload);
  return 0;
}

int TreeDaemon::readdir(const Request& request, Node& node, bool plus, Bytes& payload) {
  auto in = request.body<wire::ReadIn>();
  std::vector<std::pair<std::string, const Node*>> records = {{".", &node}, {"..", &node}};
  for (auto& [name, id] : node.children) records.emplace_back(name, find(id));
  for (size_t i = in.offset; i < records.size(); ++i) {
    auto& [name, child] = records[i];
    Bytes record;
    if (plus) put(record, i < 2 ? wire::EntryOut{} : entry(*child));
    put(record,
        wire::Dirent{child->id + 1000, i + 1, static_cast<uint32_t>(name.size()), (child->mode & S_IFMT) >> 12});
    put_text(record, name);
    record.resize(wire::record_align(record.size()));
    if (payload.size() + record.size() > in.size) break;
    payload.insert(payload.end(), record.begin(), record.end());
  }
  return 0;
}

int TreeDaemon::serve_xattr(const Request& request, Node& node, Bytes& payload) {
  const std::string_view name = request.name();
  switch (static_cast<Opcode>(request.in.opcode)) {
    case Opcode::setxattr: {
      constexpr uint32_t create = 1, replace = 2;
      auto in = request.body<wire::SetxattrIn>();
      const bool there = node.xattrs.contains(name);
      if ((in.flags & create) && there) return EEXIST;
      if ((in.flags & replace) && !there) return ENODATA;
      node.xattrs[std::string(name)] = request.data().substr(name.size() + 1);
      return 0;
    }
    case Opcode::removexattr:
      if (!node.xattrs.contains(name)) return ENODATA;
      node.xattrs.erase(std::string(name));
      return 0;
    case Opcode::getxattr:
    case Opcode::listxattr: {
      std::string value;
      if (request.names.empty()) {
        for (auto& [key, unused] : node.xattrs) value += key + '\0';
      } else {
        auto found = node.xattrs.find(name);
        if (found == node.xattrs.end()) return ENODATA;
        value = found->second;
      }
      const uint32_t room = request.body<wire::GetxattrIn>().size;
      if (room == 0) return put(payload, wire::GetxattrOut{static_cast<uint32_t>(value.size()), 0}), 0;
      if (room < value.size()) return ERANGE;
      return put_text(payload, value), 0;
    }
    default:
      return ENOSYS;
  }
}

int TreeDaemon::serve_node(const Request& request, Node& node, Bytes& payload) {
  switch (static_cast<Opcode>(request.in.opcode)) {
    case Opcode::getattr:
      return put_attr(node, payload), 0;
    case Opcode::setattr:
      return setattr(request, node, payload);
    case Opcode::statx: {
      wire::StatxOut out{};
      const wire::Attr a = attr(node);
      out.attr_valid = script_.attr_valid;
      out.stat.mask = 0xfff, out.stat.blksize = 4096, out.stat.nlink = a.nlink, out.stat.uid = a.uid;
      out.stat.gid = a.gid, out.stat.mode = a.mode, out.stat.ino = a.ino, out.stat.size = a.size;
      out.stat.blocks = a.blocks;
      out.stat.atime.tv_sec = node.atime, out.stat.mtime.tv_sec = node.mtime, out.stat.ctime.tv_sec = node.ctime;
      out.stat.btime.tv_sec = 1000000000;
      return put(payload, out), 0;
    }
    case Opcode::readlink:
      return put_text(payload, node.content), 0;
    case Opcode::open:
      if (request.body<wire::OpenIn>().flags & O_TRUNC) node.content.clear();
      return put_open(payload), 0;
    case Opcode::opendir:
      return put_open(payload), 0;
    case Opcode::read: {
      auto in = request.body<wire::ReadIn>();
      const std::string_view content = node.content;
      if (in.offset < content.size()) put_text(payload, content.substr(in.offset, in.size));
      return 0;
    }
    case Opcode::write: {
      auto in = request.body<wire::WriteIn>();
      const std::string_view data = request.data();
      if (node.content.size() < in.offset + data.size()) node.content.resize(in.offset + data.size());
      node.content.replace(in.offset, data.size(), data);
      return put(payload, wire::WriteOut{static_cast<uint32_t>(data.size()), 0}), 0;
    }
    case Opcode::statfs: {
      wire::StatfsOut out{};
      out.st.blocks = 1000, out.st.bfree = 600, out.st.bavail = 500, out.st.files = 77, out.st.ffree = 7;
      out.st.bsize = 4096, out.st.namelen = 255, out.st.frsize = 4096;
      return put(payload, out, script_.minor < 4 ? wire::compat_statfs_size : sizeof out), 0;
    }
    case Opcode::readdir:
      return readdir(request, node, false, payload);
    case Opcode::readdirplus:
      return readdir(request, node, true, payload);
    case Opcode::listxattr:
      return serve_xattr(request, node, payload);
    case Opcode::lseek: {
      constexpr uint32_t seek_hole = 4;
      auto in = request.body<wire::LseekIn>();
      if (in.offset >= node.content.size()) return ENXIO;
      return put(payload, wire::LseekOut{in.whence == seek_hole ? node.content.size() : in.offset}), 0;
    }
    case Opcode::getlk: {
      wire::LkOut out{request.body<wire::LkIn>().lk};
      out.lk.type = 2;
      return put(payload, out), 0;
    }
    case Opcode::fallocate: {
      auto in = request.body<wire::FallocateIn>();
      if (node.content.size() < in.offset + in.length) node.content.resize(in.offset + in.length);
      return 0;
    }
    // The data come back in capitals; FS_IOC_GETFLAGS and unknown commands are not special here.
    case Opcode::ioctl: {
      auto in = request.body<wire::IoctlIn>();
      std::string data(request.data().substr(sizeof in));
      data.resize(in.out_size, '-');
      for (char& c : data) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      put(payload, wire::IoctlOut{});
      const auto* bytes = reinterpret_cast<const std::byte*>(data.data());
      payload.insert(payload.end(), bytes, bytes + data.size());
      return 0;
    }
    case Opcode::setlk:
    case Opcode::setlkw:
    case Opcode::release:
    case Opcode::releasedir:
    case Opcode::flush:
    case Opcode::fsync:
    case Opcode::fsyncdir:
    case Opcode::access:
    case Opcode::destroy:
      return 0;
    default:
      return ENOSYS;
  }
}

}  // namespace fusewire::oracle
