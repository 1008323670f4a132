//go:build !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"
)

// processes lists what runs, as ps shows it.
func processes() ([]process, error) {
	out, err := exec.Command("ps", "-axww", "-o", "pid=,command=").Output()
	if err != nil {
		return nil, err
	}
	var all []process
	for line := range strings.Lines(string(out)) {
		number, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		pid, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		all = append(all, process{pid, strings.TrimSpace(command)})
	}
	return all, nil
}
