// One serving thread's part of a session: its buffers, kept from request to request, and the way from a request's bytes
// to the file system's function and back. Private to the session.
#pragma once

#include <array>
#include <memory>

#include "daemon/session.h"
#include "wire/check.h"

namespace fusewire::daemon {

class Worker {
 public:
  explicit Worker(Session& session);

  // Waits for one request and serves it. False: the connection is at its end.
  Result<bool> serve_one();

 private:
  using View = wire::RequestView;

  void serve(wire::Bytes message);
  void serve_init(const View& view);
  void refuse(wire::Bytes message, wire::CheckError why);
  void dispatch(const View& view);
  void dispatch_change(const View& view);
  void dispatch_file(const View& view);
  void dispatch_rest(const View& view);

  void read(const View& view);
  void readdir(const View& view);
  void readdirplus(const View& view);
  void readlink();
  void getxattr(const View& view);
  void setxattr(const View& view);
  void forget_batch(const View& view);
  void ioctl(const View& view);
  void copy_file_range(const View& view);
  void create(Result<Created> created, uint32_t flags);
  void open(Result<Opened> opened, uint32_t flags, bool directory);

  // Each request ends in exactly one of these, or has no answer. True: the kernel's half took it.
  bool answer_error(Errno why);
  bool answer_bytes(wire::Bytes payload);
  bool answer_parts(wire::Bytes first, wire::Bytes second);
  template <typename T>
  bool answer_struct(const T& value);
  template <typename T, typename Convert>
  bool answer(const Result<T>& result, Convert convert);
  bool answer(const Result<void>& result);
  bool answer(const Result<AttributesFor>& result);
  void answer(const Result<Entry>& result);
  void answer_sized(const Result<size_t>& result, size_t asked);

  // A kept buffer of that size; empty when the request asks for more than was agreed on.
  std::span<std::byte> payload(size_t bytes);

  Session& session_;
  FileSystem& fs_;
  size_t in_bytes_;
  std::unique_ptr<std::byte[]> in_;
  size_t payload_bytes_ = 0;
  std::unique_ptr<std::byte[]> payload_;

  // The request being served.
  RequestContext context_;
  NodeId node_{};
  const wire::OpcodeInfo* info_ = nullptr;
};

}  // namespace fusewire::daemon
