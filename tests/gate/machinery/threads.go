package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

func main() {
	var group sync.WaitGroup
	for i := 0; i < 16; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for k := 0; k < 100; k++ {
				if data, err := os.ReadFile("/etc/passwd"); err != nil || len(data) == 0 {
					fmt.Println("cannot read:", err)
					os.Exit(1)
				}
			}
		}()
	}
	group.Wait()
	out, err := exec.Command("/bin/echo", "from a child").Output()
	fmt.Print(string(out))
	if err == nil {
		fmt.Println("go is well")
	}
}
