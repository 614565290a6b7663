// Checked<T>: a T, or what is wrong with the message. std::expected is not there for every compiler that must build
// this room (the fuzzers need clang, whose std::expected with Debian 12's libstdc++ is missing). Freestanding.
#pragma once

#include <cstdint>
#include <string_view>

namespace fusewire::wire {

enum class CheckError : uint8_t {
  none,
  short_header,     // not even a header
  length_mismatch,  // header.len is not the size of the message
  unknown_opcode,
  unknown_notify,
  short_fixed,          // the struct is cut
  name_not_terminated,  // a name runs into the end
  empty_name,
  slash_in_name,
  name_too_long,
  data_mismatch,   // the data are not as long as the struct says
  trailing_bytes,  // something stands behind the end of the message
  bad_extensions,  // the extension block does not fit, or its records do not add up, or none may stand here
  error_range,     // error outside (-512, 0]
  error_with_payload,
  unexpected_reply,  // the request has none, or this is a notification
  reply_too_short,
  reply_too_long,
  bad_directory_record,  // K191
  bad_name_list,         // LISTXATTR: the last name has no NUL (K121)
  bad_attributes,        // no valid file type, or a size above INT64_MAX (K075)
};

// "name_not_terminated".
std::string_view check_error_name(CheckError error);

// The errno, positive, that Linux gives the writer of such a reply or notification.
int32_t check_error_errno(CheckError error);

template <typename T>
class Checked {
 public:
  Checked(const T& value) : value_(value) {}    // NOLINT(google-explicit-constructor)
  Checked(CheckError error) : error_(error) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return error_ == CheckError::none; }
  CheckError error() const { return error_; }
  // Only when there is a value.
  const T& operator*() const { return value_; }
  const T* operator->() const { return &value_; }

 private:
  T value_{};
  CheckError error_ = CheckError::none;
};

}  // namespace fusewire::wire
