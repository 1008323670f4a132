package nhn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// preempted is a connection whose caller loses the CPU after it set a write
// deadline, until that has just passed.
type preempted struct{ net.Conn }

func (p preempted) SetWriteDeadline(t time.Time) error {
	err := p.Conn.SetWriteDeadline(t)
	for !t.IsZero() && time.Until(t) > 0 {
	}
	return err
}

// The runtime notices a deadline once its timer has run, which may be after a
// write that began behind it: that message would be at the gateway and be
// called unwritten, and its SMS would follow.
func TestNothingIsWrittenOnceTheGuardHasPassed(t *testing.T) {
	var got atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got.Add(1)
		panic(http.ErrAbortHandler) // it takes the message and dies before it answers
	}))
	defer s.Close()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	hc := HTTPClient(HTTPOptions{})
	o := hc.Transport.(*oneShot)
	dial := o.base.DialContext
	o.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		return preempted{c}, err
	}
	c := &client{hc: hc, secret: []string{"x"}, base: u}
	for range 50 {
		b := newBuffer()
		b.WriteString(`{"a":1}`)
		_, refusal := c.post(t.Context(), u, "k", time.Now().Add(2*time.Millisecond), b)
		if refusal == nil || refusal.Kind != providers.NotWritten {
			t.Fatalf("a request behind its guard ended as %v", refusal)
		}
	}
	s.Close() // waits for what it was sent
	if n := got.Load(); n > 0 {
		t.Errorf("the gateway has %d of 50 messages that were called unwritten", n)
	}
}

// timerless is a connection on which no deadline's timer ever runs.
type timerless struct {
	net.Conn
	written int
}

func (c *timerless) SetWriteDeadline(time.Time) error { return nil }

func (c *timerless) Write(p []byte) (int, error) {
	c.written += len(p)
	return len(p), nil
}

func TestAWriteLooksAtTheClockItself(t *testing.T) {
	t.Parallel()
	under := new(timerless)
	c := &oneShotConn{Conn: under}
	for _, by := range []time.Duration{-time.Nanosecond, time.Minute} {
		if err := c.SetWriteDeadline(time.Now().Add(by)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Write([]byte("POST"))
		if late := by < 0; late != errors.Is(err, os.ErrDeadlineExceeded) || late != (n == 0) || late != (under.written == 0) {
			t.Errorf("a write %v before its end wrote %d of %d bytes, %v", by, n, under.written, err)
		}
	}
}
