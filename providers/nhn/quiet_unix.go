//go:build unix

package nhn

import (
	"errors"
	"net"
	"syscall"
)

// quiet reports whether an idle connection is open and has nothing to say. One
// that the gateway has closed would take a request's bytes and answer nothing,
// and the outcome would have to be found out.
func quiet(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && silent
}
