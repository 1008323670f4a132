//go:build !unix

package nhn

import "net"

// quiet takes an idle connection for open: this system has no way to look
// without reading. One that the gateway has closed leaves an outcome that has
// to be found out.
func quiet(net.Conn) bool { return true }
