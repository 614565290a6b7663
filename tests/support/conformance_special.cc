// Rules of what lives in the client's kernel beside names and bytes: sockets, fifos, file handles, owners of open
// files.
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

struct Address {
  sockaddr_un un{};
  socklen_t length = sizeof un;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&un); }
  std::string text() const {
    const size_t bytes = length - offsetof(sockaddr_un, sun_path);
    return length <= offsetof(sockaddr_un, sun_path) ? std::string() : std::string(un.sun_path, bytes);
  }
};

// Bound as given; its text has the NUL that the kernel counts.
Address address_of(const std::string& path) {
  Address address;
  address.un.sun_family = AF_UNIX;
  expect(path.size() < sizeof address.un.sun_path, "the place's path is short enough for a socket");
  std::memcpy(address.un.sun_path, path.c_str(), path.size() + 1);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

int make_socket(int type) { return static_cast<int>(must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "socket")); }
int bind_to(int fd, const std::string& path) {
  Address address = address_of(path);
  return bind(fd, address.get(), address.length);
}
int connect_to(int fd, const std::string& path) {
  Address address = address_of(path);
  return connect(fd, address.get(), address.length);
}
std::string with_nul(const std::string& text) { return text + '\0'; }

void a_socket_is_known_by_the_path_it_was_bound_to(const Place& p) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    const std::string path = p.path("s" + std::to_string(type)), client_path = p.path("c" + std::to_string(type));
    Fd server(make_socket(type)), client(make_socket(type));
    must(bind_to(server, path), "bind");
    must(listen(server, 3), "listen");
    must(bind_to(client, client_path), "bind the client");
    must(connect_to(client, path), "connect");
    Address own, peer, accepted;
    must(getsockname(server, own.get(), &own.length), "getsockname");
    must(getpeername(client, peer.get(), &peer.length), "getpeername");
    Fd end(static_cast<int>(must(accept(server, accepted.get(), &accepted.length), "accept")));
    expect_equal(own.text(), with_nul(path), "getsockname");
    expect_equal(peer.text(), with_nul(path), "getpeername");
    expect_equal(accepted.text(), with_nul(client_path), "accept");
    must(write(client, "ping", 4), "write");
    char bytes[8];
    expect_equal<long>(must(read(end, bytes, sizeof bytes), "read"), 4, "bytes");
  }
}

void datagrams_tell_the_senders_path(const Place& p) {
  Fd one(make_socket(SOCK_DGRAM)), two(make_socket(SOCK_DGRAM));
  must(bind_to(one, p.path("one")), "bind");
  must(bind_to(two, p.path("two")), "bind");
  Address to = address_of(p.path("two"));
  must(sendto(one, "hello", 5, 0, to.get(), to.length), "sendto");
  char bytes[8];
  Address from;
  expect_equal<long>(must(recvfrom(two, bytes, sizeof bytes, 0, from.get(), &from.length), "recvfrom"), 5, "bytes");
  expect_equal(from.text(), with_nul(p.path("one")), "recvfrom's address");
  iovec io{bytes, 3};
  msghdr message{};
  message.msg_name = to.get(), message.msg_namelen = to.length;
  message.msg_iov = &io, message.msg_iovlen = 1;
  must(sendmsg(one, &message, 0), "sendmsg");
  message.msg_name = from.get(), message.msg_namelen = sizeof from.un;
  expect_equal<long>(must(recvmsg(two, &message, 0), "recvmsg"), 3, "bytes");
  from.length = message.msg_namelen;
  expect_equal(from.text(), with_nul(p.path("one")), "recvmsg's address");
}

void a_cut_address_tells_its_whole_length(const Place& p) {
  Fd fd(make_socket(SOCK_STREAM));
  must(bind_to(fd, p.path("s")), "bind");
  Address whole = address_of(p.path("s")), cut;
  cut.length = 4;
  must(getsockname(fd, cut.get(), &cut.length), "getsockname");
  expect_equal(cut.length, whole.length, "length");
  expect_equal<int>(cut.un.sun_path[2], 0, "what lies behind the room");
}

void the_socket_moves_with_its_inode(const Place& p) {
  Fd server(make_socket(SOCK_STREAM)), client(make_socket(SOCK_STREAM)), other(make_socket(SOCK_STREAM));
  must(bind_to(server, p.path("s")), "bind");
  must(listen(server, 3), "listen");
  must(p.rename("s", "moved"), "rename");
  must(link(p.path("moved").c_str(), p.path("linked").c_str()), "link");
  must_fail(connect_to(client, p.path("s")), ENOENT, "the old name");
  must(connect_to(client, p.path("moved")), "the new name");
  must(unlink(p.path("moved").c_str()), "unlink");
  must(connect_to(other, p.path("linked")), "the other name");
}

