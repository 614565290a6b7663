# packages: cmake ninja-build g++
# quick
# A C++ build with cmake and ninja in the mount, its result run from there, and nothing to do the second time.
set -e
mkdir s && cd s
printf 'cmake_minimum_required(VERSION 3.10)\nproject(p CXX)\nadd_library(l STATIC l.cc)\nadd_executable(m m.cc)\ntarget_link_libraries(m l)\n' > CMakeLists.txt
echo 'int l() { return 41; }' > l.cc; printf '#include <cstdio>\nint l();\nint main() { std::printf("%%d\\n", l() + 1); }\n' > m.cc
cmake -G Ninja -B b > /dev/null && ninja -C b > /dev/null && b/m && ninja -C b | tail -1
