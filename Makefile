# Fusewire. Everything is built by CMake and Ninja; these are the short words.
#   make deps    installs what builds and tests need from Debian's packages
#   make build   the program, build/bin/fusewire
#   make demo    the main job: a file system mounted, used and unmounted without /dev/fuse, mount(2) or root
#   make test    installs what the tests need (it says so first), builds and runs all of them, sanitizer builds and fuzzers too
#   make install PREFIX=/usr/local DESTDIR=   the program, its manual pages and completions
#   make package a .deb and a .tar.gz, in build/package
#   make bench   side by side with the real kernel's FUSE, where there is one, and with a tmpfs; ROUNDS=9
#   make counters  system calls, sleeps and hand-overs of each operation; make counters-update writes what tests expect
#   make zoo     programs in the wild on mounts, each beside a plain directory (the quick ones are part of make test)
#   make soak    the long versions of the stress tests
#   make format, make lint

JOBS ?= $(shell nproc)
BUILD = cmake --build
ROUNDS ?= 9

PREFIX ?= /usr/local

.PHONY: all deps build install package demo test test-release test-asan test-tsan test-fuzz bench counters counters-update zoo soak format lint clean packages

all: build

deps:
	@scripts/install-packages test

build:
	@scripts/install-packages --check build
	@cmake --preset release -DFUSEWIRE_TESTS=OFF >/dev/null
	@$(BUILD) build -j $(JOBS)

install: build
	@cmake --install build --prefix "$(PREFIX)" --component fusewire

package: build
	@scripts/package

demo:
	@scripts/install-packages --check demo
	@cmake --preset release -DFUSEWIRE_TESTS=OFF >/dev/null
	@$(BUILD) build -j $(JOBS)
	@scripts/demo

test:
	@scripts/install-packages test
	@scripts/run-tests

bench:
	@scripts/install-packages test
	@cmake --preset release -DFUSEWIRE_TESTS=ON >/dev/null
	@$(BUILD) build -j $(JOBS)
	@bench/operations.py --rounds $(ROUNDS)
	@bench/workloads.py --rounds $(ROUNDS)
	@bench/nothing_virtual.py --rounds $(ROUNDS)

counters counters-update:
	@scripts/install-packages test
	@cmake --preset release -DFUSEWIRE_TESTS=ON >/dev/null
	@$(BUILD) build -j $(JOBS) -t fusewire counters counters_client
	@build/bin/counters $(if $(filter counters-update,$@),--update --expected tests/counters/expected)

zoo:
	@scripts/install-packages test
	@scripts/install-packages zoo
	@cmake --preset release -DFUSEWIRE_TESTS=ON >/dev/null
	@$(BUILD) build -j $(JOBS)
	@tests/zoo/run root build/bin; root=$$?; tests/zoo/run user build/bin && [ $$root -eq 0 -o $$root -eq 77 ]

soak:
	@scripts/install-packages test
	@cmake --preset release -DFUSEWIRE_TESTS=ON >/dev/null
	@$(BUILD) build -j $(JOBS)
	@FUSEWIRE_SOAK_SECONDS=$${FUSEWIRE_SOAK_SECONDS:-1800} ctest --test-dir build -L soak --output-on-failure

format:
	@find src tests bench examples -name '*.h' -o -name '*.cc' | xargs clang-format -i

lint:
	@scripts/install-packages test
	@scripts/lint

clean:
	rm -rf build build-debug build-asan build-tsan build-fuzz
