#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;

namespace {

void write_with_o_sync(User& u) {
  int h = u.open("file", O_WRONLY | O_SYNC);
  u.write(h, "a");
  u.write(h, "");
  u.close(h);
  h = u.open("file", O_WRONLY | O_DSYNC | O_APPEND);
  u.write(h, "b");
  u.close(h);
}

}  // namespace

std::vector<Scenario> data_scenarios() {
  return {
      {"cached_writes_of_all_sizes",
       {.fopen_flags = wire::fopen_flag::keep_cache},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.write(h, std::string(4096, 'a'), 0);
         u.write(h, std::string(4097, 'b'), 0);
         u.write(h, "x", 4095);
         u.write(h, "far", 100000);
         u.read(h, 10, 99998);
         u.close(h);
       }},
      {"cached_writes_without_big_writes",
       {.init_flags = wire::init_flag::parallel_dirops | wire::init_flag::handle_killpriv_v2, .fopen_flags = 0},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.write(h, "0123456789", 4090);
         u.close(h);
       }},
      {"cached_write_errors",
       {.fopen_flags = 0,
        .rules = {{Opcode::write, "", fail(ENOSPC), 1},
                  {Opcode::write, "", edit<wire::WriteOut>("size 0", [](wire::WriteOut& w) { w.size = 0; }), 1},
                  {Opcode::write, "", edit<wire::WriteOut>("size 2", [](wire::WriteOut& w) { w.size = 2; }), 1},
                  {Opcode::write, "", edit<wire::WriteOut>("size 100", [](wire::WriteOut& w) { w.size = 100; }), 1},
                  {Opcode::write, "", fail(EINTR), 1}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         for (int i = 0; i < 5; ++i) u.write(h, "12345");
         u.lseek(h, 0, SEEK_CUR);
         u.stat("file");
         u.close(h);
       }},
      {"writes_with_o_sync", {}, write_with_o_sync},
      {"cached_writes_with_o_sync", {.fopen_flags = 0}, write_with_o_sync},
      {"cached_writes_with_o_sync_and_a_failing_fsync",
       {.fopen_flags = 0, .rules = {{Opcode::fsync, "", fail(EIO)}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY | O_SYNC);
         u.write(h, "a");
         u.lseek(h, 0, SEEK_CUR);
         u.close(h);
       }},
      {"writes_with_o_sync_and_a_failing_fsync",
       {.rules = {{Opcode::fsync, "", fail(EIO)}}},
       [](User& u) {
         const int h = u.open("file", O_WRONLY | O_SYNC);
         u.write(h, "a");
         u.lseek(h, 0, SEEK_CUR);
         u.close(h);
       }},
      {"short_reads_shrink_the_file",
       {.fopen_flags = 0, .rules = {{Opcode::read, "", shorter(4), 1}}},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.read(h, 100);
         u.statx("file", 0x4000);
         u.read(h, 100);
         u.close(h);
       }},
      {"append_with_another_writer",
       {.fopen_flags = 0},
       [](User& u) {
         const int a = u.open("file", O_WRONLY | O_APPEND), b = u.open("file", O_WRONLY);
         u.write(b, "0123456789abcdef");
         u.write(a, "end");
         u.ftruncate(b, 2);
         u.write(a, "end");
         u.write(a, "!", 0);
         u.lseek(a, 0, SEEK_CUR);
         u.close(a);
         u.close(b);
       }},
      {"posix_locks_of_ranges",
       {.init_flags = flags::usual},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.setlk(h, F_WRLCK, 0, 10);
         u.setlk(h, F_RDLCK, 5, 10);
         u.getlk(h, F_WRLCK, 0, 0);
         u.setlk(h, F_UNLCK, 3, 4);
         u.setlk(h, F_WRLCK, 0, 0, true);
         u.setlk(h, F_WRLCK, INT64_MAX, 1);
         u.getlk(h, F_UNLCK, 0, 0);
         u.setlk(h, 7, 0, 0);
         u.close(h);
       }},
      {"locks_of_directories",
       {.init_flags = flags::usual | wire::init_flag::posix_locks | wire::init_flag::flock_locks},
       [](User& u) {
         const int d = u.open("dir", O_RDONLY);
         u.flock(d, 2);
         u.flock(d, 8);
         u.setlk(d, F_RDLCK, 0, 0);
         u.setlk(d, F_WRLCK, 0, 0);
         u.getlk(d, F_WRLCK, 0, 0);
         u.close(d);
       }},
      {"lock_errors_of_the_daemon",
       {.init_flags = flags::usual | wire::init_flag::posix_locks | wire::init_flag::flock_locks,
        .rules = {{Opcode::setlk, "", fail(ENOSYS), 1},
                  {Opcode::setlk, "", fail(EAGAIN), 1},
                  {Opcode::setlkw, "", fail(EDEADLK), 1},
                  {Opcode::getlk, "", fail(ENOSYS), 1}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.setlk(h, F_WRLCK, 0, 0);
         u.setlk(h, F_WRLCK, 0, 0);
         u.setlk(h, F_WRLCK, 0, 0, true);
         u.getlk(h, F_WRLCK, 0, 0);
         u.flock(h, 2 | 4);
         u.flock(h, 1);
         u.flock(h, 8);
         u.close(h);
       }},
      {"flush_with_noflush_and_without",
       {.fopen_flags = wire::fopen_flag::noflush, .rules = {{Opcode::flush, "", fail(EIO)}}},
       [](User& u) {
         u.close(u.open("file", O_RDONLY));
         u.close(u.open("dir", O_RDONLY));
         const int d = u.open("file", O_RDWR);
         const int e = u.dup(d);
         u.close(d);
         u.close(e);
       }},
  };
}

}  // namespace fusewire::oracle
