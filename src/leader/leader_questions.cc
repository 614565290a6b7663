// What the leader asks hosts: numbered questions, answered whenever the host does, while the leader goes on serving.
#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "leader/leader.h"

namespace fusewire::leader {
namespace {

using namespace std::chrono_literals;

// How long somebody waits for a host that does not answer (stopped, or swapped out).
constexpr auto host_answers_within = 5s;
// So that a host's socket always has room: what it has not answered is bounded, far below what fits.
constexpr uint32_t questions_per_host = 16;

host::HostMessage failed(int error) { return {.kind = host::HostMessageKind::reply, .error = error}; }

uint64_t nanoseconds(std::chrono::steady_clock::time_point when) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(when.time_since_epoch()).count());
}

}  // namespace

void Leader::ask_host(Connection& connection, host::HostRequest request, Answered answered, Answered late) {
  if (!connection.control) return answered(failed(-ENOTCONN));
  if (connection.questions >= questions_per_host) return answered(failed(-ETIMEDOUT));
  const Clock::time_point until = Clock::now() + host_answers_within;
  request.number = next_question_++;
  request.deadline = nanoseconds(until);
  const ssize_t sent = host::send_message(connection.control.get(), request, {}, MSG_DONTWAIT);
  // A host that has just ended is found so by SIGCHLD; it keeps nothing busy.
  if (sent < 0) return answered(failed(sent == -EAGAIN ? -ETIMEDOUT : -ENOTCONN));
  ++connection.questions;
  questions_.emplace(request.number, Question{connection.id, until, std::move(answered), std::move(late)});
}

void Leader::take_answer(const host::HostMessage& message) {
  const auto found = questions_.find(message.number);
  if (found == questions_.end()) return;
  Question question = std::move(found->second);
  questions_.erase(found);
  if (Connection* connection = find(question.connection)) --connection->questions;
  if (question.answered)
    question.answered(message);
  else if (message.error == 0 && question.late)
    question.late(message);
}

// The host has ended: it will answer nothing any more.
void Leader::give_up_questions(uint32_t connection) {
  std::vector<Answered> waiting;
  for (auto question = questions_.begin(); question != questions_.end();) {
    if (question->second.connection != connection) {
      ++question;
      continue;
    }
    if (question->second.answered) waiting.push_back(std::move(question->second.answered));
    question = questions_.erase(question);
  }
  if (Connection* found = find(connection)) found->questions = 0;
  for (Answered& answered : waiting) answered(failed(-ENOTCONN));
}

void Leader::expire_questions() {
  const Clock::time_point now = Clock::now();
  std::vector<Answered> waiting;
  for (auto& [number, question] : questions_)
    if (question.answered && question.until <= now) waiting.push_back(std::exchange(question.answered, {}));
  for (Answered& answered : waiting) answered(failed(-ETIMEDOUT));
}

int Leader::until_next_end(int milliseconds) const {
  for (const auto& [number, question] : questions_) {
    if (!question.answered) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(question.until - Clock::now()).count();
    const int soon = static_cast<int>(std::max<int64_t>(left, 0));
    milliseconds = milliseconds < 0 ? soon : std::min(milliseconds, soon);
  }
  return milliseconds;
}

void Leader::forward(uint32_t id, const host::HostRequest& request, Asker asker) {
  Connection* connection = find(id);
  if (!connection) return answer(asker, {-ENOENT, id});
  ask_host(*connection, request, [this, id, asker = std::move(asker)](const host::HostMessage& message) mutable {
    answer(asker, {message.error, id});
  });
}

}  // namespace fusewire::leader
