// The protocol table (docs/architecture.md, D9): what each opcode and each notification carries, what its reply
// must be, and what the kernel's half does when the daemon answers ENOSYS. Encoder, checks, printing and tracing
// read it; nobody else keeps such a list. Freestanding, constant data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/protocol.h"

namespace fusewire::wire {

// What two sides agreed on in INIT, as far as it changes the size of messages.
struct Dialect {
  uint32_t minor = minor_version;
  bool setxattr_ext = true;
};

// The size of a struct that was smaller before a protocol minor.
struct SizeByMinor {
  uint16_t size = 0;
  uint16_t compat_size = 0;
  uint8_t compat_below = 0;  // minors below this use compat_size

  constexpr uint32_t at(uint32_t minor) const { return minor < compat_below ? compat_size : size; }
};

// NUL-terminated strings behind the request's struct.
enum class NameKind : uint8_t {
  none,
  entry,        // the name of a directory entry: not empty, no '/'
  target,       // the text of a symbolic link
  xattr,        // the name of an extended attribute: not empty
  placeholder,  // TMPFILE's "/": says nothing
};

// What stands behind struct and names.
enum class Trailer : uint8_t {
  none,
  counted_data,  // as many bytes as the struct says
  forget_ones,   // BatchForgetIn::count times ForgetOne
  mapping_ones,  // RemovemappingIn::count times RemovemappingOne
  nodeids,       // NotifyPruneOut::count times uint64_t
  rest,          // whatever comes: room for later minors
};

enum class ReplyKind : uint8_t {
  never,           // the request has no reply
  optional_empty,  // a header alone, or nothing (INTERRUPT)
  empty,           // exactly a header
  fixed,           // exactly the struct
  up_to,           // the struct or a beginning of it; what is missing is zero (INIT)
  variable,        // 0 to as many bytes as were asked for
  sized,           // size 0 was asked: exactly the struct; else variable (GETXATTR, LISTXATTR)
  fixed_and_data,  // the struct, then 0 to as many bytes as were asked for (IOCTL, CUSE_INIT)
};

// What the kernel's half makes of ENOSYS. Sticky: it remembers and never asks again on this connection.
enum class Enosys : uint8_t {
  not_applicable,  // no reply, or nobody looks at it
  to_user,         // the program gets ENOSYS
  sticky_success,  // the program gets 0
  sticky_eopnotsupp,
  sticky_einval,
  sticky_fallback,  // other requests do the work: OpcodeInfo::fallback, or generic code where that is 0
  sticky_open,      // opens succeed with fh 0 and cached data, and no RELEASE is sent
  sticky_poll,      // always ready
  sticky_disable,   // the request is simply never sent again (INTERRUPT)
  eperm,
  enotty,
  connection_error,  // the mount is unusable
};

namespace request_kind {
inline constexpr uint8_t force = 1,  // sent even before INIT is answered, not interruptible (K034)
    background = 2,                  // always counted in max_background
    may_be_background = 4,           // READ ahead, WRITE back
    nocreds = 8,                     // uid, gid and pid are 0
    extensions = 16,                 // an extension block may stand at the end (K118, K119)
    restricted_mounts = 32;          // only block device and virtiofs mounts send it
}

struct OpcodeInfo {
  Opcode opcode{};
  std::string_view name{};
  uint8_t since_minor = 0;
  SizeByMinor fixed{};  // the request's struct
  std::array<NameKind, 2> names{};
  Trailer trailer = Trailer::none;
  ReplyKind reply = ReplyKind::empty;
  SizeByMinor reply_fixed{};  // the reply's struct
  Enosys enosys = Enosys::to_user;
  uint8_t kind = 0;   // request_kind bits
  Opcode fallback{};  // with Enosys::sticky_fallback

