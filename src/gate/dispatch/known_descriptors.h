// What is known of the process's descriptors without a system call, by number: that a native file stands there, or
// which file of a mount.
//
// It is certain: a look counts only when no number has changed hands since it began, and nothing is known of a number
// while something takes the place of what is there (dup2), nor after it was closed, until a file is opened there. So
// what arrives unseen (a received descriptor) finds nothing known of its number. Nothing is known while another process
// is in this memory, after a fork, and in a table that processes with memory of their own share.
//
// Thread rule: any thread, any signal handler; no system calls.
#pragma once

#include <cstdint>

#include "gate/dispatch/descriptors.h"

namespace fusewire::gate {

bool is_known_native(int fd);
bool is_known_virtual(int fd, VirtualFile& file);
// The inode of the file with this token, as its connection's view has it (abi::ViewInode::handle); 0: it is not known.
uint64_t known_inode(int fd, uint64_t token);
void learn_inode(int fd, uint64_t token, uint64_t row);  // fd: AT_FDCWD is the working directory
// Likewise its position (RingCall::position).
uint64_t known_position(int fd, uint64_t token);
void learn_position(int fd, uint64_t token, uint64_t position);
// A hint, by which calls are made natively at first or not.
bool is_expected_virtual(int fd);
void expect_virtual(int fd, bool is_virtual);

// Taken before a look, or before an open.
uint32_t look_begins();
void found_native(int fd, uint32_t look);
void found_virtual(int fd, const VirtualFile& file, uint32_t look);
// Opened there, by a call that began with `look`.
void opened_native(int fd, uint32_t look);
void opened_virtual(int fd, const VirtualFile& file, uint32_t look);
// It is about to be closed.
void closes(int fd);

// While it lives, something else may come to the number.
class ChangesHands {
 public:
  explicit ChangesHands(int fd);
  ~ChangesHands();
  ChangesHands(const ChangesHands&) = delete;

 private:
  const int fd_;
};

// In the child of fork, and where what is known has proved wrong.
void forget_known_descriptors();
// The table is shared with processes that have memory of their own, or no more.
void share_known_descriptors(bool are_shared);

}  // namespace fusewire::gate
