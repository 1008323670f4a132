package nhn

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// stuck is a connection on which no write ever ends by itself.
func stuck(t *testing.T) net.Conn {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	return near
}

func TestACancelledSendReturnsAndLeavesNoConnection(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		scheme string
		dial   bool   // the dial hangs
		write  bool   // the write does, or the handshake
		answer string // comes before the gateway falls silent
		want   providers.Kind
	}{
		"dial":      {dial: true, want: providers.NotWritten},
		"handshake": {scheme: "https", want: providers.NotWritten},
		"write":     {write: true, want: providers.Ambiguous},
		"head":      {want: providers.Ambiguous},
		"half head": {answer: "HTTP/1.1 200 OK\r\n", want: providers.Ambiguous},
		"announced": {answer: "HTTP/1.1 100 Continue\r\n\r\n", want: providers.Ambiguous},
		"body":      {answer: wellDone[:len(wellDone)-5], want: providers.Ambiguous},
	} {
		for _, end := range []error{context.Canceled, errTimeout} {
			t.Run(name+"/"+end.Error(), func(t *testing.T) {
				t.Parallel()
				reached := make(chan struct{}, 1)
				var healthy atomic.Bool
				hang := make(chan struct{})
				srv := newBare(t, func(c net.Conn, _ int) bool {
					if healthy.Load() {
						_, err := io.WriteString(c, wellDone)
						return err == nil
					}
					_, _ = io.WriteString(c, tt.answer)
					reached <- struct{}{}
					<-hang
					return false
				})
				t.Cleanup(sync.OnceFunc(func() { close(hang) })) // before the gateway's own end
				gw := gateway(t, cmp.Or(tt.scheme, "http")+strings.TrimPrefix(srv.URL, "http"), func(tr *http.Transport) {
					dial := tr.DialContext
					tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						switch {
						case healthy.Load():
						case tt.dial:
							reached <- struct{}{}
							<-ctx.Done()
							return nil, ctx.Err()
						case tt.write, tt.scheme != "":
							reached <- struct{}{}
							return stuck(t), nil
						}
						return dial(ctx, network, addr)
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				if errors.Is(end, errTimeout) {
					ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				}
				defer cancel()
				var sending sync.WaitGroup
				start := time.Now()
				sending.Go(func() {
					_, err := gw.Send(ctx, message(t))
					var e *providers.SendError
					if !errors.As(err, &e) || e.Kind != tt.want || !errors.Is(e, end) {
						t.Errorf("send: %v, want %v: %v", err, tt.want, end)
					}
				})
				<-reached
				if errors.Is(end, context.Canceled) {
					cancel()
				}
				sending.Wait()
				if d := time.Since(start); d > 2500*time.Millisecond { // what ends it otherwise takes at least 3 s
					t.Errorf("the send returned after %v", d)
				}
				if n := idleConns(gw); n != 0 {
					t.Errorf("%d connections are kept", n)
				}
				healthy.Store(true)
				if tt.scheme != "" {
					return
				}
				if _, err := gw.Send(t.Context(), message(t)); err != nil {
					t.Errorf("the next send: %v", err)
				}
			})
		}
	}
}

// A call that was cancelled in the moment in which it set its deadline must
// not wait for that.
func TestACancellationIsNotUndoneByADeadline(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	srv := newBare(t, func(net.Conn, int) bool { <-hang; return false })
	t.Cleanup(sync.OnceFunc(func() { close(hang) }))
	ctx, cancel := context.WithCancel(t.Context())
	gw := gateway(t, srv.URL, func(tr *http.Transport) {
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return &cancelling{Conn: c, cancel: cancel}, err
		}
	})
	start := time.Now()
	_, err := gw.Send(ctx, message(t))
	if d := time.Since(start); d > 4*time.Second || !errors.Is(err, context.Canceled) {
		t.Errorf("%v after %v, want the cancellation at once", err, d)
	}
}

// cancelling ends its call's context as the deadline of the answer's head is
// about to be set, after the request was written, and sets it only after the
// end was noticed.
type cancelling struct {
	net.Conn
	cancel context.CancelFunc
	wrote  atomic.Bool
}

func (c *cancelling) Write(b []byte) (int, error) {
	defer c.wrote.Store(true)
	return c.Conn.Write(b)
}

