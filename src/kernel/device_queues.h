// DeviceQueues: the part of a device that its connection sees: the requests that were read from it and wait for their
// replies (Linux struct fuse_pqueue). Thread rule: under the connection lock.
#pragma once

#include <array>
#include <cstdint>

#include "kernel/device.h"
#include "kernel/intrusive.h"
#include "kernel/request.h"

namespace fusewire::kernel {

class DeviceQueues : public boost::intrusive::list_base_hook<> {
 public:
  DeviceQueues() : processing_(Table::bucket_traits(buckets_.data(), bucket_count)) {}
  DeviceQueues(const DeviceQueues&) = delete;

  void add_sent(Request& request) {
    request.state = RequestState::sent;
    processing_.insert(request);
    sent_.push_back(request);
  }
  // nullptr: no such request was read from this device, or it has been answered.
  Request* find_sent(uint64_t unique) {
    const auto found = processing_.find(unique);
    return found == processing_.end() ? nullptr : &*found;
  }
  void unlink_sent(Request& request) {
    processing_.erase(processing_.iterator_to(request));
    sent_.erase(sent_.iterator_to(request));
  }
  // Oldest first.
  const RequestList& sent() const { return sent_; }
  // Off this device, at the end of list.
  void move_sent_to(RequestList& list) {
    processing_.clear();
    list.splice(list.end(), sent_);
  }

  RequestList copying;  // LOCKED, between input queue and processing or between processing and the end
  DeviceListener* listener = nullptr;

 private:
  // Where the sent requests are found by the unique of their replies.
  struct UniqueOf {
    using type = uint64_t;
    uint64_t operator()(const Request& request) const { return request.in.unique; }
  };
  struct HashOfUnique {
    size_t operator()(uint64_t unique) const { return static_cast<size_t>(unique / wire::unique_step); }
  };
  static constexpr size_t bucket_count = 256;
  using Table =
      boost::intrusive::unordered_set<Request,
                                      boost::intrusive::member_hook<Request, Request::HashHook, &Request::hash_hook>,
                                      boost::intrusive::key_of_value<UniqueOf>, boost::intrusive::hash<HashOfUnique>,
                                      boost::intrusive::power_2_buckets<true>>;

  std::array<Table::bucket_type, bucket_count> buckets_;
  Table processing_;
  RequestList sent_;  // the members of processing_
};

}  // namespace fusewire::kernel
