// The program `fusewire`. Under the name of a fusermount helper it is that helper.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "cli/message.h"
#include "cli/version.h"
#include "daemon/fusermount.h"
#include "filesystems/serve.h"

namespace {

using namespace fusewire;

constexpr std::array<std::string_view, 3> fusermount_names{"fusermount", "fusermount3", "mergerfs-fusermount"};

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// The command to be run, in front of which the options of fusewire end: at "--", or at the first word that is no
// option.
struct Words {
  std::vector<std::string> ours;
  std::vector<std::string> behind_dashes;
  bool dashes = false;

  static Words split(int argc, char** argv) {
    Words words;
    const bool takes_command = argc > 1 && (argv[1] == std::string_view("run") || argv[1] == std::string_view("trace"));
    for (int i = 1; i < argc; ++i) {
      if (takes_command && !words.dashes && argv[i] == std::string_view("--")) {
        words.dashes = true;
        continue;
      }
      (words.dashes ? words.behind_dashes : words.ours).emplace_back(argv[i]);
    }
    return words;
  }

  // What the subcommand did not take, and what stood behind "--".
  std::vector<std::string> command(const CLI::App& subcommand) const {
    std::vector<std::string> all = subcommand.remaining();
    if (all.empty()) return behind_dashes;
    if (all.front().starts_with('-')) {
      throw CLI::ExtrasError(fmt::format("unknown option {}", all.front()), CLI::ExitCodes::ExtrasError);
    }
    if (dashes) all.emplace_back("--");
    all.insert(all.end(), behind_dashes.begin(), behind_dashes.end());
    return all;
  }
};

// For subcommands whose arguments CLI11 does not parse.
class UsageFormatter : public CLI::Formatter {
 public:
  explicit UsageFormatter(std::string usage) : usage_(std::move(usage)) {}
  std::string make_usage(const CLI::App*, std::string) const override { return "Usage: " + usage_ + "\n"; }

 private:
  std::string usage_;
};

class Program {
 public:
  explicit Program(Words words) : words_(std::move(words)) {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", std::string("fusewire ") + cli::version());
    app_.get_formatter()->column_width(column_width);
    add_run();
    add_trace();
    add_fs();
    add_ps();
    add_control();
    add_doctor();
  }

  int run() {
    try {
      check_subcommands();
      std::vector<std::string> reversed(words_.ours.rbegin(), words_.ours.rend());
      app_.parse(reversed);
      return action_();
    } catch (const CLI::Success& asked) {
      return app_.exit(asked);
    } catch (const CLI::ParseError& error) {
      return cli::complain(cli::exit_usage, fmt::format("{}; see fusewire{} --help", error.what(), subcommand_name()));
    }
  }

 private:
  static constexpr size_t column_width = 34;

  // CLI11 takes an unknown word for a missing subcommand.
  void check_subcommands() const {
    if (words_.ours.empty()) return;
    check_word(app_, words_.ours[0], "command");
    if (words_.ours[0] == "fs" && words_.ours.size() > 1) {
      check_word(*app_.get_subcommand("fs"), words_.ours[1], "file system");
    }
  }

  static void check_word(const CLI::App& parent, const std::string& word, std::string_view kind) {
    if (word.starts_with('-')) return;
    const auto has_name = [&](const CLI::App* subcommand) { return subcommand->get_name() == word; };
    if (parent.get_subcommands(has_name).empty()) {
      throw CLI::ExtrasError(fmt::format("unknown {} {}", kind, word), CLI::ExitCodes::ExtrasError);
    }
  }

  std::string subcommand_name() const {
    const auto parsed = app_.get_subcommands();
    return parsed.empty() ? "" : " " + parsed.front()->get_name();
  }

  static void set_usage(CLI::App& app, const char* usage) {
    auto formatter = std::make_shared<UsageFormatter>(usage);
    formatter->column_width(column_width);
    app.formatter(formatter);
  }

  CLI::App& subcommand(const char* name, const char* description) { return *app_.add_subcommand(name, description); }

  void add_run() {
    CLI::App& run = subcommand("run", "Run a command in a new namespace, in which FUSE works without /dev/fuse");
    run.prefix_command();
    set_usage(run, "fusewire run [OPTIONS] [--] [CMD ARG...]\nWithout CMD, your shell. The exit status is CMD's.");
    run.add_option("--trace", run_.trace_file, "append every step of every request to FILE, as JSON lines")
        ->type_name("FILE");
    run.add_option("--gate", run_.gate, "the gate to use in place of the one that the program carries")
        ->type_name("FILE");
    run.add_flag("--native-setid", run_.native_setid,
                 "let programs with set-id bits or capabilities run outside the namespace, with their rights");
    run.add_flag("--report", run_.report,
                 "tell on stderr, at the end, which program was refused what, and what it did next");
    run.add_option("--view-after", run_.view_after,
                   "let a program answer calls itself from what is cached, after so many calls on a mount; 0: never")
        ->type_name("N");
    run.add_flag("-v,--verbose", run_.verbose, "tell on stderr what the namespace does");
    run.final_callback([this, &run] {
      run_.command = words_.command(run);
      action_ = [this] { return cli::run_command(run_); };
    });
  }

