// Boost.Intrusive for the freestanding rooms: its checks trap instead of calling assert, which libc would have to
// bring. Include this instead of <boost/intrusive/...>, and before any other header of Boost.
#pragma once

#define BOOST_ENABLE_ASSERT_HANDLER
#include <boost/assert.hpp>

namespace boost {
inline void assertion_failed(const char*, const char*, const char*, long) { __builtin_trap(); }
}  // namespace boost

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set.hpp>
