#include <cerrno>
#include <cstring>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::Opcode;

namespace {

// Overwrites text in the payload of a reply.
Reaction rewrite(const char* from, std::string to) {
  return mangle(std::string("name ") + quoted(to), [from, to](Bytes& reply) {
    auto* begin = reinterpret_cast<char*>(reply.data());
    void* found = memmem(begin, reply.size(), from, std::strlen(from));
    if (found) std::memcpy(found, to.data(), to.size());
  });
}

}  // namespace

std::vector<Scenario> dir_scenarios() {
  return {
      {"readdir_lists_what_the_daemon_says",
       {},
       [](User& u) {
         u.list(".");
         u.list("dir");
         u.list("file");
       }},
      {"readdir_goes_on_where_the_buffer_ended",
       {},
       [](User& u) {
         const int h = u.open(".", O_RDONLY | O_DIRECTORY);
         u.getdents(h, 100);
         u.getdents(h, 100);
         u.lseek(h, 0, SEEK_SET);
         u.getdents(h, 100);
         u.getdents(h, 10);
         u.close(h);
       }},
      {"readdir_errors",
       {.rules = {{Opcode::readdir, "dir", fail(EIO)}, {Opcode::opendir, "empty", fail(EACCES)}}},
       [](User& u) {
         u.list("dir");
         u.list("empty");
       }},
      {"readdirplus_always",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus},
       [](User& u) {
         u.list("dir");
         u.stat("dir/inner");
         u.list("dir");
         u.unlink("dir/inner");
       }},
      {"readdirplus_auto",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus | wire::init_flag::readdirplus_auto},
       [](User& u) {
         u.list("dir");
         u.list("dir");
         u.stat("dir/inner");
         u.list("dir");
       }},
      {"readdirplus_enosys_goes_to_the_user",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus,
        .rules = {{Opcode::readdirplus, "", fail(ENOSYS)}}},
       [](User& u) {
         u.list("dir");
         u.list("dir");
       }},
      {"readdir_name_with_a_slash_is_eio",
       {.rules = {{Opcode::readdir, "dir", rewrite("inner", "in/er")}}},
       [](User& u) { u.list("dir"); }},
      {"readdir_name_of_length_zero_is_eio",
       {.rules = {{Opcode::readdir, "dir", edit<wire::Dirent>("namelen 0", [](wire::Dirent& d) { d.namelen = 0; })}}},
       [](User& u) { u.list("dir"); }},
      {"readdir_ignores_a_cut_record",
       {.rules = {{Opcode::readdir, "dir", shorter(8)}}},
       [](User& u) {
         const int h = u.open("dir", O_RDONLY | O_DIRECTORY);
         u.getdents(h);
         u.close(h);
       }},
      {"readdirplus_with_a_bad_mode_is_not_linked",
       {.init_flags = flags::usual | wire::init_flag::do_readdirplus,
        .rules = {{Opcode::readdirplus, "dir",
                   mangle("mode 0 of inner",
                          [](Bytes& reply) {
                            constexpr size_t header = 16, dot = 160;
                            auto* plus = reinterpret_cast<wire::Direntplus*>(reply.data() + header + 2 * dot);
                            if (reply.size() > header + 2 * dot) plus->entry.attr.mode = 0;
                          })}}},
       [](User& u) {
         u.list("dir");
         u.stat("dir/inner");
       }},
      {"opendir_enosys_is_learnt",
       {.rules = {{Opcode::opendir, "", fail(ENOSYS)}}},
       [](User& u) {
         u.list("dir");
         u.list("empty");
       }},
      {"readdir_after_a_change",
       {},
       [](User& u) {
         u.list("dir");
         u.mkdir("dir/new");
         u.list("dir");
       }},
  };
}

}  // namespace fusewire::oracle
