#include "kernel/superblock.h"

#include "kernel/attributes.h"
#include "kernel/locks.h"
#include "kernel/module.h"

namespace fusewire::kernel {

static_assert(sizeof(Inode) <= inode_object_size && sizeof(Dentry) <= dentry_object_size);

namespace {

uint64_t hash_name(const Dentry* parent, std::string_view name) {
  uint64_t hash = reinterpret_cast<uintptr_t>(parent) * 0x9e3779b97f4a7c15u ^ 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash ^ (hash >> 29);
}

struct NameKey {
  const Dentry* parent;
  std::string_view name;
};
struct NameKeyHash {
  size_t operator()(const NameKey& key) const { return hash_name(key.parent, key.name); }
};
struct NameKeyEqual {
  bool operator()(const NameKey& key, const Dentry& dentry) const {
    return key.parent == dentry.parent && key.name == dentry.name();
  }
  bool operator()(const Dentry& dentry, const NameKey& key) const { return (*this)(key, dentry); }
};

}  // namespace

void Inode::unref() {
  if (--references == 0) sb.evict(*this);
}

// More than fit are given back in between: the daemon's count stays above zero, and exact.
void Inode::count_lookup() {
  if (++nlookup != UINT32_MAX) return;
  sb.connection.queue_forget(nodeid, nlookup - 1);
  nlookup = 1;
}

InodeExtra* Inode::make_extra() {
  if (extra) return extra;
  void* memory = kmalloc().alloc(sizeof(InodeExtra));
  if (memory) extra = ::new (memory) InodeExtra;
  return extra;
}

Kmalloc& Inode::kmalloc() { return sb.kmalloc(); }

uint32_t Inode::checked_mode() const { return sb.default_permissions() ? attr.mode : attr.mode & ~abi::s_isvtx; }

size_t Superblock::DentryHash::operator()(const Dentry& dentry) const {
  return hash_name(dentry.parent, dentry.name());
}

void Dentry::ref() {
  if (references == 0 && hashed) sb().unused_.erase(*this);
  ++references;
}

void Dentry::unref() {
  if (references > 1) {
    --references;
    return;
  }
  Superblock& superblock = sb();
  references = 0;
  if (!hashed) return superblock.free(*this);
  superblock.unused_.push_back(*this);
  superblock.keep_within_bound();
}

uint64_t Superblock::bytes_of_names() const {
  const uint64_t in_view = view ? view->names() * (sizeof(layout::ViewName) + sizeof(layout::ViewInode)) : 0;
  return dentries_.size() * sizeof(Dentry) + inodes_.size() * sizeof(Inode) + in_view;
}

void Superblock::keep_within_bound() {
  constexpr size_t kept = 1024, rests_between = 16384;
  constexpr uint64_t growth_between = 16 << 20;
  // What goes lets its directory come to rest.
  if (unused_.size() <= kept || dropping_) return;
  if (rests_left_-- == 0 || bytes_of_names() >= grown_to_) {
    rests_left_ = rests_between;
    grown_to_ = bytes_of_names() + growth_between;
    names_bound_ = connection.host().names_may_take(bytes_of_names());
  }
  dropping_ = true;
  while (unused_.size() > kept && bytes_of_names() > names_bound_) unhash(*unused_.first());
  dropping_ = false;
}

void UnusedDentries::push_back(Dentry& dentry) {
  dentry.unused_ = {last_, nullptr};
  (last_ ? last_->unused_.next : first_) = &dentry;
  last_ = &dentry;
  ++size_;
}

void UnusedDentries::erase(Dentry& dentry) {
  const auto [previous, next] = dentry.unused_;
  (previous ? previous->unused_.next : first_) = next;
  (next ? next->unused_.previous : last_) = previous;
  dentry.used_ = {};
  --size_;
}

Superblock::Superblock(Connection& c, uint64_t device)
    : connection(c), dev(device), mounts(c.kmalloc()), inodes_(c.kmalloc()), dentries_(c.kmalloc()) {
  for (uint32_t& word : scramble_key_) word = static_cast<uint32_t>(c.host().random() >> 16);
}

Result<Superblock*> Superblock::create(Connection& connection, uint64_t dev) {
  void* memory = connection.kmalloc().alloc(sizeof(Superblock));
  if (!memory) return error(Errno::enomem);
  auto* sb = ::new (memory) Superblock(connection, dev);
  Inode* inode = connection.module().inodes().make<Inode>(*sb, wire::root_id, 0u);
  Dentry* root = connection.module().dentries().make<Dentry>();
  if (!inode || !root) {
    if (inode) connection.module().inodes().drop(inode);
    if (root) connection.module().dentries().drop(root);
    sb->~Superblock();
    connection.kmalloc().free(memory, sizeof(Superblock));
    return error(Errno::enomem);
  }
  inode->attr.mode = connection.options().rootmode;
  inode->attr.nlink = 1;
  inode->attr.ino = wire::root_id;
  inode->nlookup = 1;
  inode->hashed = true;
  sb->inodes_.insert(*inode);
  root->valid_until = UINT64_MAX;
  sb->attach_inode(*root, *inode);
  sb->root_ = root;
  root->ref();
  return sb;
}

Result<void> Superblock::start_view(ViewMemory& memory) {
  if (view) return error(Errno::eexist);
  TRY(made, View::create(*this, memory));
  view = made;
  return {};
}

void Superblock::end_view() {
  if (view) std::exchange(view, nullptr)->destroy();
}

bool Superblock::view_agrees() {
  bool agrees = true;
  if (!view) return agrees;
  for (const Inode& inode : inodes_.all()) agrees = agrees && view->agrees(inode);
  for (const Dentry& dentry : dentries_.all()) agrees = agrees && view->agrees(dentry);
  return agrees;
}

void Superblock::destroy() {
  active_ = false;
  end_view();
  mounts.clear();
  shrink(*root_);
  if (root_->references != 1 || root_->first_child() || dentries_.size() != 0)
    connection.host().panic("the mount ends while dentries are held");
  Dentry* root = root_;
  root_ = nullptr;
  root->unref();
  if (inodes_.size() != 0) connection.host().panic("the mount ends while inodes are held");
  Kmalloc& memory = kmalloc();
  this->~Superblock();
  memory.free(this, sizeof(Superblock));
}

uint64_t Superblock::deadline(uint64_t seconds, uint32_t nanoseconds) {
  constexpr uint64_t billion = 1'000'000'000;
  if (seconds == 0 && nanoseconds == 0) return 0;
  const uint64_t fraction = nanoseconds < billion ? nanoseconds : billion - 1;
  const uint64_t from = now();
  if (seconds >= (UINT64_MAX - from) / billion - 1) return UINT64_MAX;
  return from + seconds * billion + fraction;
}

// Tea with 32 rounds, as Linux fuse_lock_owner_id: the daemon can compare owners but learns no address.
uint64_t Superblock::scrambled_owner(uint64_t lock_owner) const {
  uint32_t v0 = static_cast<uint32_t>(lock_owner), v1 = static_cast<uint32_t>(lock_owner >> 32), sum = 0;
  for (int round = 0; round < 32; ++round) {
    v0 += ((v1 << 4 ^ v1 >> 5) + v1) ^ (sum + scramble_key_[sum & 3]);
    sum += 0x9e3779b9u;
    v1 += ((v0 << 4 ^ v0 >> 5) + v0) ^ (sum + scramble_key_[sum >> 11 & 3]);
  }
  return v0 | uint64_t{v1} << 32;
}

Inode* Superblock::find_inode(uint64_t nodeid) { return inodes_.find(nodeid, Inode::Hash(), Inode::Equal()); }

Result<Ref<Inode>> Superblock::get_inode(const wire::EntryOut& entry, uint64_t attr_version, uint64_t evict_counter) {
  Inode* inode = find_inode(entry.nodeid);
  const uint64_t generation = entry.nodeid == wire::root_id ? 0 : entry.generation;
  if (inode && inode->stale(generation, entry.attr.mode)) {
    make_bad(*inode);
    if (inode != root_->inode) {
      inodes_.erase(*inode);
      inode->hashed = false;
      inode = nullptr;
    }
  }
  if (!inode) {
    inode = connection.module().inodes().make<Inode>(*this, entry.nodeid, static_cast<uint32_t>(generation));
    if (!inode) {
      connection.queue_forget(entry.nodeid, 1);
      return error(Errno::enomem);
    }
    inode->hashed = true;
    inodes_.insert(*inode);
  }
  inode->count_lookup();
  const uint64_t valid_until = deadline(entry.attr_valid, entry.attr_valid_nsec);
  change_attributes(*inode, entry.attr, nullptr, valid_until, attr_version, evict_counter);
  return Ref<Inode>(*inode);
}

void Superblock::evict(Inode& inode) {
  if (view) view->forget(inode);
  if (inode.hashed) inodes_.erase(inode);
  if (active_ && inode.nlookup != 0 && inode.nodeid != wire::root_id)
    connection.queue_forget(inode.nodeid, inode.nlookup);
  connection.count_eviction();
  drop_inode_locks(inode);
  if (inode.extra) {
    free_link_text(inode);
    kmalloc().free(inode.extra, sizeof(InodeExtra));
  }
  connection.module().inodes().drop(&inode);
}

void Superblock::free_link_text(Inode& inode) {
  if (!inode.extra || !inode.extra->link_text) return;
  kmalloc().free(inode.extra->link_text, inode.extra->link_length);
  inode.extra->link_text = nullptr;
  inode.extra->link_length = 0;
}

void Superblock::drop_link_text(Inode& inode) {
  free_link_text(inode);
  changed(inode);
}

void Superblock::make_bad(Inode& inode) {
  inode.bad = true;
  changed(inode);
}

Ref<Dentry> Superblock::find_dentry(Dentry& parent, std::string_view name) {
  Dentry* found = dentries_.find(NameKey{&parent, name}, NameKeyHash(), NameKeyEqual());
  return found ? Ref<Dentry>(*found) : Ref<Dentry>();
}

Result<Ref<Dentry>> Superblock::make_dentry(Dentry& parent, std::string_view name) {
  Dentry* dentry = connection.module().dentries().make<Dentry>();
  if (!dentry) return error(Errno::enomem);
  if (!set_name(*dentry, name)) {
    connection.module().dentries().drop(dentry);
    return error(Errno::enomem);
  }
  attach_to_parent(*dentry, parent);
  dentry->epoch = connection.epoch();
  return Ref<Dentry>(*dentry);
}

void Superblock::set_timeout(Dentry& dentry, const wire::EntryOut& entry) {
  dentry.valid_until = deadline(entry.entry_valid, entry.entry_valid_nsec);
  if (dentry.hashed) changed(dentry);
}

Result<Ref<Dentry>> Superblock::splice(Dentry& dentry, Inode& inode) {
  if (Ref<Dentry> there = find_dentry(*dentry.parent, dentry.name())) {
    if (there->inode == &inode) return there;
    invalidate(*there);
  }
  Dentry* alias = inode.is_dir() ? inode.newest_alias : nullptr;
  if (alias && alias->is_root()) return error(Errno::eio);
  if (alias && is_below(*dentry.parent, *alias)) return error(Errno::eloop);
  // Whoever renames, or has its parent locked, goes by the name and the place that it has now (Linux __d_unalias).
  const bool moves = alias && alias->parent != dentry.parent;
  if (moves && (!rename_lock.idle() || !alias->parent->inode->lock.shareable())) return error(Errno::estale);
  if (alias) {
    Ref<Dentry> moved(*alias);
    rename_dentry(*alias, *dentry.parent, dentry.name());
    if (alias->hashed) return moved;
  }
  attach_inode(dentry, inode);
  hash(dentry);
  return Ref<Dentry>(dentry);
}

void Superblock::hash_negative(Dentry& dentry) {
  if (Ref<Dentry> there = find_dentry(*dentry.parent, dentry.name())) invalidate(*there);
  hash(dentry);
}

void Superblock::invalidate(Dentry& dentry) {
  Ref<Dentry> hold(dentry);
  shrink(dentry);
  unhash(dentry);
}

void Superblock::unhash(Dentry& dentry) {
  if (!dentry.hashed) return;
  if (view) view->forget(dentry);
  dentries_.erase(dentry);
  dentry.hashed = false;
  if (dentry.references != 0) return;
  unused_.erase(dentry);
  free(dentry);
}

void Superblock::move(Dentry& dentry, Dentry& new_parent, Dentry& victim) {
  Ref<Dentry> hold(victim);
  unhash(victim);
  if (dentry.hashed) rename_dentry(dentry, new_parent, victim.name());
}

void Superblock::exchange(Dentry& a, Dentry& b) {
  Ref<Dentry> a_parent(*a.parent), b_parent(*b.parent);
  Result<Ref<Dentry>> a_name = make_dentry(*a_parent, a.name());
  Result<Ref<Dentry>> b_name = make_dentry(*b_parent, b.name());
  if (!a.hashed || !b.hashed || !a_name || !b_name) {
    invalidate(a);
    return invalidate(b);
  }
  rename_dentry(a, *b_parent, (*b_name)->name());
  rename_dentry(b, *a_parent, (*a_name)->name());
}

// Walks the tree below without recursion; the dentry at hand is held, so that it outlives its children.
void Superblock::shrink(Dentry& top) {
  Dentry* at = &top;
  at->ref();
  for (;;) {
    if (at->first_child()) {
      at = at->first_child();
      at->ref();
      continue;
    }
    // Every child below was visited: either gone, or in use and to be passed by.
    while (at != &top) {
      Dentry* const sibling = at->next_sibling;
      Dentry* const parent = at->parent;
      if (at->references == 1) unhash(*at);
      at->unref();
      at = parent;
      if (!sibling) continue;
      at = sibling;
      at->ref();
      break;
    }
    if (at == &top) break;
  }
  top.unref();
}

void Superblock::prune_aliases(Inode& inode) {
  Ref<Inode> hold(inode);
  Dentry* const newest = inode.newest_alias;
  for (Dentry* alias = newest ? newest->next_alias : nullptr; alias;) {
    Dentry* const next = alias == newest ? nullptr : alias->next_alias;
    if (!alias->is_root() && alias->references == 0) unhash(*alias);
    alias = next;
  }
}

bool Superblock::set_name(Dentry& dentry, std::string_view name) {
  const bool is_inline = name.size() < Dentry::inline_bytes;
  char here[Dentry::inline_bytes];
  char* const text = is_inline ? here : static_cast<char*>(kmalloc().alloc(name.size() + 1));
  if (!text) return false;
  // The name may be the dentry's own: it is taken before the old one goes.
  __builtin_memcpy(text, name.data(), name.size());
  text[name.size()] = '\0';
  free_name(dentry);
  dentry.length_ = static_cast<uint16_t>(name.size());
  if (is_inline)
    __builtin_memcpy(dentry.text_.here, here, name.size() + 1);
  else
    dentry.text_.elsewhere = text;
  return true;
}

void Superblock::free_name(Dentry& dentry) {
  if (dentry.length_ >= Dentry::inline_bytes) kmalloc().free(dentry.text_.elsewhere, dentry.length_ + size_t{1});
}

void Superblock::hash(Dentry& dentry) {
  dentry.hashed = true;
  dentries_.insert(dentry);
  changed(dentry);
}

void Superblock::attach_to_parent(Dentry& dentry, Dentry& parent) {
  parent.ref();
  dentry.parent = &parent;
  dentry.previous_sibling = nullptr;
  Dentry*& first = parent.used_.first_child;
  dentry.next_sibling = first;
  if (first) first->previous_sibling = &dentry;
  first = &dentry;
}

void Superblock::detach_from_parent(Dentry& dentry) {
  Dentry& parent = *dentry.parent;
  if (dentry.previous_sibling)
    dentry.previous_sibling->next_sibling = dentry.next_sibling;
  else
    parent.used_.first_child = dentry.next_sibling;
  if (dentry.next_sibling) dentry.next_sibling->previous_sibling = dentry.previous_sibling;
  dentry.parent = nullptr;
  parent.unref();
}

void Superblock::attach_inode(Dentry& dentry, Inode& inode) {
  inode.ref();
  dentry.inode = &inode;
  Dentry* const newest = inode.newest_alias;
  dentry.next_alias = newest ? newest->next_alias : &dentry;
  if (newest) newest->next_alias = &dentry;
  inode.newest_alias = &dentry;
}

void Superblock::detach_inode(Dentry& dentry) {
  Inode* inode = dentry.inode;
  if (!inode) return;
  Dentry* before = inode->newest_alias;
  while (before->next_alias != &dentry) before = before->next_alias;
  before->next_alias = dentry.next_alias;
  if (inode->newest_alias == &dentry) inode->newest_alias = before == &dentry ? nullptr : before;
  dentry.inode = nullptr;
  inode->unref();
}

// An unhashed dentry without holds. Its parent may be the next one: no recursion, however deep the path is.
void Superblock::free(Dentry& dentry) {
  for (Dentry* at = &dentry; at;) {
    Dentry* const parent = at->parent;
    if (parent) parent->ref();
    if (view) view->forget(*at);
    if (parent) detach_from_parent(*at);
    detach_inode(*at);
    free_name(*at);
    connection.module().dentries().drop(at);
    at = nullptr;
    if (!parent) continue;
    if (parent->references == 1 && !parent->hashed && parent != root_) {
      parent->references = 0;
      at = parent;
    } else {
      parent->unref();
    }
  }
}

void Superblock::rename_dentry(Dentry& dentry, Dentry& new_parent, std::string_view name) {
  Ref<Dentry> hold(dentry);
  Ref<Dentry> old_parent(*dentry.parent);
  if (view) view->forget(dentry);
  if (dentry.hashed) dentries_.erase(dentry);
  dentry.hashed = false;
  if (!set_name(dentry, name)) return;
  detach_from_parent(dentry);
  attach_to_parent(dentry, new_parent);
  hash(dentry);
}

bool Superblock::is_below(const Dentry& dentry, const Dentry& ancestor) const {
  for (const Dentry* at = &dentry; at; at = at->parent) {
    if (at == &ancestor) return true;
  }
  return false;
}

}  // namespace fusewire::kernel
