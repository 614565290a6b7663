#include "wire/check.h"

namespace fusewire::wire {

namespace {

constexpr int32_t error_limit = -512;
constexpr uint32_t extension_unit = 8;

Checked<Bytes> split_extensions(const InHeader& header, const OpcodeInfo& info, Bytes body) {
  const size_t size = size_t{header.total_extlen} * extension_unit;
  if (size == 0) return Bytes{};
  if (!info.is(request_kind::extensions) || size > body.size()) return CheckError::bad_extensions;
  const Bytes block = body.last(size);
  for (Bytes rest = block; !rest.empty();) {
    if (rest.size() < sizeof(ExtHeader)) return CheckError::bad_extensions;
    const uint32_t record = load<ExtHeader>(rest).size;
    if (record < sizeof(ExtHeader) || record % extension_unit != 0 || record > rest.size()) {
      return CheckError::bad_extensions;
    }
    rest = rest.subspan(record);
  }
  return block;
}

CheckError check_name(NameKind kind, std::string_view name) {
  if (kind == NameKind::entry || kind == NameKind::xattr) {
    if (name.empty()) return CheckError::empty_name;
  }
  if (kind == NameKind::entry && index_of(name, '/') != std::string_view::npos) return CheckError::slash_in_name;
  return CheckError::none;
}

// Takes one NUL-terminated name off the front of rest.
CheckError take_name(NameKind kind, Bytes& rest, std::string_view& name) {
  const std::string_view text = text_of(rest);
  const size_t end = index_of(text, '\0');
  if (end == std::string_view::npos) return CheckError::name_not_terminated;
  name = text.substr(0, end);
  rest = rest.subspan(end + 1);
  return check_name(kind, name);
}

// How many bytes of data the request's own struct announces.
uint64_t announced_data(const RequestView& view) {
  switch (view.info->opcode) {
    case Opcode::write:
      return view.get<WriteIn>().size;
    case Opcode::setxattr:
      return view.get<SetxattrIn>().size;
    case Opcode::ioctl:
      return view.get<IoctlIn>().in_size;
    case Opcode::notify_reply:
      return view.get<NotifyRetrieveIn>().size;
    default:
      return 0;
  }
}

uint64_t expected_trailer(const RequestView& view) {
  switch (view.info->trailer) {
    case Trailer::counted_data:
      return announced_data(view);
    case Trailer::forget_ones:
      return uint64_t{view.get<BatchForgetIn>().count} * sizeof(ForgetOne);
    case Trailer::mapping_ones:
      return uint64_t{view.get<RemovemappingIn>().count} * sizeof(RemovemappingOne);
    default:
      return 0;
  }
}

CheckError check_trailer(const RequestView& view) {
  if (view.info->trailer == Trailer::rest) return CheckError::none;
  const uint64_t expected = expected_trailer(view);
  if (view.data.size() == expected) return CheckError::none;
  return view.info->trailer == Trailer::none ? CheckError::trailing_bytes : CheckError::data_mismatch;
}

uint32_t request_size(const OpcodeInfo& info, const Dialect& dialect, Bytes body) {
  if (info.opcode != Opcode::init) return info.request_size(dialect);
  return info.fixed.at(load<InitIn>(body).minor);
}

template <typename Reader, typename Record>
CheckError walk_records(Bytes records) {
  Reader reader(records);
  Record record{};
  std::string_view name;
  for (;;) {
    const WalkStep step = reader.next(record, name);
    if (step == WalkStep::end) return CheckError::none;
    if (step == WalkStep::bad_name) return CheckError::bad_directory_record;
  }
}

CheckError check_entry(Bytes fixed) {
  const auto entry = load<EntryOut>(fixed);
  if (entry.nodeid == 0 || attributes_are_sane(entry.attr)) return CheckError::none;
  return CheckError::bad_attributes;
}

CheckError check_name_list(Bytes list) {
  if (list.empty() || list.back() == std::byte{0}) return CheckError::none;
  return CheckError::bad_name_list;
}

CheckError check_content(Opcode opcode, const ReplyContext& context, const ReplyView& view) {
  switch (opcode) {
    case Opcode::lookup:
    case Opcode::mknod:
    case Opcode::mkdir:
    case Opcode::symlink:
    case Opcode::link:
    case Opcode::create:
    case Opcode::tmpfile:
      return check_entry(view.fixed);
    case Opcode::getattr:
    case Opcode::setattr:
      return attributes_are_sane(view.get<AttrOut>().attr) ? CheckError::none : CheckError::bad_attributes;
    case Opcode::readdir:
      return check_dirents(view.data);
    case Opcode::readdirplus:
      return check_direntpluses(view.data);
    case Opcode::listxattr:
      return context.size_probe ? CheckError::none : check_name_list(view.data);
    default:
      return CheckError::none;
  }
}

struct ReplyRoom {
  size_t fixed_least = 0, fixed_most = 0;
  uint64_t data_most = 0;
};

ReplyRoom reply_room(const OpcodeInfo& info, const ReplyContext& context) {
  const size_t size = info.reply_size(context.dialect);
  switch (info.reply) {
    case ReplyKind::never:
    case ReplyKind::optional_empty:
    case ReplyKind::empty:
      return {};
    case ReplyKind::fixed:
      return {size, size, 0};
    case ReplyKind::up_to:
      return {0, size, 0};
    case ReplyKind::variable:
      return {0, 0, context.room};
    case ReplyKind::sized:
      if (context.size_probe) return {size, size, 0};
      return {0, 0, context.room};
    case ReplyKind::fixed_and_data:
      return {size, size, context.room};
  }
  return {};
}

CheckError check_notify_data(NotifyView& view, Bytes rest) {
  if (view.info->has_name) {
    const uint32_t length = view.info->code == NotifyCode::inval_entry ? view.get<NotifyInvalEntryOut>().namelen
                                                                       : view.get<NotifyDeleteOut>().namelen;
    if (length > name_max) return CheckError::name_too_long;
    if (rest.size() != size_t{length} + 1) return CheckError::data_mismatch;
    view.name = text_of(rest.first(length));
    return CheckError::none;
  }
  view.data = rest;
  switch (view.info->trailer) {
    case Trailer::counted_data:
      return rest.size() == view.get<NotifyStoreOut>().size ? CheckError::none : CheckError::data_mismatch;
    case Trailer::nodeids:
      return rest.size() == uint64_t{view.get<NotifyPruneOut>().count} * sizeof(uint64_t) ? CheckError::none
                                                                                          : CheckError::data_mismatch;
    case Trailer::rest:
      return CheckError::none;
    default:
      return rest.empty() ? CheckError::none : CheckError::trailing_bytes;
  }
}

}  // namespace

std::string_view check_error_name(CheckError error) {
  switch (error) {
    case CheckError::none:
      return "none";
    case CheckError::short_header:
      return "short_header";
    case CheckError::length_mismatch:
      return "length_mismatch";
    case CheckError::unknown_opcode:
      return "unknown_opcode";
    case CheckError::unknown_notify:
      return "unknown_notify";
    case CheckError::short_fixed:
      return "short_fixed";
    case CheckError::name_not_terminated:
      return "name_not_terminated";
    case CheckError::empty_name:
      return "empty_name";
    case CheckError::slash_in_name:
      return "slash_in_name";
    case CheckError::name_too_long:
      return "name_too_long";
    case CheckError::data_mismatch:
      return "data_mismatch";
    case CheckError::trailing_bytes:
      return "trailing_bytes";
    case CheckError::bad_extensions:
      return "bad_extensions";
    case CheckError::error_range:
      return "error_range";
    case CheckError::error_with_payload:
      return "error_with_payload";
    case CheckError::unexpected_reply:
      return "unexpected_reply";
    case CheckError::reply_too_short:
      return "reply_too_short";
    case CheckError::reply_too_long:
      return "reply_too_long";
    case CheckError::bad_directory_record:
      return "bad_directory_record";
    case CheckError::bad_name_list:
      return "bad_name_list";
    case CheckError::bad_attributes:
      return "bad_attributes";
  }
  return "?";
}

int32_t check_error_errno(CheckError error) {
  constexpr int32_t einval = 22, enametoolong = 36;
  switch (error) {
    case CheckError::none:
    // The program gets EIO for these; the daemon's write succeeds.
    case CheckError::bad_directory_record:
    case CheckError::bad_name_list:
    case CheckError::bad_attributes:
      return 0;
    case CheckError::name_too_long:
      return enametoolong;
    default:
      return einval;
  }
}

bool attributes_are_sane(const Attr& attr) {
  constexpr uint32_t type_mask = 0170000;
  // S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFLNK, S_IFSOCK
  constexpr uint32_t types = 1u << 1 | 1u << 2 | 1u << 4 | 1u << 6 | 1u << 8 | 1u << 10 | 1u << 12;
  const bool type_valid = (types >> ((attr.mode & type_mask) >> 12) & 1) != 0;
  return type_valid && attr.size <= uint64_t{INT64_MAX};
}

CheckError check_dirents(Bytes records) { return walk_records<DirentReader, Dirent>(records); }
CheckError check_direntpluses(Bytes records) { return walk_records<DirentplusReader, Direntplus>(records); }

Checked<InHeader> check_request_header(Bytes message) {
  if (message.size() < sizeof(InHeader)) return CheckError::short_header;
  const auto header = load<InHeader>(message);
  if (header.len != message.size()) return CheckError::length_mismatch;
  return header;
}

Checked<RequestView> check_request(Bytes message, const Dialect& dialect) {
  const auto header = check_request_header(message);
  if (!header) return header.error();
  RequestView view;
  view.header = *header;
  view.info = find_opcode(header->opcode);
  if (view.info == nullptr) return CheckError::unknown_opcode;

  Bytes body = message.subspan(sizeof(InHeader));
  const uint32_t size = request_size(*view.info, dialect, body);
  if (body.size() < size) return CheckError::short_fixed;
  view.fixed = body.first(size);
  Bytes rest = body.subspan(size);

  const auto extensions = split_extensions(view.header, *view.info, rest);
  if (!extensions) return extensions.error();
  view.extensions = *extensions;
  rest = rest.first(rest.size() - view.extensions.size());

  for (uint32_t i = 0; i < view.info->name_count(); ++i) {
    const CheckError error = take_name(view.info->names[i], rest, view.names[i]);
    if (error != CheckError::none) return error;
  }
  view.data = rest;
  const CheckError error = check_trailer(view);
  if (error != CheckError::none) return error;
  return view;
}

Checked<ReplyView> check_reply(Opcode opcode, const ReplyContext& context, Bytes message) {
  const OpcodeInfo* info = find_opcode(opcode);
  if (info == nullptr) return CheckError::unknown_opcode;
  if (message.size() < sizeof(OutHeader)) return CheckError::short_header;
  ReplyView view;
  view.header = load<OutHeader>(message);
  if (view.header.len != message.size()) return CheckError::length_mismatch;
  if (view.header.unique == 0 || !info->has_reply()) return CheckError::unexpected_reply;
  if (view.header.error > 0 || view.header.error <= error_limit) return CheckError::error_range;

  const Bytes body = message.subspan(sizeof(OutHeader));
  if (view.header.error != 0) {
    if (!body.empty()) return CheckError::error_with_payload;
    return view;
  }
  const ReplyRoom room = reply_room(*info, context);
  if (body.size() < room.fixed_least) return CheckError::reply_too_short;
  if (body.size() > room.fixed_most + room.data_most) return CheckError::reply_too_long;
  const size_t fixed = body.size() < room.fixed_most ? body.size() : room.fixed_most;
  view.fixed = body.first(fixed);
  view.data = body.subspan(fixed);
  const CheckError error = check_content(opcode, context, view);
  if (error != CheckError::none) return error;
  return view;
}

Checked<NotifyView> check_notify(Bytes message) {
  if (message.size() < sizeof(OutHeader)) return CheckError::short_header;
  const auto header = load<OutHeader>(message);
  if (header.len != message.size()) return CheckError::length_mismatch;
  if (header.unique != 0) return CheckError::unexpected_reply;
  NotifyView view;
  view.info = find_notify(header.error);
  if (view.info == nullptr) return CheckError::unknown_notify;
  const Bytes body = message.subspan(sizeof(OutHeader));
  if (body.size() < view.info->fixed) return CheckError::short_fixed;
  view.fixed = body.first(view.info->fixed);
  const CheckError error = check_notify_data(view, body.subspan(view.info->fixed));
  if (error != CheckError::none) return error;
  return view;
}

}  // namespace fusewire::wire
