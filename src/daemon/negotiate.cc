#include "daemon/negotiate.h"

#include <algorithm>

namespace fusewire::daemon {
namespace {

namespace flag = wire::init_flag;
constexpr uint32_t page = 4096;
constexpr uint32_t pages_without_flag = 32;
constexpr uint32_t message_slack = 4096;  // room for headers and names beside the data

// What the session does for every file system.
constexpr uint64_t always_wanted =
    flag::async_read | flag::big_writes | flag::parallel_dirops | flag::max_pages | flag::init_ext;

uint32_t writable_bytes(const SessionOptions& options, size_t max_message) {
  size_t carried = max_message > 2 * message_slack ? max_message - message_slack : message_slack;
  uint32_t bytes = static_cast<uint32_t>(std::min<size_t>(options.max_write, carried));
  return std::max(bytes / page * page, page);
}

}  // namespace

const uint64_t honoured_capabilities =
    always_wanted | flag::posix_locks | flag::flock_locks | flag::atomic_o_trunc | flag::dont_mask |
    flag::auto_inval_data | flag::do_readdirplus | flag::readdirplus_auto | flag::async_dio | flag::writeback_cache |
    flag::no_open_support | flag::no_opendir_support | flag::handle_killpriv | flag::handle_killpriv_v2 |
    flag::abort_error | flag::cache_symlinks | flag::explicit_inval_data | flag::setxattr_ext |
    flag::direct_io_allow_mmap | flag::has_ioctl_dir | flag::no_export_support;

InitAnswer negotiate(const wire::InitIn& in, uint64_t wanted, const SessionOptions& options, size_t max_message) {
  InitAnswer answer;
  answer.out.major = wire::major_version;
  answer.out.minor = wire::minor_version;
  if (in.major != wire::major_version) return answer;

  uint64_t offered = in.flags;
  if (offered & flag::init_ext) offered |= uint64_t{in.flags2} << 32;
  uint64_t agreed = offered & (wanted | always_wanted) & honoured_capabilities;
  uint32_t max_write = writable_bytes(options, max_message);
  if (!(agreed & flag::max_pages)) max_write = std::min(max_write, pages_without_flag * page);

  wire::InitOut& out = answer.out;
  out.minor = std::min(in.minor, wire::minor_version);
  out.max_readahead = std::min(in.max_readahead, options.max_readahead);
  out.flags = static_cast<uint32_t>(agreed);
  out.flags2 = static_cast<uint32_t>(agreed >> 32);
  out.max_background = options.max_background;
  out.congestion_threshold = options.congestion_threshold;
  out.max_write = max_write;
  out.time_gran = 1;
  out.max_pages = static_cast<uint16_t>(std::min<uint32_t>(max_write / page, UINT16_MAX));
  if (out.minor < 5) {
    answer.size = wire::compat_init_out_size;
  } else if (out.minor < 23) {
    answer.size = wire::compat_22_init_out_size;
  }

  answer.agreed = true;
  answer.negotiated = {out.minor, agreed, max_write, out.max_readahead};
  answer.dialect = {out.minor, (agreed & flag::setxattr_ext) != 0};
  answer.payload_limit = std::max(max_write, pages_without_flag * page);
  return answer;
}

}  // namespace fusewire::daemon
