// Package nhn is NHN Cloud's Alimtalk v2.3 and SMS v3.0 as two gateways. It
// must not know steps, retries or fallbacks: it writes a request once and says
// what the answer proves.
package nhn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// maxAnswer bounds what is read of an answer, whatever the gateway sends.
const maxAnswer = 1 << 20

// HTTPOptions are the settings of [HTTPClient]; the zero value suits one
// gateway host and a few hundred sends at a time.
type HTTPOptions struct {
	// Timeout is R of the send protocol: from the start of a call to the last
	// byte of its answer. 0 is 10 s.
	Timeout time.Duration
	// MaxIdle is how many idle connections are kept to one gateway; set it to
	// the number of concurrent sends. 0 is 512.
	MaxIdle int
	// TLS replaces the default TLS settings (TLS 1.2 or newer, the system's
	// roots).
	TLS *tls.Config
}

// HTTPClient returns a client fit for sending: it follows no redirect, repeats
// no request and waits for nothing without a limit (dial 2 s, TLS 3 s,
// response header 8 s). Share one among all accounts of a gateway.
func HTTPClient(o HTTPOptions) *http.Client {
	idle := cmp.Or(o.MaxIdle, 512)
	conf := o.TLS
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	// HTTP/1 only. One request owns one connection, so that "no connection
	// was obtained" proves that nothing was written; HTTP/2 streams share a
	// connection, and its client repeats refused streams by itself.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	base := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       conf,
		TLSHandshakeTimeout:   3 * time.Second,
		ResponseHeaderTimeout: 8 * time.Second,
		Protocols:             &protocols,
		MaxIdleConns:          2 * idle,
		MaxIdleConnsPerHost:   idle,
		// A connection that the gateway dropped while it was idle costs a
		// send whose outcome must be found out. Ours go first: load
		// balancers commonly wait a minute.
		IdleConnTimeout:    20 * time.Second,
		DisableCompression: true, // answers are small, and a bomb stays a bomb
	}
	return &http.Client{
		Timeout:       cmp.Or(o.Timeout, 10*time.Second),
		CheckRedirect: refuseRedirect,
		Transport:     &oneShot{base: base, idle: pool{limit: idle, keep: base.IdleConnTimeout}},
	}
}

// refuseRedirect hands a redirect back as the answer. Following it would write
// the message a second time and carry the secret to another host: net/http
// repeats body and custom headers on a 307.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// client is one account's HTTP side, shared by both products.
type client struct {
	hc     *http.Client
	base   *url.URL
	secret []string // as a header value
	err    error    // what is wrong with the account; every call tells it
}

// newClient prepares the account's calls; prefix is the path up to and
// including the segment before the app key.
func newClient(acct providers.Account, hc *http.Client, prefix string) *client {
	if hc == nil {
		hc = HTTPClient(HTTPOptions{})
	}
	own := *hc // whatever the caller's client does with redirects and cookies, ours must not
	own.CheckRedirect, own.Jar = refuseRedirect, nil
	c := &client{hc: &own, secret: []string{acct.Secret}}
	c.base, c.err = baseURL(acct.BaseURL)
	switch {
	case c.err != nil:
	case !word(acct.AppKey).plain(maxID) || acct.Sender == "":
		c.err = errors.New("the account's app key is not a plain word, or it has no sender; enter them again")
	case acct.Secret == "" || strings.ContainsFunc(acct.Secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		c.err = errors.New("the account's secret is empty or not printable ASCII; enter it again")
	default:
		c.base = c.base.JoinPath(prefix, acct.AppKey)
	}
	return c
}

func baseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.User != nil {
		return nil, errors.New("the account's base URL is not a scheme and a host; write it like https://api.example.com")
	}
	u.Path = "/" // JoinPath would make a relative path of none
	return u, nil
}

// post writes one request, once and not after writeBy, and reads its answer. A
// refusal to write or the lack of an answer comes back as the error.
func (c *client) post(ctx context.Context, u *url.URL, key string, writeBy time.Time, body *buffer) (*answer, *providers.SendError) {
	w := &wire{writeBy: writeBy}
	if limit, ok := ctx.Deadline(); c.hc.Timeout > 0 && (!ok || time.Until(limit) > c.hc.Timeout) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.hc.Timeout)
		defer cancel()
	}
	switch {
	case ctx.Err() != nil:
		body.release()
		return nil, &providers.SendError{Kind: providers.NotWritten, Err: cause(ctx.Err())}
	case w.late():
		body.release()
		return nil, &providers.SendError{Kind: providers.NotWritten, Err: errGuard}
	}
	h := http.Header{
		"Content-Type": contentType,
		"User-Agent":   userAgent,
		"X-Secret-Key": c.secret,
	}
	if key != "" {
		// The name is NHN's own. Under the customary names Idempotency-Key and
		// X-Idempotency-Key net/http takes a request for one that it may
		// repeat on a new connection.
		h["X-Nc-Api-Idempotency-Key"] = []string{key}
	}
	req := (&http.Request{
		Method: http.MethodPost, URL: u, Host: u.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		// Without GetBody net/http cannot rewind, and so never repeats, a
		// request with a body. A plain bytes.Buffer goes out in one write with the
		// head; any other reader costs a second one.
		Body: io.NopCloser(&body.Buffer), ContentLength: int64(body.Len()), GetBody: nil,
	}).WithContext(w.trace(ctx))
	// Below http.Client, which adds redirects and cookies, and nothing else.
	resp, err := c.transport().RoundTrip(req)
	if w.has(wrote) {
		body.release() // otherwise the transport may still be reading it
	}
	if err != nil {
		return nil, w.failure(err)
	}
	a, err := readAnswer(resp)
	if err != nil {
		return nil, &providers.SendError{Kind: providers.Ambiguous, After: retryAfter(resp.Header.Get("Retry-After"), time.Now()), Err: cause(err)}
	}
	return a, nil
}

func (c *client) transport() http.RoundTripper {
	if c.hc.Transport == nil {
		return http.DefaultTransport
	}
	return c.hc.Transport
}

var (
	contentType = []string{"application/json;charset=UTF-8"}
	userAgent   = []string{"doctorsflow"}
)

// retryAfter reads the header of that name: seconds or a date, at most a day.
func retryAfter(v string, now time.Time) time.Duration {
	d := time.Duration(0)
	if secs, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(max(secs, 0), 86_400)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), 24*time.Hour)
}
