package bench

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

func newSimulator(t *testing.T) (Gateway, providers.Gateway) {
	t.Helper()
	sim := simulator.New(simulator.Config{Seed: 1, Open: true})
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	client := nhn.HTTPClient(nhn.HTTPOptions{})
	t.Cleanup(client.CloseIdleConnections)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return Gateway{URL: server.URL}, nhn.NewAlimtalk(providers.Account{
		Channel: event.Kakao, BaseURL: server.URL, AppKey: "k", Secret: "s", Sender: strings.Repeat("a", 40),
	}, client)
}

func TestArrivalsAreWhatTheGatewayAccepted(t *testing.T) {
	t.Parallel()
	g, adapter := newSimulator(t)
	if err := g.Probe(t.Context()); err != nil || g.Foreign {
		t.Fatalf("Probe: %v, foreign %v", err, g.Foreign)
	}
	begin := time.Now()
	rate, err := HTTPSends(t.Context(), adapter, 40, 4)
	if err != nil || rate <= 0 {
		t.Fatalf("HTTPSends = %g, %v", rate, err)
	}
	list, next, err := g.Arrivals(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]bool{}
	for _, a := range list {
		roots[a.Root.String()] = true
		if a.Channel != "kakao" || a.At.Before(begin.Add(-time.Second)) || a.At.After(time.Now().Add(time.Second)) {
			t.Errorf("arrival %+v", a)
		}
	}
	if len(roots) != 40 {
		t.Errorf("%d roots arrived, want 40", len(roots))
	}
	if n, err := g.Accepted(t.Context()); err != nil || n != 40 {
		t.Errorf("Accepted = %d, %v; want 40", n, err)
	}
	if list, _, err = g.Arrivals(t.Context(), next); err != nil || len(list) != 0 {
		t.Errorf("%d arrivals are told twice, %v", len(list), err)
	}
}

func TestAnotherKindOfGatewayIsForeign(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	g := Gateway{URL: server.URL}
	if err := g.Probe(t.Context()); err != nil || !g.Foreign {
		t.Errorf("Probe: %v, foreign %v; want a foreign gateway", err, g.Foreign)
	}
	server.Close()
	if err := g.Probe(t.Context()); err == nil {
		t.Error("a gateway that is not there passes")
	}
}
