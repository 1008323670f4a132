package nhn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// bare is a gateway that answers each request with the bytes it is told, and
// counts what reaches it.
type bare struct {
	URL             string
	conns, requests atomic.Int32
	ended           chan struct{} // one for each connection that it ended
}

// newBare serves until the test ends. answer gets the number of the request,
// from 1, and reports whether the connection goes on.
func newBare(t *testing.T, answer func(c net.Conn, n int) bool) *bare {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &bare{URL: "http://" + ln.Addr().String(), ended: make(chan struct{}, 1000)}
	var all sync.WaitGroup
	var open sync.Map
	serve := func(c net.Conn) {
		defer func() {
			c.Close()
			g.ended <- struct{}{}
		}()
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			n := int(g.requests.Add(1))
			if _, err := io.Copy(io.Discard, r.Body); err != nil || !answer(c, n) {
				return
			}
		}
	}
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			g.conns.Add(1)
			open.Store(c, nil)
			all.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		all.Wait()
	})
	return g
}

func whole(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// wellDone is a complete answer that accepts the message.
var wellDone = whole(acceptedAnswer)

// counted counts the writes of a connection.
type counted struct {
	net.Conn
	writes *atomic.Int32
}

func (c counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func TestOneRequestIsOneWrite(t *testing.T) {
	t.Parallel()
	srv := newBare(t, func(c net.Conn, _ int) bool {
		_, err := io.WriteString(c, wellDone)
		return err == nil
	})
	var writes, dials atomic.Int32
	gw := gateway(t, srv.URL, func(tr *http.Transport) {
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			c, err := dial(ctx, network, addr)
			return counted{c, &writes}, err
		}
	})
	for i, size := range []int{0, 10, 5_000, 300_000} {
		m := message(t)
		m.Variables = map[string]string{"x": strings.Repeat("가", size)}
		if _, err := gw.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if n := int(writes.Load()); n != i+1 {
			t.Errorf("%d requests took %d writes", i+1, n)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for requests one after another, want 1", n)
	}
}

// What the gateway's answer looks like decides whether it counts and whether
// its connection is used again, and never makes the request be written twice.
func TestAnswersOnTheWire(t *testing.T) {
	t.Parallel()
	chunked := fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(acceptedAnswer), acceptedAnswer)
	for name, tt := range map[string]struct {
		answer string
		ends   bool // after it, the gateway ends the connection
		fails  bool // as ambiguous, for this cause
		cause  error
		reused bool
	}{
		"whole":               {answer: wellDone, reused: true},
		"chunked":             {answer: chunked + "0\r\n\r\n", reused: true},
		"chunked, trailers":   {answer: chunked + "0\r\nX-Sum: 1\r\n\r\n", reused: true},
		"after 100 and 103":   {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + wellDone, reused: true},
		"says it closes":      {answer: strings.Replace(wellDone, "\r\n", "\r\nConnection: close\r\n", 1)},
		"HTTP/1.0":            {answer: strings.Replace(wellDone, "HTTP/1.1", "HTTP/1.0", 1)},
		"HTTP/1.0 keep-alive": {answer: strings.Replace(wellDone, "HTTP/1.1 200 OK", "HTTP/1.0 200 OK\r\nConnection: keep-alive", 1)},
		"of no length":        {answer: "HTTP/1.1 200 OK\r\n\r\n" + acceptedAnswer, ends: true},
		"more than asked for": {answer: wellDone + wellDone},

		"announces too much": {answer: "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n", fails: true, cause: errTooLong},
		"nothing":            {ends: true, fails: true, cause: errEnded},
		"only announcements": {answer: strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 9), fails: true},
		"an announcement":    {answer: "HTTP/1.1 100 Continue\r\n\r\n", ends: true, fails: true, cause: errEnded},
		"half a head":        {answer: "HTTP/1.1 200 OK\r\nContent-Le", ends: true, fails: true},
		"half a body":        {answer: wellDone[:len(wellDone)-9], ends: true, fails: true, cause: errEnded},
		"half a chunk":       {answer: chunked[:len(chunked)-9], ends: true, fails: true, cause: errEnded},
		"no last chunk":      {answer: chunked, ends: true, fails: true, cause: errEnded},
		"not HTTP":           {answer: "SSH-2.0-OpenSSH\r\n\r\n", fails: true},
		"two lengths":        {answer: strings.Replace(wellDone, "\r\n", "\r\nContent-Length: 1\r\n", 1), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newBare(t, func(c net.Conn, n int) bool {
				if n > 1 {
					_, err := io.WriteString(c, wellDone)
					return err == nil
				}
				_, err := io.WriteString(c, tt.answer)
				return err == nil && !tt.ends
			})
			gw := gateway(t, srv.URL, nil)
			start := time.Now()
			_, err := gw.Send(t.Context(), message(t))
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("the send waited for %v, although it had all that there was", d)
			}
			var e *providers.SendError
			switch {
			case !tt.fails && err != nil:
				t.Errorf("send: %v", err)
			case tt.fails && (!errors.As(err, &e) || e.Kind != providers.Ambiguous || tt.cause != nil && !errors.Is(e, tt.cause)):
				t.Errorf("send: %v, want ambiguous: %v", err, tt.cause)
			}
			if n := srv.requests.Load(); n != 1 {
				t.Errorf("the gateway saw %d requests of one send", n)
			}
			if _, err := gw.Send(t.Context(), message(t)); err != nil {
				t.Errorf("the next send: %v", err)
			}
			if n := srv.conns.Load(); n != 1 && tt.reused || n != 2 && !tt.reused || srv.requests.Load() != 2 {
				t.Errorf("two sends took %d connections and %d requests", n, srv.requests.Load())
			}
		})
	}
}

