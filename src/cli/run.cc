#include <cstdlib>
#include <filesystem>

#include "cli/commands.h"
#include "cli/control_daemon.h"
#include "cli/message.h"
#include "gate/image/image.h"
#include "leader/run.h"

namespace fusewire::cli {

namespace {

std::string shell() {
  const char* own = std::getenv("SHELL");
  return own != nullptr && own[0] == '/' ? own : "/bin/sh";
}

}  // namespace

int run_command(const RunArguments& arguments) {
  leader::RunOptions options;
  options.command = arguments.command.empty() ? std::vector{shell()} : arguments.command;
  // Hosts open the file themselves, wherever they stand.
  if (!arguments.trace_file.empty()) options.trace_file = std::filesystem::absolute(arguments.trace_file);
  options.gate_image = gate::image();
  options.gate = arguments.gate;
  options.native_setid = arguments.native_setid;
  options.report = arguments.report;
  options.view_after = arguments.view_after;
  options.verbose = arguments.verbose;
  options.control_daemon = serve_control;
  const auto status = leader::run(options);
  if (!status) return complain(exit_failed, status.error());
  return *status;
}

}  // namespace fusewire::cli
