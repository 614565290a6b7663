# packages: gdb gcc
# gdb starts a program of the mount, stops in it, and looks.
set -e
printf 'int answer = 42;\nint f(int x) { return x + answer; }\nint main(void) { return f(1) - 43; }\n' > m.c; gcc -g m.c -o m
gdb -q -nx -batch -ex 'break f' -ex run -ex 'print answer' -ex 'print x' -ex continue ./m 2> /dev/null | grep -E '^\$|exited' | sed 's/process [0-9]*/process/'
