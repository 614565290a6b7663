// The leader's work on what is mounted already and shall be seen elsewhere: bind mounts, and mounts that move.
#include <fmt/format.h>

#include <cerrno>
#include <string>
#include <utility>

#include "abi/mount_rules.h"
#include "leader/leader_copies.h"
#include "leader/leader_texts.h"

namespace fusewire::leader {

void Leader::bind(const abi::LeaderRequest& request, Asker asker) {
  const MountRecord* source = find_mount(request.source_mount);
  if (!source || !sees(request.view, source->view)) return answer(asker, {-EINVAL, 0});
  if (const int error = check_place(request); error < 0) return answer(asker, {error, 0});
  const MountRecord* around = find_mount(request);
  const host::HostRequest host_request{.operation = host::HostOperation::bind,
                                       .value = {0, 0, request.value[0]},
                                       .mount = next_mount_++,
                                       .in = source->id,
                                       .token = request.source_token};
  auto copies = std::make_shared<Copies>(request, host_request.mount);
  copies->copy_of[source->id] = copies->mount;
  if (request.flags & abi::mount_flag::recursive) copies->originals = tree_of(source->id);
  copies->done = [this, copies = copies.get(), asker = std::move(asker)](int error) mutable {
    const MountRecord* made = error < 0 ? nullptr : find_mount(copies->mount);
    const uint32_t connection = made ? made->connection : 0;
    if (made)
      log_.line(fmt::format("connection {}: {} is at {} too", connection, copies->request.options, path_of(*made)));
    answer(asker, {error, connection});
  };
  make_copy(source->id, around ? around->id : 0, host_request, request, [this, copies](int error) {
    if (error < 0) return copies->done(error);
    attach(copies->mount, copies->request.token, [this, copies](int attached) {
      if (attached < 0) return end_copies(copies, attached);
      copy_next(copies);
    });
  });
}

// Asks the host of a mount for one more, and writes that into the table.
void Leader::make_copy(uint32_t original, uint32_t parent, const host::HostRequest& host_request,
                       const abi::LeaderRequest& request, std::move_only_function<void(int)> done) {
  const uint32_t id = mounts_.at(original).connection, mount = host_request.mount;
  const auto forget = [this, id, mount] {
    if (Connection* asked = find(id)) tell_to_unmount(*asked, mount, abi::umount_flag::detach);
  };
  ask_host(
      connections_.at(id), host_request,
      [this, id, original, parent, mount, placed = request, forget,
       done = std::move(done)](const host::HostMessage& host) mutable {
        if (host.error != 0) return done(host.error);
        Connection* connection = find(id);
        const MountRecord* copied = find_mount(original);
        int error = connection && copied ? 0 : -ENOENT;
        if (error == 0) {
          copy_text(placed.type, entry_of(*copied).type);
          copy_text(placed.source, entry_of(*copied).source);
          error = mounted(mount, *connection, parent, placed, host);
        }
        if (error < 0) forget();
        done(error);
      },
      [forget](const host::HostMessage&) { forget(); });
}

void Leader::copy_next(const std::shared_ptr<Copies>& copies) {
  while (copies->next < copies->originals.size()) {
    const MountRecord* original = find_mount(copies->originals[copies->next++]);
    const auto parent = original ? copies->copy_of.find(original->parent) : copies->copy_of.end();
    const bool is_new = original && !copies->copy_of.contains(original->id) && original->id != copies->mount;
    if (!is_new || parent == copies->copy_of.end() || !find_mount(parent->second)) continue;
    return copy_into(copies, original->id, parent->second);
  }
  copies->done(0);
}

// First of all its mount point: what the copy of its parent does not show is left out.
void Leader::copy_into(const std::shared_ptr<Copies>& copies, uint32_t original, uint32_t parent) {
  const MountRecord copy{.id = next_mount_++, .parent = parent};
  ask_host(
      connections_.at(find_mount(parent)->connection),
      {.operation = host::HostOperation::attach_copy, .value = {original}, .mount = copy.id, .in = parent},
      [this, copies, original, copy](const host::HostMessage& host) {
        if (host.error == -ENOENT) return copy_next(copies);
        if (host.error != 0) return end_copies(copies, host.error);
        const MountRecord* copied = find_mount(original);
        if (!copied) return tell_to_detach(copy), copy_next(copies);
        abi::LeaderRequest request{};
        request.view = copies->request.view;
        request.token = entry_of(*copied).on_root ? 0 : 1;
        request.mount_namespace = copies->request.mount_namespace;
        const std::string_view source = copies->request.options, path = path_of(*copied);
        const std::string_view rest = is_below(path, source) ? path.substr(source.size()) : std::string_view();
        copy_text(request.path, std::string(copies->request.path).append(rest));
        make_copy(original, copy.parent, {.operation = host::HostOperation::bind, .mount = copy.id, .in = original},
                  request, [this, copies, original, copy](int error) {
                    if (error < 0) return tell_to_detach(copy), end_copies(copies, error);
                    copies->copy_of[original] = copy.id;
                    copy_next(copies);
                  });
      },
      [this, copy](const host::HostMessage&) { tell_to_detach(copy); });
}

void Leader::end_copies(const std::shared_ptr<Copies>& copies, int error) {
  if (find_mount(copies->mount)) detach_tree(copies->mount, abi::umount_flag::detach);
  copies->done(error);
}

// Linux do_move_mount.
void Leader::move(const abi::LeaderRequest& request, Asker asker) {
  const MountRecord* source = find_mount(request.source_mount);
  const bool is_its_own = source && source->view == request.view && !is_from_elsewhere(request, *source);
  if (!is_its_own || source->leaving || entry_of(*source).twin_of != 0) return answer(asker, {-EINVAL, 0});
  if (const int error = check_place(request); error < 0) return answer(asker, {error, 0});
  const MountRecord* around = find_mount(request);
  for (const MountRecord* at = around; at; at = find_mount(at->parent))
    if (at->id == source->id) return answer(asker, {-ELOOP, 0});
  const MountRecord before = *source;
  const abi::MountEntry entry_before = entry_of(before);
  const std::string from = path_of(before), point_before = table_.table().point[before.entry];
  put_at(before.id, around ? around->id : 0, request);
  attach(before.id, request.token,
         [this, before, entry_before, from, point_before, asker = std::move(asker)](int error) mutable {
           const MountRecord* moved = find_mount(before.id);
           if (error < 0 && moved) {
             abi::LeaderRequest back{};
             copy_text(back.path, from);
             copy_text(back.point, point_before);
             back.token = entry_before.on_root ? 0 : 1;
             back.mount_namespace = entry_before.mount_namespace;
             back.point_device = entry_before.point_device, back.point_inode = entry_before.point_inode;
             back.point_file_system = entry_before.point_file_system;
             put_at(before.id, before.parent, back);
           }
           if (error < 0 || !moved) return answer(asker, {error < 0 ? error : -ENOENT, 0});
           const MountRecord *out_of = find_mount(before.parent), *into = find_mount(moved->parent);
           // A host that has it on another place of its own has forgotten the old one.
           if (out_of && (!into || into->connection != out_of->connection)) tell_to_detach(before);
           log_.line(fmt::format("connection {}: {} is at {} now", moved->connection, from, path_of(*moved)));
           answer(asker, {0, moved->connection});
         });
}

// The mount and all that stand in it have other paths from now on.
void Leader::put_at(uint32_t mount, uint32_t parent, const abi::LeaderRequest& request) {
  const std::string from = path_of(mounts_.at(mount)), to = request.path;
  mounts_.at(mount).parent = parent;
  const CoveredObject covered = cover(mount, parent, request);
  table_.change([&](abi::MountTable& table) {
    for (const uint32_t id : tree_of(mount)) {
      const MountRecord& each = mounts_.at(id);
      const std::string path = path_of(each);
      if (id == mount || !is_below(path, from)) continue;
      copy_text(table.path[each.entry], to + path.substr(from.size()));
      entry_of(each).path_length = static_cast<uint32_t>(std::string_view(table.path[each.entry]).size());
    }
    place(mounts_.at(mount), request, covered);
  });
}

}  // namespace fusewire::leader
