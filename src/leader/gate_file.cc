#include "leader/gate_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "leader/file_size_limit.h"

namespace fusewire::leader {
namespace {

constexpr unsigned executable_memfd = 0x10;  // MFD_EXEC, since Linux 6.3
constexpr char name_of_program[] = "fusewire-gate";

int write_all(int fd, std::span<const std::byte> bytes) {
  const NoFileSizeLimit none;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? -errno : -EIO;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return 0;
}

}  // namespace

GateFiles::GateFiles(std::span<const std::byte> image, std::string directory, std::vector<PreparedFile> code)
    : image_(image), directory_(std::move(directory)), code_(std::move(code)) {}

std::expected<UniqueFd, int> GateFiles::make_memfd(std::vector<abi::PreparedCode>& codes) const {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd memfd(::memfd_create(name_of_program, flags | executable_memfd));
  if (!memfd && errno == EINVAL) memfd.reset(::memfd_create(name_of_program, flags));
  if (!memfd) return std::unexpected(errno);
  if (const int error = write_all(memfd.get(), image_); error < 0) return std::unexpected(-error);
  constexpr off_t page = 4096;
  for (const PreparedFile& file : code_) {
    const off_t end = ::lseek(memfd.get(), 0, SEEK_END);
    const off_t place = ::lseek(memfd.get(), (end + page - 1) / page * page, SEEK_SET);
    if (place < 0) return std::unexpected(errno);
    if (const int error = write_all(memfd.get(), file.bytes); error < 0) return std::unexpected(-error);
    codes.push_back(file.code);
    codes.back().place = static_cast<uint64_t>(place);
  }
  const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  if (::fcntl(memfd.get(), F_ADD_SEALS, seals) != 0) return std::unexpected(errno);
  return memfd;
}

std::expected<UniqueFd, int> GateFiles::make_file() const {
  if (directory_.empty()) return std::unexpected(ENOENT);
  const std::string path = directory_ + "/" + name_of_program;
  {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0500));
    if (!file) return std::unexpected(errno);
    const int error = write_all(file.get(), image_);
    if (error < 0 || ::fchmod(file.get(), 0500) != 0) return std::unexpected(error < 0 ? -error : errno);
  }
  UniqueFd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened) return std::unexpected(errno);
  return opened;
}

bool GateFiles::next(GateFile& file) {
  for (; at_ < 3;) {
    const unsigned way = at_++;
    const std::string name = way == 0   ? "a sealed memfd"
                             : way == 1 ? "a file in " + (directory_.empty() ? std::string("no directory") : directory_)
                                        : "fusewire itself";
    if (way == 1 && directory_.empty()) continue;
    std::expected<UniqueFd, int> made = std::unexpected(ENOENT);
    std::vector<abi::PreparedCode> codes;
    if (way == 0) made = make_memfd(codes);
    if (way == 1) made = make_file();
    if (way == 2) {
      UniqueFd self(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
      if (self)
        made = std::move(self);
      else
        made = std::unexpected(errno);
    }
    if (!made) {
      failed(name, made.error());
      continue;
    }
    file = {std::move(*made), name, std::move(codes)};
    return true;
  }
  return false;
}

void GateFiles::failed(const std::string& name, int error) {
  if (!failures_.empty()) failures_ += "; ";
  failures_ += fmt::format("{}: {}", name, std::strerror(error));
}

int execute(const GateFile& file, const std::vector<const char*>& arguments) {
  auto* const words = const_cast<char* const*>(arguments.data());
  ::syscall(SYS_execveat, file.fd.get(), "", words, environ, AT_EMPTY_PATH);
  const int error = errno;
  if (error != ENOSYS && error != EPERM) return error;
  ::execv(fmt::format("/proc/self/fd/{}", file.fd.get()).c_str(), words);
  return errno;
}

std::expected<std::string, std::string> try_gate(std::span<const std::byte> image) {
  GateFiles files(image, "");
  for (GateFile file; files.next(file);) {
    constexpr int shows_usage = 2, failed_to_start = 200;
    const pid_t child = ::fork();
    if (child == 0) {
      const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
      if (nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
      const int error = execute(file, {name_of_program, nullptr});
      ::_exit(error < 50 ? failed_to_start + error : failed_to_start);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) return std::unexpected("no process can be made");
    if (WIFEXITED(status) && WEXITSTATUS(status) == shows_usage) return file.name;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) - failed_to_start : 0;
    files.failed(file.name, code > 0 ? code : ENOEXEC);
  }
  return std::unexpected(files.failures());
}

}  // namespace fusewire::leader
