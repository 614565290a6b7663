// View: publishes what the half knows of names and attributes for clients that have it mapped (abi/view_layout.h). What
// changes is noted when it changes, and written when the connection's lock is let go: so before the call that changed
// it is answered, and as one, however often it changed. What ends to be true goes at once.
//
// Only what is looked up after the view was made stands in it. When there is no room, things are not published: who
// misses them asks the half.
//
// Owner: the Superblock; the memory is the driver's, and outlives it. Thread rule: under the connection lock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel/connection.h"
#include "kernel/dentry.h"
#include "kernel/inode.h"
#include "kernel/intrusive.h"
#include "kernel/view_rows.h"

namespace fusewire::kernel {

// Memory of zeros for a view, given by the driver: bytes long, a multiple of a page. Clients may read it at any time.
class ViewMemory {
 public:
  // Makes sure that this part can be written; it is asked for page by page, in order. false: there is no memory.
  virtual bool back(uint64_t offset, uint64_t bytes) = 0;

  uint64_t bytes() const { return bytes_; }
  uint64_t word(uint64_t offset) const { return __atomic_load_n(at(offset), __ATOMIC_RELAXED); }
  uint64_t acquire(uint64_t offset) const { return __atomic_load_n(at(offset), __ATOMIC_ACQUIRE); }
  void store(uint64_t offset, uint64_t word) { __atomic_store_n(at(offset), word, __ATOMIC_RELAXED); }
  void release(uint64_t offset, uint64_t word) { __atomic_store_n(at(offset), word, __ATOMIC_RELEASE); }

 protected:
  ViewMemory(void* base, uint64_t bytes) : base_(static_cast<char*>(base)), bytes_(bytes) {}
  ~ViewMemory() = default;
  void use(void* base, uint64_t bytes) { base_ = static_cast<char*>(base), bytes_ = bytes; }

 private:
  uint64_t* at(uint64_t offset) const { return reinterpret_cast<uint64_t*>(base_ + offset); }

  char* base_;
  uint64_t bytes_;
};

class View final : private Publisher {
 public:
  // ENOMEM.
  static Result<View*> create(Superblock& sb, ViewMemory& memory);
  // Says in the memory that it has ended. Inodes and dentries must not be told of any more.
  void destroy();

  // It is to be in the view as it will be when the lock is let go.
  void changed(Dentry& dentry) {
    if (!dentries_.add(dentry)) forget(dentry);
  }
  // Only what is there already: an inode comes with its first name.
  void changed(Inode& inode) {
    if (inode.view_row != 0 && !inodes_.add(inode)) publish(inode);
  }
  // A cached name was used.
  void used(Dentry& dentry) {
    if (dentry.view_row == 0) changed(dentry);
  }
  // It is out of the view at once.
  void forget(Dentry& dentry);
  void forget(Inode& inode);

  uint64_t used_bytes() const { return rows_.used_bytes(); }
  size_t names() const { return rows_.names(); }
  // Whether every row says what the half knows; for tests.
  bool agrees(const Dentry& dentry);
  bool agrees(const Inode& inode) const;

  View(Superblock& sb, ViewMemory& memory) : sb_(sb), memory_(memory), rows_(memory) {}

 private:
  // What changed since the lock was taken. More than that at once is rare: a name goes out of the view until it is
  // used again, an inode is written at once.
  template <typename T>
  class Pending {
   public:
    bool add(T& object) {
      if (object.view_pending) return true;
      if (count_ == room) return false;
      object.view_pending = true;
      objects_[count_++] = &object;
      return true;
    }
    void remove(T& object) {
      if (!object.view_pending) return;
      object.view_pending = false;
      size_t at = count_ - 1;
      while (objects_[at] != &object) --at;
      for (--count_; at < count_; ++at) objects_[at] = objects_[at + 1];
    }
    // Each in its turn, and none is pending afterwards.
    template <typename F>
    void take(F f) {
      for (size_t i = 0; i < count_; ++i) {
        objects_[i]->view_pending = false;
        f(*objects_[i]);
      }
      count_ = 0;
    }

   private:
    static constexpr size_t room = 1024;

    T* objects_[room];
    size_t count_ = 0;
  };

  ~View() = default;
  void publish() override;
  void publish(Dentry& dentry);
  void publish(Inode& inode);
  void publish_header();
  void publish_mounts();
  layout::ViewName contents_of_name(const Dentry& dentry);
  bool is_worth_it(const Dentry& dentry) const;
  uint64_t row_of(Inode& inode);
  uint64_t flags() const;

  Superblock& sb_;
  ViewMemory& memory_;
  ViewRows<ViewMemory> rows_;
  Pending<Dentry> dentries_;
  Pending<Inode> inodes_;
  uint32_t mounts_version_ = UINT32_MAX;
};

}  // namespace fusewire::kernel
