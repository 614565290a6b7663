// What a program without libc stands on: raw system calls of x86-64 Linux, and the four memory functions that the
// compiler may call by itself.
#pragma once

#include <cstddef>

namespace fusewire::freestanding {

long system_call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);
void print(const char* text);
[[noreturn]] void exit(int status);

}  // namespace fusewire::freestanding
