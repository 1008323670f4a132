package providertest_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/providers/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client returns an ordinary client that keeps one connection.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// TestTheServerSeesWhatNetHTTPRepeats shows that the suite would notice the
// mistake it is there for: under this header, net/http writes a POST again by
// itself when a kept connection dies.
func TestTheServerSeesWhatNetHTTPRepeats(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{"Idempotency-Key": 3, "X-Nc-Api-Idempotency-Key": 2} {
		var n atomic.Int32
		s := providertest.NewServer(t, func(providertest.Request) providertest.Reply {
			if n.Add(1) == 2 {
				return providertest.Reply{Fault: providertest.Close}
			}
			return providertest.Reply{Body: []byte("ok")}
		})
		hc := client(t)
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(header, "key")
			resp, err := hc.Do(req)
			if err != nil {
				continue // the second, under the other header
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
			_ = resp.Body.Close()
		}
		if got := len(s.Requests()); got != want {
			t.Errorf("%s: two calls made %d requests; want %d", header, got, want)
		}
	}
}

func TestFaultsAreWhatTheySay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  providertest.Fault
		answer bool  // there is a status
		body   int64 // bytes that can be read
		whole  bool
	}{
		"none":      {providertest.None, true, 4, true},
		"reset":     {providertest.Reset, false, 0, false},
		"close":     {providertest.Close, false, 0, false},
		"halve":     {providertest.Halve, true, 2, false},
		"endless":   {providertest.Endless, true, 64 << 20, true},
		"drop next": {providertest.DropNext, true, 4, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := providertest.NewServer(t, func(r providertest.Request) providertest.Reply {
				return providertest.Reply{Status: http.StatusTeapot, Header: map[string]string{"X-Path": r.Path}, Body: []byte("body"), Fault: c.fault}
			})
			resp, err := client(t).Post(s.URL()+"/path", "text/plain", strings.NewReader("sent"))
			if !c.answer {
				if err == nil {
					_ = resp.Body.Close()
					t.Error("there was an answer")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if n != c.body || (err == nil) != c.whole || resp.StatusCode != http.StatusTeapot || resp.Header.Get("X-Path") != "/path" {
				t.Errorf("status %d, %d bytes, %v", resp.StatusCode, n, err)
			}
			if rs := s.Requests(); len(rs) != 1 || string(rs[0].Body) != "sent" {
				t.Errorf("requests %+v", rs)
			}
		})
	}
}
