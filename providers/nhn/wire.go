package nhn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// wire is what is known of one request's way to the gateway.
type wire struct {
	// writeBy is G of the send protocol: when the request may no longer be
	// written. Zero is no limit.
	writeBy time.Time
	seen    atomic.Uint32
}

// What was seen on the wire.
const (
	asked   uint32 = 1 << iota // the transport looked for a connection, so it honours traces
	got                        // it has one: from now on nothing proves that nothing was written
	stopped                    // the guard closed the connection for writing before the first byte
	wrote                      // the request's body was read to its end and is ours again
)

func (w *wire) see(what uint32)      { w.seen.Or(what) }
func (w *wire) has(what uint32) bool { return w.seen.Load()&what != 0 }

// trace returns ctx with the hooks that watch the request.
func (w *wire) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { w.see(asked) },
		GotConn:      w.connected,
		WroteRequest: func(httptrace.WroteRequestInfo) { w.see(wrote) },
	})
}

// connected runs before the transport writes its first byte, on the goroutine
// that will ask for the write. A write deadline set here is therefore in force
// for the whole request; every request sets it, since connections are reused.
func (w *wire) connected(info httptrace.GotConnInfo) {
	w.see(got)
	if info.Conn == nil || info.Conn.SetWriteDeadline(w.writeBy) != nil {
		return
	}
	// A deadline that lies in the past holds at once; one that has just passed
	// may not yet.
	if w.late() && info.Conn.SetWriteDeadline(time.Unix(1, 0)) == nil {
		w.see(stopped)
	}
}

// late reports whether the guard has passed. It counts on the monotonic clock
// as long as writeBy was made by time.Now in this process.
func (w *wire) late() bool { return !w.writeBy.IsZero() && time.Until(w.writeBy) <= 0 }

// failure classifies a request without an answer by what was seen.
//
// Before a connection was obtained nothing can have been written. Afterwards
// the hooks are evidence of writing, never of its absence: a pooled connection
// that turns out dead may have carried the bytes to a gateway that accepted
// them and then went away. The one exception is our own guard, which stops the
// first write before it happens.
func (w *wire) failure(err error) *providers.SendError {
	kind := providers.Ambiguous
	switch {
	case w.has(stopped):
		kind, err = providers.NotWritten, errGuard
	case w.has(got):
	case w.has(asked), isDial(err):
		kind = providers.NotWritten
	}
	return &providers.SendError{Kind: kind, Err: cause(err)}
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// What went wrong on the wire. Errors of net and net/http are not passed on:
// they quote URLs, which hold the app key, and what the gateway sent, which may
// hold a patient's number.
var (
	errGuard    = errors.New("the write guard passed before the first byte")
	errTimeout  = errors.New("timed out")
	errEnded    = errors.New("the connection ended")
	errHost     = errors.New("the gateway's host was not found")
	errTLS      = errors.New("the TLS handshake failed; check the gateway's certificate and the clock")
	errTooLong  = errors.New("the answer is longer than 1 MiB")
	errLongHead = errors.New("the answer's head is longer than 64 KiB")
)

// cause replaces an error of the transport by one that says as much and quotes
// nothing. Context errors and system error numbers are still found by
// errors.Is.
func cause(err error) error {
	var (
		errno   syscall.Errno
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, errGuard), errors.Is(err, errTooLong), errors.Is(err, errLongHead):
		return err
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", errTimeout, context.DeadlineExceeded)
	case errors.As(err, &dns):
		return errHost
	case errors.As(err, &cert), errors.As(err, &record), errors.As(err, &alert):
		return errTLS
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errTimeout
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errEnded
	}
	return errors.New("the exchange failed")
}
