// Leader: the process that holds a namespace together. It serves the line and leader.sock (leader_protocol.h), starts a
// host process for each connection, is the one writer of the mount table, reaps every process below it, and cleans up
// at the end.
//
// It waits for nobody: what it asks hosts is answered later, and meanwhile it serves. A host that does not answer in
// time has not ended: its mount stays, busy. Hosts never wait for the leader. Thread rule: one thread. SIGCHLD, SIGTERM
// and SIGHUP are blocked in it and read from a descriptor.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "abi/leader_protocol.h"
#include "host/credentials.h"
#include "host/host_control.h"
#include "host/log.h"
#include "host/packet_socket.h"
#include "leader/covered_points.h"
#include "leader/gate_file.h"
#include "leader/log_limit.h"
#include "leader/mount_table_file.h"
#include "leader/refusal_report.h"
#include "leader/run.h"

namespace fusewire::leader {

// What a link of /proc names, as gates do (mount_rules.h, get_mount_namespace_id); 0: not known.
uint64_t mount_namespace_of(const std::string& path);

class Leader {
 public:
  // directory: the namespace's, made already. Errors are sentences for a person.
  static std::expected<std::unique_ptr<Leader>, std::string> create(const std::string& directory,
                                                                    const RunOptions& options);
  Leader(const Leader&) = delete;

  // The end of the line that the namespace's processes hold.
  int line_for_programs() const { return programs_line_.get(); }
  // In a child of the leader: what will be executed as the gate, which native walks must not come to.
  void note_gate_file(const GateFile& file);
  // Starts the control file system and mounts it.
  void start_control(const ControlDaemon& daemon);
  // Serves until the command has ended, or a signal ends the namespace. Then unmounts everything in reverse order,
  // gives daemons time to end, and ends what is left.
  void serve(pid_t command);
  void end();
  // The command's status as from waitpid.
  const RefusalReport& report() const { return report_; }
  int command_status() const { return command_status_; }

 private:
  using Clock = std::chrono::steady_clock;

  struct Connection {
    uint32_t id = 0;
    size_t entry = 0;  // in the table; its host counts into it until that has ended
    pid_t host = -1;   // -1: it has ended
    UniqueFd control;
    UniqueFd clients;                // where its host takes clients' sockets
    std::deque<UniqueFd> waiting{};  // clients' sockets for which there was no room yet
    uint64_t daemon_cookie = 0;
    uint32_t daemon_pid = 0;
    uint32_t opener = 0;     // the user who opened the device
    uint32_t view = 0;       // that it was opened in
    bool mounting = false;   // its host has been asked
    uint32_t questions = 0;  // not answered yet
  };

  struct MountRecord {
    uint32_t id = 0;
    size_t entry = 0;  // in the table
    uint32_t connection = 0;
    uint32_t parent = 0;  // 0: it stands in the native file system
    uint32_t view = 0;
    bool leaving = false;  // its host has been asked to unmount it
  };

  // Where one answer goes. Who hung up meanwhile gets none.
  struct Asker {
    UniqueFd socket;
    bool stays = false;  // a connection to leader.sock, on which more may be asked
  };

  struct View {
    uint32_t parent = 0;
    UniqueFd socket;
    host::Credentials opener;
    std::string trace_file{};
    std::unique_ptr<RefusalReport> report{};  // when one is wanted
  };

  using Answered = std::move_only_function<void(const host::HostMessage&)>;
  struct Question {
    uint32_t connection;
    Clock::time_point until;
    Answered answered;  // empty once the time is over
    Answered late;      // what a success that comes then needs
  };

  Leader(std::string directory, MountTableFile table, UniqueFd listener, UniqueFd signals, host::Log log);
  int make_line();

  void turn(int milliseconds);
  void serve_line();
  // Every text of a request ends with a NUL, whatever came.
  static void terminate_fields(abi::LeaderRequest& request);
  void serve_asker(abi::LeaderRequest& request, host::Packet& packet, UniqueFd asker);
  void reach_host(uint32_t id, UniqueFd asker);
  void hand_on_clients(Connection& connection);
  UniqueFd make_nowhere(const std::string& name) const;
  void accept_peer();
  void serve_peer(int fd);
  void take_signals();
  void reap();
  void host_ended(Connection& connection);
  void mark_ended(uint32_t connection);