void a_name_that_exists_is_in_use(const Place& p) {
  Fd fd(make_socket(SOCK_STREAM)), bound(make_socket(SOCK_STREAM));
  p.write_file("f", "x");
  must_fail(bind_to(fd, p.path("f")), EADDRINUSE, "a file");
  must(bind_to(bound, p.path("s")), "bind");
  must_fail(bind_to(fd, p.path("s")), EADDRINUSE, "a socket");
  must_fail(bind_to(fd, p.path("none/s")), ENOENT, "no directory");
  must_fail(bind_to(bound, p.path("second")), EINVAL, "a socket that is bound");
  expect(!p.exists("second"), "which leaves no name");
}

void nobody_answers_where_nothing_is_bound(const Place& p) {
  Fd client(make_socket(SOCK_STREAM));
  {
    Fd server(make_socket(SOCK_STREAM));
    must(bind_to(server, p.path("s")), "bind");
    must_fail(connect_to(client, p.path("s")), ECONNREFUSED, "not listening");
    Fd wrong(make_socket(SOCK_DGRAM));
    must_fail(connect_to(wrong, p.path("s")), EPROTOTYPE, "another type");
  }
  must_fail(connect_to(client, p.path("s")), ECONNREFUSED, "the socket is closed");
  p.write_file("f", "x");
  must_fail(connect_to(client, p.path("f")), ECONNREFUSED, "a file");
  must_fail(connect_to(client, p.path("none")), ENOENT, "no name");
  must(unlink(p.path("s").c_str()), "unlink");
  Fd again(make_socket(SOCK_STREAM));
  must(bind_to(again, p.path("s")), "the name is free for another");
}

void a_sockets_mode_is_its_descriptors_less_the_umask(const Place& p) {
  Fd plain(make_socket(SOCK_STREAM)), changed(make_socket(SOCK_STREAM));
  must(bind_to(plain, p.path("plain")), "bind");
  must(fchmod(changed, 0600), "fchmod");
  must(bind_to(changed, p.path("changed")), "bind");
  expect_equal<long>(p.status("plain").st_mode, S_IFSOCK | 0755, "mode");
  expect_equal<long>(p.status("changed").st_mode, S_IFSOCK | 0600, "mode after fchmod");
}

void connecting_needs_the_right_to_write(const Place& p) {
  if (geteuid() == 0) throw Skip{"root may write everything"};
  Fd server(make_socket(SOCK_STREAM)), client(make_socket(SOCK_STREAM));
  must(bind_to(server, p.path("s")), "bind");
  must(listen(server, 1), "listen");
  must(chmod(p.path("s").c_str(), 0400), "chmod");
  must_fail(connect_to(client, p.path("s")), EACCES, "connect");
  must(chmod(p.path("s").c_str(), 0200), "chmod");
  must(connect_to(client, p.path("s")), "connect");
}

void a_fifo_joins_its_two_ends(const Place& p) {
  must(mkfifo(p.path("fifo").c_str(), 0600), "mkfifo");
  must_fail(open(p.path("fifo").c_str(), O_WRONLY | O_NONBLOCK), ENXIO, "no reader");
  std::string got;
  std::thread reader([&] {
    Fd fd(open(p.path("fifo").c_str(), O_RDONLY));
    char bytes[16];
    for (long n; (n = read(fd, bytes, sizeof bytes)) > 0;) got.append(bytes, static_cast<size_t>(n));
  });
  {
    Fd writer(p.open("fifo", O_WRONLY));
    must(write(writer, "through", 7), "write");
  }
  reader.join();
  expect_equal(got, std::string("through"), "what was read");
}

void a_fifo_is_its_inode_whatever_its_name(const Place& p) {
  must(mkfifo(p.path("fifo").c_str(), 0600), "mkfifo");
  Fd reader(p.open("fifo", O_RDONLY | O_NONBLOCK));
  must(p.rename("fifo", "moved"), "rename");
  Fd writer(p.open("moved", O_WRONLY | O_NONBLOCK));
  must(unlink(p.path("moved").c_str()), "unlink");
  must(write(writer, "x", 1), "write");
  char byte;
  expect_equal<long>(must(read(reader, &byte, 1), "read"), 1, "bytes");
  must(mkfifo(p.path("moved").c_str(), 0600), "another of that name");
  must_fail(open(p.path("moved").c_str(), O_WRONLY | O_NONBLOCK), ENXIO, "which nobody reads");
}

