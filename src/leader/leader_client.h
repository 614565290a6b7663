// What other programs ask of running namespaces: find them, read their mount table, talk to their leader.
// Errors are sentences for a person.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "abi/leader_protocol.h"
#include "leader/mount_table_file.h"

namespace fusewire::leader {

struct NamespaceInfo {
  std::string directory;
  uint32_t leader_pid;
  std::vector<MountInfo> mounts;
};

// The namespace this process stands in ($FUSEWIRE_NAMESPACE), with the mounts that it sees there; else every live
// namespace of this user, with all.
std::expected<std::vector<NamespaceInfo>, std::string> list_namespaces();

// Sends one request to the leader of directory and waits for its answer.
std::expected<abi::LeaderReply, std::string> ask_leader(const std::string& directory,
                                                        const abi::LeaderRequest& request);

}  // namespace fusewire::leader
