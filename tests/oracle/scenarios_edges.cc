#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;

std::vector<Scenario> edge_scenarios() {
  return {
      {"trailing_slashes",
       {},
       [](User& u) {
         u.mkdir("new/");
         u.stat("new/");
         u.stat("file/");
         u.unlink("file/");
         u.unlink("new/");
         u.open("other/", O_RDWR | O_CREAT);
         u.open("file/", O_RDONLY);
         u.mknod("fifo/", S_IFIFO | 0600);
         u.symlink("file", "soft/");
         u.link("file", "hard/");
         u.rename("file", "moved/");
         u.rename("new/", "moved/");
         u.rmdir("moved/");
         u.rmdir("dirlink/");
         u.stat("missing/");
       }},
      {"slashes_and_dots",
       {},
       [](User& u) {
         u.stat("dir//inner");
         u.stat("./dir/./inner");
         u.stat("dir/../dir/../file");
         u.stat("dir/.");
         u.stat("dir/..");
         u.unlink("dir/.");
         u.mkdir("dir/..");
         u.rename("dir/.", "x");
         u.rename("file", "dir/..");
         u.open("dir/..", O_RDWR | O_CREAT);
       }},
      {"symlinks_at_the_end",
       {.seeds = {{"absent", 0120777, "nothing"}}},
       [](User& u) {
         u.chmod("link", 0600);
         u.truncate("link", 3);
         u.utimens("link", {5, 0}, {6, 0});
         u.access("link", R_OK);
         u.link("link", "hardlink");
         u.lstat("hardlink");
         u.rename("link", "moved");
         u.lstat("moved");
         u.unlink("moved");
         u.stat("absent");
         u.lstat("absent");
         u.mkdir("absent");
         u.rmdir("dirlink");
         u.close(u.open("dirlink", O_RDONLY | O_DIRECTORY));
         u.open("dirlink", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
         u.close(u.open("dirlink", O_PATH | O_NOFOLLOW));
       }},
      {"open_flags_that_exclude_each_other",
       {},
       [](User& u) {
         u.open("new", O_RDWR | O_CREAT | O_DIRECTORY);
         u.close(u.open("file", O_RDONLY | O_TRUNC));
         u.stat("file");
         u.open("dir", O_RDONLY | O_TRUNC);
         u.open("dir", O_RDONLY | O_CREAT);
         u.close(u.open("file", O_RDWR | O_NOATIME));
       }},
      {"calls_on_the_wrong_descriptor",
       {},
       [](User& u) {
         const int d = u.open("dir", O_RDONLY);
         u.write(d, "x");
         u.ftruncate(d, 0);
         u.fallocate(d, 0, 0, 10);
         u.lseek(d, 2, SEEK_SET);
         u.lseek(d, 0, SEEK_CUR);
         u.fchmod(d, 0700);
         u.close(d);
         const int f = u.open("file", O_RDONLY);
         u.getdents(f);
         u.ftruncate(f, 0);
         u.fallocate(f, 0, 0, 10);
         u.fsync(f);
         u.close(f);
         const int p = u.open("file", O_PATH);
         u.write(p, "x");
         u.fchmod(p, 0700);
         u.ftruncate(p, 0);
         u.fsync(p);
         u.lseek(p, 0, SEEK_SET);
         u.setlk(p, F_RDLCK, 0, 0);
         u.flock(p, 1);
         u.close(p);
       }},
      {"arguments_out_of_range",
       {},
       [](User& u) {
         const int f = u.open("file", O_RDWR);
         u.ftruncate(f, -1);
         u.fallocate(f, 0, -1, 10);
         u.fallocate(f, 0, 0, 0);
         u.fallocate(f, 0x80, 0, 10);
         u.lseek(f, INT64_MAX, SEEK_SET);
         u.lseek(f, 1, SEEK_CUR);
         u.write(f, "");
         u.read(f, 0);
         u.flock(f, 0);
         u.close(f);
         u.access("file", 8);
         u.mknod("x", 0140000 | 0600);
         u.mknod("y", 0030000 | 0600);
         u.mknod("z", S_IFDIR | 0700);
         u.rename("file", "x", 4);
       }},
      {"xattr_names_and_namespaces",
       {},
       [](User& u) {
         static const std::string longest(255, 'n'), longer(256, 'n');
         u.setxattr("file", "", "v");
         u.setxattr("file", longest.c_str(), "v");
         u.setxattr("file", longer.c_str(), "v");
         u.setxattr("file", "strange.name", "v");
         u.setxattr("file", "user.flags", "v", 3);
         u.setxattr("file", "user.flags", "v", 4);
         u.mknod("fifo", S_IFIFO | 0600);
         u.setxattr("fifo", "user.one", "v");
         u.getxattr("fifo", "user.one");
         u.getxattr("file", "security.selinux");
         u.getxattr("file", "trusted.one");
         u.getxattr("file", "user.big", 70000);
         u.listxattr("file", 70000);
       }},
      {"xattr_of_another_user",
       {.allow_other = true},
       [](User& u) {
         u.become(1000, 1000);
         u.setxattr("file", "user.one", "v");
         u.getxattr("file", "user.one");
         u.setxattr("file", "trusted.one", "v");
         u.getxattr("file", "trusted.one");
         u.listxattr("file");
       }},
      {"default_permissions_rename_and_sticky",
       {.default_permissions = true,
        .allow_other = true,
        .seeds = {{"tmp", 0041777, ""},
                  {"tmp/mine", 0100644, "m", 1000, 1000},
                  {"tmp/theirs", 0100644, "t", 0, 0},
                  {"own", 0040755, "", 1000, 1000},
                  {"own/suid", 0104755, "s", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         u.unlink("tmp/theirs");
         u.rename("tmp/theirs", "tmp/x");
         u.rename("tmp/mine", "tmp/x");
         u.unlink("tmp/x");
         u.chown("own/suid", 1000, 1000);
         u.chown("own/suid", 0, UINT32_MAX);
         u.truncate("own/suid", 0);
         u.utimens("file", {0, utime_now}, {0, utime_now});
         u.utimens("own/suid", {1, 0}, {2, 0});
         u.link("tmp/theirs", "own/hard");
         u.mkdir("own/new", 0700);
         u.rmdir("own/new");
       }},
      {"writes_by_another_user_clear_suid",
       {.init_flags = wire::init_flag::big_writes | wire::init_flag::handle_killpriv_v2,
        .allow_other = true,
        .seeds = {{"suid", 0104777, "s", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         const int h = u.open("suid", O_RDWR);
         u.write(h, "x");
         u.ftruncate(h, 0);
         u.close(h);
         u.stat("suid");
       }},
      {"writes_without_killpriv",
       {.init_flags = wire::init_flag::big_writes, .allow_other = true, .seeds = {{"suid", 0104777, "s", 1000, 1000}}},
       [](User& u) {
         u.become(1000, 1000);
         const int h = u.open("suid", O_RDWR);
         u.write(h, "x");
         u.write(h, "y");
         u.ftruncate(h, 0);
         u.close(h);
         u.stat("suid");
         const int f = u.open("file", O_RDWR);
         u.write(f, "x");
         u.write(f, "y");
         u.close(f);
       }},
      {"directories_of_others_and_setgid",
       {.default_permissions = true, .seeds = {{"group", 0042775, "", 0, 50}}},
       [](User& u) {
         u.mkdir("group/sub");
         u.stat("group/sub");
         u.close(u.open("group/new", O_RDWR | O_CREAT, 02755));
         u.stat("group/new");
       }},
      {"unlink_and_make_again",
       {},
       [](User& u) {
         u.unlink("file");
         u.close(u.open("file", O_RDWR | O_CREAT, 0600));
         u.stat("file");
         u.rmdir("empty");
         u.symlink("file", "empty");
         u.lstat("empty");
         u.rename("file", "empty");
         u.lstat("empty");
       }},
      {"a_directory_is_renamed_with_all_below",
       {},
       [](User& u) {
         u.stat("dir/inner");
         u.rename("dir", "empty/moved");
         u.stat("empty/moved/inner");
         u.stat("dir/inner");
         const int h = u.open("empty/moved/inner", O_RDONLY);
         u.rename("empty", "top");
         u.read(h, 5);
         u.stat("top/moved/inner");
         u.close(h);
       }},
      {"a_directory_is_removed_while_open",
       {},
       [](User& u) {
         const int h = u.open("empty", O_RDONLY | O_DIRECTORY);
         u.rmdir("empty");
         u.getdents(h);
         u.fstat(h);
         u.close(h);
       }},
  };
}

}  // namespace fusewire::oracle
