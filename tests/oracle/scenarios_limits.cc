#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;

std::vector<Scenario> limit_scenarios() {
  return {
      {"offsets_beyond_the_largest_file",
       {.rules = {{Opcode::write, "", fail(ENOSPC)},
                  {Opcode::setattr, "", fail(EFBIG)},
                  {Opcode::fallocate, "", fail(EFBIG)}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.read(h, 100, INT64_MAX - 10);
         u.write(h, "0123456789abcdef", INT64_MAX - 10);
         u.write(h, "0123456789abcdef", INT64_MAX - 20);
         u.read(h, 5, INT64_MAX - 5);
         u.read(h, 0, INT64_MAX);
         u.write(h, "x", INT64_MAX);
         u.write(h, "x", INT64_MAX - 1);
         u.lseek(h, INT64_MAX, SEEK_SET);
         u.read(h, 1);
         u.write(h, "x");
         u.lseek(h, INT64_MAX, SEEK_END);
         u.lseek(h, -12, SEEK_END);
         u.lseek(h, -1, SEEK_SET);
         u.fallocate(h, 0, INT64_MAX, 1);
         u.fallocate(h, 0, 1, INT64_MAX);
         u.ftruncate(h, INT64_MAX);
         u.close(h);
         u.truncate("file", -1);
         u.truncate("file", INT64_MAX);
         u.truncate("dir", 0);
       }},
      {"pread_of_a_nonseekable_file_is_espipe",
       {.fopen_flags = wire::fopen_flag::direct_io | wire::fopen_flag::nonseekable},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.read(h, 5);
         u.read(h, 6);
         u.read(h, 5, 0);
         u.write(h, "x", 0);
         u.write(h, "y");
         u.lseek(h, 0, SEEK_CUR);
         u.close(h);
       }},
      {"a_stream_has_no_position",
       {.fopen_flags = wire::fopen_flag::direct_io | wire::fopen_flag::stream},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.read(h, 5);
         u.read(h, 5);
         u.write(h, "x");
         u.write(h, "y");
         u.read(h, 5, 0);
         u.write(h, "x", 0);
         u.write(h, "", 0);
         u.read(h, 0, 0);
         u.lseek(h, 0, SEEK_SET);
         u.fsync(h);
         u.ftruncate(h, 3);
         u.close(h);
         const int a = u.open("file", O_WRONLY | O_APPEND);
         u.write(a, "z");
         u.close(a);
       }},
      {"reads_and_writes_of_nothing",
       {.attr_valid = 0},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.read(h, 0);
         u.write(h, "");
         u.read(h, 0, 100);
         u.write(h, "", 100);
         u.close(h);
         const int r = u.open("file", O_RDONLY);
         u.write(r, "");
         u.close(r);
         const int d = u.open("dir", O_RDONLY);
         u.read(d, 0);
         u.read(d, 5);
         u.read(d, 5, 3);
         u.getdents(d, 0);
         u.getdents(d, 16);
         u.getdents(d, 24);
         u.close(d);
       }},
      {"directory_positions",
       {},
       [](User& u) {
         const int d = u.open(".", O_RDONLY);
         u.getdents(d, 100);
         u.lseek(d, 0, SEEK_CUR);
         u.lseek(d, 0, SEEK_SET);
         u.getdents(d, 100);
         u.lseek(d, 0, SEEK_END);
         u.lseek(d, 3, SEEK_DATA);
         u.lseek(d, -1, SEEK_SET);
         u.lseek(d, INT64_MAX, SEEK_SET);
         u.getdents(d, 100);
         u.lseek(d, 1, SEEK_CUR);
         u.close(d);
       }},
      {"directory_records_with_long_names",
       {.seeds = {{"long", 0040755, ""},
                  {"long/" + std::string(1500, 'n'), 0100644, ""},
                  {"longer", 0040755, ""},
                  {"longer/" + std::string(4095, 'n'), 0100644, ""},
                  {"longest", 0040755, ""},
                  {"longest/" + std::string(4096, 'n'), 0100644, ""}}},
       [](User& u) {
         for (const char* path : {"long", "longer", "longest"}) {
           const int d = u.open(path, O_RDONLY);
           u.getdents(d, 100);
           u.getdents(d, 1000);
           u.getdents(d, 10000);
           u.close(d);
         }
       }},
      {"directory_offsets_of_64_bits",
       {.rules = {{Opcode::readdir, "",
                   mangle("a huge off",
                          [](Bytes& b) {
                            if (b.size() > 40) b[16 + 15] = std::byte{0xff};
                          })}}},
       [](User& u) {
         const int d = u.open("dir", O_RDONLY);
         u.getdents(d, 24);
         u.lseek(d, 0, SEEK_CUR);
         u.getdents(d, 24);
         u.close(d);
       }},
      {"ioctls_are_restricted_to_their_size",
       {.init_flags = flags::usual | wire::init_flag::has_ioctl_dir},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.ioctl(h, _IO('x', 1), "");
         u.ioctl(h, _IOR('x', 2, int), "abcd");
         u.ioctl(h, _IOW('x', 3, int), "abcd");
         u.ioctl(h, _IOWR('x', 4, int[2]), "abcdefgh");
         u.close(h);
         const int d = u.open("dir", O_RDONLY);
         u.ioctl(d, _IOWR('x', 4, int[2]), "abcdefgh");
         u.close(d);
       }},
      {"ioctl_answers",
       {.rules = {{Opcode::ioctl, "file", fail(ENOSYS), 1},
                  {Opcode::ioctl, "file", fail(EINVAL), 1},
                  {Opcode::ioctl, "file", edit<wire::IoctlOut>("result 7", [](wire::IoctlOut& o) { o.result = 7; }), 1},
                  {Opcode::ioctl, "file", edit<wire::IoctlOut>("result -13", [](wire::IoctlOut& o) { o.result = -13; }),
                   1},
                  {Opcode::ioctl, "file", edit<wire::IoctlOut>("retry", [](wire::IoctlOut& o) { o.flags = 4; }), 1},
                  {Opcode::ioctl, "file", shorter(2), 1},
                  {Opcode::ioctl, "file", shorter(6), 1},
                  {Opcode::ioctl, "file", longer(1), 1}}},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         for (int i = 0; i < 8; ++i) u.ioctl(h, _IOWR('x', 4, int), "abcd");
         u.close(h);
       }},
      {"reads_split_at_a_max_read_that_is_no_page",
       {.fopen_flags = 0, .max_read = 5000, .seeds = {{"big", 0100644, std::string(12000, 'b')}}},
       [](User& u) {
         const int h = u.open("big", O_RDONLY);
         u.read(h, 12000);
         u.close(h);
       }},
      {"xattr_sizes",
       {.rules = {{Opcode::listxattr, "dir", fail(ERANGE)}, {Opcode::getxattr, "dir", fail(ERANGE)}}},
       [](User& u) {
         static const std::string most(65536, 'x'), more(65537, 'x');
         u.setxattr("file", "user.most", most);
         u.setxattr("file", "user.more", more);
         u.getxattr("file", "user.most", 65536);
         u.getxattr("file", "user.most", 0);
         u.getxattr("file", "user.most", 10);
         u.getxattr("dir", "user.most", 65536);
         u.getxattr("dir", "user.most", 65535);
         u.listxattr("dir", 65536);
         u.listxattr("dir", 65535);
         u.listxattr("dir", 0);
         u.removexattr("file", "user.absent");
       }},
      {"xattrs_of_unusual_names",
       {},
       [](User& u) {
         u.getxattr("file", "system.other", 100);
         u.setxattr("file", "system.other", "v");
         u.setxattr("link", "user.link", "v");
       }},
      {"xattr_replies_that_lie",
       {.rules = {{Opcode::getxattr, "file",
                   edit<wire::GetxattrOut>("huge", [](wire::GetxattrOut& o) { o.size = 1 << 30; })},
                  {Opcode::listxattr, "file",
                   edit<wire::GetxattrOut>("huge", [](wire::GetxattrOut& o) { o.size = 1 << 30; })}}},
       [](User& u) {
         u.setxattr("file", "user.one", "v");
         u.getxattr("file", "user.one", 0);
         u.listxattr("file", 0);
       }},
  };
}

}  // namespace fusewire::oracle
