package local

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// processes lists what runs, from /proc: slim machines have no ps. Those that
// are dead and not yet reaped have no command line and are left out.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if line = bytes.TrimRight(line, "\x00 "); err != nil || len(line) == 0 {
			continue // it ended meanwhile, or belongs to the kernel
		}
		all = append(all, process{pid, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))})
	}
	return all, nil
}
