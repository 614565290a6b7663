// hostile_daemon DIR: a FUSE daemon that lies. The name that is looked up chooses how; the scenario checks what the
// program that asked is told. It mounts as any daemon does: open /dev/fuse, mount(2), read and write.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "wire/protocol.h"

namespace wire = fusewire::wire;
using wire::Opcode;

namespace {

int device;

std::string bytes_of(const void* data, size_t size) { return std::string(static_cast<const char*>(data), size); }

void send_raw(uint64_t unique, int32_t error, const std::string& payload, int length_lie = 0) {
  wire::OutHeader out{};
  out.len = static_cast<uint32_t>(sizeof out + payload.size()) + static_cast<uint32_t>(length_lie);
  out.error = error;
  out.unique = unique;
  const std::string message = bytes_of(&out, sizeof out) + payload;
  if (write(device, message.data(), message.size()) < 0 && errno == ENODEV) _exit(0);
}

wire::Attr attr(uint64_t ino, uint32_t mode) {
  wire::Attr a{};
  a.ino = ino;
  a.mode = mode;
  a.nlink = 1;
  a.uid = getuid();
  a.gid = getgid();
  a.size = (mode & S_IFMT) == S_IFREG ? 100 : 0;
  return a;
}

std::string entry(uint64_t nodeid, uint32_t mode) {
  wire::EntryOut e{};
  e.nodeid = nodeid;
  e.attr = attr(nodeid, mode);
  return bytes_of(&e, sizeof e);
}

constexpr uint64_t good_file = 10, endless_dir = 11, slash_dir = 12, short_read = 13, empty_name_dir = 14;

void lookup(const wire::InHeader& in, std::string_view name) {
  const uint64_t u = in.unique;
  const std::string good = entry(good_file, S_IFREG | 0644);
  if (name == "good") return send_raw(u, 0, good);
  if (name == "too-short") return send_raw(u, 0, good.substr(0, 60));
  if (name == "too-long") return send_raw(u, 0, good + std::string(50000, 'x'));
  if (name == "positive-error") {
    send_raw(u, 5, "");
    return send_raw(u, -ENOENT, "");
  }
  if (name == "huge-error") {
    send_raw(u, -4000, "");
    return send_raw(u, -ENOENT, "");
  }
  if (name == "error-with-payload") return send_raw(u, -EACCES, good);
  if (name == "bad-mode") return send_raw(u, 0, entry(good_file + 90, 0170000 | 0644));
  if (name == "root-again") return send_raw(u, 0, entry(1, S_IFDIR | 0755));
  if (name == "wrong-length") {
    send_raw(u, 0, good, 40);
    return send_raw(u, 0, good);
  }
  if (name == "unknown-unique") {
    send_raw(u + 1000002, 0, good);
    return send_raw(u, 0, good);
  }
  if (name == "twice") {
    send_raw(u, 0, good);
    return send_raw(u, 0, good);
  }
  if (name == "header-cut") {
    if (write(device, &in, 7) < 0 && errno == ENODEV) _exit(0);
    return send_raw(u, 0, good);
  }
  if (name == "bad-notify") {
    send_raw(0, 77, "garbage");
    return send_raw(u, 0, good);
  }
  if (name == "huge-size") {
    wire::EntryOut e{};
    e.nodeid = 80;
    e.attr = attr(80, S_IFREG | 0644);
    e.attr.size = UINT64_MAX;
    return send_raw(u, 0, bytes_of(&e, sizeof e));
  }
  if (name == "endless") return send_raw(u, 0, entry(endless_dir, S_IFDIR | 0755));
  if (name == "slash") return send_raw(u, 0, entry(slash_dir, S_IFDIR | 0755));
  if (name == "empty-name") return send_raw(u, 0, entry(empty_name_dir, S_IFDIR | 0755));
  if (name == "short-read") return send_raw(u, 0, entry(short_read, S_IFREG | 0644));
  send_raw(u, -ENOENT, "");
}

std::string dirent(std::string_view name, uint64_t off, uint32_t namelen) {
  wire::Dirent d{};
  d.ino = 99;
  d.off = off;
  d.namelen = namelen;
  d.type = 8;
  std::string record = bytes_of(&d, sizeof d) + std::string(name);
  record.resize(wire::record_align(record.size()));
  return record;
}

void readdir(const wire::InHeader& in, const wire::ReadIn& read) {
  std::string records;
  if (in.nodeid == slash_dir && read.offset == 0) records = dirent("a/b", 1, 3);
  if (in.nodeid == empty_name_dir && read.offset == 0) records = dirent("", 1, 0);
  if (in.nodeid == endless_dir)
    for (uint64_t i = 1; records.size() + 40 < read.size; i++)
      records += dirent("n" + std::to_string(read.offset + i), read.offset + i,
                        static_cast<uint32_t>(std::to_string(read.offset + i).size() + 1));
  send_raw(in.unique, 0, records);
}

void serve(const wire::InHeader& in, const char* body) {
  switch (static_cast<Opcode>(in.opcode)) {
    case Opcode::init: {
      wire::InitOut out{};
      out.major = 7;
      out.minor = 31;
      out.max_write = 65536;
      out.max_readahead = 65536;
      return send_raw(in.unique, 0, bytes_of(&out, sizeof out));
    }
    case Opcode::lookup:
      return lookup(in, body);
    case Opcode::getattr: {
      wire::AttrOut out{};
      const bool dir =
          in.nodeid == 1 || in.nodeid == endless_dir || in.nodeid == slash_dir || in.nodeid == empty_name_dir;
      out.attr = attr(in.nodeid, dir ? S_IFDIR | 0755 : S_IFREG | 0644);
      return send_raw(in.unique, 0, bytes_of(&out, sizeof out));
    }
    case Opcode::open:
    case Opcode::opendir: {
      wire::OpenOut out{};
      out.open_flags = wire::fopen_flag::direct_io;
      return send_raw(in.unique, 0, bytes_of(&out, sizeof out));
    }
    case Opcode::readdir:
      return readdir(in, *reinterpret_cast<const wire::ReadIn*>(body));
    case Opcode::read: {
      const auto& read = *reinterpret_cast<const wire::ReadIn*>(body);
      if (in.nodeid == short_read)
        return send_raw(in.unique, 0, std::string(read.size + 4096, 'x'));  // more than asked
      return send_raw(in.unique, 0, read.offset >= 100 ? "" : std::string(100 - read.offset, 'g'));
    }
    case Opcode::mkdir:
      return send_raw(in.unique, 0, entry(0, S_IFDIR | 0755));
    case Opcode::symlink:
      return send_raw(in.unique, 0, entry(70, S_IFREG | 0644));
    case Opcode::readlink:
      return send_raw(in.unique, 0, std::string(9000, '/'));
    case Opcode::write: {
      wire::WriteOut out{};
      out.size = 1u << 30;
      return send_raw(in.unique, 0, bytes_of(&out, sizeof out));
    }
    case Opcode::flush:
    case Opcode::release:
    case Opcode::releasedir:
      return send_raw(in.unique, 0, "");
    case Opcode::forget:
    case Opcode::batch_forget:
    case Opcode::interrupt:
      return;
    default:
      return send_raw(in.unique, -ENOSYS, "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  device = open("/dev/fuse", O_RDWR);
  if (device < 0) {
    std::perror("hostile_daemon: open /dev/fuse");
    return 1;
  }
  const std::string data = "fd=" + std::to_string(device) + ",rootmode=40000,user_id=" + std::to_string(getuid()) +
                           ",group_id=" + std::to_string(getgid());
  if (mount("hostile", argv[1], "fuse.hostile", MS_NOSUID | MS_NODEV, data.c_str()) < 0) {
    std::perror("hostile_daemon: mount");
    return 1;
  }
  if (fork() != 0) return 0;
  setsid();
  std::vector<char> buffer(1 << 20);
  for (;;) {
    const ssize_t n = read(device, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(sizeof(wire::InHeader))) return 0;
    wire::InHeader in;
    std::memcpy(&in, buffer.data(), sizeof in);
    serve(in, buffer.data() + sizeof in);
  }
}
