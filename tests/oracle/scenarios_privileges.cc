#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

std::vector<Scenario> privilege_scenarios() {
  return {
      {"suid_goes_with_killpriv_v1",
       {.init_flags = wire::init_flag::big_writes | wire::init_flag::handle_killpriv,
        .allow_other = true,
        .seeds = {{"suid", 0106777, "s", 1000, 1000}}},
       [](User& u) {
         u.chown("suid", 1000, 1000);
         u.become(1000, 1000);
         const int h = u.open("suid", O_RDWR | O_TRUNC);
         u.write(h, "x");
         u.ftruncate(h, 0);
         u.fallocate(h, 0, 0, 10);
         u.close(h);
         u.truncate("suid", 5);
       }},
      {"suid_goes_without_killpriv_at_chown_and_truncate",
       {.init_flags = wire::init_flag::big_writes,
        .allow_other = true,
        .seeds = {{"suid", 0106777, "s", 1000, 1000}, {"sgid", 0102767, "s", 1000, 1000}}},
       [](User& u) {
         u.chown("suid", 1000, 1000);
         u.become(1000, 1000);
         u.chown("suid", 1000, UINT32_MAX);
         u.chmod("suid", 06777);
         u.truncate("suid", 5);
         u.close(u.open("sgid", O_RDWR | O_TRUNC));
         u.truncate("sgid", 5);
         u.chown("sgid", UINT32_MAX, UINT32_MAX);
       }},
      {"suid_with_killpriv_v2_at_open_and_create",
       {.init_flags = flags::usual | wire::init_flag::atomic_o_trunc,
        .allow_other = true,
        .seeds = {{"suid", 0106777, "s", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         u.close(u.open("suid", O_RDWR | O_TRUNC));
         u.close(u.open("suid", O_RDWR | O_TRUNC | O_CREAT, 0600));
         u.close(u.open("new", O_RDWR | O_TRUNC | O_CREAT, 06711));
         u.truncate("suid", 5);
         u.chown("suid", 1000, 1000);
         u.chown("suid", UINT32_MAX, UINT32_MAX);
       }},
      {"cached_writes_without_killpriv_ask_for_capabilities",
       {.init_flags = wire::init_flag::big_writes, .fopen_flags = 0, .seeds = {{"suid", 0106777, "s", 1000, 1000}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.write(h, "x");
         u.write(h, "y");
         u.close(h);
         u.become(1000, 1000);
       }},
      {"cached_writes_by_another_user_clear_suid",
       {.init_flags = wire::init_flag::big_writes,
        .fopen_flags = 0,
        .allow_other = true,
        .seeds = {{"suid", 0106777, "s", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         const int h = u.open("suid", O_RDWR);
         u.write(h, "x");
         u.write(h, "y");
         u.close(h);
         u.stat("suid");
       }},
      {"cached_writes_with_killpriv_v2",
       {.fopen_flags = 0, .allow_other = true, .seeds = {{"suid", 0106777, "s", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         const int h = u.open("suid", O_RDWR);
         u.write(h, "x");
         u.write(h, "y");
         u.fallocate(h, 0, 0, 100);
         u.close(h);
         u.stat("suid");
       }},
      {"a_security_capability_goes_before_a_write",
       {.fopen_flags = 0},
       [](User& u) {
         u.setxattr("file", "security.capability", "12345678");
         const int h = u.open("file", O_RDWR);
         u.write(h, "x");
         u.write(h, "y");
         u.close(h);
         u.setxattr("file", "security.capability", "12345678");
         u.truncate("file", 3);
         u.setxattr("file", "security.capability", "12345678");
         u.chown("file", 5, 5);
       }},
      {"default_permissions_for_groups_and_others",
       {.attr_valid = 0,
        .default_permissions = true,
        .allow_other = true,
        .seeds = {{"group", 0100040, "g", 0, 1000},
                  {"other", 0100004, "o", 0, 0},
                  {"owner", 0100007, "x", 1000, 1000},
                  {"shut", 0040700, ""},
                  {"shut/in", 0100644, ""},
                  {"exec", 0040711, ""},
                  {"exec/in", 0100644, ""}}},
       [](User& u) {
         u.become(1000, 1000);
         u.close(u.open("group", O_RDONLY));
         u.close(u.open("other", O_RDONLY));
         u.open("owner", O_RDONLY);
         u.stat("shut/in");
         u.stat("exec/in");
         u.list("exec");
         u.open("exec", O_RDONLY);
         u.access("exec/in", R_OK);
         u.access("exec/in", W_OK);
         u.access("group", X_OK);
         u.chmod("file", 0600);
         u.chmod("owner", 02755);
         u.truncate("other", 0);
         u.utimens("group", {1, 0}, {2, 0});
         u.setxattr("group", "user.a", "v");
         u.getxattr("group", "user.a");
         u.getxattr("owner", "user.a");
         u.statfs("shut");
       }},
      {"permission_is_asked_again_after_a_refusal",
       {.default_permissions = true, .allow_other = true},
       [](User& u) {
         u.become(1000, 1000);
         u.stat("private");
         u.daemon("private is opened to all", [](TreeDaemon& d) { d.set_mode("private", 0100666); });
         u.close(u.open("private", O_RDWR));
         u.daemon("private is shut", [](TreeDaemon& d) { d.set_mode("private", 0100600); });
         u.close(u.open("private", O_RDWR));
       }},
      {"umask_and_modes_of_all_creations",
       {},
       [](User& u) {
         u.umask(077);
         u.mkdir("d", 07777);
         u.mknod("n", S_IFREG | 06777);
         u.mknod("c", S_IFCHR | 0666, 0x103);
         u.close(u.open("f", O_RDWR | O_CREAT, 07777));
         u.symlink("x", "s");
         u.umask(0);
         u.mkdir("d2", 01777);
         u.lstat("c");
       }},
      {"modes_with_dont_mask",
       {.init_flags = flags::usual | wire::init_flag::dont_mask},
       [](User& u) {
         u.umask(077);
         u.mkdir("d", 07777);
         u.mknod("n", S_IFREG | 06777);
         u.close(u.open("f", O_RDWR | O_CREAT, 07777));
       }},
      {"a_foreigner_with_an_open_file",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR), d = u.open("dir", O_RDONLY);
         u.become(1000, 1000);
         u.read(h, 5);
         u.write(h, "x");
         u.fstat(h);
         u.ftruncate(h, 0);
         u.fchmod(h, 0600);
         u.futimens(h, {1, 0}, {2, 0});
         u.fsync(h);
         u.getdents(d);
         u.lseek(h, 0, SEEK_END);
         u.ioctl(h, 0x7801, "");
         u.fallocate(h, 0, 0, 5);
         u.flock(h, 1);
         u.close(h);
         u.close(d);
         u.statfs(".");
         u.getxattr(".", "user.a");
         u.listxattr(".");
         u.statx(".", 0, 0);
       }},
  };
}

}  // namespace fusewire::oracle
