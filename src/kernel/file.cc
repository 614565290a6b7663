#include "kernel/file.h"

#include "kernel/attributes.h"
#include "kernel/directory.h"
#include "kernel/locks.h"
#include "kernel/lookup.h"
#include "kernel/module.h"

namespace fusewire::kernel {

static_assert(sizeof(File) <= file_object_size);

namespace {

constexpr uint32_t creation_flags = abi::o_creat | abi::o_excl | abi::o_noctty | abi::o_trunc;

bool sends_flush(const File& file) {
  return file.inode->is_reg() && !file.is_path() && !file.has_flag(wire::fopen_flag::noflush);
}

wire::FlushIn flush_message(const File& file, uint64_t lock_owner) {
  wire::FlushIn in{};
  in.fh = file.fh;
  in.lock_owner = file.sb.scrambled_owner(lock_owner);
  return in;
}

uint32_t kill_suidgid(Superblock& sb, const Caller& caller, uint32_t flags) {
  const bool kills =
      sb.has(wire::init_flag::handle_killpriv_v2) && (flags & abi::o_trunc) && !caller.may(Capability::fsetid);
  return kills ? wire::open_kill_suidgid : 0;
}

// fuse_truncate_update_attr: OPEN has truncated.
void truncated_by_open(Inode& inode) {
  inode.attr_version = inode.sb.connection.next_attr_version();
  inode.attr.size = 0;
  invalidate_attributes(inode, abi::statx_modsize);
}

void opened(File& file, const wire::OpenOut& out) {
  file.fh = out.fh;
  file.open_flags = out.open_flags;
  if (file.inode->is_dir()) file.open_flags &= ~wire::fopen_flag::direct_io;
  file.has_handle = true;
}

}  // namespace

File::File(Dentry& d, uint32_t f, const Caller& caller)
    : sb(d.sb()), dentry(d), inode(*d.inode), flags(f), opener(caller) {
  opener.groups = {};
  opener.lower = nullptr;
  opener.waiting = nullptr;
  opener.local_wait = nullptr;
}

File* make_file(Dentry& dentry, uint32_t flags, const Caller& caller) {
  return dentry.sb().connection.module().files().make<File>(dentry, flags, caller);
}

Result<void> File::take_access() {
  if (!inode->is_reg()) return {};
  if (!writable()) {
    if (!readable()) return {};
    ++inode->readers;
    holds_ = Holds::reading;
    return {};
  }
  if (!inode->take_writing()) return error(Errno::etxtbsy);
  holds_ = Holds::writing;
  return {};
}

Result<void> File::deny_writing() {
  flushed = true;
  if (!inode->deny_writing()) return error(Errno::etxtbsy);
  give_back_count();
  holds_ = Holds::denial;
  return {};
}

void File::give_back_count() {
  if (holds_ == Holds::reading) --inode->readers;
  if (holds_ == Holds::writing) --inode->writers;
  if (holds_ == Holds::denial) ++inode->writers;
  holds_ = Holds::nothing;
}

void File::unuse() {
  if (--uses_ == 0) end();
}

// The last use is over. A file whose users were killed before they could close it is flushed first: its locks go.
void File::end() {
  ++sb.releasing;
  dentry = {};
  give_back_count();
  drop_file_locks(*this);
  if (!has_handle) return forget();
  ending_ = Ending::flushing;
  const bool flush_due = !flushed && sends_flush(*this) && !sb.connection.learned_enosys().flush;
  if (!flush_due) return send_release();
  const wire::FlushIn in = flush_message(*this, opener.lock_owner);
  Args args;
  args.opcode = wire::Opcode::flush;
  args.nodeid = inode->nodeid;
  args.force = true;
  args.add_in(in);
  if (!sb.connection.send_background(args, this, &opener)) send_release();
}

void File::send_release() {
  ending_ = Ending::releasing;
  wire::ReleaseIn in{};
  in.fh = fh;
  in.flags = flags;
  if (flocked) {
    in.release_flags = wire::release_flock_unlock;
    in.lock_owner = sb.scrambled_owner(flock_owner(*this));
  }
  Args args;
  args.opcode = inode->is_dir() ? wire::Opcode::releasedir : wire::Opcode::release;
  args.nodeid = inode->nodeid;
  args.force = true;
  args.nocreds = true;
  args.add_in(in);
  if (!sb.connection.send_background(args, this)) forget();
}

void File::ended(Request&, Result<size_t> result) {
  if (ending_ == Ending::releasing) return forget();
  if (!result && result.error() == Errno::enosys) sb.connection.learned_enosys().flush = true;
  send_release();
}

void File::forget() {
  Superblock& superblock = sb;
  superblock.connection.module().files().drop(this);
  --superblock.releasing;
  superblock.became_idle();
}

Task<Result<void>> open_file(File& file, Caller& caller) {
  Superblock& sb = file.sb;
  Inode& inode = *file.inode;
  if (inode.bad) co_return error(Errno::eio);
  const bool directory = inode.is_dir();
  LearnedEnosys& learned = sb.connection.learned_enosys();
  bool& unknown = directory ? learned.opendir : learned.open;
  file.open_flags = wire::fopen_flag::keep_cache | (directory ? wire::fopen_flag::cache_dir : 0);
  const bool truncates = (file.flags & abi::o_trunc) && sb.has(wire::init_flag::atomic_o_trunc) && !directory;
  if (!unknown) {
    wire::OpenIn in{};
    in.flags = file.flags & ~(abi::o_creat | abi::o_excl | abi::o_noctty);
    if (!sb.has(wire::init_flag::atomic_o_trunc)) in.flags &= ~abi::o_trunc;
    in.open_flags = kill_suidgid(sb, caller, in.flags);
    wire::OpenOut out{};
    Args args;
    args.opcode = directory ? wire::Opcode::opendir : wire::Opcode::open;
    args.nodeid = inode.nodeid;
    args.add_in(in).add_out(out);
    auto sent = co_await sb.connection.send(args, caller);
    if (sent)
      opened(file, out);
    else if (sent.error() == Errno::enosys)
      unknown = true;
    else
      co_return error(sent.error());
  }
  // With open unknown to the daemon, nobody truncates: the caller sends SETATTR.
  if (truncates && file.has_handle) truncated_by_open(inode);
  co_return Result<void>();
}

namespace {

struct CreateReply {
  wire::EntryOut entry{};
  wire::OpenOut open{};
};

// CREATE and TMPFILE.
Task<Result<size_t>> send_create(Superblock& sb, Caller& caller, wire::Opcode opcode, uint64_t directory,
                                 std::string_view name, uint32_t flags, uint32_t mode, CreateReply& reply) {
  wire::CreateIn in{};
  in.flags = flags & ~abi::o_noctty;
  // What is made anew has nothing to cut off (fs/namei.c lookup_open).
  if (flags & abi::o_excl) in.flags &= ~abi::o_trunc;
  in.mode = masked(sb, caller, mode);
  in.umask = caller.umask;
  if (!(flags & abi::o_excl)) in.open_flags = kill_suidgid(sb, caller, flags);
  Args args;
  args.opcode = opcode;
  args.nodeid = directory;
  const auto bytes = std::as_bytes(std::span(&in, 1));
  args.add_in_bytes(bytes.first(sb.minor() < 12 ? sizeof(wire::OpenIn) : sizeof(in)));
  args.add_in_name(name);
  args.add_out_bytes(entry_reply(sb, reply.entry), false);
  args.add_out(reply.open);
  auto sent = co_await sb.connection.send(args, caller);
  co_return sent;
}

// The daemon has opened something that the half cannot use: it gets it back.
void give_back(Superblock& sb, const CreateReply& reply, uint32_t flags) {
  wire::ReleaseIn in{};
  in.fh = reply.open.fh;
  in.flags = flags & ~creation_flags;
  Args args;
  args.opcode = wire::Opcode::release;
  args.nodeid = reply.entry.nodeid;
  args.force = true;
  args.nocreds = true;
  args.add_in(in);
  // An error means that the connection has ended: then nothing is to be given back.
  (void)sb.connection.send_background(args, nullptr);
}

Result<File*> file_of_reply(Superblock& sb, Caller& caller, Dentry& dentry, const CreateReply& reply, uint32_t flags) {
  auto made = instantiate(sb, dentry, reply.entry, abi::s_ifreg);
  // A reply that cannot be is not answered (K063).
  if (!made && made.error() != Errno::eio) give_back(sb, reply, flags);
  if (!made) return error(made.error());
  File* file = make_file(**made, flags, caller);
  if (!file) {
    give_back(sb, reply, flags);
    return error(Errno::enomem);
  }
  file->created = true;
  if (const Result<void> writing = file->take_access(); !writing) {
    give_back(sb, reply, flags);
    file->unuse();
    return error(writing.error());
  }
  opened(*file, reply.open);
  return file;
}

}  // namespace

Task<Result<File*>> create_file(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t flags, uint32_t mode) {
  LearnedEnosys& learned = sb.connection.learned_enosys();
  if (learned.create) co_return error(Errno::enosys);
  Ref<Inode> directory(*dentry.parent->inode);
  CreateReply reply;
  auto sent = co_await send_create(sb, caller, wire::Opcode::create, directory->nodeid, dentry.name(), flags,
                                   abi::s_ifreg | mode, reply);
  if (!sent) {
    if (sent.error() == Errno::enosys) learned.create = true;
    if (sent.error() == Errno::eexist && dentry.hashed) sb.invalidate(dentry);
    co_return error(sent.error());
  }
  auto file = file_of_reply(sb, caller, dentry, reply, flags);
  if (file) directory_changed(*directory);
  co_return file;
}

Task<Result<File*>> make_tmpfile(Superblock& sb, Caller& caller, Dentry& directory, uint32_t flags, uint32_t mode) {
  LearnedEnosys& learned = sb.connection.learned_enosys();
  if (learned.tmpfile) co_return error(Errno::eopnotsupp);
  CreateReply reply;
  // What Linux sends as the name: d_tmpfile's dentry is called "/".
  auto sent = co_await send_create(sb, caller, wire::Opcode::tmpfile, directory.inode->nodeid, "/", flags,
                                   abi::s_ifreg | mode, reply);
  if (!sent) {
    if (sent.error() != Errno::enosys) co_return error(sent.error());
    learned.tmpfile = true;
    co_return error(Errno::eopnotsupp);
  }
  auto name = sb.make_dentry(directory, "#tmpfile");
  if (!name) {
    give_back(sb, reply, flags);
    sb.connection.queue_forget(reply.entry.nodeid, 1);
    co_return error(name.error());
  }
  auto file = file_of_reply(sb, caller, **name, reply, flags);
  if (!file) co_return file;
  sb.unhash(*(*file)->dentry);
  (*file)->inode->linkable = (flags & abi::o_excl) == 0;
  co_return file;
}

Task<Result<void>> flush_file(File& file, Caller& caller) {
  file.flushed = true;
  if (!file.inode->is_reg()) co_return Result<void>();
  if (file.inode->bad) co_return error(Errno::eio);
  if (!sends_flush(file)) co_return Result<void>();
  LearnedEnosys& learned = file.sb.connection.learned_enosys();
  if (learned.flush) co_return Result<void>();
  const wire::FlushIn in = flush_message(file, caller.lock_owner);
  Args args;
  args.opcode = wire::Opcode::flush;
  args.nodeid = file.inode->nodeid;
  args.force = true;
  args.add_in(in);
  auto sent = co_await file.sb.connection.send(args, caller);
  if (sent) co_return Result<void>();
  if (sent.error() != Errno::enosys) co_return error(sent.error());
  learned.flush = true;
  co_return Result<void>();
}

Task<Result<void>> sync_file(File& file, Caller& caller, bool datasync) {
  Inode& inode = *file.inode;
  if (inode.bad) co_return error(Errno::eio);
  if (!inode.is_reg() && !inode.is_dir()) co_return error(Errno::einval);
  LearnedEnosys& learned = file.sb.connection.learned_enosys();
  bool& unknown = inode.is_dir() ? learned.fsyncdir : learned.fsync;
  auto guard = co_await inode.lock.exclusive(file.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  if (unknown) co_return Result<void>();
  wire::FsyncIn in{};
  in.fh = file.fh;
  in.fsync_flags = datasync ? wire::fsync_fdatasync : 0;
  Args args;
  args.opcode = inode.is_dir() ? wire::Opcode::fsyncdir : wire::Opcode::fsync;
  args.nodeid = inode.nodeid;
  args.add_in(in);
  auto sent = co_await file.sb.connection.send(args, caller);
  if (sent) co_return Result<void>();
  if (sent.error() != Errno::enosys) co_return error(sent.error());
  unknown = true;
  co_return Result<void>();
}

}  // namespace fusewire::kernel