// A gateway that goes mad must not take our memory with it.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	const much = 32 << 20
	head := "HTTP/1.1 200 OK\r\n"
	for name, tt := range map[string]struct {
		start, more string
		want        error
	}{
		"many headers":       {head, "X-Pad: 0123456789\r\n", errLongHead},
		"a long header":      {head + "X-Pad: ", "0123456789abcdef", errLongHead},
		"a long status":      {"HTTP/1.1 200 ", "0123456789abcdef", errLongHead},
		"long announcements": {"HTTP/1.1 103 Early Hints\r\n", "Link: </0123456789>\r\n", errLongHead},
		"a long body":        {head + "Content-Length: 4000000\r\n\r\n", "0123456789abcdef", errTooLong},
		"a body of no end":   {head + "\r\n", "0123456789abcdef", errTooLong},
		"chunks of no end":   {head + "Transfer-Encoding: chunked\r\n\r\n", "10\r\n0123456789abcdef\r\n", errTooLong},
		"tiny chunks":        {head + "Transfer-Encoding: chunked\r\n\r\n", "1;" + strings.Repeat("x", 1000) + "\r\n0\r\n", nil},
		"a long trailer":     {head + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-Pad: 0123456789\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			took := make(chan int, 1)
			srv := newBare(t, func(c net.Conn, _ int) bool {
				piece := strings.Repeat(tt.more, 1+(64<<10)/len(tt.more))
				sent, err := io.WriteString(c, tt.start)
				for n := 0; err == nil && sent < much; sent += n {
					n, err = io.WriteString(c, piece)
				}
				took <- sent
				return false
			})
			e := sendError(t, gateway(t, srv.URL, nil))
			if e.Kind != providers.Ambiguous || tt.want != nil && !errors.Is(e, tt.want) {
				t.Errorf("%v, want ambiguous: %v", e, tt.want)
			}
			if n := <-took; n >= much {
				t.Errorf("all of %d bytes were taken", n)
			}
		})
	}
}

func TestAnIdleConnectionThatTheGatewayClosedIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]string{"closed": "", "a parting word": "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newBare(t, func(c net.Conn, _ int) bool {
				_, _ = io.WriteString(c, wellDone) // which announces no end
				_, _ = io.WriteString(c, last)
				return false
			})
			gw := gateway(t, srv.URL, nil)
			const sends = 20
			for range sends {
				if _, err := gw.Send(t.Context(), message(t)); err != nil {
					t.Fatalf("send: %v", err)
				}
				<-srv.ended
			}
			if c, r := srv.conns.Load(), srv.requests.Load(); c != sends || r != sends {
				t.Errorf("%d sends took %d connections and %d requests", sends, c, r)
			}
		})
	}
}

// The deadline of one exchange is nothing to the next.
func TestAConnectionStaysUsableAfterItsExchangesDeadline(t *testing.T) {
	t.Parallel()
	srv := newBare(t, func(c net.Conn, _ int) bool {
		_, err := io.WriteString(c, wellDone)
		return err == nil
	})
	const limit = 300 * time.Millisecond
	gw := gateway(t, srv.URL, func(tr *http.Transport) { tr.ResponseHeaderTimeout = limit })
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if _, err := gw.Send(ctx, message(t)); err != nil {
			t.Fatal(err)
		}
		cancel() // ends a call that is over
		<-time.After(limit + limit/10)
	}
	if n := srv.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestManySendsAtATimeKeepTheirAnswersApart(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("X-Nc-Api-Idempotency-Key")
		fmt.Fprintf(w, `{"header":{"isSuccessful":true,"resultCode":0},"message":{"requestId":%q,"sendResults":[{"recipientSeq":1,"recipientGroupingKey":%q}]}}`, "R"+key, key)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) })
	defer serving.Wait()
	defer srv.Close()
	gw := gateway(t, "http://"+ln.Addr().String(), nil)
	var senders sync.WaitGroup
	for i := range 32 {
		senders.Go(func() {
			for j := range 20 {
				m := message(t)
				m.Key = fmt.Sprintf("key-%d-%d", i, j)
				if r, err := gw.Send(t.Context(), m); err != nil || r.RequestID != "R"+m.Key {
					t.Errorf("%s was answered %+v, %v", m.Key, r, err)
				}
			}
		})
	}
	senders.Wait()
	if n := idleConns(gw); n == 0 || n > 32 {
		t.Errorf("%d idle connections after 32 senders", n)
	}
}

func idleConns(gw *Alimtalk) (n int) {
	p := &gw.c.hc.Transport.(*oneShot).idle
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stack := range p.idle {
		n += len(stack)
	}
	return n
}

func TestNothingWritesAHeaderOfItsOwn(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Header]
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(&r.Header)
		_, _ = io.WriteString(w, acceptedAnswer)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) })
	defer serving.Wait()
	defer srv.Close()
	gw := gateway(t, "http://"+ln.Addr().String(), nil)
	for _, evil := range []string{"k\r\nX-Evil: 1", "k\nX-Evil: 1", "k\rX-Evil: 1", "k\x00", "k\r\n\r\n{}"} {
		m := message(t)
		m.Key = evil
		var e *providers.SendError
		if _, err := gw.Send(t.Context(), m); !errors.As(err, &e) || e.Kind != providers.Rejected || seen.Load() != nil {
			t.Errorf("the key %q: %v, want a refusal and no request", evil, err)
		}
		// Below the adapter's own check.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+ln.Addr().String()+"/x", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["X-Key"] = []string{evil}
		req.Header["X-Evil: 1\r\nX-Evil"] = []string{"1"}
		resp, err := gw.c.hc.Transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if h := seen.Swap(nil); h != nil && h.Get("X-Evil") != "" {
			t.Errorf("the value %q wrote a header of its own", evil)
		}
	}
}
