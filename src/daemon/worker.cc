#include "daemon/worker.h"

#include <fcntl.h>

#include <algorithm>

#include "daemon/convert.h"
#include "daemon/negotiate.h"
#include "wire/encode.h"

namespace fusewire::daemon {
namespace {

using wire::Opcode;

// Longest request: a WRITE of max_write, or an extended attribute of 64 KiB, with header, struct and names beside it.
constexpr size_t header_room = 8192;
constexpr size_t xattr_room = 64 * 1024;
constexpr size_t symlink_room = 4096;

bool has_dot_name(const wire::RequestView& view) {
  for (uint32_t i = 0; i < 2; ++i) {
    if (view.info->names[i] == wire::NameKind::entry && (view.names[i] == "." || view.names[i] == "..")) return true;
  }
  return false;
}

}  // namespace

Worker::Worker(Session& session)
    : session_(session),
      fs_(session.file_system_),
      in_bytes_(std::max<size_t>(session.options_.max_write, xattr_room) + header_room),
      in_(new std::byte[in_bytes_]) {}

Result<bool> Worker::serve_one() {
  auto length = session_.transport_.read_request({in_.get(), in_bytes_});
  if (!length) return std::unexpected(length.error());
  if (*length == 0) return false;
  ++session_.counters_.requests;
  serve(wire::Bytes(in_.get(), *length));
  return true;
}

void Worker::serve(wire::Bytes message) {
  auto header = wire::check_request_header(message);
  if (!header) {
    // Nobody can be told: the id that an answer needs cannot be trusted.
    ++session_.counters_.malformed;
    return;
  }
  context_ = {Unique{header->unique}, header->uid, header->gid, static_cast<pid_t>(header->pid), 0};
  node_ = NodeId{header->nodeid};
  info_ = wire::find_opcode(header->opcode);
  auto view = wire::check_request(message, session_.dialect_);
  if (!view) return refuse(message, view.error());
  if (info_->opcode == Opcode::init) return serve_init(*view);
  if (!session_.initialised_) return refuse(message, wire::CheckError::unexpected_reply);
  if (has_dot_name(*view)) return refuse(message, wire::CheckError::slash_in_name);
  dispatch(*view);
}

void Worker::refuse(wire::Bytes, wire::CheckError why) {
  if (why == wire::CheckError::unknown_opcode) {
    answer_error(Errno::enosys);
    return;
  }
  ++session_.counters_.malformed;
  if (!info_->has_reply()) return;
  answer_error(why == wire::CheckError::unexpected_reply ? Errno::eio : Errno::einval);
}

void Worker::serve_init(const View& view) {
  if (session_.initialised_) return refuse({}, wire::CheckError::unexpected_reply);
  auto in = view.get<wire::InitIn>();
  auto answer = negotiate(in, fs_.wanted_capabilities(), session_.options_, session_.transport_.max_message());
  if (in.major < wire::major_version) {
    answer_error(Errno::eproto);
    return;
  }
  if (answer.agreed) {
    session_.negotiated_ = answer.negotiated;
    session_.dialect_ = answer.dialect;
    session_.payload_limit_ = answer.payload_limit;
    fs_.started(answer.negotiated);
  }
  bool taken = answer_bytes(wire::bytes_of_struct(answer.out).first(answer.size));
  session_.initialised_ = taken && answer.agreed;
}

std::span<std::byte> Worker::payload(size_t bytes) {
  size_t limit = std::max<size_t>(session_.payload_limit_, xattr_room);
  if (bytes > limit) return {};
  if (payload_bytes_ < bytes) {
    payload_.reset(new std::byte[limit]);
    payload_bytes_ = limit;
  }
  return {payload_.get(), bytes};
}

bool Worker::answer_parts(wire::Bytes first, wire::Bytes second) {
  wire::OutHeader header{static_cast<uint32_t>(sizeof header + first.size() + second.size()), 0,
                         static_cast<uint64_t>(context_.unique)};
  iovec parts[] = {{&header, sizeof header},
                   {const_cast<std::byte*>(first.data()), first.size()},
                   {const_cast<std::byte*>(second.data()), second.size()}};
  auto sent = session_.transport_.write_reply(std::span(parts, second.empty() ? 2 : 3));
  if (sent) return true;
  ++session_.counters_.undelivered;
  // The caller would wait for ever for an answer that is too long for the transport, or that the kernel's half refused.
  if (sent.error() != Errno::enoent && !(first.empty() && second.empty())) answer_error(Errno::eio);
  return false;
}

bool Worker::answer_bytes(wire::Bytes bytes) { return answer_parts(bytes, {}); }

bool Worker::answer_error(Errno why) {
  int number = static_cast<int>(why);
  // The kernel's half takes errors in (0, 512) only.
  wire::OutHeader header =
      wire::error_reply(static_cast<uint64_t>(context_.unique), number > 0 && number < 512 ? number : EIO);
  iovec part{&header, sizeof header};
  if (session_.transport_.write_reply(std::span(&part, 1))) return true;
  ++session_.counters_.undelivered;
  return false;
}

template <typename T>
bool Worker::answer_struct(const T& value) {
  size_t size = info_->reply_size(session_.dialect_);
  return answer_bytes(wire::bytes_of_struct(value).first(std::min(size, sizeof(T))));
}

template <typename T, typename Convert>
bool Worker::answer(const Result<T>& result, Convert convert) {
  return result ? answer_struct(convert(*result)) : answer_error(result.error());
}

bool Worker::answer(const Result<void>& result) { return result ? answer_bytes({}) : answer_error(result.error()); }

bool Worker::answer(const Result<AttributesFor>& result) {
  return answer(result, [](const AttributesFor& attributes) { return to_wire(attributes); });
}

// A node that was not delivered will never be forgotten by the kernel's half.
void Worker::answer(const Result<Entry>& result) {
  bool taken = answer(result, [](const Entry& entry) { return to_wire(entry); });
  if (result && !taken && result->node != NodeId::none) fs_.forget(result->node, 1);
}

// The value stands in the payload buffer.
void Worker::answer_sized(const Result<size_t>& result, size_t asked) {
  if (!result) {
    answer_error(result.error());
  } else if (asked == 0) {
    wire::GetxattrOut out{static_cast<uint32_t>(*result), 0};
    answer_bytes(wire::bytes_of_struct(out));
  } else if (*result > asked) {
    answer_error(Errno::erange);
  } else {
    answer_bytes({payload_.get(), *result});
  }
}

void Worker::dispatch(const View& view) {
  switch (view.info->opcode) {
    case Opcode::lookup:
      return answer(fs_.lookup(context_, node_, view.names[0]));
    case Opcode::forget:
      return fs_.forget(node_, view.get<wire::ForgetIn>().nlookup);
    case Opcode::batch_forget:
      return forget_batch(view);
    case Opcode::getattr: {
      auto in = view.get<wire::GetattrIn>();
      std::optional<FileHandle> handle;
      if (in.getattr_flags & wire::getattr_fh) handle = FileHandle{in.fh};
      answer(fs_.get_attributes(context_, node_, handle));
      return;
    }
    case Opcode::setattr:
      answer(fs_.set_attributes(context_, node_, from_wire(view.get<wire::SetattrIn>())));
      return;
    case Opcode::readlink:
      return readlink();
    case Opcode::read:
      return read(view);
    case Opcode::readdir:
      return readdir(view);
    case Opcode::readdirplus:
      return readdirplus(view);
    // Handlers run to their end: an answer of ENOSYS tells the kernel's half to interrupt no more.
    case Opcode::interrupt:
      answer_error(Errno::enosys);
      return;
    case Opcode::notify_reply:
      return;
    default:
      return dispatch_change(view);
  }
}

void Worker::dispatch_change(const View& view) {
  const auto& names = view.names;
  switch (view.info->opcode) {
    case Opcode::symlink:
      return answer(fs_.symlink(context_, node_, names[0], names[1]));
    case Opcode::mknod: {
      auto in = view.get<wire::MknodIn>();
      context_.umask = in.umask;
      return answer(fs_.mknod(context_, node_, names[0], in.mode, in.rdev));
    }
    case Opcode::mkdir: {
      auto in = view.get<wire::MkdirIn>();
      context_.umask = in.umask;
      return answer(fs_.mkdir(context_, node_, names[0], in.mode));
    }
    case Opcode::unlink:
      answer(fs_.unlink(context_, node_, names[0]));
      return;
    case Opcode::rmdir:
      answer(fs_.rmdir(context_, node_, names[0]));
      return;
    case Opcode::rename: {
      NodeId to{view.get<wire::RenameIn>().newdir};
      answer(fs_.rename(context_, node_, names[0], to, names[1], 0));
      return;
    }
    case Opcode::rename2: {
      auto in = view.get<wire::Rename2In>();
      answer(fs_.rename(context_, node_, names[0], NodeId{in.newdir}, names[1], in.flags));
      return;
    }
    case Opcode::link:
      return answer(fs_.link(context_, NodeId{view.get<wire::LinkIn>().oldnodeid}, node_, names[0]));
    case Opcode::create: {
      auto in = view.get<wire::CreateIn>();
      context_.umask = in.umask;
      return create(fs_.create(context_, node_, names[0], in.mode, in.flags), in.flags);
    }
    case Opcode::tmpfile: {
      auto in = view.get<wire::CreateIn>();
      context_.umask = in.umask;
      return create(fs_.tmpfile(context_, node_, in.mode, in.flags), in.flags);
    }
    case Opcode::setxattr:
      return setxattr(view);
    case Opcode::getxattr:
    case Opcode::listxattr:
      return getxattr(view);
    case Opcode::removexattr:
      answer(fs_.removexattr(context_, node_, names[0]));
      return;
    default:
      return dispatch_file(view);
  }
}

void Worker::dispatch_file(const View& view) {
  switch (view.info->opcode) {
    case Opcode::open: {
      auto in = view.get<wire::OpenIn>();
      bool kill = (in.open_flags & wire::open_kill_suidgid) != 0;
      return open(fs_.open(context_, node_, in.flags, kill), in.flags, false);
    }
    case Opcode::opendir: {
      auto in = view.get<wire::OpenIn>();
      return open(fs_.opendir(context_, node_, in.flags), in.flags, true);
    }
    case Opcode::write: {
      auto in = view.get<wire::WriteIn>();
      WriteFlags flags{(in.write_flags & wire::write_cache) != 0, (in.write_flags & wire::write_kill_suidgid) != 0,
                       in.flags};
      auto written = fs_.write(context_, node_, FileHandle{in.fh}, in.offset, view.data, flags);
      answer(written, [](size_t bytes) { return wire::WriteOut{static_cast<uint32_t>(bytes), 0}; });
      return;
    }
    case Opcode::flush:
      answer(fs_.flush(context_, node_, FileHandle{view.get<wire::FlushIn>().fh}));
      return;
    case Opcode::release: {
      auto in = view.get<wire::ReleaseIn>();
      answer(fs_.release(context_, node_, FileHandle{in.fh}, in.flags));
      return;
    }
    case Opcode::releasedir:
      answer(fs_.releasedir(context_, node_, FileHandle{view.get<wire::ReleaseIn>().fh}));
      return;
    case Opcode::fsync: {
      auto in = view.get<wire::FsyncIn>();
      answer(fs_.fsync(context_, node_, FileHandle{in.fh}, (in.fsync_flags & wire::fsync_fdatasync) != 0));
      return;
    }
    case Opcode::fsyncdir: {
      auto in = view.get<wire::FsyncIn>();
      answer(fs_.fsyncdir(context_, node_, FileHandle{in.fh}, (in.fsync_flags & wire::fsync_fdatasync) != 0));
      return;
    }
    case Opcode::fallocate: {
      auto in = view.get<wire::FallocateIn>();
      answer(fs_.fallocate(context_, node_, FileHandle{in.fh}, in.offset, in.length, in.mode));
      return;
    }
    case Opcode::lseek: {
      auto in = view.get<wire::LseekIn>();
      answer(fs_.lseek(context_, node_, FileHandle{in.fh}, in.offset, in.whence),
             [](uint64_t offset) { return wire::LseekOut{offset}; });
      return;
    }
    case Opcode::copy_file_range:
    case Opcode::copy_file_range_64:
      return copy_file_range(view);
    default:
      return dispatch_rest(view);
  }
}

void Worker::dispatch_rest(const View& view) {
  switch (view.info->opcode) {
    case Opcode::statfs:
      answer(fs_.statfs(context_, node_), [](const FileSystemStatus& status) { return to_wire(status); });
      return;
    case Opcode::syncfs:
      answer(fs_.syncfs(context_));
      return;
    case Opcode::access:
      answer(fs_.access(context_, node_, view.get<wire::AccessIn>().mask));
      return;
    case Opcode::getlk: {
      auto in = view.get<wire::LkIn>();
      answer(fs_.get_lock(context_, node_, FileHandle{in.fh}, in.owner, from_wire(in.lk)),
             [](const FileLock& lock) { return wire::LkOut{to_wire(lock)}; });
      return;
    }
    case Opcode::setlk:
    case Opcode::setlkw: {
      auto in = view.get<wire::LkIn>();
      answer(fs_.set_lock(context_, node_, FileHandle{in.fh}, in.owner, from_wire(in.lk),
                          (in.lk_flags & wire::lk_flock) != 0, view.info->opcode == Opcode::setlkw));
      return;
    }
    case Opcode::bmap: {
      auto in = view.get<wire::BmapIn>();
      answer(fs_.bmap(context_, node_, in.block, in.blocksize), [](uint64_t block) { return wire::BmapOut{block}; });
      return;
    }
    case Opcode::ioctl:
      return ioctl(view);
    case Opcode::poll: {
      auto in = view.get<wire::PollIn>();
      answer(fs_.poll(context_, node_, FileHandle{in.fh}, in.events), [](uint32_t events) {
        return wire::PollOut{events, 0};
      });
      return;
    }
    case Opcode::destroy:
      answer(Result<void>{});
      return;
    default:
      answer_error(Errno::enosys);
      return;
  }
}

void Worker::forget_batch(const View& view) {
  for (size_t at = 0; at < view.data.size(); at += sizeof(wire::ForgetOne)) {
    auto one = wire::load<wire::ForgetOne>(view.data, at);
    fs_.forget(NodeId{one.nodeid}, one.nlookup);
  }
}

void Worker::read(const View& view) {
  auto in = view.get<wire::ReadIn>();
  auto buffer = payload(in.size);
  if (buffer.size() != in.size) {
    answer_error(Errno::einval);
    return;
  }
  auto bytes = fs_.read(context_, node_, FileHandle{in.fh}, in.offset, buffer);
  if (bytes) {
    answer_bytes(buffer.first(*bytes));
  } else {
    answer_error(bytes.error());
  }
}

void Worker::readdir(const View& view) {
  auto in = view.get<wire::ReadIn>();
  auto buffer = payload(in.size);
  if (buffer.size() != in.size) {
    answer_error(Errno::einval);
    return;
  }
  DirectoryWriter writer(buffer);
  auto done = fs_.readdir(context_, node_, FileHandle{in.fh}, in.offset, writer);
  if (done && writer.bad_name()) done = error(Errno::eio);
  if (done) {
    answer_bytes(buffer.first(writer.size()));
  } else {
    answer_error(done.error());
  }
}

void Worker::readdirplus(const View& view) {
  auto in = view.get<wire::ReadIn>();
  auto buffer = payload(in.size);
  if (buffer.size() != in.size) {
    answer_error(Errno::einval);
    return;
  }
  DirectoryPlusWriter writer(buffer);
  auto done = fs_.readdirplus(context_, node_, FileHandle{in.fh}, in.offset, writer);
  bool taken = false;
  if (!done) {
    answer_error(done.error());
  } else if (writer.bad_name()) {
    answer_error(Errno::eio);
  } else {
    taken = answer_bytes(buffer.first(writer.size()));
  }
  if (taken) return;
  // Lookups that were counted, but never arrived.
  wire::DirentplusReader records(buffer.first(writer.size()));
  wire::Direntplus record;
  std::string_view name;
  while (records.next(record, name) == wire::WalkStep::record) {
    if (record.entry.nodeid != 0) fs_.forget(NodeId{record.entry.nodeid}, 1);
  }
}

void Worker::readlink() {
  auto buffer = payload(symlink_room);
  auto length = fs_.readlink(context_, node_, {reinterpret_cast<char*>(buffer.data()), buffer.size()});
  if (length) {
    answer_bytes(buffer.first(*length));
  } else {
    answer_error(length.error());
  }
}

void Worker::getxattr(const View& view) {
  auto in = view.get<wire::GetxattrIn>();
  auto buffer = payload(std::min<size_t>(in.size, xattr_room));
  auto result = view.info->opcode == Opcode::getxattr ? fs_.getxattr(context_, node_, view.names[0], buffer)
                                                      : fs_.listxattr(context_, node_, buffer);
  answer_sized(result, in.size);
}

void Worker::setxattr(const View& view) {
  auto in = view.get<wire::SetxattrIn>();
  answer(fs_.setxattr(context_, node_, view.names[0], view.data, in.flags));
}

void Worker::ioctl(const View& view) {
  auto in = view.get<wire::IoctlIn>();
  auto buffer = payload(in.out_size);
  if (buffer.size() != in.out_size) {
    answer_error(Errno::einval);
    return;
  }
  auto done = fs_.ioctl(context_, node_, FileHandle{in.fh}, in.cmd, in.arg, view.data, buffer);
  if (!done) {
    answer_error(done.error());
    return;
  }
  wire::IoctlOut out{done->result, 0, 0, 0};
  answer_parts(wire::bytes_of_struct(out), buffer.first(done->bytes));
}

void Worker::copy_file_range(const View& view) {
  auto in = view.get<wire::CopyFileRangeIn>();
  bool wide = view.info->opcode == Opcode::copy_file_range_64;
  // The old reply counts in 32 bits.
  uint64_t length = wide ? in.len : std::min<uint64_t>(in.len, UINT32_MAX);
  auto copied = fs_.copy_file_range(context_, node_, FileHandle{in.fh_in}, in.off_in, NodeId{in.nodeid_out},
                                    FileHandle{in.fh_out}, in.off_out, length, in.flags);
  if (wide) {
    answer(copied, [](uint64_t bytes) { return wire::CopyFileRangeOut{bytes}; });
  } else {
    answer(copied, [](uint64_t bytes) { return wire::WriteOut{static_cast<uint32_t>(bytes), 0}; });
  }
}

// An open file whose answer did not arrive (its caller was killed) is released here: nobody else will.
void Worker::open(Result<Opened> opened, uint32_t flags, bool directory) {
  bool taken = answer(opened, [](const Opened& out) { return to_wire(out); });
  if (!opened || taken) return;
  auto released =
      directory ? fs_.releasedir(context_, node_, opened->handle) : fs_.release(context_, node_, opened->handle, flags);
  static_cast<void>(released);
}

void Worker::create(Result<Created> created, uint32_t flags) {
  if (!created) {
    answer_error(created.error());
    return;
  }
  auto entry = to_wire(created->entry);
  auto opened = to_wire(created->opened);
  size_t entry_size = session_.dialect_.minor < 9 ? wire::compat_entry_out_size : sizeof entry;
  if (answer_parts(wire::bytes_of_struct(entry).first(entry_size), wire::bytes_of_struct(opened))) return;
  static_cast<void>(fs_.release(context_, created->entry.node, created->opened.handle, flags));
  fs_.forget(created->entry.node, 1);
}

}  // namespace fusewire::daemon