  constexpr bool is(uint8_t bits) const { return (kind & bits) != 0; }
  constexpr bool has_reply() const { return reply != ReplyKind::never; }
  constexpr uint32_t name_count() const {
    return (names[0] != NameKind::none ? 1u : 0u) + (names[1] != NameKind::none ? 1u : 0u);
  }
  // SETXATTR alone depends on a flag of INIT instead of the minor.
  constexpr uint32_t request_size(const Dialect& d) const {
    if (opcode == Opcode::setxattr) return d.setxattr_ext ? uint32_t{sizeof(SetxattrIn)} : compat_setxattr_in_size;
    return fixed.at(d.minor);
  }
  constexpr uint32_t reply_size(const Dialect& d) const { return reply_fixed.at(d.minor); }
};

struct NotifyInfo {
  NotifyCode code{};
  std::string_view name{};
  uint8_t since_minor = 0;
  uint16_t fixed = 0;
  bool has_name = false;  // namelen bytes and a NUL behind the struct
  Trailer trailer = Trailer::none;
};

namespace table_detail {

template <typename T>
constexpr SizeByMinor size_of(uint32_t compat_size = 0, uint8_t compat_below = 0) {
  return {sizeof(T), static_cast<uint16_t>(compat_size), compat_below};
}

inline constexpr SizeByMinor nothing{};
inline constexpr SizeByMinor entry_out = size_of<EntryOut>(compat_entry_out_size, 9);
inline constexpr SizeByMinor attr_out = size_of<AttrOut>(compat_attr_out_size, 9);
inline constexpr SizeByMinor created_out{sizeof(EntryOut) + sizeof(OpenOut), compat_entry_out_size + sizeof(OpenOut),
                                         9};
inline constexpr uint8_t released = request_kind::background | request_kind::force | request_kind::nocreds;

using Names = std::array<NameKind, 2>;
inline constexpr Names no_name{}, one_entry{NameKind::entry}, two_entries{NameKind::entry, NameKind::entry},
    one_xattr{NameKind::xattr};

}  // namespace table_detail

// clang-format off
inline constexpr auto opcode_table = [] {
  using namespace table_detail;
  namespace rk = request_kind;
  using enum Enosys;
  using O = Opcode;
  using R = ReplyKind;
  using enum Trailer;
  constexpr auto data = counted_data;
  constexpr auto no_trailer = Trailer::none;
  return std::to_array<OpcodeInfo>({
    // opcode, name, since | request: struct, names, trailer | reply | on ENOSYS, kind, fallback
    {O::lookup, "LOOKUP", 0, nothing, one_entry, no_trailer, R::fixed, entry_out, to_user},
    {O::forget, "FORGET", 0, size_of<ForgetIn>(), no_name, no_trailer, R::never, nothing, not_applicable, rk::nocreds},
    {O::getattr, "GETATTR", 0, size_of<GetattrIn>(), no_name, no_trailer, R::fixed, attr_out, to_user},
    {O::setattr, "SETATTR", 1, size_of<SetattrIn>(), no_name, no_trailer, R::fixed, attr_out, to_user},
    {O::readlink, "READLINK", 0, nothing, no_name, no_trailer, R::variable, nothing, to_user},
    {O::symlink, "SYMLINK", 1, nothing, {NameKind::entry, NameKind::target}, no_trailer,
     R::fixed, entry_out, to_user, rk::extensions},
    {O::mknod, "MKNOD", 1, size_of<MknodIn>(compat_mknod_in_size, 12), one_entry, no_trailer,
     R::fixed, entry_out, to_user, rk::extensions},
    {O::mkdir, "MKDIR", 1, size_of<MkdirIn>(), one_entry, no_trailer, R::fixed, entry_out, to_user, rk::extensions},
    {O::unlink, "UNLINK", 1, nothing, one_entry, no_trailer, R::empty, nothing, to_user},
    {O::rmdir, "RMDIR", 1, nothing, one_entry, no_trailer, R::empty, nothing, to_user},
    {O::rename, "RENAME", 1, size_of<RenameIn>(), two_entries, no_trailer, R::empty, nothing, to_user},
    {O::link, "LINK", 1, size_of<LinkIn>(), one_entry, no_trailer, R::fixed, entry_out, eperm},
    {O::open, "OPEN", 1, size_of<OpenIn>(), no_name, no_trailer, R::fixed, size_of<OpenOut>(), sticky_open},
    {O::read, "READ", 1, size_of<ReadIn>(), no_name, no_trailer, R::variable, nothing, to_user, rk::may_be_background},
    {O::write, "WRITE", 1, size_of<WriteIn>(compat_write_in_size, 9), no_name, data,
     R::fixed, size_of<WriteOut>(), to_user, rk::may_be_background},
    {O::statfs, "STATFS", 0, nothing, no_name, no_trailer,
     R::fixed, size_of<StatfsOut>(compat_statfs_size, 4), to_user},
    {O::release, "RELEASE", 1, size_of<ReleaseIn>(), no_name, no_trailer, R::empty, nothing, not_applicable, released},
    {O::fsync, "FSYNC", 1, size_of<FsyncIn>(), no_name, no_trailer, R::empty, nothing, sticky_success},
    {O::setxattr, "SETXATTR", 1, size_of<SetxattrIn>(), one_xattr, data, R::empty, nothing, sticky_eopnotsupp},
    {O::getxattr, "GETXATTR", 1, size_of<GetxattrIn>(), one_xattr, no_trailer,
     R::sized, size_of<GetxattrOut>(), sticky_eopnotsupp},
    {O::listxattr, "LISTXATTR", 1, size_of<GetxattrIn>(), no_name, no_trailer,
     R::sized, size_of<GetxattrOut>(), sticky_eopnotsupp},
    {O::removexattr, "REMOVEXATTR", 1, nothing, one_xattr, no_trailer, R::empty, nothing, sticky_eopnotsupp},
    {O::flush, "FLUSH", 1, size_of<FlushIn>(), no_name, no_trailer, R::empty, nothing, sticky_success, rk::force},
    {O::init, "INIT", 0, size_of<InitIn>(16, 36), no_name, rest,
     R::up_to, size_of<InitOut>(), connection_error, released},
    {O::opendir, "OPENDIR", 1, size_of<OpenIn>(), no_name, no_trailer, R::fixed, size_of<OpenOut>(), sticky_open},
    {O::readdir, "READDIR", 1, size_of<ReadIn>(), no_name, no_trailer, R::variable, nothing, to_user},
    {O::releasedir, "RELEASEDIR", 1, size_of<ReleaseIn>(), no_name, no_trailer,
     R::empty, nothing, not_applicable, released},
    {O::fsyncdir, "FSYNCDIR", 2, size_of<FsyncIn>(), no_name, no_trailer, R::empty, nothing, sticky_success},
    {O::getlk, "GETLK", 7, size_of<LkIn>(), no_name, no_trailer, R::fixed, size_of<LkOut>(), to_user},
    {O::setlk, "SETLK", 7, size_of<LkIn>(), no_name, no_trailer, R::empty, nothing, to_user},
    {O::setlkw, "SETLKW", 7, size_of<LkIn>(), no_name, no_trailer, R::empty, nothing, to_user},
    {O::access, "ACCESS", 3, size_of<AccessIn>(), no_name, no_trailer, R::empty, nothing, sticky_success},
    {O::create, "CREATE", 3, size_of<CreateIn>(sizeof(OpenIn), 12), one_entry, no_trailer,
     R::fixed, created_out, sticky_fallback, rk::extensions, O::mknod},
    {O::interrupt, "INTERRUPT", 7, size_of<InterruptIn>(), no_name, no_trailer,
     R::optional_empty, nothing, sticky_disable, rk::nocreds},
    {O::bmap, "BMAP", 8, size_of<BmapIn>(), no_name, no_trailer,
     R::fixed, size_of<BmapOut>(), sticky_success, rk::restricted_mounts},
    {O::destroy, "DESTROY", 8, nothing, no_name, no_trailer,
     R::empty, nothing, not_applicable, rk::force | rk::nocreds | rk::restricted_mounts},
    {O::ioctl, "IOCTL", 11, size_of<IoctlIn>(), no_name, data, R::fixed_and_data, size_of<IoctlOut>(), enotty},
    {O::poll, "POLL", 11, size_of<PollIn>(), no_name, no_trailer, R::fixed, size_of<PollOut>(), sticky_poll},
    {O::notify_reply, "NOTIFY_REPLY", 15, size_of<NotifyRetrieveIn>(), no_name, data,
     R::never, nothing, not_applicable, rk::nocreds},
    {O::batch_forget, "BATCH_FORGET", 16, size_of<BatchForgetIn>(), no_name, forget_ones,
     R::never, nothing, not_applicable, rk::nocreds},
    {O::fallocate, "FALLOCATE", 19, size_of<FallocateIn>(), no_name, no_trailer, R::empty, nothing, sticky_eopnotsupp},
    {O::readdirplus, "READDIRPLUS", 21, size_of<ReadIn>(), no_name, no_trailer, R::variable, nothing, to_user},
    {O::rename2, "RENAME2", 23, size_of<Rename2In>(), two_entries, no_trailer, R::empty, nothing, sticky_einval},
    {O::lseek, "LSEEK", 24, size_of<LseekIn>(), no_name, no_trailer, R::fixed, size_of<LseekOut>(), sticky_fallback},
    {O::copy_file_range, "COPY_FILE_RANGE", 28, size_of<CopyFileRangeIn>(), no_name, no_trailer,
     R::fixed, size_of<WriteOut>(), sticky_eopnotsupp},
    {O::setupmapping, "SETUPMAPPING", 31, size_of<SetupmappingIn>(), no_name, no_trailer,
     R::empty, nothing, to_user, rk::restricted_mounts},
    {O::removemapping, "REMOVEMAPPING", 31, size_of<RemovemappingIn>(), no_name, mapping_ones,
     R::empty, nothing, not_applicable, rk::restricted_mounts},
    {O::syncfs, "SYNCFS", 34, size_of<SyncfsIn>(), no_name, no_trailer,
     R::empty, nothing, sticky_success, rk::restricted_mounts},
    {O::tmpfile, "TMPFILE", 37, size_of<CreateIn>(), {NameKind::placeholder}, no_trailer,
     R::fixed, created_out, sticky_eopnotsupp, rk::extensions},
    {O::statx, "STATX", 39, size_of<StatxIn>(), no_name, no_trailer,
     R::fixed, size_of<StatxOut>(), sticky_fallback, 0, O::getattr},
    {O::copy_file_range_64, "COPY_FILE_RANGE_64", 45, size_of<CopyFileRangeIn>(), no_name, no_trailer,
     R::fixed, size_of<CopyFileRangeOut>(), sticky_fallback, 0, O::copy_file_range},
    {O::cuse_init, "CUSE_INIT", 12, size_of<CuseInitIn>(), no_name, no_trailer,
     R::fixed_and_data, size_of<CuseInitOut>(), connection_error, rk::background | rk::force},
  });
}();

inline constexpr auto notify_table = std::to_array<NotifyInfo>({
    {NotifyCode::poll, "NOTIFY_POLL", 11, sizeof(NotifyPollWakeupOut)},
    {NotifyCode::inval_inode, "NOTIFY_INVAL_INODE", 12, sizeof(NotifyInvalInodeOut)},
    {NotifyCode::inval_entry, "NOTIFY_INVAL_ENTRY", 12, sizeof(NotifyInvalEntryOut), true},
    {NotifyCode::store, "NOTIFY_STORE", 15, sizeof(NotifyStoreOut), false, Trailer::counted_data},
    {NotifyCode::retrieve, "NOTIFY_RETRIEVE", 15, sizeof(NotifyRetrieveOut)},
    {NotifyCode::delete_entry, "NOTIFY_DELETE", 18, sizeof(NotifyDeleteOut), true},
    {NotifyCode::resend, "NOTIFY_RESEND", 40, 0, false, Trailer::rest},
    {NotifyCode::inc_epoch, "NOTIFY_INC_EPOCH", 44, 0, false, Trailer::rest},
    {NotifyCode::prune, "NOTIFY_PRUNE", 45, sizeof(NotifyPruneOut), false, Trailer::nodeids},
});
// clang-format on

namespace table_detail {
inline constexpr uint32_t dense_opcodes = 64;
inline constexpr auto row_of_opcode = [] {
  std::array<uint8_t, dense_opcodes> rows{};
  for (auto& row : rows) row = UINT8_MAX;
  for (size_t i = 0; i < opcode_table.size(); ++i) {
    const auto number = static_cast<uint32_t>(opcode_table[i].opcode);
    if (number < dense_opcodes) rows[number] = static_cast<uint8_t>(i);
  }
  return rows;
}();
}  // namespace table_detail

// nullptr: no such opcode.
constexpr const OpcodeInfo* find_opcode(uint32_t opcode) {
  if (opcode < table_detail::dense_opcodes) {
    const uint8_t row = table_detail::row_of_opcode[opcode];
    return row == UINT8_MAX ? nullptr : &opcode_table[row];
  }
  for (const OpcodeInfo& info : opcode_table) {
    if (static_cast<uint32_t>(info.opcode) == opcode) return &info;
  }
  return nullptr;
}
constexpr const OpcodeInfo* find_opcode(Opcode opcode) { return find_opcode(static_cast<uint32_t>(opcode)); }

// "LOOKUP"; "?" for an unknown one.
constexpr std::string_view opcode_name(uint32_t opcode) {
  const OpcodeInfo* info = find_opcode(opcode);
  return info != nullptr ? info->name : std::string_view("?");
}
constexpr std::string_view opcode_name(Opcode opcode) { return opcode_name(static_cast<uint32_t>(opcode)); }

// nullptr: no such code.
constexpr const NotifyInfo* find_notify(int32_t code) {
  for (const NotifyInfo& info : notify_table) {
    if (static_cast<int32_t>(info.code) == code) return &info;
  }
  return nullptr;
}

}  // namespace fusewire::wire