void a_fifo_is_opened_by_who_may(const Place& p) {
  if (geteuid() == 0) throw Skip{"root may open everything"};
  must(mkfifo(p.path("fifo").c_str(), 0200), "mkfifo");
  must_fail(open(p.path("fifo").c_str(), O_RDONLY | O_NONBLOCK), EACCES, "open to read");
}

void an_open_fifo_has_its_names_attributes(const Place& p) {
  must(mkfifo(p.path("fifo").c_str(), 0640), "mkfifo");
  Fd fd(p.open("fifo", O_RDWR));
  struct stat named = p.status("fifo"), opened{};
  must(fstat(fd, &opened), "fstat");
  expect_equal<long>(opened.st_mode, S_IFIFO | 0640, "mode");
  expect(opened.st_ino == named.st_ino && opened.st_dev == named.st_dev, "the same inode");
  must(fchmod(fd, 0600), "fchmod");
  expect_equal<long>(p.status("fifo").st_mode, S_IFIFO | 0600, "mode after fchmod");
  must(unlink(p.path("fifo").c_str()), "unlink");
  must(fstat(fd, &opened), "fstat of what has no name");
  expect_equal<long>(opened.st_mode, S_IFIFO | 0600, "its mode");
  expect(opened.st_ino == named.st_ino, "its number");
  expect_equal<long>(static_cast<long>(opened.st_nlink), 0, "its names");
}

std::atomic<int> signals_handled;
void note_signal(int) { signals_handled++; }

// Sends SIGUSR1 until it has been handled in an open that sleeps, then opens the other side.
void opens_though_interrupted(const Place& p, int flags) {
  struct sigaction action {
  }, before{};
  action.sa_handler = note_signal;
  action.sa_flags = flags;
  must(sigaction(SIGUSR1, &action, &before), "sigaction");
  signals_handled = 0;
  std::atomic<int> result{1};
  std::thread reader([&] {
    const int fd = open(p.path("fifo").c_str(), O_RDONLY);
    result = fd < 0 ? -errno : 0;
    if (fd >= 0) close(fd);
  });
  // One that comes before the call proves nothing, so there are several.
  for (int i = 0; i < 20 && result == 1; i++) {
    const int seen = signals_handled;
    pthread_kill(reader.native_handle(), SIGUSR1);
    while (signals_handled == seen && result == 1) usleep(1000);
    usleep(5000);
  }
  const bool restarted = result == 1;
  Fd writer(open(p.path("fifo").c_str(), O_RDWR | O_NONBLOCK));
  reader.join();
  sigaction(SIGUSR1, &before, nullptr);
  expect_equal(restarted, (flags & SA_RESTART) != 0, "the open goes on after a handler");
  expect_equal<int>(result, (flags & SA_RESTART) != 0 ? 0 : -EINTR, "the open's result");
}

void a_handler_ends_the_wait_for_a_fifos_other_side(const Place& p) {
  must(mkfifo(p.path("fifo").c_str(), 0600), "mkfifo");
  opens_though_interrupted(p, 0);
}

void a_restarting_handler_does_not_end_it(const Place& p) {
  needs_the_systems_own_threads();
  must(mkfifo(p.path("fifo").c_str(), 0600), "mkfifo");
  opens_though_interrupted(p, SA_RESTART);
}

void an_address_may_fill_its_room(const Place& p) {
  // Without a NUL: 108 bytes are a path too.
  Address full;
  full.un.sun_family = AF_UNIX;
  std::string path = p.path("");
  expect(path.size() + 2 < sizeof full.un.sun_path, "the place's path is short enough for a socket");
  path.append(sizeof full.un.sun_path - path.size(), 'n');
  std::memcpy(full.un.sun_path, path.data(), path.size());
  Fd server(make_socket(SOCK_STREAM)), client(make_socket(SOCK_STREAM));
  must(bind(server, full.get(), full.length), "bind");
  must(listen(server, 1), "listen");
  must(connect(client, full.get(), full.length), "connect");
  expect(p.exists(path.substr(p.path("").size())), "its whole name");
  char told[128] = {};
  socklen_t length = sizeof told;
  must(getsockname(server, reinterpret_cast<sockaddr*>(told), &length), "getsockname");
  expect_equal<long>(length, static_cast<long>(sizeof full.un) + 1, "the length, with the NUL that the kernel adds");
  expect_equal(std::string(told + offsetof(sockaddr_un, sun_path)), path, "the path");
}

