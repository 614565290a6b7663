#include "oracle/trace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace fusewire::oracle {

using wire::Opcode;

namespace {

std::string opcode_name(Opcode opcode) {
  static const std::map<Opcode, const char*> names = {{Opcode::lookup, "LOOKUP"},
                                                      {Opcode::forget, "FORGET"},
                                                      {Opcode::getattr, "GETATTR"},
                                                      {Opcode::setattr, "SETATTR"},
                                                      {Opcode::readlink, "READLINK"},
                                                      {Opcode::symlink, "SYMLINK"},
                                                      {Opcode::mknod, "MKNOD"},
                                                      {Opcode::mkdir, "MKDIR"},
                                                      {Opcode::unlink, "UNLINK"},
                                                      {Opcode::rmdir, "RMDIR"},
                                                      {Opcode::rename, "RENAME"},
                                                      {Opcode::link, "LINK"},
                                                      {Opcode::open, "OPEN"},
                                                      {Opcode::read, "READ"},
                                                      {Opcode::write, "WRITE"},
                                                      {Opcode::statfs, "STATFS"},
                                                      {Opcode::release, "RELEASE"},
                                                      {Opcode::fsync, "FSYNC"},
                                                      {Opcode::setxattr, "SETXATTR"},
                                                      {Opcode::getxattr, "GETXATTR"},
                                                      {Opcode::listxattr, "LISTXATTR"},
                                                      {Opcode::removexattr, "REMOVEXATTR"},
                                                      {Opcode::flush, "FLUSH"},
                                                      {Opcode::init, "INIT"},
                                                      {Opcode::opendir, "OPENDIR"},
                                                      {Opcode::readdir, "READDIR"},
                                                      {Opcode::releasedir, "RELEASEDIR"},
                                                      {Opcode::fsyncdir, "FSYNCDIR"},
                                                      {Opcode::getlk, "GETLK"},
                                                      {Opcode::setlk, "SETLK"},
                                                      {Opcode::setlkw, "SETLKW"},
                                                      {Opcode::access, "ACCESS"},
                                                      {Opcode::create, "CREATE"},
                                                      {Opcode::interrupt, "INTERRUPT"},
                                                      {Opcode::bmap, "BMAP"},
                                                      {Opcode::destroy, "DESTROY"},
                                                      {Opcode::ioctl, "IOCTL"},
                                                      {Opcode::poll, "POLL"},
                                                      {Opcode::notify_reply, "NOTIFY_REPLY"},
                                                      {Opcode::batch_forget, "BATCH_FORGET"},
                                                      {Opcode::fallocate, "FALLOCATE"},
                                                      {Opcode::readdirplus, "READDIRPLUS"},
                                                      {Opcode::rename2, "RENAME2"},
                                                      {Opcode::lseek, "LSEEK"},
                                                      {Opcode::copy_file_range, "COPY_FILE_RANGE"},
                                                      {Opcode::syncfs, "SYNCFS"},
                                                      {Opcode::tmpfile, "TMPFILE"},
                                                      {Opcode::statx, "STATX"},
                                                      {Opcode::copy_file_range_64, "COPY_FILE_RANGE_64"}};
  auto found = names.find(opcode);
  return found == names.end() ? fmt::format("OPCODE {}", static_cast<uint32_t>(opcode)) : found->second;
}

// Takes structs and names off the front of a request; notes when there was not enough.
struct Reader {
  std::span<const std::byte> rest;
  bool bad = false;

