#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;

namespace {
constexpr uint32_t noreplace = 1, exchange = 2;
}

std::vector<Scenario> name_scenarios() {
  return {
      {"lookup_is_cached_for_the_entry_timeout",
       {},
       [](User& u) {
         u.stat("file");
         u.stat("file");
         u.stat("dir/inner");
         u.stat("dir/inner");
       }},
      {"lookup_again_when_the_entry_timeout_is_zero",
       {.entry_valid = 0},
       [](User& u) {
         u.stat("file");
         u.stat("file");
         u.stat("dir/inner");
         u.stat("dir/inner");
       }},
      {"lookup_of_enoent_is_not_cached",
       {},
       [](User& u) {
         u.stat("missing");
         u.stat("missing");
       }},
      {"lookup_of_nodeid_zero_is_cached",
       {.negative_valid = 1000},
       [](User& u) {
         u.stat("missing");
         u.stat("missing");
         u.daemon("makes nothing, since negative entries live on", [](TreeDaemon&) {});
         u.open("missing", O_RDONLY);
       }},
      {"lookup_of_an_expired_name_that_is_gone",
       {.entry_valid = 0},
       [](User& u) {
         u.stat("file");
         u.daemon("removes file", [](TreeDaemon& d) { d.remove("file"); });
         u.stat("file");
         u.stat("file");
       }},
      {"lookup_of_an_expired_name_that_is_another_node",
       {.entry_valid = 0},
       [](User& u) {
         u.stat("file");
         u.daemon("replaces file", [](TreeDaemon& d) { d.replace("file"); });
         u.stat("file");
       }},
      {"lookup_errors_go_to_the_user",
       {.rules = {{Opcode::lookup, "file", fail(EIO)}, {Opcode::lookup, "dir", fail(EACCES)}}},
       [](User& u) {
         u.stat("file");
         u.stat("dir/inner");
         u.stat("dir/inner");
       }},
      {"lookup_error_in_revalidation_is_tried_once_more",
       {.entry_valid = 0, .rules = {{Opcode::lookup, "empty", fail(EIO), 1}}},
       [](User& u) {
         u.stat("empty");
         u.stat("empty");
         u.stat("empty");
       }},
      {"walk_through_symlinks",
       {},
       [](User& u) {
         u.stat("link");
         u.stat("dirlink/inner");
         u.lstat("link");
         u.lstat("dirlink/");
         u.stat("dir/../file");
         u.stat("file/nothing");
         u.stat("dir/inner/");
       }},
      {"walk_of_a_symlink_loop",
       {.seeds = {{"a", 0120777, "b"}, {"b", 0120777, "a"}}},
       [](User& u) {
         u.stat("a");
         u.lstat("a");
       }},
      {"name_of_256_bytes_is_for_the_daemon",
       {},
       [](User& u) {
         static const std::string name(256, 'n');
         u.stat(name.c_str());
       }},
      {"name_of_1025_bytes_goes_to_the_daemon_with_max_pages",
       {},
       [](User& u) {
         static const std::string name(1025, 'n');
         u.stat(name.c_str());
         u.mkdir(name.c_str());
       }},
      {"name_of_1025_bytes_is_too_long_without_max_pages",
       {.init_flags = wire::init_flag::big_writes},
       [](User& u) {
         static const std::string name(1025, 'n'), fits(1024, 'n');
         u.stat(name.c_str());
         u.mkdir(name.c_str());
         u.stat(fits.c_str());
       }},

      {"mkdir_masks_the_mode",
       {},
       [](User& u) {
         u.mkdir("new", 0777);
         u.umask(027);
         u.mkdir("other", 0777);
         u.stat("new");
         u.stat("other");
         u.mkdir("new");
         u.mkdir("file");
         u.mkdir("missing/new");
       }},
      {"mkdir_with_dont_mask",
       {.init_flags = flags::usual | wire::init_flag::dont_mask},
       [](User& u) {
         u.umask(027);
         u.mkdir("new", 0777);
         u.stat("new");
       }},
      {"mkdir_errors",
       {.rules = {{Opcode::mkdir, "full", fail(ENOSPC)}, {Opcode::mkdir, "there", fail(EEXIST)}}},
       [](User& u) {
         u.mkdir("full");
         u.mkdir("there");
         u.mkdir(".");
         u.mkdir("dir/.");
       }},
      {"mknod_of_a_fifo",
       {},
       [](User& u) {
         u.mknod("fifo", 0010666);
         u.stat("fifo");
         u.mknod("plain", 0100600);
         u.mknod("fifo", 0010666);
       }},
      {"create_sends_create",
       {},
       [](User& u) {
         const int h = u.open("new", O_RDWR | O_CREAT, 0666);
         u.write(h, "data");
         u.read(h, 10, 0);
         u.close(h);
         u.stat("new");
       }},
      {"create_excl_of_an_existing_file",
       {},
       [](User& u) {
         u.open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
         const int h = u.open("file", O_RDWR | O_CREAT, 0666);
         u.close(h);
         u.open("dir", O_RDWR | O_CREAT, 0666);
       }},
      {"create_excl_with_entry_timeout_zero",
       {.entry_valid = 0},
       [](User& u) {
         u.open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
         const int h = u.open("new", O_WRONLY | O_CREAT | O_EXCL, 0600);
         u.close(h);
         u.stat("new");
       }},
      {"create_enosys_falls_back_to_mknod_and_open",
       {.rules = {{Opcode::create, "", fail(ENOSYS)}}},
       [](User& u) {
         const int h = u.open("new", O_RDWR | O_CREAT, 0640);
         u.close(h);
         const int g = u.open("second", O_RDWR | O_CREAT, 0640);
         u.close(g);
       }},
      {"create_errors",
       {.rules = {{Opcode::create, "denied", fail(EPERM)}, {Opcode::create, "there", fail(EEXIST)}}},
       [](User& u) {
         u.open("denied", O_RDWR | O_CREAT, 0640);
         u.open("there", O_RDWR | O_CREAT, 0640);
       }},
      {"create_after_a_cached_negative_lookup",
       {.negative_valid = 1000},
       [](User& u) {
         u.stat("new");
         const int h = u.open("new", O_RDWR | O_CREAT, 0640);
         u.close(h);
         u.stat("new");
         u.unlink("new");
         u.stat("new");
       }},
      {"create_through_a_symlink",
       {.seeds = {{"dangling", 0120777, "dir/made"}}},
       [](User& u) {
         const int h = u.open("dangling", O_RDWR | O_CREAT, 0640);
         u.close(h);
         u.open("dangling", O_RDWR | O_CREAT | O_EXCL, 0640);
         u.open("dangling", O_RDONLY | O_NOFOLLOW);
       }},

      {"unlink_forgets_the_node",
       {},
       [](User& u) {
         u.unlink("file");
         u.stat("file");
         u.unlink("missing");
         u.unlink("dir");
       }},
      {"unlink_errors_leave_the_name",
       {.rules = {{Opcode::unlink, "file", fail(EACCES)}}},
       [](User& u) {
         u.unlink("file");
         u.stat("file");
       }},
      {"unlink_answered_enoent_drops_the_name",
       {.rules = {{Opcode::unlink, "file", fail(ENOENT)}}},
       [](User& u) {
         u.stat("file");
         u.unlink("file");
         u.stat("file");
       }},
      {"unlink_of_an_open_file_forgets_at_the_last_close",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.unlink("file");
         u.fstat(h);
         u.read(h, 5);
         u.close(h);
       }},
      {"unlink_changes_the_parent",
       {},
       [](User& u) {
         u.stat("dir");
         u.unlink("dir/inner");
         u.stat("dir");
       }},
      {"rmdir_and_enotempty",
       {},
       [](User& u) {
         u.rmdir("dir");
         u.rmdir("empty");
         u.stat("empty");
         u.rmdir("file");
         u.rmdir("dir/.");
         u.rmdir("dir/..");
       }},

      {"rename_moves_the_name",
       {},
       [](User& u) {
         u.rename("file", "dir/moved");
         u.stat("file");
         u.stat("dir/moved");
         u.rename("missing", "other");
       }},
      {"rename_over_an_existing_name",
       {},
       [](User& u) {
         u.stat("private");
         u.rename("file", "private");
         u.stat("private");
         u.stat("file");
       }},
      {"rename_within_a_directory_refreshes_times",
       {},
       [](User& u) {
         u.stat("file");
         u.stat(".");
         u.rename("file", "renamed");
         u.stat("renamed");
         u.stat(".");
       }},
      {"rename_noreplace",
       {},
       [](User& u) {
         u.rename("file", "private", noreplace);
         u.rename("file", "new", noreplace);
         u.stat("new");
       }},
      {"rename_exchange",
       {},
       [](User& u) {
         u.rename("file", "dir/inner", exchange);
         u.stat("file");
         u.stat("dir/inner");
         u.rename("file", "missing", exchange);
         u.rename("file", "private", noreplace | exchange);
         u.rename("file", "private", 8);
       }},
      {"rename2_enosys_is_einval_for_ever",
       {.rules = {{Opcode::rename2, "", fail(ENOSYS)}}},
       [](User& u) {
         u.rename("file", "new", noreplace);
         u.rename("file", "new", noreplace);
         u.rename("file", "new");
       }},
      {"rename_of_a_directory_into_itself",
       {},
       [](User& u) {
         u.rename("dir", "dir/sub");
         u.rename("dir", "file");
         u.rename("file", "dir");
         u.rename("dir", "empty");
         u.rename("file", "file");
       }},
      {"rename_error_keeps_both_names",
       {.rules = {{Opcode::rename, "file", fail(EPERM)}}},
       [](User& u) {
         u.rename("file", "private");
         u.stat("file");
         u.stat("private");
       }},

      {"link_raises_nlink",
       {},
       [](User& u) {
         u.link("file", "dir/hard");
         u.stat("file");
         u.stat("dir/hard");
         u.link("file", "private");
         u.link("dir", "dirhard");
       }},
      {"link_enosys_is_eperm",
       {.rules = {{Opcode::link, "", fail(ENOSYS)}}},
       [](User& u) {
         u.link("file", "hard");
         u.link("file", "hard");
       }},
      {"symlink_and_readlink",
       {},
       [](User& u) {
         u.symlink("some/target", "new");
         u.readlink("new");
         u.readlink("new", 4);
         u.lstat("new");
         u.readlink("file");
         u.symlink("x", "file");
         u.symlink("", "other");
       }},
      {"readlink_with_cache_symlinks",
       {.init_flags = flags::usual | wire::init_flag::cache_symlinks},
       [](User& u) {
         u.readlink("link");
         u.readlink("link");
         u.stat("link");
       }},
  };
}

}  // namespace fusewire::oracle
