// Rules of inotify: which events a watch of a directory or a file tells of which calls, word by word.
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/xattr.h>

#include <map>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

constexpr struct {
  uint32_t bit;
  const char* word;
} words[] = {{IN_ACCESS, "ACCESS"},
             {IN_MODIFY, "MODIFY"},
             {IN_ATTRIB, "ATTRIB"},
             {IN_CLOSE_WRITE, "CLOSE_WRITE"},
             {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
             {IN_OPEN, "OPEN"},
             {IN_MOVED_FROM, "MOVED_FROM"},
             {IN_MOVED_TO, "MOVED_TO"},
             {IN_CREATE, "CREATE"},
             {IN_DELETE, "DELETE"},
             {IN_DELETE_SELF, "DELETE_SELF"},
             {IN_MOVE_SELF, "MOVE_SELF"},
             {IN_UNMOUNT, "UNMOUNT"},
             {IN_Q_OVERFLOW, "OVERFLOW"},
             {IN_IGNORED, "IGNORED"}};

// One inotify descriptor; its watches are told by a letter each.
class Watcher {
 public:
  int add(const std::string& path, char letter, uint32_t mask = IN_ALL_EVENTS) {
    const int watch = inotify_add_watch(fd_, path.c_str(), mask);
    if (watch >= 0) letters_[watch] = letter;
    return watch;
  }
  void watch(const std::string& path, char letter, uint32_t mask = IN_ALL_EVENTS) {
    must(add(path, letter, mask), "inotify_add_watch " + path);
  }
  int fd() const { return fd_; }

  // What has been told since the last time: "letter:WORD[/][=name][~n]", "/" for IN_ISDIR, n the move's number.
  std::string told() {
    std::string text;
    alignas(inotify_event) char buffer[65536];
    for (ssize_t size; (size = read(fd_, buffer, sizeof buffer)) > 0;)
      for (ssize_t at = 0; at < size;) {
        const auto& event = *reinterpret_cast<const inotify_event*>(buffer + at);
        add_word(text, event);
        at += static_cast<ssize_t>(sizeof event + event.len);
      }
    return text;
  }
  void expect_told(const std::string& wanted, const std::string& of) { expect_equal(told(), wanted, of); }

 private:
  void add_word(std::string& text, const inotify_event& event) {
    if (!text.empty()) text += ' ';
    text += letters_.contains(event.wd) ? letters_[event.wd] : '?';
    text += ':';
    for (const auto& [bit, word] : words)
      if ((event.mask & bit) != 0) text += word;
    if ((event.mask & IN_ISDIR) != 0) text += '/';
    if (event.len > 0) text += std::string("=") + event.name;
    if (event.cookie != 0) text += "~" + std::to_string(cookies_.emplace(event.cookie, cookies_.size()).first->second);
  }

  Fd fd_{static_cast<int>(must(inotify_init1(IN_NONBLOCK | IN_CLOEXEC), "inotify_init1"))};
  std::map<int, char> letters_;
  std::map<uint32_t, size_t> cookies_;
};

void touch(const Place& p, std::string_view name) { Fd fd(p.open(name, O_WRONLY | O_CREAT)); }

void a_directory_tells_of_its_files(const Place& p) {
  Watcher w;
  p.write_file("old", "text");
  w.watch(p.root(), 'd');
  p.write_file("new", "text");
  w.expect_told("d:CREATE=new d:OPEN=new d:MODIFY=new d:CLOSE_WRITE=new", "a new file");
  p.write_file("old", "other");
  w.expect_told("d:OPEN=old d:MODIFY=old d:CLOSE_WRITE=old", "an old file, truncated and written: merged");
  p.read_file("old");
  w.expect_told("d:OPEN=old d:ACCESS=old d:CLOSE_NOWRITE=old", "reading");
  must(unlink(p.path("old").c_str()), "unlink");
  w.expect_told("d:DELETE=old", "unlink");
}

void a_directory_tells_of_its_directories(const Place& p) {
  Watcher w;
  p.mkdir("before");
  w.watch(p.root(), 'd');
  p.mkdir("sub");
  w.expect_told("d:CREATE/=sub", "mkdir");
  p.list("before");
  w.expect_told("d:OPEN/=before d:ACCESS/=before d:CLOSE_NOWRITE/=before", "listing");
  touch(p, "sub/deep");
  w.expect_told("", "what is deeper");
  must(unlink(p.path("sub/deep").c_str()), "unlink");
  must(rmdir(p.path("sub").c_str()), "rmdir");
  must(rmdir(p.path("before").c_str()), "rmdir");
  w.expect_told("d:DELETE/=sub d:DELETE/=before", "rmdir");
}

void a_directory_tells_of_its_other_names(const Place& p) {
  Watcher w;
  w.watch(p.root(), 'd', IN_ALL_EVENTS);
  must(symlink("nowhere", p.path("link").c_str()), "symlink");
  must(mkfifo(p.path("fifo").c_str(), 0600), "mkfifo");
  must(mknod(p.path("node").c_str(), S_IFREG | 0600, 0), "mknod");
  w.expect_told("d:CREATE=link d:CREATE=fifo d:CREATE=node", "names");
  must(link(p.path("node").c_str(), p.path("again").c_str()), "link");
  w.expect_told("d:CREATE=again", "a hard link");
}

void a_file_tells_of_itself(const Place& p) {
  Watcher w;
  p.write_file("f", "text");
  w.watch(p.path("f"), 'f');
  p.read_file("f");
  w.expect_told("f:OPEN f:ACCESS f:CLOSE_NOWRITE", "reading");
  p.write_file("f", "x");
  w.expect_told("f:OPEN f:MODIFY f:CLOSE_WRITE", "writing");
  must(p.rename("f", "g"), "rename");
  w.expect_told("f:MOVE_SELF", "rename");
  must(link(p.path("g").c_str(), p.path("h").c_str()), "link");
  must(unlink(p.path("g").c_str()), "unlink");
  w.expect_told("f:ATTRIB", "its link count, merged");
  must(unlink(p.path("h").c_str()), "unlink");
  w.expect_told("f:ATTRIB f:DELETE_SELF f:IGNORED", "its end");
}

void the_end_of_an_open_file_is_its_last_close(const Place& p) {
  Watcher w;
  p.write_file("f", "text");
  w.watch(p.path("f"), 'f');
  {
    Fd fd(p.open("f", O_RDWR));
    must(unlink(p.path("f").c_str()), "unlink");
    w.expect_told("f:OPEN f:ATTRIB", "unlink");
    must(write(fd, "x", 1), "write");
    w.expect_told("f:MODIFY", "write");
  }
  w.expect_told("f:CLOSE_WRITE f:DELETE_SELF f:IGNORED", "close");
}

void attributes_are_told_as_what_changed_them(const Place& p) {
  Watcher w;
  p.write_file("f", "text");
  w.watch(p.root(), 'd');
  w.watch(p.path("f"), 'f');
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  w.expect_told("d:ATTRIB=f f:ATTRIB", "chmod");
  must(chown(p.path("f").c_str(), static_cast<uid_t>(-1), getegid()), "chown");
  w.expect_told("d:ATTRIB=f f:ATTRIB", "chown");
  must(truncate(p.path("f").c_str(), 2), "truncate");
  w.expect_told("d:MODIFY=f f:MODIFY", "truncate");
  const timespec both[] = {{1, 0}, {2, 0}}, first[] = {{3, 0}, {0, UTIME_OMIT}}, second[] = {{0, UTIME_OMIT}, {4, 0}};
  must(utimensat(AT_FDCWD, p.path("f").c_str(), both, 0), "both times");
  w.expect_told("d:ATTRIB=f f:ATTRIB", "both times");
  must(utimensat(AT_FDCWD, p.path("f").c_str(), first, 0), "atime");
  w.expect_told("d:ACCESS=f f:ACCESS", "atime");
  must(utimensat(AT_FDCWD, p.path("f").c_str(), second, 0), "mtime");
  w.expect_told("d:MODIFY=f f:MODIFY", "mtime");
  Fd fd(p.open("f", O_RDWR));
  w.expect_told("d:OPEN=f f:OPEN", "open");
  must(ftruncate(fd, 1), "ftruncate");
  must(fchmod(fd, 0640), "fchmod");
  w.expect_told("d:MODIFY=f f:MODIFY d:ATTRIB=f f:ATTRIB", "by descriptor");
  if (setxattr(p.path("f").c_str(), "user.x", "v", 1, 0) != 0) return;
  must(removexattr(p.path("f").c_str(), "user.x"), "removexattr");
  w.expect_told("d:ATTRIB=f f:ATTRIB d:ATTRIB=f f:ATTRIB", "extended attributes");
}

void a_move_is_told_at_both_ends(const Place& p) {
  Watcher w;
  p.mkdir("a");
  p.mkdir("b");
  p.write_file("a/f", "text");
  p.write_file("b/target", "text");
  w.watch(p.path("a"), 'a');
  w.watch(p.path("b"), 'b');
  w.watch(p.path("a/f"), 'f');
  w.watch(p.path("b/target"), 't');
  must(p.rename("a/f", "b/g"), "rename");
  w.expect_told("a:MOVED_FROM=f~0 b:MOVED_TO=g~0 f:MOVE_SELF", "rename");
  must(p.rename("b/g", "b/target"), "rename over another");
  w.expect_told("b:MOVED_FROM=g~1 b:MOVED_TO=target~1 t:ATTRIB f:MOVE_SELF t:DELETE_SELF t:IGNORED", "over another");
  must(p.rename("b/target", "outside"), "rename");
  w.expect_told("b:MOVED_FROM=target~2 f:MOVE_SELF", "out of what is watched");
  must(p.rename("outside", "a/inside"), "rename");
  w.expect_told("a:MOVED_TO=inside~3 f:MOVE_SELF", "into what is watched");
  p.read_file("a/inside");
  w.expect_told("a:OPEN=inside f:OPEN a:ACCESS=inside f:ACCESS a:CLOSE_NOWRITE=inside f:CLOSE_NOWRITE",
                "by its new name");
}

void an_exchange_is_two_moves(const Place& p) {
  Watcher w;
  p.mkdir("a");
  p.mkdir("a/sub");
  p.write_file("f", "text");
  if (p.rename("f", "a/sub", 2 /* RENAME_EXCHANGE */) != 0) throw Skip{"no RENAME_EXCHANGE"};
  must(p.rename("f", "a/sub", 2), "and back");
  w.watch(p.path("a"), 'a');
  must(p.rename("f", "a/sub", 2), "exchange");
  w.expect_told("a:MOVED_TO=sub~0 a:MOVED_FROM/=sub~1", "exchange");
}

void an_open_file_tells_by_the_name_it_has_now(const Place& p) {
  Watcher w;
  p.mkdir("a");
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDWR));
  w.watch(p.path("a"), 'a');
  must(write(fd, "x", 1), "write");
  w.expect_told("", "elsewhere");
  must(p.rename("f", "a/g"), "rename");
  must(write(fd, "x", 1), "write");
  w.expect_told("a:MOVED_TO=g~0 a:MODIFY=g", "moved in");
}

