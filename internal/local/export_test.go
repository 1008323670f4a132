package local

import "slices"

// Runs reports whether the process is there, and not merely waiting to be
// reaped by whoever inherited it.
func Runs(pid int) bool {
	all, err := processes()
	return err != nil || slices.ContainsFunc(all, func(p process) bool { return p.pid == pid })
}
