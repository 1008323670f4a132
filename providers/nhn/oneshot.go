package nhn

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
)

// oneShot writes each POST once, in one piece, on a connection that no other
// goroutine touches, and reads its answer where it was asked. net/http keeps
// two goroutines for each connection and passes every request through both,
// which costs twice the time, and may repeat a request; this cannot. What is
// not a POST, or goes through a proxy, is net/http's.
//
// It calls the hooks GetConn, GotConn and WroteRequest of the request's trace
// as net/http does.
type oneShot struct {
	base *http.Transport // also says how to dial, and the limits
	idle pool
}

// RoundTrip implements [http.RoundTripper].
func (o *oneShot) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost || req.Body == nil {
		return o.base.RoundTrip(req)
	}
	if o.base.Proxy != nil {
		if via, err := o.base.Proxy(req); err != nil || via != nil {
			return o.base.RoundTrip(req)
		}
	}
	ctx, trace := req.Context(), httptrace.ContextClientTrace(req.Context())
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	c, err := o.connect(ctx, req, trace)
	if err != nil {
		req.Body.Close()
		return nil, err
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c, Reused: c.used, WasIdle: c.used})
	}
	// From here the deadline of ctx and its end both stop the exchange.
	if limit, ok := ctx.Deadline(); ok {
		_ = c.SetReadDeadline(limit)
	} else {
		_ = c.SetReadDeadline(time.Time{})
	}
	c.abort = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	resp, err := o.exchange(c, req, trace)
	if err != nil {
		c.abort()
		c.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	resp.Body = &oneShotBody{ReadCloser: resp.Body, over: ctx.Err, c: c, pool: &o.idle, keep: !resp.Close && resp.ProtoAtLeast(1, 1)}
	return resp, nil
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (o *oneShot) CloseIdleConnections() {
	o.idle.clear()
	o.base.CloseIdleConnections()
}

// connect takes an idle connection or makes one.
func (o *oneShot) connect(ctx context.Context, req *http.Request, trace *httptrace.ClientTrace) (*oneShotConn, error) {
	addr := hostPort(req)
	if trace.GetConn != nil {
		trace.GetConn(addr)
	}
	key := req.URL.Scheme + "://" + addr
	if c := o.idle.take(key); c != nil {
		return c, nil
	}
	raw, err := o.base.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &oneShotConn{Conn: raw, raw: raw, key: key}
	if req.URL.Scheme == "https" {
		conf := o.base.TLSClientConfig.Clone()
		if conf.ServerName == "" {
			conf.ServerName = req.URL.Hostname()
		}
		conf.NextProtos = []string{"http/1.1"}
		hctx, cancel := context.WithTimeout(ctx, o.base.TLSHandshakeTimeout)
		defer cancel()
		t := tls.Client(raw, conf)
		if err := t.HandshakeContext(hctx); err != nil {
			raw.Close()
			return nil, err
		}
		c.Conn = t
	}
	c.r = bufio.NewReaderSize(c, 2<<10)
	return c, nil
}

// maxHead bounds what is read of an answer before its body.
const maxHead = 64 << 10

// errInformed means that the gateway answers with nothing but announcements.
var errInformed = errors.New("too many informational responses")

// exchange writes the request, in one write, and reads the head of its answer.
func (o *oneShot) exchange(c *oneShotConn, req *http.Request, trace *httptrace.ClientTrace) (*http.Response, error) {
	b := newBuffer()
	defer b.release()
	err := req.Write(b)
	if err == nil {
		_, err = c.Write(b.Bytes())
	}
	failpoint.Hit(failpoint.DispatcherWritten)
	if trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(o.base.ResponseHeaderTimeout)
	if until, ok := req.Context().Deadline(); ok && until.Before(limit) {
		limit = until
	}
	_ = c.SetReadDeadline(limit)
	if req.Context().Err() != nil {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // the line above may have undone abort
	}
	c.room = maxHead
	for range 5 {
		resp, err := http.ReadResponse(c.r, req)
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			return nil, err
		}
		if resp.StatusCode >= 200 {
			c.room = math.MaxInt // whoever reads the body bounds it
			return resp, nil
		}
	}
	return nil, errInformed
}

func hostPort(req *http.Request) string {
	if req.URL.Port() != "" {
		return req.URL.Host
	}
	if req.URL.Scheme == "https" {
		return net.JoinHostPort(req.URL.Hostname(), "443")
	}
	return net.JoinHostPort(req.URL.Hostname(), "80")
}

// oneShotConn belongs to one exchange, or to the pool.
type oneShotConn struct {
	net.Conn
	raw   net.Conn // below TLS
	r     *bufio.Reader
	room  int // how many bytes may still be read
	key   string
	used  bool
	since time.Time
	abort func() bool

	writeBy time.Time // the write deadline; zero is none
}

// SetWriteDeadline implements [net.Conn].
func (c *oneShotConn) SetWriteDeadline(t time.Time) error {
	c.writeBy = t
	return c.Conn.SetWriteDeadline(t)
}

// Write implements [io.Writer]. It looks at the clock itself: a deadline of the
// runtime's holds only once its timer has run, and a process that was stopped
// in between would write after its guard.
func (c *oneShotConn) Write(p []byte) (int, error) {
	if !c.writeBy.IsZero() && time.Until(c.writeBy) <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Write(p)
}

// Read implements [io.Reader]. It ends a head without an end, for which
// [http.ReadResponse] has no limit.
func (c *oneShotConn) Read(p []byte) (int, error) {
	if c.room <= 0 {
		return 0, errLongHead
	}
	n, err := c.Conn.Read(p[:min(len(p), c.room)])
	c.room -= n
	return n, err
}

// oneShotBody gives the connection back when it was read to its end.
type oneShotBody struct {
	io.ReadCloser
	over  func() error // the error of the exchange's context
	c     *oneShotConn
	pool  *pool
	keep  bool
	ended bool
	once  sync.Once
}

// Read implements [io.Reader].
func (b *oneShotBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.ended = true
	case err != nil && b.over() != nil:
		err = b.over()
	}
	return n, err
}

// Close implements [io.Closer].
func (b *oneShotBody) Close() error {
	b.once.Do(func() {
		// abort reports false when it has run: the deadline is then in the past.
		if b.c.abort() && b.keep && b.ended && b.c.r.Buffered() == 0 {
			b.pool.put(b.c)
			return
		}
		b.c.Close()
	})
	return nil
}
