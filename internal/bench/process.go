package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTicks is USER_HZ, the unit of CPU times in /proc; every Linux that Go
// runs on has 100 (proc_pid_stat(5)).
const clockTicks = 100

// stat is what /proc/<pid>/stat says of a process.
type stat struct {
	pid, parent int
	name        string
	// own is user and system time, reaped that of the children it waited for.
	own, reaped time.Duration
}

// parseStat reads the line of /proc/<pid>/stat. The name stands in
// parentheses and may itself hold spaces and parentheses.
func parseStat(line []byte) (s stat, err error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return s, errors.New("bench: not a line of /proc/<pid>/stat")
	}
	s.name = string(line[open+1 : end])
	if s.pid, err = strconv.Atoi(strings.TrimSpace(string(line[:open]))); err != nil {
		return s, errors.New("bench: not a line of /proc/<pid>/stat")
	}
	f := strings.Fields(string(line[end+1:])) // from field 3 on
	if len(f) < 15 {
		return s, errors.New("bench: a line of /proc/<pid>/stat is too short")
	}
	var n [5]int64
	for i, at := range [5]int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		if n[i], err = strconv.ParseInt(f[at], 10, 64); err != nil {
			return s, errors.New("bench: a number in /proc/<pid>/stat cannot be read")
		}
	}
	s.parent = int(n[0])
	s.own = time.Duration(n[1]+n[2]) * (time.Second / clockTicks)
	s.reaped = time.Duration(n[3]+n[4]) * (time.Second / clockTicks)
	return s, nil
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// children returns the processes whose parent is pid.
func children(pid int) (list []stat) {
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil {
			continue // it ended meanwhile
		}
		if s, err := parseStat(b); err == nil && s.parent == pid {
			list = append(list, s)
		}
	}
	return list
}

// Process is a process whose use of the machine is measured. With Tree its
// children count too, as Postgres' do.
type Process struct {
	Name string
	PID  int
	Tree bool
}

// CPU returns the user and system time spent so far; that of children that
// have ended included where they count.
func (p Process) CPU() (time.Duration, error) {
	s, err := readStat(p.PID)
	if err != nil {
		return 0, err
	}
	if !p.Tree {
		return s.own, nil
	}
	total := s.own + s.reaped
	for _, c := range children(p.PID) {
		total += c.own + c.reaped
	}
	return total, nil
}

// Peak returns the most memory, in bytes, that one process had resident
// (VmHWM).
func (p Process) Peak() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return 0, err
	}
	return field(b, "VmHWM")
}

// Resident returns the memory, in bytes, that is in use now; what processes of
// a tree share is counted once (the sum of their Pss).
func (p Process) Resident() (total int64, err error) {
	pids := []int{p.PID}
	if p.Tree {
		for _, c := range children(p.PID) {
			pids = append(pids, c.pid)
		}
	}
	for _, pid := range pids {
		b, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if rerr != nil {
			if pid == p.PID {
				return 0, rerr
			}
			continue // it ended meanwhile
		}
		n, ferr := field(b, "Pss")
		if ferr != nil {
			return 0, ferr
		}
		total += n
	}
	return total, nil
}

// field reads "name:  123 kB" of a file in /proc, in bytes.
func field(b []byte, name string) (int64, error) {
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("bench: %s in /proc cannot be read", name)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("bench: there is no %s in /proc", name)
}
