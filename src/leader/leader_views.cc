// Views (leader_protocol.h): the namespaces that `fusewire run` makes within this one.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "abi/mount_rules.h"
#include "leader/leader.h"

namespace fusewire::leader {
namespace {

constexpr size_t open_views_max = 1024;

// A report for who made the view; empty without memory for it.
UniqueFd file_with(const std::string& text) {
  UniqueFd file(::memfd_create("fusewire-report", MFD_CLOEXEC));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return {};
  return ::lseek(file.get(), 0, SEEK_SET) == 0 ? std::move(file) : UniqueFd();
}

}  // namespace

bool Leader::sees(uint32_t view, uint32_t other) const {
  while (view != other && view != 0) {
    const auto found = views_.find(view);
    view = found == views_.end() ? 0 : found->second.parent;
  }
  return view == other;
}

const std::string& Leader::trace_file_of(uint32_t view) const {
  for (auto found = views_.find(view); found != views_.end(); found = views_.find(found->second.parent))
    if (!found->second.trace_file.empty()) return found->second.trace_file;
  return trace_file_;
}

bool Leader::anybody_traces() const {
  return !trace_file_.empty() ||
         std::any_of(views_.begin(), views_.end(), [](const auto& each) { return !each.second.trace_file.empty(); });
}

void Leader::open_view(uint32_t parent, const host::Credentials& peer, Asker asker) {
  if (!is_view(parent)) return answer(asker, {-ENOTCONN, 0});
  if (views_.size() >= open_views_max) return answer(asker, {-ENFILE, 0});
  const uint32_t id = next_view_++;
  const abi::LeaderReply reply{0, id};
  if (host::send_message(asker.socket.get(), reply, {}, MSG_DONTWAIT) < 0) return;
  View& view = views_[id];
  view.parent = parent;
  view.socket = std::move(asker.socket);
  view.opener = peer;
}

void Leader::serve_view(uint32_t id) {
  const auto found = views_.find(id);
  if (found == views_.end()) return;
  View& view = found->second;
  abi::LeaderRequest request;
  const host::Packet packet =
      host::receive_packet(view.socket.get(), std::as_writable_bytes(std::span(&request, 1)), MSG_DONTWAIT);
  if (packet.size == -EAGAIN) return;
  const bool whole = packet.size == sizeof request;
  const auto operation = whole ? abi::LeaderOperation{request.operation} : abi::LeaderOperation::end_view;
  if (operation == abi::LeaderOperation::end_view) return end_view(id);
  request.options[sizeof request.options - 1] = '\0';
  int error = operation == abi::LeaderOperation::set_up_view ? 0 : -EINVAL;
  // Hosts open the file with the rights of the namespace's user.
  if (error == 0 && request.options[0] != '\0')
    error = request.options[0] != '/' ? -EINVAL : check_right(request, view.opener);
  if (error == 0) {
    view.trace_file = request.options;
    table_.table().tracing.store(anybody_traces() ? 1 : 0);
    if (request.value[0] != 0) {
      view.report = std::make_unique<RefusalReport>();
      table_.table().reporting.store(1);
    }
  }
  (void)host::send_message(view.socket.get(), abi::LeaderReply{error, id}, {}, MSG_DONTWAIT);
}

std::vector<uint32_t> Leader::mounts_of(uint32_t view) const {
  std::vector<uint32_t> ids;
  for (auto each = mounts_.rbegin(); each != mounts_.rend(); ++each)
    if (each->second.view == view) ids.push_back(each->first);
  return ids;
}

// Of one whose maker was killed nobody takes the answer.
void Leader::end_view(uint32_t id) {
  serve_line();  // what its last programs said
  abi::ViewEnd end{};
  // What stands in them and was made in another view goes along.
  for (const uint32_t mount : mounts_of(id)) {
    const MountRecord* record = find_mount(mount);
    if (!record) continue;
    end.daemon[end.count++] = connections_.at(record->connection).daemon_pid;
    detach_tree(mount, abi::umount_flag::detach);
  }
  const View view = std::move(views_.at(id));
  views_.erase(id);
  table_.table().tracing.store(anybody_traces() ? 1 : 0);
  const UniqueFd report = view.report ? file_with(view.report->text()) : UniqueFd();
  const int fds[] = {report.get()};
  (void)host::send_message(view.socket.get(), end, report ? std::span<const int>(fds) : std::span<const int>(),
                           MSG_DONTWAIT);
}

}  // namespace fusewire::leader
