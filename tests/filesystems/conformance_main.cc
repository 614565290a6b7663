// conformance DIR [RULE...]: runs the rules of support/conformance.h on a directory of any mounted file system. One
// line a rule; exit status 1 when one failed.
#include <cstdio>

#include "support/conformance.h"

int main(int argc, char** argv) {
  using namespace fusewire::conformance;
  if (argc < 2) {
    std::fprintf(stderr, "usage: conformance DIR [RULE...]\n");
    return 2;
  }
  const char* words[] = {"ok  ", "FAIL", "skip"};
  int counts[3] = {};
  for (const Rule& rule : rules()) {
    bool wanted = argc == 2;
    for (int i = 2; i < argc; ++i) wanted = wanted || std::string_view(argv[i]) == rule.name;
    if (!wanted) continue;
    Outcome outcome = run_rule(rule, argv[1]);
    ++counts[outcome.kind];
    std::printf("%s %s%s%s\n", words[outcome.kind], rule.name, outcome.text.empty() ? "" : ": ", outcome.text.c_str());
    std::fflush(stdout);
  }
  std::printf("%d held, %d failed, %d skipped\n", counts[0], counts[1], counts[2]);
  return counts[Outcome::failed] > 0 ? 1 : 0;
}
