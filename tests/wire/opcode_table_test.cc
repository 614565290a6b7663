#include "wire/opcode_table.h"

#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>

#include <set>

namespace fusewire::wire {
namespace {

TEST(OpcodeTable, names_and_opcodes_are_unique) {
  std::set<std::string_view> names;
  std::set<Opcode> opcodes;
  for (const OpcodeInfo& info : opcode_table) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    EXPECT_TRUE(opcodes.insert(info.opcode).second) << info.name;
  }
}

TEST(OpcodeTable, every_opcode_up_to_7_45_is_found_and_7_and_19_were_never_used) {
  for (uint32_t opcode = 1; opcode <= 53; ++opcode) {
    const OpcodeInfo* info = find_opcode(opcode);
    if (opcode == 7 || opcode == 19) {
      EXPECT_EQ(info, nullptr) << opcode;
      continue;
    }
    ASSERT_NE(info, nullptr) << opcode;
    EXPECT_EQ(static_cast<uint32_t>(info->opcode), opcode);
  }
  EXPECT_EQ(find_opcode(4096)->name, "CUSE_INIT");
  EXPECT_EQ(opcode_table.size(), 52u);
}

TEST(OpcodeTable, unknown_opcodes_are_not_found) {
  for (const uint32_t opcode : {0u, 54u, 63u, 64u, 4095u, 4097u, opcode_init_swapped, UINT32_MAX}) {
    EXPECT_EQ(find_opcode(opcode), nullptr) << opcode;
    EXPECT_EQ(opcode_name(opcode), "?");
  }
}

TEST(OpcodeTable, a_dialect_never_lacks_an_opcode_whose_struct_it_shrinks) {
  for (const OpcodeInfo& info : opcode_table) {
    if (info.fixed.compat_below != 0) {
      EXPECT_LT(info.fixed.compat_size, info.fixed.size) << info.name;
      EXPECT_LE(info.since_minor, info.fixed.compat_below) << info.name;
    }
  }
}

TEST(OpcodeTable, old_minors_have_the_old_sizes) {
  const auto request = [](Opcode opcode, uint32_t minor) { return find_opcode(opcode)->request_size({minor}); };
  const auto reply = [](Opcode opcode, uint32_t minor) { return find_opcode(opcode)->reply_size({minor}); };
  EXPECT_EQ(reply(Opcode::statfs, 3), 48u);
  EXPECT_EQ(reply(Opcode::statfs, 4), 80u);
  EXPECT_EQ(reply(Opcode::lookup, 8), 120u);
  EXPECT_EQ(reply(Opcode::lookup, 9), 128u);
  EXPECT_EQ(reply(Opcode::getattr, 8), 96u);
  EXPECT_EQ(reply(Opcode::getattr, 9), 104u);
  EXPECT_EQ(reply(Opcode::create, 8), 136u);
  EXPECT_EQ(reply(Opcode::create, 9), 144u);
  EXPECT_EQ(request(Opcode::write, 8), 24u);
  EXPECT_EQ(request(Opcode::write, 9), 40u);
  EXPECT_EQ(request(Opcode::mknod, 11), 8u);
  EXPECT_EQ(request(Opcode::mknod, 12), 16u);
  EXPECT_EQ(request(Opcode::create, 11), 8u);
  EXPECT_EQ(request(Opcode::create, 12), 16u);
  EXPECT_EQ(request(Opcode::init, 35), 16u);
  EXPECT_EQ(request(Opcode::init, 36), 64u);
}

TEST(OpcodeTable, setxattr_grows_by_a_flag_of_init_and_not_by_the_minor) {
  const OpcodeInfo& setxattr = *find_opcode(Opcode::setxattr);
  EXPECT_EQ(setxattr.request_size({.minor = 45, .setxattr_ext = false}), 8u);
  EXPECT_EQ(setxattr.request_size({.minor = 45, .setxattr_ext = true}), 16u);
}

TEST(OpcodeTable, only_forgets_and_retrieved_data_have_no_reply) {
  std::set<Opcode> silent;
  for (const OpcodeInfo& info : opcode_table) {
    if (!info.has_reply()) silent.insert(info.opcode);
  }
  EXPECT_EQ(silent, (std::set{Opcode::forget, Opcode::batch_forget, Opcode::notify_reply}));
}

TEST(OpcodeTable, fallbacks_are_older_than_what_they_stand_in_for) {
  for (const OpcodeInfo& info : opcode_table) {
    const OpcodeInfo* fallback = find_opcode(info.fallback);
    if (info.enosys != Enosys::sticky_fallback) {
      EXPECT_EQ(fallback, nullptr) << info.name;
    } else if (fallback != nullptr) {
      EXPECT_LE(fallback->since_minor, info.since_minor) << info.name;
    }
  }
}

TEST(NotifyTable, codes_1_to_9_are_found_and_others_not) {
  for (int32_t code = 1; code <= 9; ++code) {
    ASSERT_NE(find_notify(code), nullptr) << code;
    EXPECT_EQ(static_cast<int32_t>(find_notify(code)->code), code);
  }
  for (const int32_t code : {0, 10, -1, INT32_MIN, INT32_MAX}) EXPECT_EQ(find_notify(code), nullptr);
}

// The system's own header is older than ours; what both have must be equal.
TEST(Protocol, numbers_are_those_of_the_uapi_header) {
  EXPECT_EQ(static_cast<uint32_t>(Opcode::rename2), uint32_t{FUSE_RENAME2});
  EXPECT_EQ(static_cast<uint32_t>(Opcode::syncfs), uint32_t{FUSE_SYNCFS});
  EXPECT_EQ(static_cast<uint32_t>(Opcode::readdirplus), uint32_t{FUSE_READDIRPLUS});
  EXPECT_EQ(opcode_init_swapped, uint32_t{FUSE_INIT_BSWAP_RESERVED});
  EXPECT_EQ(dev_ioctl_clone, uint32_t{FUSE_DEV_IOC_CLONE});
  EXPECT_EQ(init_flag::init_ext, uint64_t{FUSE_INIT_EXT});
  EXPECT_EQ(init_flag::security_ctx, uint64_t{FUSE_SECURITY_CTX});
  EXPECT_EQ(fattr::kill_suidgid, uint32_t{FATTR_KILL_SUIDGID});
  EXPECT_EQ(fopen_flag::noflush, uint32_t{FOPEN_NOFLUSH});
}

#define EXPECT_SAME_PLACE(ours, theirs, member) EXPECT_EQ(offsetof(ours, member), offsetof(theirs, member))

TEST(Protocol, fields_stand_where_the_uapi_header_has_them) {
  EXPECT_SAME_PLACE(SetattrIn, fuse_setattr_in, ctimensec);
  EXPECT_SAME_PLACE(SetattrIn, fuse_setattr_in, lock_owner);
  EXPECT_SAME_PLACE(InitOut, fuse_init_out, max_pages);
  EXPECT_SAME_PLACE(CopyFileRangeIn, fuse_copy_file_range_in, off_out);
  EXPECT_SAME_PLACE(IoctlIn, fuse_ioctl_in, out_size);
  EXPECT_SAME_PLACE(LkIn, fuse_lk_in, lk_flags);
  EXPECT_SAME_PLACE(PollIn, fuse_poll_in, events);
  EXPECT_SAME_PLACE(FlushIn, fuse_flush_in, lock_owner);
  EXPECT_SAME_PLACE(ReleaseIn, fuse_release_in, release_flags);
  EXPECT_SAME_PLACE(NotifyRetrieveIn, fuse_notify_retrieve_in, size);
  EXPECT_SAME_PLACE(NotifyDeleteOut, fuse_notify_delete_out, child);
  EXPECT_SAME_PLACE(Attr, fuse_attr, nlink);
  EXPECT_SAME_PLACE(Attr, fuse_attr, rdev);
  EXPECT_SAME_PLACE(Kstatfs, fuse_kstatfs, namelen);
  EXPECT_SAME_PLACE(CuseInitOut, cuse_init_out, dev_minor);
}

}  // namespace
}  // namespace fusewire::wire
