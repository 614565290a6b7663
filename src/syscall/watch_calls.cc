// What inotify_add_watch(2) needs of a mount (Linux fs/notify/inotify/inotify_user.c inotify_find_inode).
#include "kernel/permissions.h"
#include "kernel/readdir.h"
#include "syscall/events.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

namespace {

constexpr size_t names_room = 32768;

Task<Result<File*>> watch_at(MountImpl& mount, Caller& caller, Place place, bool follow, bool only_directory,
                             Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  auto found = co_await resolve(mount, caller, place, nofollow_unless(follow) | abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  Ref<Dentry> dentry = *found;
  Ref<Inode> inode(*dentry->inode);
  if (only_directory && !inode->is_dir()) co_return error(Errno::enotdir);
  auto allowed = co_await kernel::permission(*inode, caller, abi::may_read);
  if (!allowed) co_return error(allowed.error());
  File* file = kernel::make_file(*dentry, abi::o_path, caller);
  if (!file) co_return error(Errno::enomem);
  mount.file_opened(*file, mount.mount_of(place));
  co_return file;
}

Task<Result<void>> list_into(File& directory, Caller& caller, std::span<std::byte> room, NameSink& sink) {
  auto opened = co_await kernel::open_file(directory, caller);
  if (!opened) co_return opened;
  for (;;) {
    auto got = co_await kernel::read_directory(directory, caller, room);
    if (!got) co_return error(got.error());
    if (*got == 0) co_return Result<void>();
    sink.take(room.first(*got));
  }
}

// The directory is opened anew, and nobody is told.
Task<Result<void>> list_names(MountImpl& mount, Caller& caller, File& watched, NameSink& sink) {
  FileUse use(watched);
  auto* room = static_cast<std::byte*>(mount.kmalloc().alloc(names_room));
  File* directory = kernel::make_file(*watched.dentry, abi::o_rdonly | abi::o_directory | abi::o_largefile, caller);
  Result<void> done = error(Errno::enomem);
  if (room && directory) done = co_await list_into(*directory, caller, {room, names_room}, sink);
  if (directory) {
    directory->flushed = true;
    directory->unuse();
  }
  if (room) mount.kmalloc().free(room, names_room);
  co_return done;
}

}  // namespace

Task<Result<OpenFile*>> Mount::sys_watch(Caller& caller, Place place, bool follow, bool only_directory, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "inotify_add_watch", {place.start},
                  [&mount, &caller, &leave, place, follow, only_directory] {
                    return watch_at(mount, caller, place, follow, only_directory, leave);
                  });
}

Task<Result<void>> Mount::sys_list_names(Caller& caller, OpenFile& watched, NameSink& sink) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "inotify_add_watch", list_names(mount, caller, watched, sink));
}

void Mount::set_events(Events* events) { impl(*this).events = events; }

}  // namespace fusewire::syscall