func (c *cancelling) SetReadDeadline(at time.Time) error {
	if c.wrote.Load() && time.Until(at) > 0 {
		c.cancel()
		<-time.After(20 * time.Millisecond)
	}
	return c.Conn.SetReadDeadline(at)
}

func TestOverTLSItSpeaksHTTP1AndUsesItsConnectionAgain(t *testing.T) {
	t.Parallel()
	var dials atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != "HTTP/1.1" {
			t.Errorf("the request speaks %s", r.Proto)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, acceptedAnswer)
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	at := func(conf *tls.Config) *Alimtalk {
		hc := HTTPClient(HTTPOptions{TLS: conf})
		base := hc.Transport.(*oneShot).base
		dial := base.DialContext
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, addr)
		}
		t.Cleanup(hc.CloseIdleConnections)
		return NewAlimtalk(accountAt(srv.URL), hc)
	}
	gw := at(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	for range 5 {
		if _, err := gw.Send(t.Context(), message(t)); err != nil {
			t.Fatal(err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections for sends one after another, want 1", n)
	}
	srv.CloseClientConnections()
	for idleConns(gw) > 0 && quiet(gw.c.hc.Transport.(*oneShot).idle.idle["https://"+srv.Listener.Addr().String()][0].raw) {
		<-time.After(time.Millisecond)
	}
	if _, err := gw.Send(t.Context(), message(t)); err != nil || dials.Load() != 2 {
		t.Errorf("after the gateway closed: %v, with %d connections", err, dials.Load())
	}
	for name, conf := range map[string]*tls.Config{
		"unknown authority": {MinVersion: tls.VersionTLS12},
		"another name":      {RootCAs: roots, MinVersion: tls.VersionTLS12, ServerName: "elsewhere.test"},
	} {
		if e := sendError(t, at(conf)); e.Kind != providers.NotWritten || !errors.Is(e, errTLS) {
			t.Errorf("%s: %v, want not written", name, e)
		}
	}
}

func TestWhatGoesThroughAProxyIsNetHTTPs(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[string]
	proxy := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(new(r.URL.String()))
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, acceptedAnswer)
	})
	at, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	gw := gateway(t, "http://gateway.test", func(tr *http.Transport) { tr.Proxy = http.ProxyURL(at) })
	if _, err := gw.Send(t.Context(), message(t)); err != nil {
		t.Fatal(err)
	}
	if u := seen.Load(); u == nil || !strings.HasPrefix(*u, "http://gateway.test/alimtalk/") {
		t.Errorf("the proxy was asked for %v", u)
	}
	if n := idleConns(gw); n != 0 {
		t.Errorf("%d connections of a proxied send are kept here", n)
	}
	lost := gateway(t, "http://gateway.test", func(tr *http.Transport) {
		tr.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("no such proxy") }
	})
	if e := sendError(t, lost); e.Kind != providers.NotWritten && e.Kind != providers.Ambiguous {
		t.Errorf("a proxy that cannot be told: %v", e)
	}
}

func newHTTPServer(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// A call that is cancelled while an answer's body is read was cancelled, and
// did not time out.
func TestACancellationInTheBodyIsToldAsOne(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	srv := newBare(t, func(c net.Conn, _ int) bool {
		_, _ = io.WriteString(c, wellDone[:len(wellDone)-5])
		<-hang
		return false
	})
	t.Cleanup(sync.OnceFunc(func() { close(hang) }))
	ctx, cancel := context.WithCancel(t.Context())
	gw := gateway(t, srv.URL, func(tr *http.Transport) {
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return &bodyless{Conn: c, cancel: cancel}, err
		}
	})
	if _, err := gw.Send(ctx, message(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the cancellation", err)
	}
}

// bodyless ends its call's context as more than an answer's head is asked for.
type bodyless struct {
	net.Conn
	cancel context.CancelFunc
	read   []byte
}

func (c *bodyless) Read(b []byte) (int, error) {
	if bytes.Contains(c.read, []byte("\r\n\r\n")) {
		c.cancel()
	}
	n, err := c.Conn.Read(b)
	c.read = append(c.read, b[:n]...)
	return n, err
}