void files_open_before_the_watch_are_told_of(const Place& p) {
  Watcher w;
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDWR));
  char byte;
  w.watch(p.root(), 'd');
  w.watch(p.path("f"), 'f');
  must(read(fd, &byte, 1), "read");
  must(write(fd, "x", 1), "write");
  w.expect_told("d:ACCESS=f f:ACCESS d:MODIFY=f f:MODIFY", "an open file");
}

void dead_names_are_told_of_unless_excluded(const Place& p) {
  Watcher all, living;
  p.write_file("f", "text");
  all.watch(p.root(), 'd');
  living.watch(p.root(), 'd', IN_ALL_EVENTS | IN_EXCL_UNLINK);
  Fd fd(p.open("f", O_RDWR));
  must(unlink(p.path("f").c_str()), "unlink");
  must(write(fd, "x", 1), "write");
  all.expect_told("d:OPEN=f d:DELETE=f d:MODIFY=f", "without IN_EXCL_UNLINK");
  living.expect_told("d:OPEN=f d:DELETE=f", "with it");
}

void a_directory_tells_of_itself(const Place& p) {
  Watcher w;
  p.mkdir("d");
  w.watch(p.path("d"), 'd');
  p.list("d");
  w.expect_told("d:OPEN/ d:ACCESS/ d:CLOSE_NOWRITE/", "listing");
  must(chmod(p.path("d").c_str(), 0700), "chmod");
  must(p.rename("d", "e"), "rename");
  w.expect_told("d:ATTRIB/ d:MOVE_SELF", "its attributes and its move");
  must(rmdir(p.path("e").c_str()), "rmdir");
  w.expect_told("d:DELETE_SELF d:IGNORED", "its end");
}

