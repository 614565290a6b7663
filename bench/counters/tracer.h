// The tracer: runs a command with all its descendants under ptrace(2), and counts what each party does between the
// marks of the measured program.
//
// It lets one thread run at a time, until it sleeps or ends; then the next that can run. Nothing is then left to the
// scheduler, so that counts are the same in each run: a thread sleeps wherever it has to wait for another one, as on
// one CPU where nobody is interrupted. At a mark the measured program stands still until everybody else sleeps: what an
// operation leaves to be done afterwards belongs to it.
//
// Thread rule: one thread. Errors are std::runtime_error, whose text says what went wrong.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "counts.h"
#include "marks.h"

namespace fusewire::counters {

// A call, or one that was caught by SIGSYS instead.
struct Step {
  Party party = Party::client;
  pid_t tid = 0;
  bool caught = false, slept = false, handed_over = false;
  uint64_t nr = 0;                // the system call's number
  std::optional<int64_t> result;  // or -errno; none: it has not returned
};

// Of one operation: the counts of each time it was done.
struct Sample {
  uint64_t operation = 0;  // its index, from Mark::begin
  std::vector<PartyCounts> each;
  std::vector<Step> last;  // of its last time, in the order in which they began
};

// ptrace(2) is refused here.
class NotAllowed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct TracerOptions {
  bool has_leader = false;  // the command is `fusewire run`
};

class Tracer {
 public:
  explicit Tracer(TracerOptions options);
  ~Tracer();

  // Starts the command and follows it until the measured program has ended, whose status it returns as wait(2) tells
  // it.
  int run(const std::vector<std::string>& command);
  // Follows what is left of the command to its end. Without it, the destructor kills that.
  void finish();
  const std::vector<Sample>& samples() const { return samples_; }

 private:
  enum class State { born, stopped, running, asleep };
  struct Process {
    pid_t pid = 0;
    Party party = Party::daemon;
    int threads = 0;
  };
  struct Thread {
    pid_t tid = 0;
    std::shared_ptr<Process> process;  // null: its parent has not told of it yet
    State state = State::born;
    bool in_call = false;
    bool slept = false;  // in this call
    bool in_vfork = false;
    bool marked = false;  // stands at a mark
    uint64_t nr = 0, arg[6]{};
    int signal = 0;  // to be delivered
    int stat = -1;   // /proc/TID/stat
  };

  void start(const std::vector<std::string>& command);
  void turn();
  void let_run(Thread& thread);
  bool next_event(pid_t& tid, int& status, bool wait);
  void note(pid_t tid, int status);
  void note_stop(Thread& thread, int status);
  void note_call(Thread& thread);
  void note_entry(Thread& thread);
  void note_exit(Thread& thread, int64_t result);
  void note_new(Thread& parent);
  void note_exec(Thread& thread);
  void note_end(Thread& thread, int status);
  void settle();
  void note_sleep(Thread& thread);
  void note_wake(const Thread& sleeper);
  Step* last_step(pid_t tid);
  static bool is_asleep(const Thread& thread);
  void take_mark(Thread& thread);
  Thread& thread_of(pid_t tid);
  Counts& counts_of(const Thread& thread);
  std::string who_is_where() const;

  const TracerOptions options_;
  std::map<pid_t, Thread> threads_;
  std::deque<pid_t> ready_;           // stopped, in the order in which they stopped
  std::shared_ptr<Process> running_;  // who runs, or ran last
  pid_t running_thread_ = 0;
  bool has_handed_over_ = false;  // in its call
  pid_t root_ = 0, client_ = 0;
  int client_status_ = 0;
  bool client_ended_ = false;
  bool is_measuring_ = false;  // between begin and end
  PartyCounts now_{};
  std::vector<Step> steps_;
  std::vector<Sample> samples_;
};

}  // namespace fusewire::counters
