// Package fhir asks FHIR servers for what their notifications left out: single
// resources, the events of a subscription, and what was changed since a time. It
// must not know what the resources mean, or where they are kept.
package fhir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 4 << 20

// Server is where and as whom to ask.
type Server struct {
	BaseURL string
	// Token is a bearer's; "" is none.
	Token string
}

// StatusError is an answer that is none.
type StatusError struct{ Status int }

// Error implements error.
func (e *StatusError) Error() string { return "fhir: the server answered " + strconv.Itoa(e.Status) }

// Client asks. It is safe for concurrent use.
type Client struct{ HTTP *http.Client }

// New is a client that follows no redirect: a token is for the server that an
// operator named.
func New() *Client {
	return &Client{&http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// CheckBase says what is wrong with a server's address: patients' data and a
// token go there, so that it is https, or on this computer.
func CheckBase(base string) error {
	u, err := url.Parse(base)
	if err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())) {
		return nil
	}
	return errors.New("fhir: the address must be https://host/path, or http:// on this computer, without a user or a query")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Read reads a resource by its reference: Appointment/123. The error is a
// [StatusError] where there was an answer.
func (c *Client) Read(ctx context.Context, s Server, ref string) ([]byte, error) {
	return c.get(ctx, s, strings.TrimRight(s.BaseURL, "/")+"/"+ref)
}

// Events asks for the events of a subscription by number, both included
// (https://hl7.org/fhir/R5/subscription-operation-events.html).
func (c *Client) Events(ctx context.Context, s Server, subscription string, since, until int64) ([]byte, error) {
	query := url.Values{"eventsSinceNumber": {strconv.FormatInt(since, 10)}, "eventsUntilNumber": {strconv.FormatInt(until, 10)}, "content": {"id-only"}}
	return c.get(ctx, s, strings.TrimRight(s.BaseURL, "/")+"/"+subscription+"/$events?"+query.Encode())
}

// maxPages bounds the pages of one search.
const maxPages = 100

// Changed calls page with each page of what was changed of a type since a time.
// page returns where the next one is, "" at the end; one that is not of the same
// server is not asked for.
func (c *Client) Changed(ctx context.Context, s Server, kind string, since time.Time, page func([]byte) (next string, err error)) error {
	base, err := url.Parse(s.BaseURL)
	if err != nil {
		return fmt.Errorf("fhir: %w", err)
	}
	query := url.Values{"_lastUpdated": {"ge" + since.UTC().Format(time.RFC3339)}, "_count": {"100"}}
	next := strings.TrimRight(s.BaseURL, "/") + "/" + kind + "?" + query.Encode()
	for range maxPages {
		raw, err := c.get(ctx, s, next)
		if err != nil {
			return err
		}
		link, err := page(raw)
		if err != nil || link == "" {
			return err
		}
		u, err := base.Parse(link)
		if err != nil || u.Scheme != base.Scheme || u.Host != base.Host {
			return errors.New("fhir: the next page is on another server")
		}
		next = u.String()
	}
	return fmt.Errorf("fhir: more than %d pages", maxPages)
}

func (c *Client) get(ctx context.Context, s Server, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("fhir: %w", err)
	}
	req.Header.Set("Accept", "application/fhir+json")
	if s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		// The URL in it has ids of patients' resources.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("fhir: the server was not reached: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case res.StatusCode != http.StatusOK:
		return nil, &StatusError{res.StatusCode}
	case err != nil:
		return nil, fmt.Errorf("fhir: the answer broke off: %w", err)
	case len(raw) > maxAnswer:
		return nil, errors.New("fhir: the answer is too large")
	}
	return raw, nil
}
