#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;

std::vector<Scenario> attr_scenarios() {
  return {
      {"attributes_are_cached_for_their_timeout",
       {},
       [](User& u) {
         u.stat("file");
         u.stat("file");
         u.daemon("grows file", [](TreeDaemon& d) { d.set_content("file", "much longer than it was"); });
         u.stat("file");
       }},
      {"attributes_are_asked_again_when_the_timeout_is_zero",
       {.attr_valid = 0},
       [](User& u) {
         u.stat("file");
         u.stat("file");
         const int h = u.open("file", O_RDONLY);
         u.fstat(h);
         u.close(h);
       }},
      {"attributes_of_the_root_are_asked",
       {},
       [](User& u) {
         u.stat(".");
         u.stat(".");
       }},
      {"getattr_error",
       {.attr_valid = 0, .rules = {{Opcode::getattr, "file", fail(EIO)}}},
       [](User& u) {
         u.stat("file");
         u.stat("dir");
       }},
      {"statx_is_sent_for_btime",
       {},
       [](User& u) {
         u.statx_btime("file");
         u.statx_btime("file");
         u.stat("file");
       }},
      {"statx_enosys_falls_back_to_getattr",
       {.rules = {{Opcode::statx, "", fail(ENOSYS)}}},
       [](User& u) {
         u.statx_btime("file");
         u.statx_btime("file");
       }},
      {"chmod_sends_mode",
       {},
       [](User& u) {
         u.chmod("file", 0600);
         u.stat("file");
         const int h = u.open("file", O_RDONLY);
         u.fchmod(h, 04755);
         u.fstat(h);
         u.close(h);
         u.chmod("missing", 0600);
       }},
      {"chmod_of_a_directory_drops_its_entry_timeout",
       {},
       [](User& u) {
         u.stat("dir/inner");
         u.chmod("dir", 0700);
         u.stat("dir/inner");
       }},
      {"chmod_error",
       {.rules = {{Opcode::setattr, "", fail(EPERM)}}},
       [](User& u) {
         u.chmod("file", 0600);
         u.stat("file");
       }},
      {"chown_forms",
       {},
       [](User& u) {
         u.chown("file", 7, 8);
         u.chown("file", 9, UINT32_MAX);
         u.chown("file", UINT32_MAX, 10);
         u.chown("file", UINT32_MAX, UINT32_MAX);
         u.lchown("link", 5, 5);
         u.stat("file");
       }},
      {"truncate_sends_size",
       {},
       [](User& u) {
         u.truncate("file", 4);
         u.stat("file");
         u.truncate("file", 100);
         u.truncate("dir", 0);
         u.truncate("file", -1);
       }},
      {"ftruncate_sends_fh",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.ftruncate(h, 4);
         u.fstat(h);
         u.close(h);
         const int r = u.open("file", O_RDONLY);
         u.ftruncate(r, 0);
         u.close(r);
       }},
      {"utimensat_forms",
       {},
       [](User& u) {
         u.utimens("file", {0, utime_now}, {0, utime_now});
         u.utimens("file", {1234, 5}, {6789, 7});
         u.utimens("file", {0, utime_omit}, {99, 1});
         u.utimens("file", {98, 2}, {0, utime_omit});
         u.utimens("file", {0, utime_now}, {97, 3});
         u.utimens("file", {0, utime_omit}, {0, utime_omit});
         u.utimens("file", {0, 1000000000}, {0, 0});
         u.stat("file");
         const int h = u.open("file", O_WRONLY);
         u.futimens(h, {11, 0}, {12, 0});
         u.close(h);
       }},

      {"access_is_asked_without_default_permissions",
       {.rules = {{Opcode::access, "private", fail(EACCES)}}},
       [](User& u) {
         u.access("file", R_OK);
         u.access("file", R_OK | W_OK);
         u.access("private", R_OK);
         u.access("file", F_OK);
         u.access("dir", X_OK);
       }},
      {"access_enosys_is_learnt",
       {.rules = {{Opcode::access, "", fail(ENOSYS)}}},
       [](User& u) {
         u.access("file", R_OK);
         u.access("file", R_OK);
         u.access("dir/inner", W_OK);
       }},
      {"access_is_not_asked_with_default_permissions",
       {.default_permissions = true},
       [](User& u) {
         u.access("file", R_OK);
         u.access("file", X_OK);
       }},
      {"default_permissions_for_another_user",
       {.default_permissions = true, .allow_other = true, .seeds = {{"mine", 0100600, "m", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         u.open("private", O_RDONLY);
         const int h = u.open("mine", O_RDWR);
         u.close(h);
         u.open("file", O_WRONLY);
         u.mkdir("new");
         u.unlink("file");
         u.chmod("file", 0600);
         u.chmod("mine", 0640);
         u.access("private", R_OK);
       }},
      {"without_default_permissions_the_daemon_decides",
       {.allow_other = true},
       [](User& u) {
         u.become(1000, 1000);
         const int h = u.open("private", O_RDWR);
         u.close(h);
         u.mkdir("new");
         u.chmod("file", 0600);
       }},
      {"a_foreigner_is_refused",
       {},
       [](User& u) {
         u.stat("file");
         u.become(1000, 1000);
         u.stat("file");
         u.stat("other");
         u.open("file", O_RDONLY);
         u.statfs(".");
       }},

      {"statfs_of_a_node",
       {},
       [](User& u) {
         u.statfs(".");
         u.statfs("file");
       }},
      {"statfs_error", {.rules = {{Opcode::statfs, "", fail(EIO)}}}, [](User& u) { u.statfs("."); }},

      {"xattr_set_get_list_remove",
       {},
       [](User& u) {
         u.setxattr("file", "user.one", "first");
         u.setxattr("file", "user.two", "second");
         u.getxattr("file", "user.one");
         u.getxattr("file", "user.one", 0);
         u.getxattr("file", "user.one", 3);
         u.getxattr("file", "user.none");
         u.listxattr("file");
         u.listxattr("file", 0);
         u.listxattr("file", 5);
         u.removexattr("file", "user.one");
         u.removexattr("file", "user.one");
         u.setxattr("file", "user.two", "x", 1);
         u.setxattr("file", "user.none", "x", 2);
         u.setxattr("file", "trusted.three", "t");
         u.setxattr("file", "user.empty", "");
         u.getxattr("file", "user.empty");
       }},
      {"xattr_enosys_is_eopnotsupp_for_ever",
       {.rules = {{Opcode::setxattr, "", fail(ENOSYS)},
                  {Opcode::getxattr, "", fail(ENOSYS)},
                  {Opcode::listxattr, "", fail(ENOSYS)},
                  {Opcode::removexattr, "", fail(ENOSYS)}}},
       [](User& u) {
         u.setxattr("file", "user.one", "first");
         u.setxattr("file", "user.one", "first");
         u.getxattr("file", "user.one");
         u.getxattr("file", "user.one");
         u.listxattr("file");
         u.listxattr("file");
         u.removexattr("file", "user.one");
         u.removexattr("file", "user.one");
       }},
      {"xattr_with_setxattr_ext",
       {.init_flags = flags::usual | wire::init_flag::setxattr_ext},
       [](User& u) {
         u.setxattr("file", "user.one", "first");
         u.getxattr("file", "user.one");
       }},
      {"xattr_list_that_is_no_list",
       {.rules = {{Opcode::listxattr, "", shorter(1)}}},
       [](User& u) {
         u.setxattr("file", "user.one", "first");
         u.listxattr("file");
       }},
  };
}

}  // namespace fusewire::oracle