void a_watch_is_one_inodes_whatever_its_path(const Place& p) {
  Watcher w;
  p.write_file("f", "text");
  must(symlink("f", p.path("link").c_str()), "symlink");
  const int first = w.add(p.path("f"), 'f', IN_OPEN);
  expect_equal(w.add(p.path("link"), 'f', IN_OPEN), first, "through a symlink");
  const int link = w.add(p.path("link"), 'l', IN_ALL_EVENTS | IN_DONT_FOLLOW);
  expect(link >= 0 && link != first, "IN_DONT_FOLLOW is the link's own");
  must_fail(w.add(p.path("f"), 'f', IN_OPEN | IN_MASK_CREATE), EEXIST, "IN_MASK_CREATE");
  must_fail(w.add(p.path("f"), 'f', IN_OPEN | IN_ONLYDIR), ENOTDIR, "IN_ONLYDIR");
  expect_equal(w.add(p.path("f"), 'f', IN_CLOSE | IN_MASK_ADD), first, "IN_MASK_ADD");
  p.read_file("link");
  w.expect_told("f:OPEN f:CLOSE_NOWRITE", "both masks");
  must(inotify_rm_watch(w.fd(), first), "rm_watch");
  p.read_file("f");
  w.expect_told("f:IGNORED", "after it is taken away");
  must_fail(inotify_rm_watch(w.fd(), first), EINVAL, "rm_watch again");
}

