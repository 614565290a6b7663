#include "wire/print.h"

#include "wire/text_writer.h"

namespace fusewire::wire {

namespace {

constexpr uint64_t both_flags(uint32_t flags, uint32_t flags2) { return flags | uint64_t{flags2} << 32; }

void print_lock(TextWriter& out, const FileLock& lock) {
  out.field("type", lock.type).field("start", lock.start).field("end", lock.end).field("lock_pid", lock.pid);
}

void print_setattr(TextWriter& out, const SetattrIn& in) {
  out.field_hex("valid", in.valid);
  if (in.valid & fattr::mode) out.field_octal("mode", in.mode);
  if (in.valid & fattr::uid) out.field("uid", in.uid);
  if (in.valid & fattr::gid) out.field("gid", in.gid);
  if (in.valid & fattr::size) out.field("size", in.size);
  if (in.valid & fattr::atime) out.field_time("atime", in.atime, in.atimensec);
  if (in.valid & fattr::mtime) out.field_time("mtime", in.mtime, in.mtimensec);
  if (in.valid & fattr::ctime) out.field_time("ctime", in.ctime, in.ctimensec);
  if (in.valid & fattr::fh) out.field("fh", in.fh);
}

// The structs of calls on an open file.
bool print_file_request(TextWriter& out, const RequestView& view) {
  switch (view.info->opcode) {
    case Opcode::open:
    case Opcode::opendir:
      out.field_octal("flags", view.get<OpenIn>().flags);
      return true;
    case Opcode::read:
    case Opcode::readdir:
    case Opcode::readdirplus: {
      const auto in = view.get<ReadIn>();
      out.field("fh", in.fh).field("offset", in.offset).field("size", in.size);
      return true;
    }
    case Opcode::write: {
      const auto in = view.get<WriteIn>();
      out.field("fh", in.fh).field("offset", in.offset).field("size", in.size).field_hex("write_flags", in.write_flags);
      return true;
    }
    case Opcode::release:
    case Opcode::releasedir: {
      const auto in = view.get<ReleaseIn>();
      out.field("fh", in.fh).field_octal("flags", in.flags).field_hex("release_flags", in.release_flags);
      return true;
    }
    case Opcode::flush:
      out.field("fh", view.get<FlushIn>().fh);
      return true;
    case Opcode::fsync:
    case Opcode::fsyncdir: {
      const auto in = view.get<FsyncIn>();
      out.field("fh", in.fh).field("datasync", in.fsync_flags & fsync_fdatasync);
      return true;
    }
    case Opcode::getlk:
    case Opcode::setlk:
    case Opcode::setlkw: {
      const auto in = view.get<LkIn>();
      out.field("fh", in.fh).field_hex("owner", in.owner).field("flock", in.lk_flags & lk_flock);
      print_lock(out, in.lk);
      return true;
    }
    case Opcode::ioctl: {
      const auto in = view.get<IoctlIn>();
      out.field("fh", in.fh).field_hex("cmd", in.cmd).field_hex("arg", in.arg).field_hex("flags", in.flags);
      out.field("in_size", in.in_size).field("out_size", in.out_size);
      return true;
    }
    case Opcode::poll: {
      const auto in = view.get<PollIn>();
      out.field("fh", in.fh).field("kh", in.kh).field_hex("flags", in.flags).field_hex("events", in.events);
      return true;
    }
    case Opcode::fallocate: {
      const auto in = view.get<FallocateIn>();
      out.field("fh", in.fh).field("offset", in.offset).field("length", in.length).field_hex("mode", in.mode);
      return true;
    }
    case Opcode::lseek: {
      const auto in = view.get<LseekIn>();
      out.field("fh", in.fh).field_signed("offset", static_cast<int64_t>(in.offset)).field("whence", in.whence);
      return true;
    }
    case Opcode::copy_file_range:
    case Opcode::copy_file_range_64: {
      const auto in = view.get<CopyFileRangeIn>();
      out.field("fh_in", in.fh_in).field("off_in", in.off_in).field("nodeid_out", in.nodeid_out);
      out.field("fh_out", in.fh_out).field("off_out", in.off_out).field("size", in.len);
      return true;
    }
    case Opcode::setupmapping: {
      const auto in = view.get<SetupmappingIn>();
      out.field("fh", in.fh).field("foffset", in.foffset).field("size", in.len).field("moffset", in.moffset);
      return true;
    }
    default:
      return false;
  }
}

// The structs of calls on a node, and of the connection.
void print_node_request(TextWriter& out, const RequestView& view) {
  switch (view.info->opcode) {
    case Opcode::forget:
      out.field("nlookup", view.get<ForgetIn>().nlookup);
      return;
    case Opcode::batch_forget:
      out.field("count", view.get<BatchForgetIn>().count);
      return;
    case Opcode::getattr: {
      const auto in = view.get<GetattrIn>();
      if (in.getattr_flags & getattr_fh) out.field("fh", in.fh);
      return;
    }
    case Opcode::setattr:
      print_setattr(out, view.get<SetattrIn>());
      return;
    case Opcode::statx:
      out.field_hex("mask", view.get<StatxIn>().sx_mask);
      return;
    case Opcode::mknod: {
      const auto in = view.get<MknodIn>();
      out.field_octal("mode", in.mode).field_hex("rdev", in.rdev).field_octal("umask", in.umask);
      return;
    }
    case Opcode::mkdir: {
      const auto in = view.get<MkdirIn>();
      out.field_octal("mode", in.mode).field_octal("umask", in.umask);
      return;
    }
    case Opcode::create:
    case Opcode::tmpfile: {
      const auto in = view.get<CreateIn>();
      out.field_octal("flags", in.flags).field_octal("mode", in.mode).field_octal("umask", in.umask);
      return;
    }
    case Opcode::rename:
      out.field("newdir", view.get<RenameIn>().newdir);
      return;
    case Opcode::rename2: {
      const auto in = view.get<Rename2In>();
      out.field("newdir", in.newdir).field_hex("flags", in.flags);
      return;
    }
    case Opcode::link:
      out.field("oldnodeid", view.get<LinkIn>().oldnodeid);
      return;
    case Opcode::setxattr: {
      const auto in = view.get<SetxattrIn>();
      out.field("size", in.size).field_hex("flags", in.flags);
      return;
    }
    case Opcode::getxattr:
    case Opcode::listxattr:
      out.field("size", view.get<GetxattrIn>().size);
      return;
    case Opcode::access:
      out.field_octal("mask", view.get<AccessIn>().mask);
      return;
    case Opcode::init: {
      const auto in = view.get<InitIn>();
      out.field("major", in.major).field("minor", in.minor).field("max_readahead", in.max_readahead);
      out.field_hex("flags", both_flags(in.flags, in.flags2));
      return;
    }
    case Opcode::cuse_init: {
      const auto in = view.get<CuseInitIn>();
      out.field("major", in.major).field("minor", in.minor).field_hex("flags", in.flags);
      return;
    }
    case Opcode::interrupt:
      out.field("target", view.get<InterruptIn>().unique);
      return;
    case Opcode::bmap:
      out.field("block", view.get<BmapIn>().block);
      return;
    case Opcode::notify_reply: {
      const auto in = view.get<NotifyRetrieveIn>();
      out.field("offset", in.offset).field("size", in.size);
      return;
    }
    case Opcode::removemapping:
      out.field("count", view.get<RemovemappingIn>().count);
      return;
    default:
      return;
  }
}

void print_attr(TextWriter& out, const Attr& attr) {
  out.field("ino", attr.ino).field_octal("mode", attr.mode).field("nlink", attr.nlink).field("size", attr.size);
  out.field("uid", attr.uid).field("gid", attr.gid);
}

void print_entry(TextWriter& out, const EntryOut& entry) {
  out.field("nodeid", entry.nodeid).field("generation", entry.generation);
  out.field_time("entry_valid", entry.entry_valid, entry.entry_valid_nsec);
  if (entry.nodeid == 0) return;
  out.field_time("attr_valid", entry.attr_valid, entry.attr_valid_nsec);
  print_attr(out, entry.attr);
}

void print_open(TextWriter& out, const OpenOut& open) {
  out.field("fh", open.fh).field_hex("open_flags", open.open_flags);
}

void print_init(TextWriter& out, const InitOut& init) {
  out.field("major", init.major).field("minor", init.minor).field("max_readahead", init.max_readahead);
  const uint32_t flags2 = (init.flags & init_flag::init_ext) != 0 ? init.flags2 : 0;
  out.field_hex("flags", both_flags(init.flags, flags2)).field("max_write", init.max_write);
  out.field("max_background", init.max_background).field("congestion_threshold", init.congestion_threshold);
  out.field("time_gran", init.time_gran).field("max_pages", init.max_pages);
}

uint32_t count_records(Opcode opcode, Bytes records) {
  uint32_t count = 0;
  std::string_view name;
  if (opcode == Opcode::readdir) {
    DirentReader reader(records);
    for (Dirent record; reader.next(record, name) == WalkStep::record;) ++count;
  } else {
    DirentplusReader reader(records);
    for (Direntplus record; reader.next(record, name) == WalkStep::record;) ++count;
  }
  return count;
}

void print_reply_fields(TextWriter& out, Opcode opcode, const ReplyContext& context, const ReplyView& view) {
  switch (opcode) {
    case Opcode::lookup:
    case Opcode::mknod:
    case Opcode::mkdir:
    case Opcode::symlink:
    case Opcode::link:
      print_entry(out, view.get<EntryOut>());
      return;
    case Opcode::create:
    case Opcode::tmpfile: {
      const size_t entry_size = view.fixed.size() - sizeof(OpenOut);
      print_entry(out, load<EntryOut>(view.fixed.first(entry_size)));
      print_open(out, load<OpenOut>(view.fixed, entry_size));
      return;
    }
    case Opcode::getattr:
    case Opcode::setattr: {
      const auto reply = view.get<AttrOut>();
      out.field_time("attr_valid", reply.attr_valid, reply.attr_valid_nsec);
      print_attr(out, reply.attr);
      return;
    }
    case Opcode::statx: {
      const auto stat = view.get<StatxOut>().stat;
      out.field_hex("mask", stat.mask).field("ino", stat.ino).field_octal("mode", stat.mode).field("size", stat.size);
      return;
    }
    case Opcode::open:
    case Opcode::opendir:
      print_open(out, view.get<OpenOut>());
      return;
    case Opcode::write:
    case Opcode::copy_file_range:
      out.field("written", view.get<WriteOut>().size);
      return;
    case Opcode::copy_file_range_64:
      out.field("written", view.get<CopyFileRangeOut>().bytes_copied);
      return;
    case Opcode::statfs: {
      const auto st = view.get<StatfsOut>().st;
      out.field("blocks", st.blocks).field("bfree", st.bfree).field("bsize", st.bsize).field("files", st.files);
      return;
    }
    case Opcode::getxattr:
    case Opcode::listxattr:
      if (context.size_probe) out.field("size", view.get<GetxattrOut>().size);
      return;
    case Opcode::readlink:
      out.text(" ").quoted(text_of(view.data));
      return;
    case Opcode::readdir:
    case Opcode::readdirplus:
      out.field("entries", count_records(opcode, view.data));
      return;
    case Opcode::getlk:
      print_lock(out, view.get<LkOut>().lk);
      return;
    case Opcode::init:
      print_init(out, view.get<InitOut>());
      return;
    case Opcode::bmap:
      out.field("block", view.get<BmapOut>().block);
      return;
    case Opcode::ioctl:
      out.field_signed("result", view.get<IoctlOut>().result);
      return;
    case Opcode::poll:
      out.field_hex("revents", view.get<PollOut>().revents);
      return;
    case Opcode::lseek:
      out.field("offset", view.get<LseekOut>().offset);
      return;
    default:
      return;
  }
}

void print_bad(TextWriter& out, CheckError error, size_t bytes) {
  out.text(" bad message: ").text(check_error_name(error)).field("bytes", bytes);
}

}  // namespace

size_t print_request(Bytes message, const Dialect& dialect, std::span<char> text) {
  TextWriter out(text);
  const auto header = load<InHeader>(message);
  out.text(opcode_name(header.opcode));
  if (find_opcode(header.opcode) == nullptr) out.field("opcode", header.opcode);
  out.field("unique", header.unique).field("nodeid", header.nodeid).field("pid", header.pid);
  const auto view = check_request(message, dialect);
  if (!view) {
    print_bad(out, view.error(), message.size());
    return out.size();
  }
  if (!print_file_request(out, *view)) print_node_request(out, *view);
  for (uint32_t i = 0; i < view->info->name_count(); ++i) out.text(" ").quoted(view->names[i]);
  if (!view->extensions.empty()) out.field("extensions", view->extensions.size());
  return out.size();
}

size_t print_reply(Opcode opcode, const ReplyContext& context, Bytes message, std::span<char> text) {
  TextWriter out(text);
  const auto header = load<OutHeader>(message);
  out.text(opcode_name(opcode)).field("unique", header.unique).field_signed("error", header.error);
  const auto view = check_reply(opcode, context, message);
  if (!view) {
    print_bad(out, view.error(), message.size());
    return out.size();
  }
  if (header.error != 0) return out.size();
  print_reply_fields(out, opcode, context, *view);
  if (!view->data.empty()) out.field("data", view->data.size());
  return out.size();
}

size_t print_notify(Bytes message, std::span<char> text) {
  TextWriter out(text);
  const auto view = check_notify(message);
  if (!view) {
    out.text("NOTIFY").field_signed("code", load<OutHeader>(message).error);
    print_bad(out, view.error(), message.size());
    return out.size();
  }
  out.text(view->info->name);
  switch (view->info->code) {
    case NotifyCode::poll:
      out.field("kh", view->get<NotifyPollWakeupOut>().kh);
      break;
    case NotifyCode::inval_inode: {
      const auto in = view->get<NotifyInvalInodeOut>();
      out.field("nodeid", in.ino).field_signed("offset", in.off).field_signed("size", in.len);
      break;
    }
    case NotifyCode::inval_entry: {
      const auto in = view->get<NotifyInvalEntryOut>();
      out.field("parent", in.parent).field_hex("flags", in.flags);
      break;
    }
    case NotifyCode::store: {
      const auto in = view->get<NotifyStoreOut>();
      out.field("nodeid", in.nodeid).field("offset", in.offset).field("size", in.size);
      break;
    }
    case NotifyCode::retrieve: {
      const auto in = view->get<NotifyRetrieveOut>();
      out.field("notify_unique", in.notify_unique).field("nodeid", in.nodeid).field("offset", in.offset);
      out.field("size", in.size);
      break;
    }
    case NotifyCode::delete_entry: {
      const auto in = view->get<NotifyDeleteOut>();
      out.field("parent", in.parent).field("child", in.child);
      break;
    }
    case NotifyCode::prune:
      out.field("count", view->get<NotifyPruneOut>().count);
      break;
    case NotifyCode::resend:
    case NotifyCode::inc_epoch:
      break;
  }
  if (view->info->has_name) out.text(" ").quoted(view->name);
  return out.size();
}

}  // namespace fusewire::wire