void an_abstract_address_is_no_path(const Place& p) {
  const std::string name = std::string(1, 0) + p.path("abstract");
  Address address;
  address.un.sun_family = AF_UNIX;
  std::memcpy(address.un.sun_path, name.data(), name.size());
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  Fd server(make_socket(SOCK_STREAM)), client(make_socket(SOCK_STREAM));
  must(bind(server, address.get(), address.length), "bind");
  must(listen(server, 1), "listen");
  must(connect(client, address.get(), address.length), "connect");
  expect(!p.exists("abstract"), "no name is made");
}

void the_peer_is_who_connected(const Place& p) {
  Fd server(make_socket(SOCK_STREAM)), client(make_socket(SOCK_STREAM));
  must(bind_to(server, p.path("s")), "bind");
  must(listen(server, 1), "listen");
  must(connect_to(client, p.path("s")), "connect");
  Fd end(static_cast<int>(must(accept(server, nullptr, nullptr), "accept")));
  for (const int fd : {int(client), int(end)}) {
    ucred who{};
    socklen_t length = sizeof who;
    must(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length), "SO_PEERCRED");
    expect_equal<long>(who.pid, getpid(), "pid");
    expect_equal<long>(who.uid, geteuid(), "uid");
  }
}

void a_peer_outlives_the_sockets_name(const Place& p) {
  const std::string path = p.path("s");
  Fd client(make_socket(SOCK_STREAM)), again(make_socket(SOCK_STREAM));
  const int server = make_socket(SOCK_STREAM);
  must(bind_to(server, path), "bind");
  must(listen(server, 1), "listen");
  must(connect_to(client, path), "connect");
  Fd end(static_cast<int>(must(accept(server, nullptr, nullptr), "accept")));
  close(server);
  must(unlink(path.c_str()), "unlink");
  must(bind_to(again, path), "the name is free");
  Address peer, own;
  must(getpeername(client, peer.get(), &peer.length), "getpeername");
  must(getsockname(end, own.get(), &own.length), "getsockname");
  expect_equal(peer.text(), with_nul(path), "getpeername");
  expect_equal(own.text(), with_nul(path), "getsockname");
}

struct HandleRoom {
  file_handle handle{};
  unsigned char bytes[MAX_HANDLE_SZ] = {};
  std::string text() const {
    return std::to_string(handle.handle_type) + ":" +
           std::string(reinterpret_cast<const char*>(bytes), handle.handle_bytes);
  }
};

HandleRoom handle_of(const Place& p, std::string_view name, int* mount_id = nullptr) {
  HandleRoom room;
  int unused = 0;
  room.handle.handle_bytes = MAX_HANDLE_SZ;
  const std::string path = p.path(name);
  const int r = name_to_handle_at(AT_FDCWD, path.c_str(), &room.handle, mount_id ? mount_id : &unused, 0);
  if (r != 0 && errno == EOPNOTSUPP) throw Skip{"no file handles"};
  must(r, "name_to_handle_at " + path);
  return room;
}

void a_file_handle_is_the_inodes(const Place& p) {
  p.write_file("f", "text");
  p.write_file("other", "text");
  must(link(p.path("f").c_str(), p.path("again").c_str()), "link");
  const std::string handle = handle_of(p, "f").text();
  expect_equal(handle_of(p, "again").text(), handle, "by another name");
  expect(handle_of(p, "other").text() != handle, "another file has another");
  must(p.rename("f", "moved"), "rename");
  expect_equal(handle_of(p, "moved").text(), handle, "after a rename");
  HandleRoom small;
  int id = 0;
  must_fail(name_to_handle_at(AT_FDCWD, p.path("moved").c_str(), &small.handle, &id, 0), EOVERFLOW, "no room");
  expect_equal(small.handle.handle_bytes, handle_of(p, "moved").handle.handle_bytes, "the room that it needs");
  must_fail(name_to_handle_at(AT_FDCWD, p.path("f").c_str(), &small.handle, &id, 0), ENOENT, "no name");
}

