// Guards the layout of every message: sizes, and the offsets where padding or a changed type could hide.
// Included by protocol_layout.cc; nobody else needs it.
#pragma once

#include <cstddef>

#include "wire/protocol.h"

namespace fusewire::wire {

#define FUSEWIRE_SIZE(type, size) static_assert(sizeof(type) == (size) && __is_standard_layout(type))
#define FUSEWIRE_AT(type, member, offset) static_assert(offsetof(type, member) == (offset))

FUSEWIRE_SIZE(InHeader, 40);
FUSEWIRE_AT(InHeader, opcode, 4);
FUSEWIRE_AT(InHeader, unique, 8);
FUSEWIRE_AT(InHeader, nodeid, 16);
FUSEWIRE_AT(InHeader, uid, 24);
FUSEWIRE_AT(InHeader, gid, 28);
FUSEWIRE_AT(InHeader, pid, 32);
FUSEWIRE_AT(InHeader, total_extlen, 36);
FUSEWIRE_SIZE(OutHeader, 16);
FUSEWIRE_AT(OutHeader, error, 4);
FUSEWIRE_AT(OutHeader, unique, 8);

FUSEWIRE_SIZE(Attr, 88);
FUSEWIRE_AT(Attr, ctime, 40);
FUSEWIRE_AT(Attr, atimensec, 48);
FUSEWIRE_AT(Attr, mode, 60);
FUSEWIRE_AT(Attr, rdev, 76);
FUSEWIRE_AT(Attr, blksize, 80);
FUSEWIRE_AT(Attr, flags, 84);
FUSEWIRE_SIZE(StatxTime, 16);
FUSEWIRE_SIZE(Statx, 256);
FUSEWIRE_AT(Statx, attributes, 8);
FUSEWIRE_AT(Statx, mode, 28);
FUSEWIRE_AT(Statx, ino, 32);
FUSEWIRE_AT(Statx, attributes_mask, 56);
FUSEWIRE_AT(Statx, atime, 64);
FUSEWIRE_AT(Statx, rdev_major, 128);
FUSEWIRE_AT(Statx, spare2, 144);
FUSEWIRE_SIZE(Kstatfs, 80);
FUSEWIRE_AT(Kstatfs, bsize, 40);
FUSEWIRE_AT(Kstatfs, frsize, 48);
FUSEWIRE_SIZE(FileLock, 24);
FUSEWIRE_AT(FileLock, type, 16);

FUSEWIRE_SIZE(EntryOut, 128);
FUSEWIRE_AT(EntryOut, entry_valid_nsec, 32);
FUSEWIRE_AT(EntryOut, attr, 40);
FUSEWIRE_SIZE(AttrOut, 104);
FUSEWIRE_AT(AttrOut, attr, 16);
static_assert(compat_entry_out_size == 120 && compat_attr_out_size == 96);

FUSEWIRE_SIZE(ForgetIn, 8);
FUSEWIRE_SIZE(ForgetOne, 16);
FUSEWIRE_SIZE(BatchForgetIn, 8);
FUSEWIRE_SIZE(GetattrIn, 16);
FUSEWIRE_AT(GetattrIn, fh, 8);
FUSEWIRE_SIZE(StatxIn, 24);
FUSEWIRE_AT(StatxIn, fh, 8);
FUSEWIRE_AT(StatxIn, sx_flags, 16);
FUSEWIRE_SIZE(StatxOut, 288);
FUSEWIRE_AT(StatxOut, stat, 32);
FUSEWIRE_SIZE(MknodIn, 16);
FUSEWIRE_SIZE(MkdirIn, 8);
FUSEWIRE_SIZE(RenameIn, 8);
FUSEWIRE_SIZE(Rename2In, 16);
FUSEWIRE_AT(Rename2In, flags, 8);
FUSEWIRE_SIZE(LinkIn, 8);
FUSEWIRE_SIZE(SetattrIn, 88);
FUSEWIRE_AT(SetattrIn, fh, 8);
FUSEWIRE_AT(SetattrIn, lock_owner, 24);
FUSEWIRE_AT(SetattrIn, ctime, 48);
FUSEWIRE_AT(SetattrIn, atimensec, 56);
FUSEWIRE_AT(SetattrIn, mode, 68);
FUSEWIRE_AT(SetattrIn, uid, 76);
FUSEWIRE_SIZE(OpenIn, 8);
FUSEWIRE_SIZE(CreateIn, 16);
FUSEWIRE_SIZE(OpenOut, 16);
FUSEWIRE_AT(OpenOut, backing_id, 12);
FUSEWIRE_SIZE(ReleaseIn, 24);
FUSEWIRE_AT(ReleaseIn, lock_owner, 16);
FUSEWIRE_SIZE(FlushIn, 24);
FUSEWIRE_AT(FlushIn, lock_owner, 16);
FUSEWIRE_SIZE(ReadIn, 40);
FUSEWIRE_AT(ReadIn, size, 16);
FUSEWIRE_AT(ReadIn, lock_owner, 24);
FUSEWIRE_AT(ReadIn, flags, 32);
FUSEWIRE_SIZE(WriteIn, 40);
FUSEWIRE_AT(WriteIn, size, 16);
FUSEWIRE_AT(WriteIn, lock_owner, 24);
FUSEWIRE_AT(WriteIn, flags, 32);
FUSEWIRE_SIZE(WriteOut, 8);
FUSEWIRE_SIZE(StatfsOut, 80);
FUSEWIRE_SIZE(FsyncIn, 16);
FUSEWIRE_SIZE(SetxattrIn, 16);
FUSEWIRE_SIZE(GetxattrIn, 8);
FUSEWIRE_SIZE(GetxattrOut, 8);
FUSEWIRE_SIZE(LkIn, 48);
FUSEWIRE_AT(LkIn, lk, 16);
FUSEWIRE_AT(LkIn, lk_flags, 40);
FUSEWIRE_SIZE(LkOut, 24);
FUSEWIRE_SIZE(AccessIn, 8);
FUSEWIRE_SIZE(InitIn, 64);
FUSEWIRE_AT(InitIn, flags2, 16);
FUSEWIRE_SIZE(InitOut, 64);
FUSEWIRE_AT(InitOut, max_background, 16);
FUSEWIRE_AT(InitOut, congestion_threshold, 18);
FUSEWIRE_AT(InitOut, max_write, 20);
FUSEWIRE_AT(InitOut, time_gran, 24);
FUSEWIRE_AT(InitOut, max_pages, 28);
FUSEWIRE_AT(InitOut, map_alignment, 30);
FUSEWIRE_AT(InitOut, flags2, 32);
FUSEWIRE_AT(InitOut, max_stack_depth, 36);
FUSEWIRE_AT(InitOut, request_timeout, 40);
FUSEWIRE_SIZE(CuseInitIn, 16);
FUSEWIRE_SIZE(CuseInitOut, 72);
FUSEWIRE_AT(CuseInitOut, max_read, 16);
FUSEWIRE_AT(CuseInitOut, dev_major, 24);
FUSEWIRE_SIZE(InterruptIn, 8);
FUSEWIRE_SIZE(BmapIn, 16);
FUSEWIRE_SIZE(BmapOut, 8);
FUSEWIRE_SIZE(IoctlIn, 32);
FUSEWIRE_AT(IoctlIn, arg, 16);
FUSEWIRE_AT(IoctlIn, in_size, 24);
FUSEWIRE_SIZE(IoctlIovec, 16);
FUSEWIRE_SIZE(IoctlOut, 16);
FUSEWIRE_SIZE(PollIn, 24);
FUSEWIRE_AT(PollIn, flags, 16);
FUSEWIRE_SIZE(PollOut, 8);
FUSEWIRE_SIZE(FallocateIn, 32);
FUSEWIRE_AT(FallocateIn, mode, 24);
FUSEWIRE_SIZE(LseekIn, 24);
FUSEWIRE_AT(LseekIn, whence, 16);
FUSEWIRE_SIZE(LseekOut, 8);
FUSEWIRE_SIZE(CopyFileRangeIn, 56);
FUSEWIRE_SIZE(CopyFileRangeOut, 8);
FUSEWIRE_SIZE(SetupmappingIn, 40);
FUSEWIRE_SIZE(RemovemappingIn, 4);
FUSEWIRE_SIZE(RemovemappingOne, 16);
FUSEWIRE_SIZE(SyncfsIn, 8);

FUSEWIRE_SIZE(Dirent, 24);
FUSEWIRE_AT(Dirent, namelen, 16);
FUSEWIRE_AT(Dirent, type, 20);
FUSEWIRE_SIZE(Direntplus, 152);
FUSEWIRE_AT(Direntplus, dirent, 128);

FUSEWIRE_SIZE(NotifyPollWakeupOut, 8);
FUSEWIRE_SIZE(NotifyInvalInodeOut, 24);
FUSEWIRE_SIZE(NotifyInvalEntryOut, 16);
FUSEWIRE_SIZE(NotifyDeleteOut, 24);
FUSEWIRE_AT(NotifyDeleteOut, namelen, 16);
FUSEWIRE_SIZE(NotifyStoreOut, 24);
FUSEWIRE_SIZE(NotifyRetrieveOut, 32);
FUSEWIRE_AT(NotifyRetrieveOut, size, 24);
FUSEWIRE_SIZE(NotifyRetrieveIn, 40);
FUSEWIRE_AT(NotifyRetrieveIn, offset, 8);
FUSEWIRE_AT(NotifyRetrieveIn, size, 16);
FUSEWIRE_SIZE(NotifyPruneOut, 16);
FUSEWIRE_SIZE(BackingMap, 16);

FUSEWIRE_SIZE(Secctx, 8);
FUSEWIRE_SIZE(SecctxHeader, 8);
FUSEWIRE_SIZE(ExtHeader, 8);
FUSEWIRE_SIZE(SuppGroups, 4);
FUSEWIRE_SIZE(UringEntInOut, 32);
FUSEWIRE_SIZE(UringReqHeader, 288);
FUSEWIRE_AT(UringReqHeader, op_in, 128);
FUSEWIRE_AT(UringReqHeader, ent, 256);
FUSEWIRE_SIZE(UringCmdReq, 24);

#undef FUSEWIRE_SIZE
#undef FUSEWIRE_AT

}  // namespace fusewire::wire
