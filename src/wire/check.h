// Checks of whole messages that came from the other side: nothing in them is believed before it was compared with what
// is really there. Pure functions over bytes; a view borrows the message. Freestanding, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/bytes.h"
#include "wire/checked.h"
#include "wire/dirent.h"
#include "wire/opcode_table.h"
#include "wire/protocol.h"

namespace fusewire::wire {

struct RequestView {
  InHeader header{};
  const OpcodeInfo* info = nullptr;
  Bytes fixed;                            // the struct, as long as the dialect says; read it with get<T>()
  std::array<std::string_view, 2> names;  // without their NULs
  Bytes data;                             // behind names: data, records, or the rest
  Bytes extensions;                       // the extension block (K118, K119)

  // The request's struct; fields that the dialect does not have are zero.
  template <typename T>
  T get() const {
    return load<T>(fixed);
  }
};

struct ReplyView {
  OutHeader header{};
  Bytes fixed;  // empty when header.error is not 0
  Bytes data;

  template <typename T>
  T get() const {
    return load<T>(fixed);
  }
};

struct NotifyView {
  const NotifyInfo* info = nullptr;
  Bytes fixed;
  std::string_view name;
  Bytes data;

  template <typename T>
  T get() const {
    return load<T>(fixed);
  }
};

// What the asker remembers of a request when its reply is checked.
struct ReplyContext {
  Dialect dialect{};
  uint32_t room = UINT32_MAX;  // bytes asked for: the limit of variable data
  bool size_probe = false;     // GETXATTR, LISTXATTR with size 0
};

// The header alone, so that even a message that fails the full check can be answered. short_header, length_mismatch.
Checked<InHeader> check_request_header(Bytes message);

// A whole request, as the daemon's half receives it. INIT is checked by the minor it carries itself, not by dialect.
Checked<RequestView> check_request(Bytes message, const Dialect& dialect);

// A whole reply to a request of this opcode (K012, K013, K053). A reply with error and no payload is well formed.
Checked<ReplyView> check_reply(Opcode opcode, const ReplyContext& context, Bytes message);

// A whole notification: unique 0, and a code in place of the error. As on Linux, the NUL behind a name must be there
// but is not looked at.
Checked<NotifyView> check_notify(Bytes message);

// K075: a valid file type and a size that a loff_t can hold.
bool attributes_are_sane(const Attr& attr);

// Walks all records: bad_directory_record or none.
CheckError check_dirents(Bytes records);
CheckError check_direntpluses(Bytes records);

}  // namespace fusewire::wire
