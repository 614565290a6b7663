// Leader: the process that holds a namespace together. It serves leader.sock (leader_protocol.h), starts a host process
// for each connection, is the one writer of the mount table, reaps every process below it, and cleans up at the end.
//
// It waits for nobody but its hosts, and for those only a bounded time; hosts never wait for it.
// Thread rule: one thread. SIGCHLD, SIGTERM and SIGHUP are blocked in it and read from a descriptor.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "abi/leader_protocol.h"
#include "host/credentials.h"
#include "host/host_control.h"
#include "host/log.h"
#include "host/packet_socket.h"
#include "leader/mount_table_file.h"
#include "leader/run.h"

namespace fusewire::leader {

class Leader {
 public:
  // directory: the namespace's, made already. Errors are sentences for a person.
  static std::expected<std::unique_ptr<Leader>, std::string> create(const std::string& directory,
                                                                    const RunOptions& options);
  Leader(const Leader&) = delete;

  // Starts the control file system and mounts it.
  void start_control(const ControlDaemon& daemon);
  // Serves until the command has ended, or a signal ends the namespace. Then unmounts everything in reverse order,
  // gives daemons time to end, and ends what is left.
  void serve(pid_t command);
  void end();
  // The command's status as from waitpid.
  int command_status() const { return command_status_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Connection {
    uint32_t id = 0;
    size_t entry = 0;  // in the table
    pid_t host = -1;   // -1: it has ended
    UniqueFd control;
    uint64_t daemon_cookie = 0;
    uint32_t daemon_pid = 0;
    uint64_t order = 0;  // of its mount; 0: not mounted
  };

  Leader(std::string directory, MountTableFile table, UniqueFd listener, UniqueFd signals, host::Log log);

  void turn(int milliseconds);
  void accept_peer();
  void serve_peer(int fd);
  void take_signals();
  void reap();
  void host_ended(Connection& connection);

  abi::LeaderReply carry_out(abi::LeaderRequest& request, const host::Credentials& peer, int attached,
                             UniqueFd& answer_fd);
  abi::LeaderReply open_device(uint32_t daemon_pid, UniqueFd& daemon_end);
  abi::LeaderReply mount(const abi::LeaderRequest& request, const host::Credentials& peer, int device);
  int mount_connection(Connection& connection, const abi::LeaderRequest& request, const host::Credentials& peer);
  int umount(const std::string& path, uint32_t flags);
  int umount_connection(Connection& connection, uint32_t flags);
  int set_limits(const abi::LeaderRequest& request);
  int set_tracing(const abi::LeaderRequest& request);

  host::HostMessage ask_host(Connection& connection, const host::HostRequest& request);
  void take_host_message(Connection& connection, const host::HostMessage& message);
  void read_host(Connection& connection);
  Connection* find(uint32_t id);
  Connection* find_mounted(const std::string& path);
  std::optional<size_t> free_entry() const;
  abi::MountEntry& entry_of(const Connection& connection) { return table_.table().entry[connection.entry]; }

  void umount_all();
  std::set<pid_t> hosts() const;
  std::set<pid_t> daemons() const;
  void end_processes();
  void end_hosts();

  const std::string directory_;
  MountTableFile table_;
  UniqueFd listener_, signals_;
  host::Log log_;
  std::string trace_file_;
  std::map<uint32_t, Connection> connections_;  // by id
  std::map<int, UniqueFd> peers_;
  uint32_t next_id_ = 1;
  uint64_t next_order_ = 1;
  pid_t command_ = -1;
  int command_status_ = 0;
  bool command_ended_ = false;
  int ending_signal_ = 0;
};

}  // namespace fusewire::leader
