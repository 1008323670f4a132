package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// caller keeps connections to one server. It speaks HTTP/1.1 with as little
// work as it can: load driver and worker share the machine, and what the
// driver takes the worker lacks.
type caller struct {
	address, host string
	tls           *tls.Config
	mu            sync.Mutex
	idle, all     []*conn
	closed        bool
}

type conn struct {
	net.Conn
	in *bufio.Reader
}

// callTimeout bounds one call; a webhook answers within seconds or not at all.
const callTimeout = 30 * time.Second

func newCaller(target string) (*caller, error) {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("bench: %q is not the address of a server: write it like http://127.0.0.1:8080", target)
	}
	c := &caller{address: u.Host, host: u.Host}
	if u.Port() == "" {
		c.address = net.JoinHostPort(u.Hostname(), u.Scheme)
	}
	if u.Scheme == "https" {
		c.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	}
	return c, nil
}

func (c *caller) take(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		k := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return k, nil
	}
	c.mu.Unlock()
	d := &net.Dialer{Timeout: 5 * time.Second}
	k, err := d.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		k = tls.Client(k, c.tls)
	}
	made := &conn{k, bufio.NewReaderSize(k, 2048)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, made.fail(net.ErrClosed)
	}
	c.all = append(c.all, made)
	return made, nil
}

func (c *caller) give(k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = append(c.idle, k)
}

// do writes a whole request and reads the answer's status and body.
func (c *caller) do(ctx context.Context, request []byte) (status int, body []byte, err error) {
	k, err := c.take(ctx)
	if err != nil {
		return 0, nil, err
	}
	if err := k.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return 0, nil, k.fail(err)
	}
	if _, err := k.Write(request); err != nil {
		return 0, nil, k.fail(err)
	}
	res, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return 0, nil, k.fail(err)
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return 0, nil, k.fail(err)
	}
	if res.Close {
		return res.StatusCode, body, k.fail(nil)
	}
	c.give(k)
	return res.StatusCode, body, nil
}

func (k *conn) fail(err error) error {
	_ = k.Close() // it is given up, whatever that says
	return err
}

// close ends every connection; calls under way fail.
func (c *caller) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, k := range c.all {
		_ = k.Close() // some are closed already
	}
	c.idle, c.all = nil, nil
}
