// The gate's reading of a filter is the kernel's.
#include "gate/machinery/bpf.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <random>
#include <vector>

namespace fusewire::gate {
namespace {

constexpr long probe = 5000;  // no system call has this number
using Program = std::vector<sock_filter>;

class Maker {
 public:
  explicit Maker(unsigned seed) : random_(seed) {}

  // Anything to the probe, whose end is a verdict of SECCOMP_RET_ERRNO with 12 bits of the result; all else is allowed.
  Program make() {
    Program p{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, probe, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    for (unsigned i = 0; i < 4; i++) p.push_back(BPF_STMT(BPF_ST, i));  // all are written before they are read
    const unsigned length = 1 + below(30);
    for (unsigned i = 0; i < length; i++) p.push_back(instruction(length - i));
    for (const auto& end :
         {sock_filter BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff),
          sock_filter BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO), sock_filter BPF_STMT(BPF_RET | BPF_A, 0)})
      p.push_back(end);
    return p;
  }
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  // Small, large, and next to a power of two.
  unsigned number() {
    const unsigned bits = static_cast<unsigned>(random_());
    return below(2) == 0 ? bits >> below(32) : (1u << below(32)) - below(2);
  }

 private:
  sock_filter instruction(unsigned left) {
    static constexpr unsigned short operations[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_AND,
                                                    BPF_OR,  BPF_XOR, BPF_LSH, BPF_RSH, BPF_NEG};
    static constexpr unsigned short comparisons[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET};
    const auto source = static_cast<unsigned short>(below(2) == 0 ? BPF_K : BPF_X);
    const auto jump = static_cast<unsigned char>(below(left));
    switch (below(10)) {
      case 0:
        return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4 * (below(2) == 0 ? below(2) : 4 + below(12)));
      case 1:
        return BPF_STMT(static_cast<unsigned short>((below(2) == 0 ? BPF_LD : BPF_LDX) | BPF_IMM), number());
      case 2:
        return BPF_STMT(static_cast<unsigned short>((below(2) == 0 ? BPF_LD : BPF_LDX) | BPF_MEM), below(4));
      case 3:
        return BPF_STMT(static_cast<unsigned short>(below(2) == 0 ? BPF_ST : BPF_STX), below(4));
      case 4:
        return BPF_STMT(static_cast<unsigned short>(BPF_MISC | (below(2) == 0 ? BPF_TAX : BPF_TXA)), 0);
      case 5:
        return BPF_STMT(static_cast<unsigned short>((below(2) == 0 ? BPF_LD : BPF_LDX) | BPF_W | BPF_LEN), 0);
      case 6:
        return BPF_JUMP(static_cast<unsigned short>(BPF_JMP | comparisons[below(4)] | source), number(), jump,
                        static_cast<unsigned char>(below(left)));
      case 7:
        return BPF_STMT(BPF_JMP | BPF_JA, jump);
      default: {
        const unsigned short operation = operations[below(10)];
        unsigned k = number();
        if (source == BPF_K && operation == BPF_DIV && k == 0) k = 1;
        if (source == BPF_K && (operation == BPF_LSH || operation == BPF_RSH)) k %= 32;
        return BPF_STMT(static_cast<unsigned short>(BPF_ALU | operation | (operation == BPF_NEG ? BPF_K : source)), k);
      }
    }
  }

  std::mt19937_64 random_;
};

struct Asked {
  long errors[8];  // what the kernel answered; -1: not asked
  unsigned long arguments[8][6];
};

// Asks the kernel, in a child that carries the filter. false: it was killed while it asked, at the first -1.
bool ask_kernel(const Program& program, Asked& asked) {
  const pid_t child = ::fork();
  if (child == 0) {
    const sock_fprog told{static_cast<unsigned short>(program.size()), const_cast<sock_filter*>(program.data())};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &told) != 0) ::_exit(1);
    for (int i = 0; i < 8; i++) {
      const unsigned long* a = asked.arguments[i];
      const long r = ::syscall(probe, a[0], a[1], a[2], a[3], a[4], a[5]);
      asked.errors[i] = r == -1 ? errno : 0;
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "the kernel does not take the filter";
  return WIFEXITED(status);
}

TEST(Bpf, random_filters_say_what_the_kernel_says) {
  auto* asked =
      static_cast<Asked*>(::mmap(nullptr, sizeof(Asked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(MAP_FAILED, asked);
  int kills = 0, errors = 0;
  for (unsigned seed = 0; seed < 600; seed++) {
    Maker maker(seed);
    const Program program = maker.make();
    for (int i = 0; i < 8; i++) {
      asked->errors[i] = -1;
      for (auto& argument : asked->arguments[i]) argument = uint64_t{maker.number()} << 32 | maker.number();
    }
    const bool lived = ask_kernel(program, *asked);
    for (int i = 0; i < 8; i++) {
      seccomp_data data{.nr = probe, .arch = 0xc000003e, .instruction_pointer = 0, .args = {}};
      for (int a = 0; a < 6; a++) data.args[a] = asked->arguments[i][a];
      const uint32_t verdict = run_filter(program, data);
      if (asked->errors[i] == -1) {
        EXPECT_EQ(0u, verdict) << "seed " << seed;  // SECCOMP_RET_KILL_THREAD: a division by zero
        EXPECT_FALSE(lived);
        kills++;
        break;
      }
      ASSERT_EQ(SECCOMP_RET_ERRNO, verdict & SECCOMP_RET_ACTION_FULL) << "seed " << seed;
      EXPECT_EQ(asked->errors[i], static_cast<long>(std::min(verdict & SECCOMP_RET_DATA, 4095u))) << "seed " << seed;
      errors++;
    }
  }
  EXPECT_GT(kills, 5);
  EXPECT_GT(errors, 1000);
  ::munmap(asked, sizeof(Asked));
}

TEST(Bpf, the_stricter_action_counts_and_of_equals_the_newer) {
  EXPECT_EQ(SECCOMP_RET_KILL_PROCESS, stricter(SECCOMP_RET_KILL_THREAD, SECCOMP_RET_KILL_PROCESS));
  EXPECT_EQ(SECCOMP_RET_KILL_THREAD, stricter(SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP));
  EXPECT_EQ(SECCOMP_RET_TRAP, stricter(SECCOMP_RET_ERRNO | 1, SECCOMP_RET_TRAP));
  EXPECT_EQ(SECCOMP_RET_ERRNO | 1, stricter(SECCOMP_RET_ERRNO | 1, SECCOMP_RET_ERRNO | 2));
  EXPECT_EQ(SECCOMP_RET_USER_NOTIF, stricter(SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF));
}

TEST(Bpf, a_wrong_program_kills_and_reads_nothing_outside) {
  const sock_filter wrong[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64)};
  EXPECT_EQ(SECCOMP_RET_KILL_PROCESS, run_filter(wrong, {}));
  const sock_filter endless[] = {BPF_JUMP(BPF_JMP | BPF_JA, 1000, 0, 0)};
  EXPECT_EQ(SECCOMP_RET_KILL_PROCESS, run_filter(endless, {}));
  const sock_filter beyond[] = {BPF_STMT(BPF_ST, 16)};
  EXPECT_EQ(SECCOMP_RET_KILL_PROCESS, run_filter(beyond, {}));
}

}  // namespace
}  // namespace fusewire::gate
