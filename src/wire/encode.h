// Builders of messages in a caller's buffer. A builder that runs out of room says so at finish() by an empty span, and
// has written nothing behind the buffer. Freestanding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/bytes.h"
#include "wire/protocol.h"

namespace fusewire::wire {

// Appends to a buffer that begins with a header; the derived builder's finish() fills the header's len.
template <typename Header, typename Derived>
class MessageBuilder {
 public:
  // A struct, or its first `size` bytes for an older minor (OpcodeInfo::request_size, reply_size).
  template <typename T>
  Derived& add(const T& value, size_t size = sizeof(T)) {
    return data(bytes_of_struct(value).first(size < sizeof(T) ? size : sizeof(T)));
  }
  Derived& data(Bytes bytes) {
    put(bytes);
    return static_cast<Derived&>(*this);
  }
  // The name and a NUL.
  Derived& name(std::string_view text) {
    constexpr std::byte nul[1]{};
    put(bytes_of(text));
    put(nul);
    return static_cast<Derived&>(*this);
  }
  // The whole message; empty when the buffer was too small.
  Bytes finish() {
    if (overflow_) return {};
    header_.len = static_cast<uint32_t>(used_);
    __builtin_memcpy(buffer_.data(), &header_, sizeof(Header));
    return buffer_.first(used_);
  }

 protected:
  MessageBuilder(MutableBytes buffer, const Header& header)
      : buffer_(buffer), header_(header), used_(sizeof(Header)), overflow_(buffer.size() < sizeof(Header)) {}

  Header& header() { return header_; }

 private:
  void put(Bytes bytes) {
    if (overflow_ || bytes.size() > buffer_.size() - used_ || used_ + bytes.size() > UINT32_MAX) {
      overflow_ = true;
      return;
    }
    if (!bytes.empty()) __builtin_memcpy(buffer_.data() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
  }

  MutableBytes buffer_;
  Header header_;
  size_t used_;
  bool overflow_;
};

class RequestBuilder : public MessageBuilder<InHeader, RequestBuilder> {
 public:
  RequestBuilder(MutableBytes buffer, Opcode opcode, uint64_t unique, uint64_t nodeid)
      : MessageBuilder(buffer, InHeader{0, static_cast<uint32_t>(opcode), unique, nodeid, 0, 0, 0, 0, 0}) {}

  RequestBuilder& caller(uint32_t uid, uint32_t gid, uint32_t pid) {
    header().uid = uid;
    header().gid = gid;
    header().pid = pid;
    return *this;
  }
  // Bytes of extensions at the end; a multiple of 8.
  RequestBuilder& extensions(Bytes block) {
    header().total_extlen = static_cast<uint16_t>(block.size() / 8);
    return data(block);
  }
};

// A successful reply.
class ReplyBuilder : public MessageBuilder<OutHeader, ReplyBuilder> {
 public:
  ReplyBuilder(MutableBytes buffer, uint64_t unique) : MessageBuilder(buffer, OutHeader{0, 0, unique}) {}
};

// error is positive, as errno is.
inline OutHeader error_reply(uint64_t unique, int32_t error) { return {sizeof(OutHeader), -error, unique}; }

class NotifyBuilder : public MessageBuilder<OutHeader, NotifyBuilder> {
 public:
  NotifyBuilder(MutableBytes buffer, NotifyCode code)
      : MessageBuilder(buffer, OutHeader{0, static_cast<int32_t>(code), 0}) {}
};

}  // namespace fusewire::wire