  void begin(const abi::LeaderRequest& request, const host::Credentials& peer, UniqueFd attached, Asker asker);
  // Answers the asker, at once or when a host has answered.
  void carry_out(const abi::LeaderRequest& request, const host::Credentials& peer, int attached, Asker asker);
  // 0, or -errno: whether the peer may ask for this (leader_rights.cc).
  int check_right(const abi::LeaderRequest& request, const host::Credentials& peer) const;
  // What a mount of the peer's must be.
  static host::MountBounds bounds_of(const host::Credentials& peer);
  // Whether the mount and all that stand in it are this user's.
  bool is_whole_tree_of(const abi::LeaderRequest& request, uint32_t uid) const;
  void log_of_process(uint32_t pid, const abi::LeaderRequest& request);
  void tell_once(std::string_view text);
  void answer(Asker& asker, const abi::LeaderReply& reply, const UniqueFd& attached = UniqueFd());
  abi::LeaderReply open_device(uint32_t daemon_pid, uint32_t uid, uint32_t view, UniqueFd& daemon_end);
  void mount(const abi::LeaderRequest& request, const host::Credentials& peer, int device, Asker asker);
  // done: 0 or -errno.
  void mount_connection(Connection& connection, const abi::LeaderRequest& request, const host::Credentials& peer,
                        std::move_only_function<void(int)> done);
  // 0 or -errno.
  int mounted(uint32_t id, Connection& connection, uint32_t parent, const abi::LeaderRequest& request,
              const host::HostMessage& host);
  // leader_namespaces.cc
  // Of a mount namespace that is not the leader's, and so not seen everywhere.
  bool is_foreign(uint64_t mount_namespace) const;
  // Whether something that another mount namespace has is to change in the asker's: a copy of it changes then.
  bool needs_twin(const abi::LeaderRequest& request) const;
  // The asker's own copy of the mount, with all that stands around and in it. done: 0 or -errno, and its id.
  void twin(const abi::LeaderRequest& request, std::move_only_function<void(int, uint32_t)> done);
  void link_namespaces(const abi::LeaderRequest& request);
  // What is mounted in a mount namespace ends with the last process in it.
  // 0 or -errno.
  int watch_namespace(const abi::LeaderRequest& request, uint32_t pid);
  void look_after_namespace(int watch);
  void end_namespace(uint64_t mount_namespace);
  // leader_binds.cc
  void bind(const abi::LeaderRequest& request, Asker asker);
  struct Copies;
  // parent: what the copy stands in; 0: in the native file system.
  void make_copy(uint32_t original, uint32_t parent, const host::HostRequest& host_request,
                 const abi::LeaderRequest& request, std::move_only_function<void(int)> done);
  void copy_next(const std::shared_ptr<Copies>& copies);
  void copy_into(const std::shared_ptr<Copies>& copies, uint32_t original, uint32_t parent);
  void end_copies(const std::shared_ptr<Copies>& copies, int error);
  void move(const abi::LeaderRequest& request, Asker asker);
  void put_at(uint32_t mount, uint32_t parent, const abi::LeaderRequest& request);
  // Lets the walks of the mount around it come to the mount. done: 0 or -errno.
  void attach(uint32_t mount, uint64_t token, std::move_only_function<void(int)> done);
  void tell_to_detach(const MountRecord& mount);
  // What a mount will cover that a request puts somewhere; parent: what it will stand in, or 0.
  CoveredObject cover(uint32_t mount, uint32_t parent, const abi::LeaderRequest& request);
  // Writes where a mount stands into the table, as a request has it.
  void place(const MountRecord& mount, const abi::LeaderRequest& request, const CoveredObject& covered);
  void look_at_covered();
  // Whether something new may stand where a request says: 0 or -errno.
  int check_place(const abi::LeaderRequest& request) const;
  void follow_directory(const abi::LeaderRequest& request, Asker asker);
  void move_tree(uint32_t mount, const std::string& from, const std::string& to);
  void umount(const abi::LeaderRequest& request, Asker asker);
  void detach(uint32_t mount, uint32_t flags);
  // With all that stand in it.
  void detach_tree(uint32_t mount, uint32_t flags);
  void tell_to_unmount(Connection& connection, uint32_t mount, uint32_t flags);
  void take_out(uint32_t mount);
  void remount(const abi::LeaderRequest& request, Asker asker);
  void set_tracing(const abi::LeaderRequest& request, Asker asker);
  void forward(uint32_t connection, const host::HostRequest& request, Asker asker);

