package nhn_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers/providertest"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// startSimulator runs a simulator behind a server that keeps what arrives, and
// holds the adapter to the simulator's own rules when the test ends.
func startSimulator(t *testing.T, h *providertest.Harness, trap string, rules simulator.Rules) *providertest.Wire {
	t.Helper()
	sim := simulator.New(simulator.Config{
		Apps:        map[string]simulator.App{appKey: {Secret: secret}},
		ReportDelay: -1,
		Rules:       rules,
	})
	for s, x := range map[providertest.Scenario]simulator.Script{
		providertest.Garbage:  {Body: "<html>200 01000000000</html>"},
		providertest.Redirect: {Status: http.StatusTemporaryRedirect, Headers: map[string]string{"Location": trap + "/elsewhere"}},
	} {
		x.Method, x.RecipientNo, x.Times = http.MethodPost, h.Numbers[s], 10
		if err := sim.AddScript(x); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var arrived []providertest.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		arrived = append(arrived, providertest.Request{
			Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body,
		})
		mu.Unlock()
		sim.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.Close()
		for _, v := range sim.Violations() {
			t.Errorf("the adapter broke a rule: %+v", v)
		}
	})
	return &providertest.Wire{URL: srv.URL, Sends: func() []providertest.Request {
		mu.Lock()
		defer mu.Unlock()
		return sends(slices.Clone(arrived))
	}}
}

func TestConformanceWithTheSimulator(t *testing.T) {
	t.Parallel()
	likely := simulator.Rules{RetryAfter: simulator.Duration(7 * time.Second)}
	// The other reading of whatever NHN's guides leave open.
	unlikely := likely
	unlikely.ConsumeOnReject, unlikely.SMSNested, unlikely.SMSRejectInHeader = true, true, true
	unlikely.ErrorStatus, unlikely.KakaoPending, unlikely.SMSSecretCode = http.StatusBadRequest, "READY", -1001

	for name, rules := range map[string]simulator.Rules{"likely rules": likely, "other rules": unlikely} {
		for _, h := range []providertest.Harness{alimtalkHarness(), smsHarness()} {
			h.Start = func(t *testing.T, trap string) *providertest.Wire {
				return startSimulator(t, &h, trap, rules)
			}
			h.Elsewhere = []providertest.Scenario{providertest.Huge, providertest.DropIdle}
			for _, s := range h.Elsewhere {
				delete(h.Numbers, s)
			}
			t.Run(string(h.Channel)+", "+name, func(t *testing.T) {
				t.Parallel()
				providertest.Exercise(t, h)
			})
		}
	}
}
