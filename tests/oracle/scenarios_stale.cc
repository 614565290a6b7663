#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::AttrOut;
using wire::EntryOut;
using wire::Opcode;

std::vector<Scenario> stale_scenarios() {
  return {
      {"estale_is_tried_again_from_the_start_of_the_path",
       {.seeds = {{"gone", 0100644, ""}, {"moved", 0100644, ""}},
        .rules = {{Opcode::open, "file", fail(ESTALE), 1},
                  {Opcode::getattr, "private", fail(ESTALE), 1},
                  {Opcode::mkdir, "new", fail(ESTALE), 1},
                  {Opcode::lookup, "inner", fail(ESTALE), 1},
                  {Opcode::unlink, "gone", fail(ESTALE), 1},
                  {Opcode::rename, "moved", fail(ESTALE), 1},
                  {Opcode::setattr, "dir", fail(ESTALE), 1},
                  {Opcode::getxattr, "link", fail(ESTALE)},
                  {Opcode::readlink, "dirlink", fail(ESTALE), 1}}},
       [](User& u) {
         u.close(u.open("file", O_RDONLY));
         u.stat("private");
         u.inval_inode(8, -1, 0);
         u.stat("private");
         u.mkdir("dir/../new");
         u.stat("dir/inner");
         u.unlink("gone");
         u.rename("moved", "moved2");
         u.chmod("dir", 0700);
         u.readlink("dirlink");
       }},
      {"estale_for_ever",
       {.rules = {{Opcode::open, "", fail(ESTALE)},
                  {Opcode::rmdir, "", fail(ESTALE)},
                  {Opcode::lookup, "nothing", fail(ESTALE)},
                  {Opcode::create, "", fail(ESTALE)}}},
       [](User& u) {
         u.open("dir/inner", O_RDONLY);
         u.rmdir("empty");
         u.stat("nothing");
         u.open("nothing", O_RDWR);
         u.open("new", O_RDWR | O_CREAT);
       }},
      {"estale_on_an_open_file_is_its_answer",
       {.attr_valid = 0, .rules = {{Opcode::getattr, "file", fail(ESTALE)}, {Opcode::read, "file", fail(ESTALE)}}},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.fstat(h);
         u.read(h, 5);
         u.close(h);
       }},
      {"statx_sync_flags",
       {},
       [](User& u) {
         u.stat("file");
         u.statx("file", 0x2000);
         u.daemon("file grows", [](TreeDaemon& d) { d.set_content("file", "hello world, hello"); });
         u.statx("file", 0x4000);
         u.statx("file", 0x2000);
         u.statx("file", 0, 0);
         u.statx("file", 0, 0x200);
         u.statx("file", 0x6000);
         u.statx("file", 0, 0x80000000);
       }},
      {"statx_masks_of_doubtful_bits",
       {.fopen_flags = wire::fopen_flag::direct_io},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.read(h, 5);
         u.statx("file", 0, 0x200);
         u.statx("file", 0, 0x20);
         u.write(h, "x");
         u.statx("file", 0, 0x2);
         u.statx("file", 0, 0x200);
         u.close(h);
       }},
      {"statx_reply_without_the_basic_stats",
       {.rules = {{Opcode::statx, "file",
                   edit<wire::StatxOut>("mask 0x201", [](wire::StatxOut& o) { o.stat.mask = 0x201; }), 1},
                  {Opcode::statx, "private",
                   edit<wire::StatxOut>("a directory", [](wire::StatxOut& o) { o.stat.mode = S_IFDIR | 0755; }), 1}}},
       [](User& u) {
         u.statx_btime("file");
         u.statx_btime("file");
         u.statx_btime("private");
         u.stat("private");
       }},
      {"notify_delete_of_an_open_file",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.fstat(h);
         u.delete_entry(1, 2, "file");
         u.fstat(h);
         u.read(h, 5);
         u.close(h);
         u.stat("file");
       }},
      {"notify_delete_of_directories",
       {},
       [](User& u) {
         u.stat("dir/inner");
         const int d = u.open("dir", O_RDONLY);
         u.delete_entry(1, 3, "dir");
         u.getdents(d);
         u.fstat(d);
         u.close(d);
         const int i = u.open("dir/inner", O_RDONLY);
         u.delete_entry(1, 3, "dir");
         u.stat("dir");
         u.close(i);
         u.delete_entry(1, 5, "empty");
         u.delete_entry(1, 0, "link");
         u.delete_entry(2, 0, "link");
       }},
      {"names_of_notifications",
       {},
       [](User& u) {
         static const std::string longest(1025, 'n');
         u.stat("file");
         u.inval_entry(1, "");
         u.inval_entry(1, "fil");
         u.inval_entry(1, "file", 2);
         u.stat("file");
         u.inval_inode(0, 0, 0);
         u.inval_inode(1, 0, 0);
         u.stat(".");
       }},
      {"store_grows_the_file",
       {.fopen_flags = 0},
       [](User& u) {
         u.stat("file");
         u.store(77, 0, "x");
         u.store(3, 0, "x");
         u.stat("dir");
         u.store(3, 0, "x");
         u.store(2, 5, "hello");
         u.statx("file", 0x4000);
         u.store(2, 100, "hello");
         u.statx("file", 0x4000);
         u.stat("file");
       }},
      {"readdirplus_sees_a_node_of_another_type",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus,
        .rules = {{Opcode::getattr, "inner",
                   edit<AttrOut>("a directory", [](AttrOut& a) { a.attr.mode = S_IFDIR | 0755; }), 1}}},
       [](User& u) {
         u.stat("dir/inner");
         u.inval_inode(4, -1, 0);
         u.stat("dir/inner");
         u.list("dir");
         u.stat("dir/inner");
       }},
      {"readdirplus_changes_what_is_known",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus},
       [](User& u) {
         const int h = u.open("dir/inner", O_RDONLY);
         u.daemon("inner grows", [](TreeDaemon& d) { d.set_content("dir/inner", "inner, longer"); });
         u.list("dir");
         u.fstat(h);
         u.daemon("inner is another", [](TreeDaemon& d) { d.replace("dir/inner"); });
         u.list("dir");
         u.stat("dir/inner");
         u.fstat(h);
         u.close(h);
       }},
      {"readdirplus_counts_every_lookup",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus},
       [](User& u) {
         u.stat("dir/inner");
         u.list("dir");
         u.list("dir");
         u.inval_entry(3, "inner");
         u.list("dir");
         u.inval_entry(1, "dir");
       }},
      {"create_flags_and_permission",
       {.attr_valid = 0, .default_permissions = true},
       [](User& u) {
         u.close(u.open("new", O_RDWR | O_CREAT | O_EXCL | O_TRUNC, 0600));
         u.close(u.open("new", O_RDWR | O_CREAT | O_TRUNC, 0600));
         u.close(u.open("dir/other", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600));
         u.open("new", O_RDWR | O_CREAT | O_EXCL, 0600);
       }},
      {"create_without_permission",
       {.attr_valid = 0, .default_permissions = true, .allow_other = true},
       [](User& u) {
         u.become(1000, 1000);
         u.open("new", O_RDWR | O_CREAT, 0600);
         u.open("file", O_RDWR | O_CREAT, 0600);
         u.close(u.open("file", O_RDONLY | O_CREAT, 0600));
         u.open("new", O_RDWR | O_CREAT | O_EXCL, 0600);
         u.open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
         u.mkdir("new");
         u.mkdir("dir");
         u.unlink("file");
         u.unlink("missing");
         u.rename("file", "new");
         u.link("file", "new");
         u.symlink("x", "new");
       }},
      {"create_reply_that_cannot_be",
       {.rules = {{Opcode::create, "one", edit<EntryOut>("nodeid 0", [](EntryOut& e) { e.nodeid = 0; })},
                  {Opcode::create, "two", edit<EntryOut>("nodeid 1", [](EntryOut& e) { e.nodeid = 1; })},
                  {Opcode::create, "three", edit<EntryOut>("nodeid of file", [](EntryOut& e) { e.nodeid = 2; })},
                  {Opcode::create, "four", edit<EntryOut>("huge", [](EntryOut& e) { e.attr.size = UINT64_MAX; })}}},
       [](User& u) {
         u.stat("file");
         u.open("one", O_RDWR | O_CREAT);
         u.open("two", O_RDWR | O_CREAT);
         u.close(u.open("three", O_RDWR | O_CREAT));
         u.open("four", O_RDWR | O_CREAT);
         u.unlink("three");
         u.inval_entry(1, "file");
       }},
      {"tmpfile",
       {},
       [](User& u) {
         const int h = u.open("dir", O_RDWR | O_TMPFILE, 0640);
         u.write(h, "temporary");
         u.fstat(h);
         u.close(h);
         u.open("file", O_RDWR | O_TMPFILE, 0640);
         u.open("dir", O_RDONLY | O_TMPFILE, 0640);
       }},
      {"tmpfile_enosys_is_learnt",
       {.rules = {{Opcode::tmpfile, "", fail(ENOSYS)}}},
       [](User& u) {
         u.open("dir", O_RDWR | O_TMPFILE, 0640);
         u.open("dir", O_RDWR | O_TMPFILE, 0640);
       }},
      {"generations",
       {.entry_valid = 0,
        .rules = {{Opcode::lookup, "file", edit<EntryOut>("generation 2", [](EntryOut& e) { e.generation = 2; }), 1},
                  {Opcode::lookup, "private",
                   edit<EntryOut>("generation 2^32+1", [](EntryOut& e) { e.generation = (1ull << 32) + 1; }), 1}}},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.stat("file");
         u.fstat(h);
         u.read(h, 5);
         u.close(h);
         u.stat("private");
         u.stat("private");
       }},
      {"a_bad_inode_is_eio_everywhere",
       {
           .rules = {{Opcode::getattr, "dir", edit<AttrOut>("a file", [](AttrOut& a) { a.attr.mode = S_IFREG | 0755; }),
                      1}},
       },
       [](User& u) {
         const int d = u.open("dir", O_RDONLY);
         u.inval_inode(3, -1, 0);
         u.fstat(d);
         u.getdents(d);
         u.fsync(d);
         u.fchmod(d, 0700);
         u.close(d);
         u.stat("dir/inner");
         u.stat("dir");
       }},
      {"a_bad_file_is_eio_everywhere",
       {.rules = {{Opcode::getattr, "file",
                   edit<AttrOut>("a directory", [](AttrOut& a) { a.attr.mode = S_IFDIR | 0755; }), 1}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.inval_inode(2, -1, 0);
         u.fstat(h);
         u.read(h, 5);
         u.write(h, "x");
         u.fsync(h);
         u.ftruncate(h, 0);
         u.fchmod(h, 0600);
         u.futimens(h, {1, 0}, {2, 0});
         u.fallocate(h, 0, 0, 10);
         u.setlk(h, F_WRLCK, 0, 0);
         u.flock(h, 2);
         u.lseek(h, 0, SEEK_END);
         u.lseek(h, 0, SEEK_DATA);
         u.close(h);
         u.stat("file");
       }},
      {"setattr_replies_that_lie",
       {.rules = {{Opcode::setattr, "file", edit<AttrOut>("mode 0", [](AttrOut& a) { a.attr.mode = 0; }), 1},
                  {Opcode::setattr, "private", edit<AttrOut>("huge", [](AttrOut& a) { a.attr.size = UINT64_MAX; }),
                   1}}},
       [](User& u) {
         u.chmod("file", 0600);
         u.stat("file");
         u.truncate("private", 3);
         u.stat("private");
       }},
      {"operations_make_attributes_doubtful",
       {},
       [](User& u) {
         u.stat("file");
         u.stat("dir");
         u.link("file", "dir/hard");
         u.stat("file");
         u.stat("dir");
         u.setxattr("file", "user.a", "v");
         u.stat("file");
         u.removexattr("file", "user.a");
         u.stat("file");
         u.rename("file", "dir/moved");
         u.stat("dir/moved");
         u.stat("dir");
         u.symlink("x", "dir/soft");
         u.stat("dir");
         u.mknod("dir/fifo", S_IFIFO | 0600);
         u.stat("dir");
         u.rmdir("empty");
         u.stat(".");
         u.readlink("link");
         u.lstat("link");
         u.list("dir");
         u.stat("dir");
         u.utimens("dir/moved", {1, 0}, {2, 0});
         u.stat("dir/moved");
         u.unlink("dir/hard");
         u.stat("dir/moved");
         u.stat("dir");
       }},
      {"a_removed_directory_holds_nothing",
       {},
       [](User& u) {
         const int d = u.open("empty", O_RDONLY);
         u.rmdir("empty");
         u.getdents(d);
         u.fstat(d);
         u.fchmod(d, 0700);
         u.lseek(d, 0, SEEK_SET);
         u.fsync(d);
         u.close(d);
       }},
      {"readlink_with_cache_symlinks_cuts_at_the_size",
       {.init_flags = flags::usual | wire::init_flag::cache_symlinks,
        .rules = {{Opcode::lookup, "link", edit<EntryOut>("size 2", [](EntryOut& e) { e.attr.size = 2; })},
                  {Opcode::lookup, "dirlink", edit<EntryOut>("size 0", [](EntryOut& e) { e.attr.size = 0; })}}},
       [](User& u) {
         u.readlink("link");
         u.readlink("dirlink");
         u.stat("dirlink");
       }},
      {"readlink_errors",
       {.rules = {{Opcode::readlink, "link", fail(EIO), 1}, {Opcode::readlink, "dirlink", fail(ENOSYS)}}},
       [](User& u) {
         u.readlink("link");
         u.readlink("link", 2);
         u.readlink("dirlink");
         u.readlink("file");
         u.readlink(".");
       }},
      {"attributes_with_odd_times_and_sizes",
       {.rules = {{Opcode::lookup, "file",
                   edit<EntryOut>("odd",
                                  [](EntryOut& e) {
                                    e.attr.atime = static_cast<uint64_t>(-5);
                                    e.attr.atimensec = UINT32_MAX;
                                    e.attr.mtime = 1ull << 40;
                                    e.attr.mtimensec = 2'000'000'000;
                                    e.attr.blksize = 1000;
                                    e.attr.nlink = 0;
                                    e.attr.blocks = UINT64_MAX;
                                  })},
                  {Opcode::lookup, "private",
                   edit<EntryOut>("for ever",
                                  [](EntryOut& e) {
                                    e.attr_valid = e.entry_valid = UINT64_MAX;
                                    e.attr_valid_nsec = e.entry_valid_nsec = UINT32_MAX;
                                  })}}},
       [](User& u) {
         u.stat("file");
         u.stat("private");
         u.stat("private");
         u.link("file", "hard");
       }},
      {"negative_names_end_with_their_creation",
       {.negative_valid = 1000},
       [](User& u) {
         u.stat("new");
         u.stat("new");
         u.mkdir("new");
         u.rmdir("new");
         u.stat("new");
         u.stat("target");
         u.rename("file", "target");
         u.stat("file");
         u.link("target", "file");
         u.stat("neg");
         u.open("neg", O_RDONLY);
         u.symlink("x", "neg");
         u.rename("missing", "elsewhere");
         u.unlink("missing");
         u.rmdir("missing");
       }},
      {"negative_names_that_the_daemon_has_made_meanwhile",
       {.negative_valid = 1000,
        .rules = {{Opcode::create, "new", fail(EEXIST), 1}, {Opcode::mkdir, "dir2", fail(EEXIST), 1}}},
       [](User& u) {
         u.stat("new");
         u.open("new", O_RDWR | O_CREAT);
         u.stat("new");
         u.stat("dir2");
         u.mkdir("dir2");
         u.stat("dir2");
       }},
      {"removals_answered_eintr",
       {.rules = {{Opcode::unlink, "file", fail(EINTR), 1},
                  {Opcode::rename, "dir", fail(EINTR), 1},
                  {Opcode::link, "hard", fail(EINTR), 1},
                  {Opcode::setattr, "private", fail(EINTR), 1},
                  {Opcode::mkdir, "new", fail(EINTR), 1}}},
       [](User& u) {
         u.unlink("file");
         u.stat("file");
         u.rename("dir", "empty");
         u.stat("dir");
         u.stat("empty");
         u.link("private", "hard");
         u.stat("private");
         u.chmod("private", 0644);
         u.stat("private");
         u.mkdir("new");
         u.stat("new");
       }},
      {"rename_answers",
       {.init_flags = flags::usual,
        .rules = {{Opcode::rename, "file", fail(EXDEV), 1},
                  {Opcode::rename, "file", fail(ENOTEMPTY), 1},
                  {Opcode::rename2, "file", fail(EINVAL), 1}}},
       [](User& u) {
         u.rename("file", "private");
         u.rename("file", "private");
         u.rename("file", "empty");
         u.rename("dir", "file");
         u.rename("empty", "dir");
         u.rename("file", "new", 1);
         u.rename("file", "new", 1);
         u.rename("new", "private", 2);
         u.rename("new", "new");
         u.rename("dir", "dirlink/x");
         u.rename("new", "x", 8);
         u.rename("new", "x", 3);
       }},
      {"readdir_records_of_all_lengths",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus | wire::init_flag::readdirplus_auto,
        .entry_valid = 1000,
        .seeds = {{std::string(255, 'l'), 0100644, ""}, {"x", 0100644, ""}, {"12345", 0100644, ""}}},
       [](User& u) {
         const int d = u.open(".", O_RDONLY);
         u.getdents(d, 300);
         u.getdents(d, 300);
         u.getdents(d, 4096);
         u.getdents(d, 4096);
         u.lseek(d, 0, SEEK_SET);
         u.getdents(d, 200);
         u.close(d);
         u.stat("x");
         u.list(".");
       }},
      {"opendir_flags",
       {.fopen_flags = wire::fopen_flag::direct_io | wire::fopen_flag::nonseekable},
       [](User& u) {
         const int d = u.open("dir", O_RDONLY | O_DIRECTORY);
         u.getdents(d, 30);
         u.lseek(d, 0, SEEK_SET);
         u.lseek(d, 0, SEEK_CUR);
         u.read(d, 5, 0);
         u.getdents(d);
         u.close(d);
       }},
  };
}

}  // namespace fusewire::oracle
