// Code that is rewritten in advance, on libraries made here and by running it.
#include "leader/prepared_code.h"

#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>

#include "code/trampoline.h"
#include "support/temporary_directory.h"

// What the gate does, in short: the call, and on to where r11 says.
asm(R"(
  .text
  .globl prepared_code_test_entry
prepared_code_test_entry:
  push %r11
  syscall
  pop %r11
  incq prepared_code_test_calls(%rip)
  jmp *%r11
)");
extern "C" const char prepared_code_test_entry[];
extern "C" {
uint64_t prepared_code_test_calls = 0;
}

namespace fusewire::leader {
namespace {

constexpr uint64_t page = 4096;

// mov $getppid, %eax; syscall
const std::string call("\xb8\x6e\0\0\0\x0f\x05", 7);
const std::string check("\x48\x3d\x01\xf0\xff\xff", 6);  // cmp $-4095, %rax
const std::string ret("\xc3", 1);

std::string jump_to(int32_t distance) {
  std::string text("\xe9", 1);
  text.append(reinterpret_cast<const char*>(&distance), sizeof distance);
  return text;
}

class PreparedCodeTest : public testing::Test {
 protected:
  // A library: a page of headers, a page of code in which each function begins at a multiple of 64.
  std::string make(std::initializer_list<std::string> functions) {
    std::string code;
    for (const std::string& function : functions) {
      code += function;
      code.resize((code.size() + 63) / 64 * 64, '\xcc');
    }
    Elf64_Ehdr head{};
    std::memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_type = ET_DYN;
    head.e_machine = EM_X86_64;
    head.e_phoff = sizeof head;
    head.e_phentsize = sizeof(Elf64_Phdr);
    head.e_phnum = 2;
    Elf64_Phdr segments[2]{};
    segments[0] = {PT_LOAD, PF_R, 0, 0, 0, page, page, page};
    segments[1] = {PT_LOAD, PF_R | PF_X, page, page, page, code.size(), code.size(), page};
    std::string file(reinterpret_cast<const char*>(&head), sizeof head);
    file.append(reinterpret_cast<const char*>(segments), sizeof segments);
    file.resize(page);
    file += code;
    const std::string path = root_.at("library");
    std::ofstream(path, std::ios::binary) << file;
    return path;
  }

  std::vector<PreparedFile> prepare_one(const std::string& path) {
    return prepare({path}, reinterpret_cast<uint64_t>(prepared_code_test_entry));
  }
  static std::string code_of(const PreparedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes.data()) + file.code.trampoline_bytes, file.code.bytes};
  }

  const TemporaryDirectory root_;
};

// The trampolines and the code as far apart as a gate maps them.
class Mapped {
 public:
  explicit Mapped(const PreparedFile& file) : bytes_(file.code.below + file.code.bytes) {
    memory_ = static_cast<char*>(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    std::memcpy(memory_, file.bytes.data(), file.code.trampoline_bytes);
    std::memcpy(memory_ + file.code.below, file.bytes.data() + file.code.trampoline_bytes, file.code.bytes);
    ::mprotect(memory_, bytes_, PROT_READ | PROT_EXEC);
    below_ = file.code.below;
  }
  ~Mapped() { ::munmap(memory_, bytes_); }
  Mapped(const Mapped&) = delete;
  long run(size_t function) const { return reinterpret_cast<long (*)()>(memory_ + below_ + 64 * function)(); }

 private:
  size_t bytes_, below_ = 0;
  char* memory_;
};

TEST_F(PreparedCodeTest, calls_go_by_the_entry_and_give_what_they_give) {
  const std::string moved("\x48\x89\xc1\x31\xc0\x48\x89\xc8", 8);  // mov %rax, %rcx; xor %eax, %eax; mov %rcx, %rax
  const auto files = prepare_one(make({call + check + ret, call + ret, call + moved + ret}));
  ASSERT_EQ(files.size(), 1u);
  const Mapped code(files[0]);
  for (size_t function = 0; function < 3; ++function) {
    const uint64_t before = prepared_code_test_calls;
    EXPECT_EQ(code.run(function), ::getppid()) << function;
    EXPECT_EQ(prepared_code_test_calls, before + 1) << function;
  }
}

TEST_F(PreparedCodeTest, the_syscall_of_a_stub_stays_for_who_jumps_to_it) {
  const auto files = prepare_one(make({ret, call + ret}));
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(code_of(files[0])[64], '\xe9');
  EXPECT_EQ(code_of(files[0]).substr(64 + 5, 3), std::string("\x0f\x05\xc3", 3));
}

TEST_F(PreparedCodeTest, a_site_is_left_alone_when_a_jump_leads_behind_it) {
  // The second function makes its call and goes on behind that of the first.
  const int32_t distance = 7 - (64 + 7 + 5);
  const auto files = prepare_one(make({call + check + ret, call + jump_to(distance), call + check + ret}));
  ASSERT_EQ(files.size(), 1u);
  const std::string code = code_of(files[0]);
  EXPECT_EQ(code.substr(0, 13), call + check);
  EXPECT_NE(code.substr(128, 13), call + check);
}

TEST_F(PreparedCodeTest, two_bytes_of_another_instruction_are_no_site) {
  const std::string constant("\xb8\x0f\x05\x00\x00\xc3", 6);      // mov $0x50f, %eax
  const std::string number("\x41\xb8\x6e\0\0\0\x0f\x05\xc3", 9);  // mov $110, %r8d; syscall; ret
  const auto files = prepare_one(make({constant, number, call + check + ret}));
  ASSERT_EQ(files.size(), 1u);
  const std::string code = code_of(files[0]);
  EXPECT_EQ(code.substr(0, constant.size()), constant);
  EXPECT_EQ(code.substr(64, number.size()), number);
}

TEST_F(PreparedCodeTest, what_is_no_library_gives_nothing) {
  std::ofstream(root_.at("text")) << "text";
  std::ofstream(root_.at("empty"));
  const std::string cut = make({call + check + ret});
  std::filesystem::resize_file(cut, page + 8);
  EXPECT_TRUE(prepare_one(root_.at("text")).empty());
  EXPECT_TRUE(prepare_one(root_.at("empty")).empty());
  EXPECT_TRUE(prepare_one(root_.at("missing")).empty());
  EXPECT_TRUE(prepare_one(root_.path()).empty());
  EXPECT_TRUE(prepare_one(cut).empty());
  EXPECT_TRUE(prepare_one(make({ret})).empty());
  EXPECT_TRUE(prepare({make({call + check + ret})}, 0).empty());
}

TEST_F(PreparedCodeTest, every_file_is_known_by_what_it_is) {
  const std::string path = make({call + check + ret});
  const auto files = prepare_one(path);
  ASSERT_EQ(files.size(), 1u);
  struct stat status;
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(files[0].code.file.inode, status.st_ino);
  EXPECT_EQ(files[0].code.file.size, static_cast<uint64_t>(status.st_size));
  EXPECT_EQ(files[0].code.file, abi::identity_of(status));
  EXPECT_EQ(files[0].code.offset, page);
  EXPECT_EQ(files[0].code.bytes, page);
  EXPECT_EQ(files[0].code.below, page + files[0].code.trampoline_bytes);
  EXPECT_EQ(files[0].bytes.size(), files[0].code.trampoline_bytes + page);
  EXPECT_STREQ(files[0].code.path, path.c_str());
}

}  // namespace
}  // namespace fusewire::leader
