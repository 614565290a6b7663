// Rules of names: create, link, unlink, rename, directories.
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <algorithm>
#include <set>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

void create_exclusive_refuses_what_exists(const Place& p) {
  p.write_file("f", "x");
  must_fail(::open(p.path("f").c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST, "open O_EXCL");
  must_fail(::mkdir(p.path("f").c_str(), 0755), EEXIST, "mkdir");
}

void missing_names_are_enoent(const Place& p) {
  must_fail(::open(p.path("no").c_str(), O_RDONLY), ENOENT, "open");
  must_fail(unlink(p.path("no").c_str()), ENOENT, "unlink");
  must_fail(rmdir(p.path("no").c_str()), ENOENT, "rmdir");
  must_fail(p.rename("no", "other"), ENOENT, "rename");
  must_fail(::open(p.path("no/inside").c_str(), O_CREAT | O_WRONLY, 0644), ENOENT, "open below");
}

void a_file_is_no_directory(const Place& p) {
  p.write_file("f", "x");
  must_fail(::open(p.path("f/x").c_str(), O_RDONLY), ENOTDIR, "open below a file");
  must_fail(rmdir(p.path("f").c_str()), ENOTDIR, "rmdir of a file");
  must_fail(::open(p.path("f").c_str(), O_RDONLY | O_DIRECTORY), ENOTDIR, "O_DIRECTORY");
}

void a_directory_is_no_file(const Place& p) {
  p.mkdir("d");
  must_fail(unlink(p.path("d").c_str()), EISDIR, "unlink");
  must_fail(::open(p.path("d").c_str(), O_WRONLY), EISDIR, "open for writing");
  must_fail(link(p.path("d").c_str(), p.path("e").c_str()), EPERM, "link");
}

void names_of_255_bytes_fit_and_256_do_not(const Place& p) {
  p.write_file(std::string(255, 'n'), "x");
  expect_equal(p.read_file(std::string(255, 'n')), std::string("x"), "content");
  std::string long_name(256, 'n');
  must_fail(::open(p.path(long_name).c_str(), O_CREAT | O_WRONLY, 0644), ENAMETOOLONG, "open");
  must_fail(::mkdir(p.path(long_name).c_str(), 0755), ENAMETOOLONG, "mkdir");
}

void names_are_bytes(const Place& p) {
  std::string odd = "\xff\xfe \n\t\\*";
  p.write_file(odd, "x");
  expect_equal(p.list().front(), odd, "listed name");
}

void link_counts_are_exact(const Place& p) {
  p.write_file("f", "x");
  must(link(p.path("f").c_str(), p.path("g").c_str()), "link");
  expect_equal<long>(p.status("f").st_nlink, 2, "after link");
  expect_equal<long>(static_cast<long>(p.status("f").st_ino), static_cast<long>(p.status("g").st_ino), "same inode");
  must(unlink(p.path("f").c_str()), "unlink");
  expect_equal<long>(p.status("g").st_nlink, 1, "after unlink");
  must_fail(link(p.path("g").c_str(), p.path("g").c_str()), EEXIST, "link onto itself");
}

void directory_link_counts_are_exact(const Place& p) {
  expect_equal<long>(p.status(".").st_nlink, 2, "empty");
  p.mkdir("a");
  p.mkdir("b");
  expect_equal<long>(p.status(".").st_nlink, 4, "two inside");
  must(p.rename("a", "b/a"), "rename");
  expect_equal<long>(p.status(".").st_nlink, 3, "one moved");
  expect_equal<long>(p.status("b").st_nlink, 3, "moved into");
  must(rmdir(p.path("b/a").c_str()), "rmdir");
  expect_equal<long>(p.status("b").st_nlink, 2, "removed");
}

void an_unlinked_open_file_lives_on(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must(write(fd, "before", 6), "write");
  must(unlink(p.path("f").c_str()), "unlink");
  expect(!p.exists("f"), "the name is gone");
  must(pwrite(fd, "AFTER!", 6, 6), "write after unlink");
  char buffer[32] = {};
  expect_equal<long>(must(pread(fd, buffer, sizeof buffer, 0), "read"), 12, "bytes");
  expect_equal(std::string(buffer), std::string("beforeAFTER!"), "content");
  struct stat status;
  must(fstat(fd, &status), "fstat");
  expect_equal<long>(status.st_nlink, 0, "nlink");
  must(ftruncate(fd, 3), "ftruncate");
  must(fchmod(fd, 0600), "fchmod");
}

void a_new_file_of_an_old_name_is_another(const Place& p) {
  Fd old(p.open("f", O_RDWR | O_CREAT));
  must(write(old, "old", 3), "write");
  must(unlink(p.path("f").c_str()), "unlink");
  p.write_file("f", "new");
  char buffer[8] = {};
  must(pread(old, buffer, sizeof buffer, 0), "read the old one");
  expect_equal(std::string(buffer), std::string("old"), "old content");
  expect_equal(p.read_file("f"), std::string("new"), "new content");
}

void rename_replaces_a_file(const Place& p) {
  p.write_file("a", "new");
  p.write_file("b", "old");
  Fd victim(p.open("b", O_RDONLY));
  must(p.rename("a", "b"), "rename");
  expect(!p.exists("a"), "old name gone");
  expect_equal(p.read_file("b"), std::string("new"), "content");
  char buffer[8] = {};
  must(read(victim, buffer, sizeof buffer), "read the victim");
  expect_equal(std::string(buffer), std::string("old"), "the victim lives while open");
}

void rename_checks_types(const Place& p) {
  p.write_file("f", "x");
  p.mkdir("d");
  p.mkdir("full");
  p.write_file("full/x", "x");
  must_fail(p.rename("f", "d"), EISDIR, "file onto directory");
  must_fail(p.rename("d", "f"), ENOTDIR, "directory onto file");
  must_fail(p.rename("d", "full"), ENOTEMPTY, "onto a full directory");
  must(p.rename("full", "d"), "onto an empty directory");
  expect_equal(p.read_file("d/x"), std::string("x"), "content moved along");
}

void rename_makes_no_loops(const Place& p) {
  p.mkdir("a");
  p.mkdir("a/b");
  must_fail(p.rename("a", "a/b/c"), EINVAL, "into itself");
  must_fail(p.rename("a/b", "a"), ENOTEMPTY, "onto its parent");
}

void rename_of_two_names_of_one_file_does_nothing(const Place& p) {
  p.write_file("a", "x");
  must(link(p.path("a").c_str(), p.path("b").c_str()), "link");
  must(p.rename("a", "b"), "rename");
  expect(p.exists("a") && p.exists("b"), "both names stay");
}

void rename_noreplace_keeps_what_is_there(const Place& p) {
  p.write_file("a", "a");
  p.write_file("b", "b");
  must_fail(p.rename("a", "b", RENAME_NOREPLACE), EEXIST, "onto an existing name");
  must(p.rename("a", "c", RENAME_NOREPLACE), "onto a free name");
  expect_equal(p.read_file("b"), std::string("b"), "untouched");
  expect_equal(p.read_file("c"), std::string("a"), "moved");
}

void rename_exchange_swaps(const Place& p) {
  p.write_file("a", "a");
  p.mkdir("d");
  p.write_file("d/x", "x");
  must_fail(p.rename("a", "none", RENAME_EXCHANGE), ENOENT, "with nothing");
  must(p.rename("a", "d", RENAME_EXCHANGE), "file with directory");
  expect_equal(p.read_file("d"), std::string("a"), "the file");
  expect_equal(p.read_file("a/x"), std::string("x"), "the directory");
  p.mkdir("e");
  must(p.rename("d", "e", RENAME_EXCHANGE), "again");
  expect_equal<long>(p.status(".").st_nlink, 4, "nlink of the parent");
  must_fail(p.rename("a", "e", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL, "flags that contradict");
}

void rmdir_wants_an_empty_directory(const Place& p) {
  p.mkdir("d");
  p.write_file("d/f", "x");
  must_fail(rmdir(p.path("d").c_str()), ENOTEMPTY, "full");
  must(unlink(p.path("d/f").c_str()), "unlink");
  must(rmdir(p.path("d").c_str()), "empty");
  expect(!p.exists("d"), "gone");
}

void nothing_is_made_in_a_removed_directory(const Place& p) {
  p.mkdir("d");
  Fd directory(p.open("d", O_RDONLY | O_DIRECTORY));
  must(rmdir(p.path("d").c_str()), "rmdir");
  must_fail(openat(directory, "f", O_CREAT | O_WRONLY, 0644), ENOENT, "create");
  must_fail(mkdirat(directory, "e", 0755), ENOENT, "mkdir");
}

void symlinks_hold_and_follow_their_text(const Place& p) {
  p.write_file("f", "text");
  must(symlink("f", p.path("l").c_str()), "symlink");
  expect_equal(p.read_file("l"), std::string("text"), "followed");
  char buffer[16] = {};
  expect_equal<long>(must(readlink(p.path("l").c_str(), buffer, sizeof buffer), "readlink"), 1, "length");
  expect_equal(std::string(buffer), std::string("f"), "text");
  expect_equal<long>(p.status("l").st_size, 1, "size");
  expect(S_ISLNK(p.status("l").st_mode), "type");
  must_fail(::open(p.path("l").c_str(), O_RDONLY | O_NOFOLLOW), ELOOP, "O_NOFOLLOW");
  must(symlink("loop", p.path("loop").c_str()), "symlink loop");
  must_fail(::open(p.path("loop").c_str(), O_RDONLY), ELOOP, "loop");
}

void long_symlinks_survive(const Place& p) {
  std::string target(3000, 't');
  must(symlink(target.c_str(), p.path("l").c_str()), "symlink");
  char buffer[4096];
  long length = must(readlink(p.path("l").c_str(), buffer, sizeof buffer), "readlink");
  expect(std::string(buffer, static_cast<size_t>(length)) == target, "text");
  expect_equal<long>(must(readlink(p.path("l").c_str(), buffer, 10), "short readlink"), 10, "cut length");
}

void fifos_and_sockets_can_be_made(const Place& p) {
  must(mkfifo(p.path("fifo").c_str(), 0600), "mkfifo");
  expect(S_ISFIFO(p.status("fifo").st_mode), "fifo's type");
  must(mknod(p.path("socket").c_str(), S_IFSOCK | 0600, 0), "mknod socket");
  expect(S_ISSOCK(p.status("socket").st_mode), "socket's type");
  must(mknod(p.path("plain").c_str(), S_IFREG | 0600, 0), "mknod file");
  p.write_file("plain", "x");
}

void device_nodes_keep_their_numbers(const Place& p) {
  if (geteuid() != 0) throw Skip{"needs root"};
  if (mknod(p.path("c").c_str(), S_IFCHR | 0600, makedev(300, 70000)) != 0) {
    if (errno == EPERM) throw Skip{"no CAP_MKNOD"};
    must(-1, "mknod");
  }
  auto status = p.status("c");
  expect(S_ISCHR(status.st_mode), "type");
  expect_equal<long>(major(status.st_rdev), 300, "major");
  expect_equal<long>(minor(status.st_rdev), 70000, "minor");
}

void readdir_gives_every_name_once(const Place& p) {
  std::set<std::string> made;
  for (int i = 0; i < 1000; ++i) {
    std::string name = "a-name-that-is-long-enough-to-need-several-calls-" + std::to_string(i);
    must(mknod(p.path(name).c_str(), S_IFREG | 0600, 0), "mknod");
    made.insert(name);
  }
  auto listed = p.list();
  expect_equal<long>(static_cast<long>(listed.size()), 1000, "names");
  expect(std::equal(listed.begin(), listed.end(), made.begin()), "the names that were made");
}

void readdir_keeps_its_place_while_names_change(const Place& p) {
  for (int i = 0; i < 500; ++i) must(mknod(p.path("keep" + std::to_string(i)).c_str(), S_IFREG, 0), "mknod");
  for (int i = 0; i < 500; ++i) must(mknod(p.path("drop" + std::to_string(i)).c_str(), S_IFREG, 0), "mknod");
  DIR* directory = opendir(p.root().c_str());
  expect(directory != nullptr, "opendir");
  std::multiset<std::string> seen;
  int step = 0;
  while (dirent* entry = readdir(directory)) {
    std::string name = entry->d_name;
    if (name.starts_with("keep")) seen.insert(name);
    if (step < 500) {
      unlink(p.path("drop" + std::to_string(step)).c_str());
      mknod(p.path("new" + std::to_string(step)).c_str(), S_IFREG, 0);
    }
    ++step;
  }
  closedir(directory);
  expect_equal<long>(static_cast<long>(seen.size()), 500, "names that stayed");
  for (int i = 0; i < 500; ++i) {
    expect_equal<long>(static_cast<long>(seen.count("keep" + std::to_string(i))), 1, "keep" + std::to_string(i));
  }
}

void seekdir_goes_back_to_where_telldir_was(const Place& p) {
  for (int i = 0; i < 300; ++i) must(mknod(p.path("f" + std::to_string(i)).c_str(), S_IFREG, 0), "mknod");
  DIR* directory = opendir(p.root().c_str());
  expect(directory != nullptr, "opendir");
  for (int i = 0; i < 100; ++i) expect(readdir(directory) != nullptr, "readdir");
  long place = telldir(directory);
  std::string next = readdir(directory)->d_name;
  for (int i = 0; i < 100; ++i) expect(readdir(directory) != nullptr, "readdir");
  seekdir(directory, place);
  std::string again = readdir(directory)->d_name;
  rewinddir(directory);
  int count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  expect_equal(again, next, "after seekdir");
  expect_equal(count, 302, "after rewinddir");
}

void readdir_tells_types_and_inodes(const Place& p) {
  p.mkdir("d");
  p.write_file("f", "x");
  must(symlink("x", p.path("l").c_str()), "symlink");
  DIR* directory = opendir(p.root().c_str());
  expect(directory != nullptr, "opendir");
  std::string types;
  bool inodes_match = true;
  while (dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    struct stat status = p.status(entry->d_name);
    inodes_match = inodes_match && status.st_ino == entry->d_ino;
    if (entry->d_type != IFTODT(status.st_mode)) types += std::string(" ") + entry->d_name;
  }
  closedir(directory);
  expect_equal(types, std::string(), "wrong types");
  expect(inodes_match, "inode numbers");
}

void rm_rf_while_reading_empties_the_tree(const Place& p) {
  p.mkdir("t");
  for (int i = 0; i < 300; ++i) must(mknod(p.path("t/f" + std::to_string(i)).c_str(), S_IFREG, 0), "mknod");
  DIR* directory = opendir(p.path("t").c_str());
  expect(directory != nullptr, "opendir");
  while (dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') must(unlinkat(dirfd(directory), entry->d_name, 0), "unlinkat");
  }
  closedir(directory);
  must(rmdir(p.path("t").c_str()), "rmdir");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> name_rules() {
  return {RULE(create_exclusive_refuses_what_exists),
          RULE(missing_names_are_enoent),
          RULE(a_file_is_no_directory),
          RULE(a_directory_is_no_file),
          RULE(names_of_255_bytes_fit_and_256_do_not),
          RULE(names_are_bytes),
          RULE(link_counts_are_exact),
          RULE(directory_link_counts_are_exact),
          RULE(an_unlinked_open_file_lives_on),
          RULE(a_new_file_of_an_old_name_is_another),
          RULE(rename_replaces_a_file),
          RULE(rename_checks_types),
          RULE(rename_makes_no_loops),
          RULE(rename_of_two_names_of_one_file_does_nothing),
          RULE(rename_noreplace_keeps_what_is_there),
          RULE(rename_exchange_swaps),
          RULE(rmdir_wants_an_empty_directory),
          RULE(nothing_is_made_in_a_removed_directory),
          RULE(symlinks_hold_and_follow_their_text),
          RULE(long_symlinks_survive),
          RULE(fifos_and_sockets_can_be_made),
          RULE(device_nodes_keep_their_numbers),
          RULE(readdir_gives_every_name_once),
          RULE(readdir_keeps_its_place_while_names_change),
          RULE(seekdir_goes_back_to_where_telldir_was),
          RULE(readdir_tells_types_and_inodes),
          RULE(rm_rf_while_reading_empties_the_tree)};
}

}  // namespace fusewire::conformance
