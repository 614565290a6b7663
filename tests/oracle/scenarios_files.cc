#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;
namespace fopen_flag = wire::fopen_flag;
namespace init_flag = wire::init_flag;

std::vector<Scenario> file_scenarios() {
  return {
      {"open_filters_flags",
       {},
       [](User& u) {
         u.close(u.open("file", O_RDONLY));
         u.close(u.open("file", O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC));
         u.close(u.open("file", O_RDWR | O_APPEND | O_NONBLOCK));
         u.close(u.open("dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
         u.open("dir", O_RDWR);
         u.open("file", O_RDONLY | O_DIRECTORY);
         u.open("link", O_RDONLY | O_NOFOLLOW);
       }},
      {"open_of_o_path_asks_nothing",
       {},
       [](User& u) {
         const int h = u.open("file", O_PATH);
         u.fstat(h);
         u.read(h, 5);
         u.close(h);
       }},
      {"open_errors",
       {.rules = {{Opcode::open, "file", fail(EACCES)}, {Opcode::open, "private", fail(ENOENT)}}},
       [](User& u) {
         u.open("file", O_RDONLY);
         u.open("private", O_RDONLY);
         u.stat("private");
         u.open("missing", O_RDONLY);
       }},
      {"open_truncating_without_atomic_o_trunc",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR | O_TRUNC);
         u.fstat(h);
         u.close(h);
       }},
      {"open_truncating_with_atomic_o_trunc",
       {.init_flags = flags::usual | init_flag::atomic_o_trunc},
       [](User& u) {
         const int h = u.open("file", O_RDWR | O_TRUNC);
         u.fstat(h);
         u.close(h);
       }},
      {"open_enosys_is_learnt",
       {.rules = {{Opcode::open, "", fail(ENOSYS)}}},
       [](User& u) {
         const int h = u.open("empty", O_RDONLY);
         u.close(h);
         const int f = u.open("file", O_WRONLY);
         u.close(f);
         const int g = u.open("private", O_WRONLY);
         u.close(g);
       }},

      {"read_is_one_request_with_direct_io",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.read(h, 5);
         u.read(h, 100);
         u.read(h, 100);
         u.read(h, 5, 3);
         u.read(h, 5, 1000);
         u.read(h, 0);
         u.write(h, "no");
         u.close(h);
       }},
      {"read_errors",
       {.rules = {{Opcode::read, "file", fail(EIO)}}},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.read(h, 5);
         u.close(h);
         const int d = u.open("dir", O_RDONLY);
         u.read(d, 5);
         u.close(d);
       }},
      {"write_is_one_request_with_direct_io",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.write(h, "HELLO");
         u.write(h, " ");
         u.write(h, "tail", 20);
         u.read(h, 100, 0);
         u.fstat(h);
         u.read(h, 4);
         u.close(h);
       }},
      {"write_splits_by_max_write",
       {.max_write = 8192},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.write(h, std::string(20000, 'w'), 0);
         u.fstat(h);
         u.close(h);
       }},
      {"read_splits_by_max_read",
       {.max_read = 8192, .seeds = {{"big", 0100644, std::string(20000, 'r')}}},
       [](User& u) {
         const int h = u.open("big", O_RDONLY);
         u.read(h, 30000, 0);
         u.close(h);
       }},
      {"write_short_reply_ends_the_write",
       {.rules = {{Opcode::write, "",
                   edit<wire::WriteOut>("3 bytes only", [](wire::WriteOut& out) { out.size = 3; })}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.write(h, "HELLO", 0);
         u.close(h);
       }},
      {"write_reply_of_more_than_was_sent_is_eio",
       {.rules = {{Opcode::write, "", edit<wire::WriteOut>("too much", [](wire::WriteOut& out) { out.size = 99; })}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.write(h, "HELLO", 0);
         u.close(h);
       }},
      {"write_errors",
       {.rules = {{Opcode::write, "", fail(ENOSPC)}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.write(h, "HELLO");
         u.read(h, 5);
         u.close(h);
       }},
      {"append_writes_at_the_known_end",
       {},
       [](User& u) {
         const int h = u.open("file", O_WRONLY | O_APPEND);
         u.write(h, " and");
         u.write(h, " more");
         u.lseek(h, 0, SEEK_CUR);
         u.close(h);
         u.stat("file");
       }},
      {"lseek_end_uses_cached_attributes",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.lseek(h, 3, SEEK_SET);
         u.lseek(h, 2, SEEK_CUR);
         u.lseek(h, 0, SEEK_END);
         u.lseek(h, -100, SEEK_SET);
         u.lseek(h, 0, 9);
         u.close(h);
       }},
      {"lseek_end_refreshes_the_size_when_attributes_are_old",
       {.attr_valid = 0},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.lseek(h, 0, SEEK_SET);
         u.daemon("grows file", [](TreeDaemon& d) { d.set_content("file", "much longer than it was"); });
         u.lseek(h, 0, SEEK_END);
         u.write(h, "tail");
         u.close(h);
       }},
      {"lseek_data_and_hole_ask",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.lseek(h, 0, SEEK_DATA);
         u.lseek(h, 0, SEEK_HOLE);
         u.lseek(h, 100, SEEK_DATA);
         u.close(h);
       }},
      {"lseek_enosys_is_learnt",
       {.rules = {{Opcode::lseek, "", fail(ENOSYS)}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.lseek(h, 2, SEEK_DATA);
         u.lseek(h, 2, SEEK_HOLE);
         u.lseek(h, 100, SEEK_DATA);
         u.close(h);
       }},
      {"lseek_of_a_nonseekable_file",
       {.fopen_flags = fopen_flag::direct_io | fopen_flag::nonseekable},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.lseek(h, 0, SEEK_SET);
         u.read(h, 5);
         u.close(h);
       }},

      {"flush_at_every_close_release_at_the_last",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         const int g = u.dup(h);
         u.close(h);
         u.read(g, 5);
         u.close(g);
       }},
      {"flush_error_is_the_result_of_close",
       {.rules = {{Opcode::flush, "", fail(EDQUOT)}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.close(h);
       }},
      {"flush_enosys_is_learnt",
       {.rules = {{Opcode::flush, "", fail(ENOSYS)}}},
       [](User& u) {
         u.close(u.open("file", O_WRONLY));
         u.close(u.open("file", O_WRONLY));
       }},
      {"flush_is_left_out_with_noflush",
       {.fopen_flags = fopen_flag::direct_io | fopen_flag::noflush},
       [](User& u) { u.close(u.open("file", O_WRONLY)); }},
      {"release_error_is_ignored",
       {.rules = {{Opcode::release, "", fail(EIO)}}},
       [](User& u) { u.close(u.open("file", O_WRONLY)); }},
      {"fsync_and_fdatasync",
       {},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.fsync(h);
         u.fsync(h, true);
         u.close(h);
         const int d = u.open("dir", O_RDONLY);
         u.fsync(d);
         u.close(d);
       }},
      {"fsync_enosys_is_learnt",
       {.rules = {{Opcode::fsync, "", fail(ENOSYS)}, {Opcode::fsyncdir, "", fail(ENOSYS)}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.fsync(h);
         u.fsync(h);
         u.close(h);
         const int d = u.open("dir", O_RDONLY);
         u.fsync(d);
         u.fsync(d);
         u.close(d);
       }},
      {"fsync_error",
       {.rules = {{Opcode::fsync, "", fail(EIO)}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.fsync(h);
         u.close(h);
       }},
      {"fallocate_modes",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.fallocate(h, 0, 0, 100);
         u.fstat(h);
         u.fallocate(h, 3, 0, 4);
         u.fallocate(h, 8, 0, 4096);
         u.close(h);
       }},
      {"fallocate_enosys_is_learnt",
       {.rules = {{Opcode::fallocate, "", fail(ENOSYS)}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.fallocate(h, 0, 0, 100);
         u.fallocate(h, 0, 0, 100);
         u.close(h);
       }},

      {"posix_locks_are_forwarded",
       {.init_flags = flags::usual | init_flag::posix_locks},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.setlk(h, F_WRLCK, 2, 4);
         u.setlk(h, F_RDLCK, 0, 0, true);
         u.getlk(h, F_WRLCK, 0, 10);
         u.setlk(h, F_UNLCK, 0, 0);
         u.close(h);
       }},
      {"posix_locks_are_local_without_the_flag",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.setlk(h, F_WRLCK, 2, 4);
         u.getlk(h, F_WRLCK, 0, 10);
         u.setlk(h, F_UNLCK, 0, 0);
         u.close(h);
       }},
      {"posix_lock_errors",
       {.init_flags = flags::usual | init_flag::posix_locks,
        .rules = {{Opcode::setlk, "", fail(EAGAIN)}, {Opcode::getlk, "", fail(ENOSYS)}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.setlk(h, F_WRLCK, 2, 4);
         u.getlk(h, F_WRLCK, 0, 10);
         u.close(h);
         const int r = u.open("file", O_RDONLY);
         u.setlk(r, F_WRLCK, 2, 4);
         u.close(r);
       }},
      {"getlk_reply_is_checked",
       {.init_flags = flags::usual | init_flag::posix_locks,
        .rules = {{Opcode::getlk, "", edit<wire::LkOut>("type 9", [](wire::LkOut& out) { out.lk.type = 9; })}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.getlk(h, F_WRLCK, 0, 10);
         u.close(h);
       }},
      {"flock_is_forwarded_and_released",
       {.init_flags = flags::usual | init_flag::flock_locks},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.flock(h, LOCK_EX | LOCK_NB);
         u.flock(h, LOCK_SH);
         // Both open at once: Linux may give a later file the owner of one that is closed.
         const int g = u.open("file", O_RDWR);
         u.close(h);
         u.flock(g, LOCK_EX);
         u.flock(g, LOCK_UN);
         u.close(g);
       }},
      {"flock_is_local_without_the_flag",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.flock(h, LOCK_EX | LOCK_NB);
         u.close(h);
       }},
  };
}

}  // namespace fusewire::oracle
