// Walks two trees with many goroutines and compares every file: a static program without libc.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

func main() {
	one, two := os.Args[1], os.Args[2]
	var wait sync.WaitGroup
	different := make(chan string, 10000)
	count := 0
	filepath.Walk(one, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		count++
		wait.Add(1)
		go func() {
			defer wait.Done()
			rest, _ := filepath.Rel(one, path)
			a, errA := os.ReadFile(path)
			b, errB := os.ReadFile(filepath.Join(two, rest))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				different <- fmt.Sprint(path, errA, errB)
			}
		}()
		return nil
	})
	wait.Wait()
	close(different)
	for path := range different {
		fmt.Println("different:", path)
		os.Exit(1)
	}
	if err := os.WriteFile(filepath.Join(one, "written-by-go"), []byte("go"), 0644); err != nil || count == 0 {
		fmt.Println(err, count)
		os.Exit(1)
	}
	os.Remove(filepath.Join(one, "written-by-go"))
}