void a_file_handle_names_its_mount(const Place& p) {
  p.write_file("f", "text");
  int id = 0;
  handle_of(p, "f", &id);
  char real[PATH_MAX];
  expect(realpath(p.root().c_str(), real) != nullptr, "realpath");
  std::ifstream lines("/proc/self/mountinfo");
  for (std::string line; std::getline(lines, line);) {
    int found = 0, parent = 0;
    char device[32], root[PATH_MAX], point[PATH_MAX];
    if (std::sscanf(line.c_str(), "%d %d %31s %4095s %4095s", &found, &parent, device, root, point) != 5) continue;
    if (found == id) return expect(std::string_view(real).starts_with(point), "the mount that holds the file");
  }
  throw Failure{"no mount has the id"};
}

void a_file_handle_opens_for_the_privileged(const Place& p) {
  p.write_file("f", "text");
  HandleRoom room = handle_of(p, "f");
  Fd directory(p.open("", O_RDONLY | O_DIRECTORY));
  const int fd = open_by_handle_at(directory, &room.handle, O_RDONLY);
  if (geteuid() != 0) return must_fail(fd, EPERM, "open_by_handle_at");
  if (fd < 0 && errno == EPERM) throw Skip{"root without CAP_DAC_READ_SEARCH"};
  Fd file(static_cast<int>(must(fd, "open_by_handle_at")));
  char text[8] = {};
  expect_equal<long>(must(read(file, text, sizeof text), "read"), 4, "bytes");
  room.bytes[room.handle.handle_bytes - 1] ^= 0x55;
  must_fail(open_by_handle_at(directory, &room.handle, O_RDONLY), ESTALE, "of no file");
  room.handle.handle_bytes = 0;
  must_fail(open_by_handle_at(directory, &room.handle, O_RDONLY), EINVAL, "without bytes");
}

void an_open_file_keeps_whom_to_signal(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDONLY)), other(p.open("f", O_RDONLY)), path(p.open("f", O_PATH));
  Fd copy(dup(fd));
  expect_equal(fcntl(fd, F_GETOWN), 0, "at first");
  must(fcntl(fd, F_SETOWN, getpid()), "F_SETOWN");
  expect_equal(fcntl(copy, F_GETOWN), getpid(), "the copy's");
  expect_equal(fcntl(other, F_GETOWN), 0, "another open file's");
  f_owner_ex owner{};
  must(fcntl(fd, F_GETOWN_EX, &owner), "F_GETOWN_EX");
  expect(owner.type == F_OWNER_PID && owner.pid == getpid(), "a process");
  must(fcntl(fd, F_SETOWN, -getpgrp()), "F_SETOWN of a group");
  expect_equal(fcntl(fd, F_GETOWN), -getpgrp(), "the group");
  must_fail(fcntl(fd, F_SETOWN, 0x3fffffff), ESRCH, "nobody's number");
  must(fcntl(fd, F_SETSIG, SIGUSR1), "F_SETSIG");
  expect_equal(fcntl(copy, F_GETSIG), SIGUSR1, "F_GETSIG");
  must_fail(fcntl(fd, F_SETSIG, 99), EINVAL, "no signal");
  must(fcntl(fd, F_SETOWN, 0), "nobody");
  expect_equal(fcntl(fd, F_GETOWN), 0, "nobody");
  must_fail(fcntl(path, F_GETOWN), EBADF, "of O_PATH");
}

}  // namespace

#define RULE(name) \
  { #name, name }
std::vector<Rule> special_rules() {
  return {RULE(a_socket_is_known_by_the_path_it_was_bound_to),
          RULE(datagrams_tell_the_senders_path),
          RULE(a_cut_address_tells_its_whole_length),
          RULE(the_socket_moves_with_its_inode),
          RULE(a_name_that_exists_is_in_use),
          RULE(nobody_answers_where_nothing_is_bound),
          RULE(a_sockets_mode_is_its_descriptors_less_the_umask),
          RULE(connecting_needs_the_right_to_write),
          RULE(a_fifo_joins_its_two_ends),
          RULE(a_fifo_is_its_inode_whatever_its_name),
          RULE(a_fifo_is_opened_by_who_may),
          RULE(an_open_fifo_has_its_names_attributes),
          RULE(a_handler_ends_the_wait_for_a_fifos_other_side),
          RULE(a_restarting_handler_does_not_end_it),
          RULE(an_address_may_fill_its_room),
          RULE(an_abstract_address_is_no_path),
          RULE(the_peer_is_who_connected),
          RULE(a_peer_outlives_the_sockets_name),
          RULE(a_file_handle_is_the_inodes),
          RULE(a_file_handle_names_its_mount),
          RULE(a_file_handle_opens_for_the_privileged),
          RULE(an_open_file_keeps_whom_to_signal)};
}

}  // namespace fusewire::conformance
