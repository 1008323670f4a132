package simulator

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxBody bounds a request: a thousand recipients with every field at its
// limit fit.
const maxBody = 16 << 20

// request is what the simulator needs of an HTTP request.
type request struct {
	ctx          context.Context
	method, path string
	query        string
	header       http.Header
	body         []byte
	remote       string // "" within the process
}

func readRequest(r *http.Request) (*request, error) {
	req := &request{ctx: r.Context(), method: r.Method, path: r.URL.Path, query: r.URL.RawQuery, header: r.Header, remote: r.RemoteAddr}
	if r.Body == nil || r.Body == http.NoBody {
		return req, nil
	}
	defer r.Body.Close()
	if n := r.ContentLength; n > 0 && n <= 1<<20 {
		req.body = make([]byte, n)
		_, err := io.ReadFull(r.Body, req.body)
		return req, err
	}
	var err error
	req.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	return req, err
}

// loopback reports whether the request came from this machine.
func (r *request) loopback() bool {
	if r.remote == "" {
		return true
	}
	host, _, err := net.SplitHostPort(r.remote)
	if err != nil {
		host = r.remote
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// json reports whether the content type is application/json.
func (r *request) json() bool {
	mime, _, _ := strings.Cut(r.header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(mime), "application/json")
}

// call is one gateway request on its way through.
type call struct {
	req     *request
	route   *route
	args    [2]string // what the route's stars stand for
	set     *settings
	product Product
	app     string
	at      time.Time // virtual time of arrival
	first   string    // the first recipient's number
	fault   fault
	stall   bool
	early   []*hook
	// warnings name unknown fields and other oddities that NHN overlooks.
	warnings []string

	values url.Values
}

// arg returns a query parameter.
func (c *call) arg(name string) string {
	if c.values == nil {
		c.values, _ = url.ParseQuery(c.req.query) // what is unreadable is absent
	}
	return c.values.Get(name)
}

func (c *call) warn(what string) { c.warnings = append(c.warnings, what) }
