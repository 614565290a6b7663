#include "host/call_table.h"

#include <array>
#include <cerrno>

#include "host/call_parts.h"

namespace fusewire::host {
namespace {

using enum abi::CallNumber;
using enum StandsOn;

constexpr BringsData nothing{};
constexpr BringsData xattr_value{.max = xattr_size_max, .too_much = E2BIG};
constexpr BringsData one_lock{.max = sizeof(syscall::Lock)};
constexpr BringsData ioctl_argument{.max = ioctl_bytes_max};
constexpr BringsData socket_address{.max = socket_address_max};
constexpr BringsData file_data{.max = abi::io_bytes_max, .in_place = true};

constexpr CallInfo calls[] = {
    {openat, one_path, run_openat, nothing},
    {open_exec, one_path, run_open_exec, nothing},
    {chdir, one_path, run_chdir, nothing},
    {statx, one_path, run_statx, nothing},
    {faccessat, one_path, run_faccessat, nothing},
    {readlinkat, one_path, run_readlinkat, nothing},
    {mkdirat, one_path, run_mkdirat, nothing},
    {mknodat, one_path, run_mknodat, nothing},
    {symlinkat, one_path, run_symlinkat, nothing},
    {unlinkat, one_path, run_unlinkat, nothing},
    {renameat2, two_paths, run_renameat2, nothing},
    {linkat, two_paths, run_linkat, nothing},
    {fchmodat, one_path, run_fchmodat, nothing},
    {fchownat, one_path, run_fchownat, nothing},
    {truncate, one_path, run_truncate, nothing},
    {utimensat, one_path, run_utimensat, nothing},
    {statfs, one_path, run_statfs, nothing},
    {setxattr, one_path, run_setxattr, xattr_value},
    {getxattr, one_path, run_getxattr, nothing},
    {listxattr, one_path, run_listxattr, nothing},
    {removexattr, one_path, run_removexattr, nothing},
    {bind_socket, one_path, run_bind_socket, socket_address},
    {reach_socket, one_path, run_reach_socket, nothing},
    {watch, one_path, run_watch, nothing},
    {file_handle, one_path, run_file_handle, nothing},
    {read, open_file, run_read, nothing},
    {write, open_file, run_write, file_data},
    {lseek, open_file, run_lseek, nothing},
    {getdents64, open_file, run_getdents64, nothing},
    {fstat, open_file, run_fstat, nothing},
    {ftruncate, open_file, run_ftruncate, nothing},
    {fchmod, open_file, run_fchmod, nothing},
    {fchown, open_file, run_fchown, nothing},
    {futimens, open_file, run_futimens, nothing},
    {fsync, open_file, run_fsync, nothing},
    {fallocate, open_file, run_fallocate, nothing},
    {copy, two_files, run_copy, nothing},
    {fstatfs, open_file, run_fstatfs, nothing},
    {fsetxattr, open_file, run_fsetxattr, xattr_value},
    {fgetxattr, open_file, run_fgetxattr, nothing},
    {flistxattr, open_file, run_flistxattr, nothing},
    {fremovexattr, open_file, run_fremovexattr, nothing},
    {getfl, open_file, run_getfl, nothing},
    {setfl, open_file, run_setfl, nothing},
    {setlk, open_file, run_setlk, one_lock},
    {getlk, open_file, run_getlk, one_lock},
    {flock, open_file, run_flock, nothing},
    {flush, open_file, run_flush, nothing},
    {path, one_path, run_path, nothing},
    {ioctl, open_file, run_ioctl, ioctl_argument},
    {owner, open_file, run_owner, nothing},
    {lease, open_file, run_lease, nothing},
    {notify, open_file, run_notify, nothing},
    {socket_name, connection, run_socket_name, nothing},
    {nop, connection, run_nop, nothing},
    {open_handle, connection, run_open_handle, nothing},
    {memory, connection, run_memory, nothing},
    {view, connection, run_view, nothing},
};

// Row of a number, + 1; 0: none. Whether no number stands twice, and each fits.
constexpr size_t numbers = 256;

struct Index {
  std::array<uint8_t, numbers> row{};
  bool good = true;
};

constexpr Index make_index() {
  Index index;
  uint8_t row = 0;
  for (const CallInfo& call : calls) {
    const auto number = static_cast<size_t>(call.number);
    index.good = index.good && number < numbers && index.row[number] == 0;
    if (index.good) index.row[number] = ++row;
  }
  return index;
}

constexpr Index index_of = make_index();
static_assert(index_of.good, "a call number stands twice in the table, or does not fit it");
static_assert(std::size(calls) < 255);

}  // namespace

const CallInfo* find_call(abi::CallNumber number) {
  const auto i = static_cast<uint32_t>(number);
  if (i >= numbers || index_of.row[i] == 0) return nullptr;
  return &calls[index_of.row[i] - 1];
}

}  // namespace fusewire::host
