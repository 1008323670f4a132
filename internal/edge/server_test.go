package edge

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, whose time can be a test's.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Whoever sends a byte a second is let go when the time for headers, or for a
// body, is over.
func TestSlowSendersAreLetGo(t *testing.T) {
	t.Parallel()
	const senders = 500
	for _, tt := range []struct {
		name, head string
		within     time.Duration
	}{
		{"headers", "GET / HTTP/1.1\r\nHost: x\r\nX-A: ", HeaderTime},
		{"body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", BodyTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				s := Server(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), slog.New(slog.DiscardHandler))
				ended := make(chan error, 1)
				go func() { ended <- s.Serve(l) }()
				begin := time.Now()
				var all sync.WaitGroup
				var latest atomic.Int64
				for range senders {
					all.Go(func() {
						c := l.dial()
						defer c.Close()
						go func() { _, _ = io.Copy(io.Discard, c) }()
						_, err := io.WriteString(c, tt.head)
						for err == nil {
							time.Sleep(time.Second)
							_, err = c.Write([]byte("a"))
						}
						latest.Store(max(latest.Load(), int64(time.Since(begin))))
					})
				}
				all.Wait()
				if took := time.Duration(latest.Load()); took < tt.within || took > tt.within+2*time.Second {
					t.Errorf("let go after %v, want %v", took, tt.within)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, plain := l.(*net.TCPListener); plain {
		t.Error("the listener takes as many connections as come")
	}
}
