// AnyCall: a call under way whose result's type does not matter, for tests that run many kinds of calls.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "support/syscall_fixture.h"

namespace fusewire::test {

class AnyCall {
 public:
  virtual ~AnyCall() = default;
  virtual bool done() const = 0;
  // The file that it opened, or nullptr.
  virtual OpenFile* opened() = 0;
};

template <typename T>
class TypedCall final : public AnyCall {
 public:
  TypedCall(kernel::Connection& connection, kernel::Task<kernel::Result<T>> task)
      : call_(connection, std::move(task)) {}
  bool done() const override { return call_.done(); }
  OpenFile* opened() override {
    auto result = call_.take();
    if constexpr (std::is_same_v<T, OpenFile*>) return result ? *result : nullptr;
    return nullptr;
  }

 private:
  PendingCall<T> call_;
};

template <typename T>
std::unique_ptr<AnyCall> any_call(kernel::Connection& connection, kernel::Task<kernel::Result<T>> task) {
  return std::make_unique<TypedCall<T>>(connection, std::move(task));
}

}  // namespace fusewire::test
