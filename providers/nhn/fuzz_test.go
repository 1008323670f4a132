package nhn

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/doctorsflow/doctorsflow/providers"
)

// nothing is both products' answer to every query that finds nothing.
const nothing = okHead + `"body":{"totalCount":0,"data":[]},"messages":[],"messageSearchResultResponse":{"messages":[],"totalCount":0}}`

// once answers the first request of a call with a body and finds nothing for
// later ones, so that no input can ask for a thousand pages.
type once struct {
	status int
	body   string
	used   bool
}

func (o *once) RoundTrip(r *http.Request) (*http.Response, error) {
	body := o.body
	if o.used {
		body = nothing
	}
	o.used = true
	return &http.Response{
		StatusCode: o.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1, Request: r,
	}, nil
}

// FuzzProviderResponse holds both products to what must be true of every
// answer: it does not panic, nothing is accepted without evidence in it, its
// words are plain, and errors quote none of it.
func FuzzProviderResponse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range a.Files {
			if _, body, ok := strings.Cut(string(part.Data), "\n\n"); ok && part.Name == "response" {
				f.Add(200, body)
			}
		}
	}
	f.Add(429, "slow down")
	f.Add(500, acceptedAnswer)
	f.Add(200, "")
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 {
			return
		}
		for _, product := range []func(providers.Account, *http.Client) providers.Gateway{
			func(a providers.Account, hc *http.Client) providers.Gateway { return NewAlimtalk(a, hc) },
			func(a providers.Account, hc *http.Client) providers.Gateway { return NewSMS(a, hc) },
		} {
			gw := func() providers.Gateway {
				return product(accountAt("http://gateway.test"), &http.Client{Transport: &once{status: status, body: body}})
			}
			receipt, err := gw().Send(t.Context(), message(t))
			if err == nil {
				accepted(t, receipt, status, body)
			}
			found, ferr := gw().Find(t.Context(), key, from, to)
			reported, rerr := gw().Results(t.Context(), from, to)
			for _, r := range found {
				if r.Key != key {
					t.Errorf("found %+v under another key", r)
				}
			}
			for _, r := range append(found, reported...) {
				if !word(r.RequestID).plain(maxID) || r.Code != "" && !word(r.Code).plain(maxCode) || r.Seq < 0 || r.At.IsZero() {
					t.Errorf("result %+v", r)
				}
			}
			for _, err := range []error{err, ferr, rerr} {
				if err != nil && len(body) > 40 && strings.Contains(err.Error(), body) {
					t.Errorf("the error quotes the answer: %v", err)
				}
			}
		}
	})
}

func accepted(t *testing.T, r providers.Receipt, status int, body string) {
	t.Helper()
	if status < 200 || status > 299 || !json.Valid([]byte(body)) || !strings.Contains(body, "true") ||
		!word(r.RequestID).plain(maxID) || r.Seq < 0 {
		t.Errorf("accepted as %+v with status %d", r, status)
	}
}