  template <typename T>
  T take(size_t size = sizeof(T)) {
    T value{};
    if (rest.size() < size) {
      bad = true;
      return value;
    }
    std::memcpy(&value, rest.data(), size);
    rest = rest.subspan(size);
    return value;
  }
  std::string name() {
    std::string_view text(reinterpret_cast<const char*>(rest.data()), rest.size());
    const size_t end = text.find('\0');
    if (end == text.npos) {
      bad = true;
      return " (no NUL)";
    }
    rest = rest.subspan(end + 1);
    return " " + quoted(text.substr(0, end));
  }
  std::string bytes() {
    std::string_view text(reinterpret_cast<const char*>(rest.data()), rest.size());
    rest = {};
    return fmt::format(" {} bytes {}", text.size(), quoted(text.substr(0, 16)));
  }
};

std::string setattr_fields(const wire::SetattrIn& in, const std::string& owner) {
  using namespace wire::fattr;
  std::string text = fmt::format(" valid={:#x}", in.valid);
  if (in.valid & wire::fattr::mode) text += fmt::format(" mode={:#o}", in.mode);
  if (in.valid & wire::fattr::uid) text += fmt::format(" uid={}", in.uid);
  if (in.valid & wire::fattr::gid) text += fmt::format(" gid={}", in.gid);
  if (in.valid & wire::fattr::size) text += fmt::format(" size={}", in.size);
  if (in.valid & wire::fattr::fh) text += fmt::format(" fh={}", in.fh);
  if ((in.valid & atime) && !(in.valid & atime_now)) text += fmt::format(" atime={}.{:09}", in.atime, in.atimensec);
  if ((in.valid & mtime) && !(in.valid & mtime_now)) text += fmt::format(" mtime={}.{:09}", in.mtime, in.mtimensec);
  if (in.valid & lockowner) text += owner;
  return text;
}

}  // namespace

std::string quoted(std::string_view bytes) {
  constexpr size_t longest = 200, shown = 16;
  if (bytes.size() > longest) return fmt::format("{}...({} bytes)", quoted(bytes.substr(0, shown)), bytes.size());
  std::string text = "\"";
  for (unsigned char c : bytes) {
    if (c == '"' || c == '\\') text += '\\';
    if (c >= 0x20 && c < 0x7f)
      text += static_cast<char>(c);
    else
      text += fmt::format("\\{:03o}", c);
  }
  return text + '"';
}

