#include <sys/stat.h>

#include <cerrno>

#include "oracle/scenarios.h"

namespace fusewire::oracle {

using wire::EntryOut;
using wire::Opcode;

namespace {
Reaction entry(std::string label, void (*change)(EntryOut&)) { return edit<EntryOut>(std::move(label), change); }
}  // namespace

std::vector<Scenario> wrong_scenarios() {
  return {
      {"lookup_reply_with_a_bad_mode_is_eio",
       {.rules = {{Opcode::lookup, "file", entry("mode 0", [](EntryOut& e) { e.attr.mode = 0; })}}},
       [](User& u) {
         u.stat("file");
         u.stat("file");
       }},
      {"lookup_reply_with_a_huge_size_is_eio",
       {.rules = {{Opcode::lookup, "file", entry("size", [](EntryOut& e) { e.attr.size = 1ull << 63; })}}},
       [](User& u) { u.stat("file"); }},
      {"lookup_reply_with_the_root_is_eio",
       {.rules = {{Opcode::lookup, "dir", entry("nodeid 1", [](EntryOut& e) { e.nodeid = 1; })}}},
       [](User& u) { u.stat("dir"); }},
      {"lookup_reply_too_short_is_eio",
       {.rules = {{Opcode::lookup, "file", shorter(1)}}},
       [](User& u) { u.stat("file"); }},
      {"lookup_reply_too_long_is_eio",
       {.rules = {{Opcode::lookup, "file", longer(1)}}},
       [](User& u) { u.stat("file"); }},
      {"reply_with_a_positive_error_is_refused",
       {.rules = {{Opcode::lookup, "file", error_value(5)}}},
       [](User& u) { u.stat("file"); }},
      {"reply_with_a_huge_error_is_refused",
       {.rules = {{Opcode::lookup, "file", error_value(-512)}}},
       [](User& u) { u.stat("file"); }},
      {"reply_with_an_unusual_error_goes_to_the_user",
       {.rules = {{Opcode::lookup, "file", error_value(-133)}}},
       [](User& u) { u.stat("file"); }},
      {"reply_with_error_and_payload_is_eio",
       {.rules = {{Opcode::lookup, "file", error_with_payload(EACCES)}}},
       [](User& u) { u.stat("file"); }},
      {"reply_whose_len_is_wrong_is_refused",
       {.rules = {{Opcode::lookup, "file", wrong_len(8)}}},
       [](User& u) { u.stat("file"); }},
      {"reply_without_payload_where_none_is_wanted",
       {.rules = {{Opcode::unlink, "file", longer(8)}}},
       [](User& u) {
         u.unlink("file");
         u.stat("file");
       }},
      {"mkdir_reply_with_nodeid_zero_is_eio",
       {.rules = {{Opcode::mkdir, "", entry("nodeid 0", [](EntryOut& e) { e.nodeid = 0; })}}},
       [](User& u) {
         u.mkdir("new");
         u.stat("new");
       }},
      {"mkdir_reply_of_another_type_is_eio",
       {.rules = {{Opcode::mkdir, "", entry("a file", [](EntryOut& e) { e.attr.mode = S_IFREG | 0644; })}}},
       [](User& u) { u.mkdir("new"); }},
      {"create_reply_of_another_type_is_eio",
       {.rules = {{Opcode::create, "", entry("a directory", [](EntryOut& e) { e.attr.mode = S_IFDIR | 0755; })}}},
       [](User& u) { u.open("new", O_RDWR | O_CREAT, 0644); }},
      {"getattr_reply_of_another_type_is_eio",
       {.attr_valid = 0,
        .rules = {{Opcode::getattr, "file",
                   edit<wire::AttrOut>("a directory", [](wire::AttrOut& a) { a.attr.mode = S_IFDIR | 0755; }), 1}}},
       [](User& u) {
         u.stat("file");
         u.stat("file");
       }},
      {"read_reply_longer_than_asked_is_eio",
       {.rules = {{Opcode::read, "", longer(1)}}},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.read(h, 11);
         u.close(h);
       }},
      {"open_reply_too_short_is_eio",
       {.rules = {{Opcode::open, "", shorter(8)}}},
       [](User& u) { u.open("file", O_RDONLY); }},
      {"lookup_of_a_reused_nodeid_with_another_type",
       {.entry_valid = 0,
        .rules = {{Opcode::lookup, "private",
                   entry("nodeid of file, a directory",
                         [](EntryOut& e) {
                           e.nodeid = 2;
                           e.attr.mode = S_IFDIR | 0755;
                         })}}},
       [](User& u) {
         const int h = u.open("file", O_RDONLY);
         u.stat("private");
         u.fstat(h);
         u.close(h);
       }},
      {"two_names_of_one_node_share_it",
       {.rules = {{Opcode::lookup, "private",
                   entry("nodeid of file",
                         [](EntryOut& e) {
                           e.nodeid = 2;
                           e.attr.mode = S_IFREG | 0644;
                         })}}},
       [](User& u) {
         u.stat("file");
         u.stat("private");
         u.inval_entry(1, "file");
         u.inval_entry(1, "private");
       }},

      {"forget_carries_the_lookups_after_inval_entry",
       {.entry_valid = 0},
       [](User& u) {
         u.stat("file");
         u.stat("file");
         u.inval_entry(1, "file");
         u.stat("file");
       }},
      {"inval_entry_of_what_is_not_cached_is_enoent",
       {},
       [](User& u) {
         u.inval_entry(1, "file");
         u.inval_entry(77, "file");
         u.stat("file");
         u.inval_entry(2, "file");
       }},
      {"inval_entry_expire_only",
       {},
       [](User& u) {
         u.stat("file");
         u.inval_entry(1, "file", wire::expire_only);
         u.stat("file");
       }},
      {"inval_inode_asks_attributes_again",
       {},
       [](User& u) {
         u.stat("file");
         u.inval_inode(2, -1, 0);
         u.stat("file");
         u.inval_inode(77, 0, 0);
       }},
      {"notify_delete",
       {},
       [](User& u) {
         u.stat("file");
         u.stat("private");
         u.delete_entry(1, 99, "file");
         u.stat("file");
         u.delete_entry(1, 8, "private");
         u.stat("private");
       }},

      {"the_daemon_dies_between_calls",
       {},
       [](User& u) {
         u.stat("file");
         const int h = u.open("file", O_RDWR);
         u.daemon_dies();
         u.stat("file");
         u.stat("other");
         u.read(h, 5);
         u.unlink("file");
         u.close(h);
         u.statfs(".");
       }},
      {"the_daemon_dies_in_a_request",
       {.rules = {{Opcode::unlink, "file", die()}}},
       [](User& u) {
         u.unlink("file");
         u.unlink("file");
         u.mkdir("new");
       }},
      {"abort_ends_a_waiting_request",
       {.rules = {{Opcode::unlink, "file", abort()}}},
       [](User& u) {
         u.unlink("file");
         u.unlink("private");
       }},
      {"abort_between_calls",
       {},
       [](User& u) {
         const int h = u.open("file", O_RDWR);
         u.abort();
         u.stat("other");
         u.write(h, "x");
         u.close(h);
       }},
      {"init_error_refuses_all_calls",
       {.init_error = EPERM},
       [](User& u) {
         u.stat("file");
         u.mkdir("new");
       }},
      {"init_with_another_major_refuses_all_calls", {.major = 8}, [](User& u) { u.stat("file"); }},
      {"init_reply_of_24_bytes",
       {.init_size = wire::compat_22_init_out_size},
       [](User& u) {
         u.stat("file");
         const int h = u.open("file", O_RDWR);
         u.write(h, "HELLO");
         u.close(h);
       }},

      {"minor_8_layouts",
       {.minor = 8, .init_flags = 0},
       [](User& u) {
         u.stat("file");
         u.chmod("file", 0600);
         const int h = u.open("new", O_RDWR | O_CREAT, 0640);
         u.write(h, "data");
         u.read(h, 4, 0);
         u.close(h);
         u.mknod("fifo", S_IFIFO | 0600);
         u.mkdir("newdir");
         u.link("file", "hard");
         u.symlink("file", "soft");
         u.statfs(".");
       }},
      {"minor_12_layouts",
       {.minor = 12, .init_flags = wire::init_flag::big_writes},
       [](User& u) {
         u.stat("file");
         const int h = u.open("new", O_RDWR | O_CREAT, 0640);
         u.write(h, "data");
         u.close(h);
         u.mknod("fifo", S_IFIFO | 0600);
         u.rename("file", "private", 1);
         u.unlink("new");
       }},
      {"minor_12_direct_writes_need_no_big_writes",
       {.minor = 12, .init_flags = 0},
       [](User& u) {
         const int h = u.open("file", O_WRONLY);
         u.write(h, std::string(6000, 'w'), 0);
         u.close(h);
       }},
      {"a_read_only_mount",
       {.read_only = true},
       [](User& u) {
         u.open("file", O_RDWR);
         u.close(u.open("file", O_RDONLY));
         u.mkdir("new");
         u.unlink("file");
         u.chmod("file", 0600);
         u.access("file", 2);
       }},
  };
}

}  // namespace fusewire::oracle
