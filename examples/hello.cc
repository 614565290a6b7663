// A file system with one file. Usage: hello DIR; then: cat DIR/hello; then: fusermount3 -u DIR
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "daemon/serve.h"

using namespace fusewire::daemon;

class Hello : public FileSystem {
  static constexpr std::string_view text = "Hello, world!\n";
  static constexpr NodeId file{2};

  static Attributes attributes_of(NodeId node) {
    Attributes out;
    out.ino = static_cast<uint64_t>(node);
    out.mode = node == file ? S_IFREG | 0444 : S_IFDIR | 0555;
    out.nlink = node == file ? 1 : 2;
    out.size = node == file ? text.size() : 0;
    return out;
  }

  Result<Entry> lookup(const Context&, NodeId, std::string_view name) override {
    if (name != "hello") return error(Errno::enoent);
    return Entry{file, 0, attributes_of(file), std::chrono::seconds(1), std::chrono::seconds(1)};
  }
  Result<AttributesFor> get_attributes(const Context&, NodeId node, std::optional<FileHandle>) override {
    return AttributesFor{attributes_of(node), std::chrono::seconds(1)};
  }
  Result<size_t> read(const Context&, NodeId, FileHandle, uint64_t offset, std::span<std::byte> buffer) override {
    if (offset >= text.size()) return 0;
    size_t bytes = std::min<size_t>(buffer.size(), text.size() - offset);
    std::memcpy(buffer.data(), text.data() + offset, bytes);
    return bytes;
  }
  Result<void> readdir(const Context&, NodeId, FileHandle, uint64_t offset, DirectoryWriter& writer) override {
    if (offset < 1 && !writer.add(".", 1, S_IFDIR, 1)) return {};
    if (offset < 2 && !writer.add("..", 1, S_IFDIR, 2)) return {};
    if (offset < 3) writer.add("hello", static_cast<uint64_t>(file), S_IFREG, 3);
    return {};
  }
};

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: hello DIR\n"), 2;
  Hello hello;
  ServeOptions options;
  options.program = "hello";
  options.mount_point = argv[1];
  options.mount.add("ro,fsname=hello");
  return serve(hello, options);
}