  // answered is called once: with the host's answer, ENOTCONN when it has ended, or ETIMEDOUT, also when much
  // waits for it already. late is called when the host did what was asked, though too late.
  void ask_host(Connection& connection, host::HostRequest request, Answered answered, Answered late = {});
  void take_answer(const host::HostMessage& message);
  void give_up_questions(uint32_t connection);
  void expire_questions();
  int until_next_end(int milliseconds) const;
  void take_host_message(Connection& connection, const host::HostMessage& message);
  void read_host(Connection& connection);
  Connection* find(uint32_t id);
  const MountRecord* find_mount(uint32_t id) const;
  // By its id, or else by its path, as the asker's view has it.
  const MountRecord* find_mount(const abi::LeaderRequest& request) const;
  bool is_from_elsewhere(const abi::LeaderRequest& request, const MountRecord& mount) const;
  bool is_same_point(const abi::LeaderRequest& request, const MountRecord& mount) const;
  bool is_mounted(uint32_t connection) const;
  // The mount and all that stand in it, each behind what it stands in.
  std::vector<uint32_t> tree_of(uint32_t mount) const;
  void count_native_change();
  abi::ConnectionEntry& entry_of(const Connection& connection) { return table_.table().connection[connection.entry]; }
  abi::MountEntry& entry_of(const MountRecord& mount) { return table_.table().entry[mount.entry]; }
  const char* path_of(const MountRecord& mount) const { return table_.table().path[mount.entry]; }

  // leader_views.cc
  void open_view(uint32_t parent, const host::Credentials& peer, Asker asker);
  void serve_view(uint32_t id);
  void end_view(uint32_t id);
  // The newest first.
  std::vector<uint32_t> mounts_of(uint32_t view) const;
  // Whether what is mounted in `other` is seen in the view.
  bool sees(uint32_t view, uint32_t other) const;
  bool is_view(uint32_t view) const { return view == 0 || views_.contains(view); }
  // Where hosts of the view's mounts trace; empty: they do not.
  const std::string& trace_file_of(uint32_t view) const;
  bool anybody_traces() const;

  void umount_all();
  std::set<pid_t> hosts() const;
  std::set<pid_t> daemons() const;
  void end_processes();
  void end_hosts();

  const std::string directory_;
  MountTableFile table_;
  UniqueFd line_, programs_line_, listener_, signals_;
  host::Log log_;
  bool verbose_ = false;
  RefusalReport report_;
  LogLimit log_limit_;
  std::set<std::string, std::less<>> told_;  // by tell_once
  std::string trace_file_;
  std::map<uint32_t, Connection> connections_;  // by id
  std::map<uint32_t, MountRecord> mounts_;      // by id: in the order in which they were made
  CoveredPoints covered_;
  std::map<int, UniqueFd> peers_;
  std::map<uint32_t, Question> questions_;  // by number
  uint32_t next_question_ = 1;
  std::map<uint64_t, UniqueFd> namespaces_;  // those that ask: a process in each, by descriptor
  std::map<uint32_t, View> views_;           // by number, those that have not ended
  uint32_t next_view_ = 1;
  UniqueFd spare_;  // a descriptor to let go of where there are no more
  uint32_t next_id_ = 1;
  uint32_t next_mount_ = 1;
  pid_t command_ = -1;
  int command_status_ = 0;
  bool command_ended_ = false;
  int ending_signal_ = 0;
};

}  // namespace fusewire::leader
