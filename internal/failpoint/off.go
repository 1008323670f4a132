//go:build !failpoint

package failpoint

// Arm does nothing in this build.
func Arm() error { return nil }

// Hit does nothing in this build, and the compiler leaves nothing of it.
func Hit(Point) {}
