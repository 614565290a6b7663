# packages: golang-go
# seconds: 200
# A module is built and run in the mount.
set -e
export GOCACHE=$PWD/cache GOPATH=$PWD/path GO111MODULE=on GOFLAGS=-mod=mod GOPROXY=off HOME=$PWD
mkdir m && cd m && printf 'module m\ngo 1.19\n' > go.mod && printf 'package main\nimport "fmt"\nfunc main() { fmt.Println("hello from go") }\n' > main.go
go build -o hello . && ./hello && go vet . && go run .