  void add_trace() {
    CLI::App& trace = subcommand("trace", "Run a command and draw what its system calls do in FUSE");
    trace.prefix_command();
    set_usage(trace,
              "fusewire trace [OPTIONS] [--] CMD ARG...\n"
              "Without --on, CMD runs in a new namespace. The exit status is CMD's.");
    trace.add_option("--on", trace_.on, "trace the mount that DIR lies on, of the namespace this runs in")
        ->type_name("DIR");
    auto* call =
        trace.add_option("--call", trace_.call, "draw only this system call or opcode, e.g. unlink")->type_name("NAME");
    trace.add_flag("--json", trace_.json, "print the steps as JSON lines instead")->excludes(call);
    trace.add_option("--gate", trace_.gate, "the gate to use in place of the one that the program carries")
        ->type_name("FILE");
    trace.final_callback([this, &trace] {
      trace_.command = words_.command(trace);
      action_ = [this] { return cli::trace_command(trace_); };
    });
  }

  void add_fs() {
    CLI::App& fs = subcommand("fs", "Serve a built-in file system");
    fs.require_subcommand(1);
    CLI::App& memfs = *fs.add_subcommand("memfs", "A writable file system in memory");
    memfs.add_option("DIR", fs_.mount_point, "where to mount it")->required()->type_name("");
    memfs.add_flag("-f,--foreground", fs_.foreground, "stay in the foreground");
    memfs.add_option("-o,--options", fs_options_, "size=, nr_inodes=, mode=, uid=, gid=, timeouts; FUSE mount options")
        ->type_name("OPTIONS")
        ->allow_extra_args(false);
    memfs.add_option("--threads", fs_.threads, "how many threads serve (0: as many as help)")->type_name("N");
    memfs.final_callback([this] {
      fs_.options = CLI::detail::join(fs_options_, ",");
      action_ = [this] { return filesystems::serve_memfs(fs_); };
    });
  }

  void add_ps() {
    CLI::App& ps = subcommand("ps", "List the connections of running namespaces");
    ps.add_flag("--json", json_, "as JSON, with all counters");
    ps.final_callback([this] { action_ = [this] { return cli::ps_command(json_); }; });
  }

  void add_control() {
    CLI::App& abort = subcommand("abort", "Abort a connection: every caller that waits for it gets an error at once");
    abort.add_option("ID|DIR", target_, "its number (fusewire ps) or mount point")->required()->type_name("");
    abort.final_callback([this] { action_ = [this] { return cli::abort_command(target_); }; });

    CLI::App& umount = subcommand("umount", "Unmount a file system of a namespace");
    umount.add_option("DIR", target_, "its mount point")->required()->type_name("");
    umount.add_flag("-f,--force", force_, "abort it first");
    umount.add_flag("-l,--lazy", lazy_, "detach it now; open files live on");
    umount.final_callback([this] { action_ = [this] { return cli::umount_command(target_, force_, lazy_); }; });
  }

  void add_doctor() {
    CLI::App& doctor = subcommand("doctor", "Say what this machine allows, and what will not work");
    doctor.add_flag("--json", json_, "as JSON");
    doctor.add_option("--gate", run_.gate, "the gate to use in place of the one that the program carries")
        ->type_name("FILE");
    doctor.final_callback([this] { action_ = [this] { return cli::doctor_command(json_, run_.gate); }; });
  }

  Words words_;
  CLI::App app_{"All of FUSE in user space: file systems without /dev/fuse, mount(2) or root", "fusewire"};
  std::function<int()> action_;
  cli::RunArguments run_;
  cli::TraceArguments trace_;
  filesystems::ServeOptions fs_;
  std::vector<std::string> fs_options_;
  std::string target_;
  bool json_ = false, force_ = false, lazy_ = false;
};

// A standard descriptor that is closed would be the number of the next file opened, a device or a socket. Programs that
// are started find it closed.
void fill_standard_descriptors() {
  int fd;
  do {
    fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd > STDERR_FILENO) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_descriptors();
  if (argc > 0 && std::ranges::find(fusermount_names, base_name(argv[0])) != fusermount_names.end()) {
    return daemon::fusermount_main(argc, argv);
  }
  try {
    return Program(Words::split(argc, argv)).run();
  } catch (const std::exception& error) {
    return cli::complain(cli::exit_failed, error.what());
  }
}