Log::Log() : fd_(memfd_create("oracle-log", MFD_CLOEXEC)) {
  if (fd_ < 0 || fcntl(fd_, F_SETFL, O_APPEND) < 0) throw std::runtime_error("oracle: no memory file for the log");
}
Log::~Log() { close(fd_); }
void Log::line(std::string text) {
  text += '\n';
  if (write(fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::abort();
}
std::string Log::text() const {
  struct stat st;
  fstat(fd_, &st);
  std::string text(st.st_size, '\0');
  text.resize(std::max<ssize_t>(0, pread(fd_, text.data(), text.size(), 0)));
  return text;
}

std::string Describer::owner(uint64_t lock_owner) {
  if (lock_owner == 0) return "";
  auto [found, fresh] = owners_.try_emplace(lock_owner, static_cast<char>('A' + owners_.size()));
  return fmt::format(" owner={}", found->second);
}

std::string Describer::operator()(std::span<const std::byte> request) {
  wire::InHeader in{};
  if (request.size() < sizeof in) return fmt::format("BAD REQUEST of {} bytes", request.size());
  std::memcpy(&in, request.data(), sizeof in);
  const auto opcode = static_cast<Opcode>(in.opcode);
  const auto body = request.subspan(sizeof in);
  if (opcode == Opcode::batch_forget) return batch_forget(body);
  if (opcode == Opcode::forget) return fmt::format("FORGET {}", in.nodeid) + fields(opcode, body);
  std::string text = fmt::format("{} {}", opcode_name(opcode), in.nodeid);
  if (in.uid || in.gid) text += fmt::format(" uid={} gid={}", in.uid, in.gid);
  if (in.pid == 0) text += " nopid";
  text += fields(opcode, body);
  if (in.len != request.size()) text += fmt::format(" BAD len={} of {}", in.len, request.size());
  if (in.unique == 0 || (in.unique & wire::interrupt_bit)) text += " BAD unique";
  if (in.total_extlen) text += fmt::format(" extlen={}", in.total_extlen);
  return text;
}

std::string Describer::batch_forget(std::span<const std::byte> body) {
  Reader r{body};
  std::string text;
  for (uint32_t left = r.take<wire::BatchForgetIn>().count; left > 0 && !r.bad; --left) {
    auto one = r.take<wire::ForgetOne>();
    text += fmt::format("{}FORGET {} nlookup={}", text.empty() ? "" : "\n  ", one.nodeid, one.nlookup);
  }
  return r.bad ? text + " BAD too short" : text;
}

std::string Describer::fields(Opcode opcode, std::span<const std::byte> body) {
  Reader r{body};
  std::string text;
  switch (opcode) {
    case Opcode::lookup:
    case Opcode::unlink:
    case Opcode::rmdir:
    case Opcode::removexattr:
      text = r.name();
      break;
    case Opcode::forget:
      text = fmt::format(" nlookup={}", r.take<wire::ForgetIn>().nlookup);
      break;
    case Opcode::getattr: {
      auto in = r.take<wire::GetattrIn>();
      if (in.getattr_flags & wire::getattr_fh) text = fmt::format(" fh={}", in.fh);
      break;
    }
    case Opcode::statx: {
      auto in = r.take<wire::StatxIn>();
      text = fmt::format(" flags={:#x} mask={:#x}", in.sx_flags, in.sx_mask);
      if (in.getattr_flags & wire::getattr_fh) text += fmt::format(" fh={}", in.fh);
      break;
    }
    case Opcode::setattr: {
      auto in = r.take<wire::SetattrIn>();
      text = setattr_fields(in, owner(in.lock_owner));
      break;
    }
    case Opcode::symlink: {
      text = r.name();
      text += " ->" + r.name();
      break;
    }
    case Opcode::mknod: {
      auto in = r.take<wire::MknodIn>(minor_ < 12 ? wire::compat_mknod_in_size : sizeof(wire::MknodIn));
      text = r.name() + fmt::format(" mode={:#o} rdev={} umask={:#o}", in.mode, in.rdev, in.umask);
      break;
    }
    case Opcode::mkdir: {
      auto in = r.take<wire::MkdirIn>();
      text = r.name() + fmt::format(" mode={:#o} umask={:#o}", in.mode, in.umask);
      break;
    }
    case Opcode::rename: {
      auto in = r.take<wire::RenameIn>();
      text = r.name();
      text += fmt::format(" -> {}", in.newdir) + r.name();
      break;
    }
    case Opcode::rename2: {
      auto in = r.take<wire::Rename2In>();
      text = r.name();
      text += fmt::format(" -> {}", in.newdir) + r.name() + fmt::format(" flags={:#x}", in.flags);
      break;
    }
    case Opcode::link: {
      auto in = r.take<wire::LinkIn>();
      text = r.name() + fmt::format(" oldnodeid={}", in.oldnodeid);
      break;
    }
    case Opcode::open:
    case Opcode::opendir: {
      auto in = r.take<wire::OpenIn>();
      text = fmt::format(" flags={:#o} open_flags={:#x}", in.flags, in.open_flags);
      break;
    }
    case Opcode::create:
    case Opcode::tmpfile: {
      auto in = r.take<wire::CreateIn>(minor_ < 12 ? sizeof(wire::OpenIn) : sizeof(wire::CreateIn));
      text = r.name() + fmt::format(" flags={:#o}", in.flags);
      if (minor_ >= 12)
        text += fmt::format(" mode={:#o} umask={:#o} open_flags={:#x}", in.mode, in.umask, in.open_flags);
      break;
    }
    case Opcode::read:
    case Opcode::readdir:
    case Opcode::readdirplus: {
      auto in = r.take<wire::ReadIn>();
      text = fmt::format(" fh={} offset={} size={} read_flags={:#x} flags={:#o}", in.fh, in.offset, in.size,
                         in.read_flags, in.flags);
      text += in.read_flags & wire::read_lockowner ? owner(in.lock_owner) : "";
      break;
    }
    case Opcode::write: {
      auto in = r.take<wire::WriteIn>(minor_ < 9 ? wire::compat_write_in_size : sizeof(wire::WriteIn));
      text = fmt::format(" fh={} offset={} size={} write_flags={:#x}", in.fh, in.offset, in.size, in.write_flags);
      if (minor_ >= 9) text += fmt::format(" flags={:#o}", in.flags);
      text += in.write_flags & wire::write_lockowner ? owner(in.lock_owner) : "";
      text += r.bytes();
      break;
    }
    case Opcode::release:
    case Opcode::releasedir: {
      auto in = r.take<wire::ReleaseIn>();
      text = fmt::format(" fh={} flags={:#o} release_flags={:#x}", in.fh, in.flags, in.release_flags) +
             owner(in.lock_owner);
      break;
    }
    case Opcode::flush: {
      auto in = r.take<wire::FlushIn>();
      text = fmt::format(" fh={}", in.fh) + owner(in.lock_owner);
      break;
    }
    case Opcode::fsync:
    case Opcode::fsyncdir: {
      auto in = r.take<wire::FsyncIn>();
      text = fmt::format(" fh={} fsync_flags={:#x}", in.fh, in.fsync_flags);
      break;
    }
    case Opcode::setxattr: {
      const bool ext = init_flags_ & wire::init_flag::setxattr_ext;
      auto in = r.take<wire::SetxattrIn>(ext ? sizeof(wire::SetxattrIn) : wire::compat_setxattr_in_size);
      text = r.name() + fmt::format(" size={} flags={:#x}", in.size, in.flags);
      text += r.bytes();
      break;
    }
    case Opcode::getxattr: {
      auto in = r.take<wire::GetxattrIn>();
      text = r.name() + fmt::format(" size={}", in.size);
      break;
    }
    case Opcode::listxattr:
      text = fmt::format(" size={}", r.take<wire::GetxattrIn>().size);
      break;
    case Opcode::access:
      text = fmt::format(" mask={:#x}", r.take<wire::AccessIn>().mask);
      break;
    case Opcode::lseek: {
      auto in = r.take<wire::LseekIn>();
      text = fmt::format(" fh={} offset={} whence={}", in.fh, in.offset, in.whence);
      break;
    }
    case Opcode::getlk:
    case Opcode::setlk:
    case Opcode::setlkw: {
      auto in = r.take<wire::LkIn>();
      text = fmt::format(" fh={} type={} start={} end={:#x} lk_flags={:#x}{}", in.fh, in.lk.type, in.lk.start,
                         in.lk.end, in.lk_flags, in.lk.pid ? "" : " lkpid=0") +
             owner(in.owner);
      break;
    }
    case Opcode::fallocate: {
      auto in = r.take<wire::FallocateIn>();
      text = fmt::format(" fh={} offset={} length={} mode={:#x}", in.fh, in.offset, in.length, in.mode);
      break;
    }
    case Opcode::ioctl: {
      auto in = r.take<wire::IoctlIn>();
      text = fmt::format(" fh={} flags={:#x} cmd={:#x} in_size={} out_size={}", in.fh, in.flags, in.cmd, in.in_size,
                         in.out_size);
      text += in.in_size ? r.bytes() : "";
      break;
    }
    // What a kernel offers in INIT grows with its version and is no behaviour: only the version's major is compared.
    case Opcode::init: {
      auto in = r.take<wire::InitIn>();
      r.rest = {};
      text = fmt::format(" major={}", in.major);
      break;
    }
    default:
      r.rest = {};
      break;
  }
  if (r.bad) text += " BAD too short";
  if (!r.rest.empty()) text += fmt::format(" BAD {} bytes more", r.rest.size());
  return text;
}

std::string normalise(std::string_view log) {
  std::string text, outcome;
  std::vector<std::string> now, later;
  auto end_call = [&] {
    std::sort(later.begin(), later.end());
    for (auto& line : now) text += line + '\n';
    text += outcome;
    for (auto& line : later) text += line + '\n';
    now.clear(), later.clear(), outcome.clear();
  };
  while (!log.empty()) {
    const size_t end = log.find('\n');
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end, log.size() - 1) + 1);
    if (line.starts_with("  FORGET") || line.starts_with("  RELEASE")) {
      later.emplace_back(line);
    } else if (line.starts_with("  ")) {
      now.emplace_back(line);
    } else if (line.starts_with("=")) {
      outcome = std::string(line) + '\n';
    } else {
      end_call();
      text += std::string(line) + '\n';
    }
  }
  end_call();
  return text;
}

std::string difference(std::string_view kernel, std::string_view ours) {
  auto lines = [](std::string_view text) {
    std::vector<std::string> all;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      all.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return all;
  };
  const auto a = lines(kernel), b = lines(ours);
  if (a == b) return "";
  // Longest common subsequence; traces are short.
  std::vector<std::vector<int>> common(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = a.size(); i-- > 0;)
    for (size_t j = b.size(); j-- > 0;)
      common[i][j] = a[i] == b[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
  std::string text;
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    if (i < a.size() && j < b.size() && a[i] == b[j])
      text += " " + a[i++] + '\n', ++j;
    else if (j == b.size() || (i < a.size() && common[i + 1][j] >= common[i][j + 1]))
      text += "-" + a[i++] + '\n';
    else
      text += "+" + b[j++] + '\n';
  }
  return text;
}

}  // namespace fusewire::oracle
