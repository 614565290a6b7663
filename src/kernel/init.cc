#include "kernel/init.h"

namespace fusewire::kernel {

namespace {

namespace flag = wire::init_flag;

enum class Offer : bool { no, yes };
struct OfferRow {
  uint64_t flag;
  Offer offer;
};

// Every flag of the protocol and whether we offer it. Linux 6.18 offers all but file_ops, map_alignment, submounts,
// init_reserved, has_inode_dax and over_io_uring; where we differ, the reason stands beside it.
constexpr OfferRow offers[] = {
    {flag::async_read, Offer::yes},
    {flag::posix_locks, Offer::yes},
    {flag::file_ops, Offer::no},
    {flag::atomic_o_trunc, Offer::yes},
    {flag::export_support, Offer::yes},
    {flag::big_writes, Offer::yes},
    {flag::dont_mask, Offer::yes},
    {flag::splice_write, Offer::yes},
    {flag::splice_move, Offer::yes},
    {flag::splice_read, Offer::yes},
    {flag::flock_locks, Offer::yes},
    {flag::has_ioctl_dir, Offer::yes},
    {flag::auto_inval_data, Offer::yes},
    {flag::do_readdirplus, Offer::yes},
    {flag::readdirplus_auto, Offer::yes},
    {flag::async_dio, Offer::yes},
    {flag::writeback_cache, Offer::no},  // writes go through at once
    {flag::no_open_support, Offer::yes},
    {flag::parallel_dirops, Offer::yes},
    {flag::handle_killpriv, Offer::yes},
    {flag::posix_acl, Offer::no},  // access is decided by mode bits; ACLs pass through as xattrs
    {flag::abort_error, Offer::yes},
    {flag::max_pages, Offer::yes},
    {flag::cache_symlinks, Offer::yes},
    {flag::no_opendir_support, Offer::yes},
    {flag::explicit_inval_data, Offer::yes},
    {flag::map_alignment, Offer::no},
    {flag::submounts, Offer::no},
    {flag::handle_killpriv_v2, Offer::yes},
    {flag::setxattr_ext, Offer::yes},
    {flag::init_ext, Offer::yes},
    {flag::init_reserved, Offer::no},
    {flag::security_ctx, Offer::no},  // there is no security module to ask for a context
    {flag::has_inode_dax, Offer::no},
    {flag::create_supp_group, Offer::no},  // the group extension is not sent
    {flag::has_expire_only, Offer::yes},
    {flag::direct_io_allow_mmap, Offer::no},  // a mapping of a direct_io file is refused
    {flag::passthrough, Offer::no},           // backing files are not opened
    {flag::no_export_support, Offer::yes},
    {flag::has_resend, Offer::yes},
    {flag::allow_idmap, Offer::no},      // mounts are not idmapped
    {flag::over_io_uring, Offer::no},    // the device is the only transport
    {flag::request_timeout, Offer::no},  // the half does not time requests out
};

constexpr uint64_t offered = [] {
  uint64_t flags = 0;
  for (const OfferRow& row : offers) {
    if (row.offer == Offer::yes) flags |= row.flag;
  }
  return flags;
}();

constexpr uint32_t page_bytes = 4096;
constexpr uint32_t most_pages = 256;         // Linux fuse_max_pages_limit
constexpr uint32_t most_readahead = 131072;  // Linux's default read_ahead_kb
constexpr uint32_t nanoseconds_per_second = 1'000'000'000;

constexpr uint32_t at_least(uint32_t floor, uint32_t value) { return value < floor ? floor : value; }
constexpr uint32_t at_most(uint32_t ceiling, uint32_t value) { return value > ceiling ? ceiling : value; }

// Only what was offered counts, and flags that depend on another, or on the minor, are brought into one form.
uint64_t flags_of(const wire::InitOut& reply) {
  if (reply.minor < 6) return 0;
  uint64_t flags = reply.flags;
  if (flags & flag::init_ext) flags |= uint64_t{reply.flags2} << 32;
  flags &= offered;
  const auto drop = [&flags](uint64_t unwanted) { flags &= ~unwanted; };
  if (reply.minor < 9) drop(flag::export_support);
  if (reply.minor < 17) {
    drop(flag::flock_locks);
    if (flags & flag::posix_locks) flags |= flag::flock_locks;
  }
  if (flags & flag::auto_inval_data) drop(flag::explicit_inval_data);
  if (!(flags & flag::do_readdirplus)) drop(flag::readdirplus_auto);
  return flags;
}

uint32_t bound_by_transport(uint32_t bytes, const MountOptions& options) {
  if (options.transport_max_write == 0) return bytes;
  return at_most(at_least(page_bytes, options.transport_max_write), bytes);
}

uint32_t clamp_limit(uint32_t asked, uint32_t otherwise, const MountOptions& options) {
  if (asked == 0) return otherwise;
  return options.privileged_daemon ? asked : at_most(max_user_background, asked);
}

}  // namespace

uint64_t offered_flags() { return offered; }

wire::InitIn init_request() {
  wire::InitIn in{};
  in.major = wire::major_version;
  in.minor = wire::minor_version;
  in.max_readahead = most_readahead;
  in.flags = static_cast<uint32_t>(offered);
  in.flags2 = static_cast<uint32_t>(offered >> 32);
  return in;
}

Result<Negotiated> negotiate(const wire::InitOut& reply, const MountOptions& options) {
  if (reply.major != wire::major_version) return error(Errno::econnrefused);
  Negotiated agreed;
  agreed.minor = reply.minor;
  agreed.flags = flags_of(reply);
  agreed.max_write = bound_by_transport(at_least(page_bytes, reply.minor < 5 ? page_bytes : reply.max_write), options);
  const uint32_t readahead = reply.minor < 6 ? options.max_read : reply.max_readahead;
  agreed.max_readahead = at_most(most_readahead, readahead / page_bytes * page_bytes);
  if (agreed.has(flag::max_pages)) agreed.max_pages = at_most(most_pages, at_least(1, reply.max_pages));
  agreed.max_pages = bound_by_transport(agreed.max_pages * page_bytes, options) / page_bytes;
  const bool sane_granularity = reply.time_gran >= 1 && reply.time_gran <= nanoseconds_per_second;
  if (reply.minor >= 6 && sane_granularity) agreed.time_gran = reply.time_gran;
  return agreed;
}

Limits negotiate_limits(const wire::InitOut& reply, const MountOptions& options) {
  Limits limits;
  if (reply.minor < 13) return limits;
  limits.max_background = clamp_limit(reply.max_background, limits.max_background, options);
  limits.congestion_threshold = clamp_limit(reply.congestion_threshold, limits.congestion_threshold, options);
  return limits;
}

}  // namespace fusewire::kernel
