package simulator

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"syscall"
)

// Transport returns a round tripper that asks the simulator without sockets,
// so that a client can be tested in a testing/synctest bubble. It calls the
// request's httptrace hooks as net/http does, so that a client that takes
// evidence from them sees the same; resets and refusals are the errors that
// net/http would return.
func (s *Simulator) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Simulator }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		closeBody(r)
		return nil, err
	}
	trace := httptrace.ContextClientTrace(ctx)
	if t.s.refusing(r) {
		closeBody(r)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	req, err := readRequest(r)
	if trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
	if err != nil {
		return nil, err
	}
	req.header, req.remote = r.Header.Clone(), ""
	a := t.s.respond(req)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.wire != wireWhole {
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	if trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	resp := &http.Response{
		StatusCode: a.status, Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r,
	}
	a.fill(resp.Header)
	return resp, nil
}

// refusing reports whether an outage keeps a connection from being made.
func (s *Simulator) refusing(r *http.Request) bool {
	c := call{req: &request{method: r.Method, path: r.URL.Path}, set: s.set.Load(), at: s.clock.now()}
	return len(c.set.outages) > 0 && c.find() && c.outage() == faultRefuse
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // nothing was sent that closing could lose
	}
}

// abort ends the connection without an answer: a reset where the server
// allows it.
func abort(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		panic(http.ErrAbortHandler) // HTTP/2 resets the stream
	}
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close is orderly, which is as good as no answer
	}
	_ = conn.Close()
}
