package bench

import (
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestATreeCountsChildrenThatHaveEnded burns time in a grandchild that is gone
// when its use is read.
func TestATreeCountsChildrenThatHaveEnded(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; echo done; read x`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends the shell's read
		_ = cmd.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	p := Process{Name: "shell", PID: cmd.Process.Pid, Tree: true}
	tree, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	p.Tree = false
	own, err := p.CPU()
	if err != nil {
		t.Fatal(err)
	}
	if tree < 10*time.Millisecond || tree <= own {
		t.Errorf("the tree took %v, the shell alone %v; want the ended child in the first only", tree, own)
	}
	if n, err := p.Peak(); err != nil || n < 100<<10 {
		t.Errorf("peak memory = %d, %v", n, err)
	}
	if n, err := p.Resident(); err != nil || n < 10<<10 {
		t.Errorf("resident memory = %d, %v", n, err)
	}
}

func TestUsageLeavesOutWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := &Rig{Processes: []Process{{Name: Driver, PID: os.Getpid()}, {Name: Worker, PID: 1 << 30}}}
	u := r.Watch()()
	if _, ok := u.CPU[Driver]; !ok || u.Memory[Driver] == 0 {
		t.Errorf("usage %v has nothing of this process", u)
	}
	if _, ok := u.CPU[Worker]; ok {
		t.Errorf("usage %v has something of a process that does not exist", u)
	}
}
