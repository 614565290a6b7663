// HashTable: a Boost.Intrusive unordered set that brings its buckets from kmalloc, and doubles them when chains are two
// objects long in the mean.
// When there is no memory for more buckets the chains grow instead.
// Thread rule: under the connection lock.
#pragma once

#include <new>

#include "kernel/intrusive.h"
#include "kernel/slab.h"

namespace fusewire::kernel {

template <typename Set>
class HashTable {
 public:
  using Bucket = typename Set::bucket_type;
  using Traits = typename Set::bucket_traits;

  explicit HashTable(Kmalloc& kmalloc) : kmalloc_(kmalloc), set_(Traits(&first_bucket_, 1)) {}
  ~HashTable() {
    set_.clear();
    Bucket* const old = buckets_;
    set_.rehash(Traits(&first_bucket_, 1));
    release(old, count_);
  }
  HashTable(const HashTable&) = delete;

  void insert(typename Set::reference object) {
    if (set_.size() >= 2 * count_) grow();
    set_.insert(object);
  }
  template <typename Key, typename Hash, typename Equal>
  typename Set::pointer find(const Key& key, Hash hash, Equal equal) {
    auto found = set_.find(key, hash, equal);
    return found == set_.end() ? nullptr : &*found;
  }
  void erase(typename Set::reference object) { set_.erase(set_.iterator_to(object)); }
  size_t size() const { return set_.size(); }
  Set& all() { return set_; }

 private:
  void grow() {
    const size_t wanted = count_ < 64 ? 64 : count_ * 2;
    void* memory = kmalloc_.alloc(wanted * sizeof(Bucket));
    if (!memory) return;
    auto* buckets = static_cast<Bucket*>(memory);
    for (size_t i = 0; i < wanted; ++i) ::new (&buckets[i]) Bucket;
    set_.rehash(Traits(buckets, wanted));
    release(buckets_, count_);
    buckets_ = buckets;
    count_ = wanted;
  }
  void release(Bucket* buckets, size_t count) {
    if (buckets) kmalloc_.free(buckets, count * sizeof(Bucket));
  }

  Kmalloc& kmalloc_;
  Bucket first_bucket_;
  Bucket* buckets_ = nullptr;
  size_t count_ = 1;
  Set set_;
};

}  // namespace fusewire::kernel