void one_shot_is_one_event(const Place& p) {
  Watcher w;
  w.watch(p.root(), 'd', IN_CREATE | IN_ONESHOT);
  touch(p, "a");
  touch(p, "b");
  w.expect_told("d:CREATE=a d:IGNORED", "IN_ONESHOT");
}

void what_is_wrong_with_a_watch_is_said(const Place& p) {
  Watcher w;
  p.write_file("f", "text");
  const auto add = [](int fd, const std::string& path, uint32_t mask) {
    return inotify_add_watch(fd, path.c_str(), mask);
  };
  Fd file(p.open("f", O_RDONLY));
  must_fail(add(-1, p.root(), IN_OPEN), EBADF, "no descriptor");
  must_fail(add(file, p.root(), IN_OPEN), EINVAL, "a descriptor of a file");
  must_fail(add(w.fd(), p.root(), 0), EINVAL, "no mask");
  must_fail(add(w.fd(), p.path("none"), IN_OPEN), ENOENT, "no name");
  must_fail(add(w.fd(), p.path("f/none"), IN_OPEN), ENOTDIR, "a name in a file");
  if (geteuid() == 0) return;
  must(chmod(p.path("f").c_str(), 0200), "chmod");
  must_fail(add(w.fd(), p.path("f"), IN_OPEN), EACCES, "without the right to read");
}

}  // namespace

#define RULE(name) \
  { #name, name }
std::vector<Rule> event_rules() {
  return {RULE(a_directory_tells_of_its_files),
          RULE(a_directory_tells_of_its_directories),
          RULE(a_directory_tells_of_its_other_names),
          RULE(a_file_tells_of_itself),
          RULE(the_end_of_an_open_file_is_its_last_close),
          RULE(attributes_are_told_as_what_changed_them),
          RULE(a_move_is_told_at_both_ends),
          RULE(an_exchange_is_two_moves),
          RULE(an_open_file_tells_by_the_name_it_has_now),
          RULE(files_open_before_the_watch_are_told_of),
          RULE(dead_names_are_told_of_unless_excluded),
          RULE(a_directory_tells_of_itself),
          RULE(a_watch_is_one_inodes_whatever_its_path),
          RULE(one_shot_is_one_event),
          RULE(what_is_wrong_with_a_watch_is_said)};
}

}  // namespace fusewire::conformance
