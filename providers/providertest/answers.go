package providertest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

func ambiguity(t *testing.T, h *Harness) {
	for _, s := range ambiguous {
		to, here := h.number(t, s)
		if !here {
			continue
		}
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			r := h.start(t, "http://127.0.0.1:9")
			if _, e := r.send(t, h.message(to)); e == nil || e.Kind != providers.Ambiguous {
				t.Errorf("%v; want ambiguous", e)
			}
		})
	}
}

func redirect(t *testing.T, h *Harness) {
	to, here := h.number(t, Redirect)
	if !here {
		return
	}
	var caught atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { caught.Add(1) }))
	defer trap.Close()
	r := h.start(t, trap.URL)
	if _, e := r.send(t, h.message(to)); e == nil || e.Kind != providers.Ambiguous {
		t.Errorf("%v; want ambiguous", e)
	}
	if n := caught.Load(); n != 0 {
		t.Errorf("%d requests went where the redirect pointed", n)
	}
}

func huge(t *testing.T, h *Harness) {
	to, here := h.number(t, Huge)
	if !here {
		return
	}
	r := h.start(t, "")
	if _, e := r.send(t, h.message(to)); e == nil || e.Kind != providers.Ambiguous {
		t.Errorf("%v; want ambiguous", e)
	}
	// Sockets buffer a few MiB; what the adapter leaves stays unwritten.
	if n := r.wire.Wrote(); n > endless/2 {
		t.Errorf("the gateway could write %d MiB of its answer", n>>20)
	}
}

func rejected(t *testing.T, h *Harness) {
	r := h.start(t, "")
	to, here := h.number(t, RejectedAtOnce)
	if !here {
		return
	}
	m := h.message(to)
	if _, e := r.send(t, m); e == nil || e.Kind != providers.Rejected || e.Code == "" {
		t.Errorf("%v; want rejected with a code", e)
	}
	r.find(t, m, 0)
}

func credentials(t *testing.T, h *Harness) {
	w := h.Start(t, "")
	gw := h.New(t, w.URL, true)
	to, _ := h.number(t, OK)
	m := h.message(to)
	_, e := h.send(t.Context(), t, gw, m)
	if e == nil || e.Kind != providers.Rejected || e.Scope != providers.Sender {
		t.Errorf("%v; want rejected for the sender's sake", e)
	}
	h.mustNotKnow(t, gw, m)
}

func throttled(t *testing.T, h *Harness) {
	to, here := h.number(t, Throttled)
	if !here {
		return
	}
	r := h.start(t, "")
	if _, e := r.send(t, h.message(to)); e == nil || e.Kind != providers.Throttled || e.After != 7*time.Second {
		t.Errorf("%v; want throttled for 7s", e)
	}
}

func duplicate(t *testing.T, h *Harness) {
	if h.Key == nil {
		return
	}
	r := h.start(t, "")
	m, _ := r.ok(t)
	if _, e := r.send(t, m); e == nil || e.Kind != providers.Duplicate {
		t.Errorf("%v; want duplicate", e)
	}
}

func refusedConnection(t *testing.T, h *Harness) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	to, _ := h.number(t, OK)
	if _, e := h.send(t.Context(), t, h.New(t, base, false), h.message(to)); e == nil || e.Kind != providers.NotWritten {
		t.Errorf("%v; want not written", e)
	}
}

func noConnection(t *testing.T, h *Harness) {
	// A listener that accepts and says nothing: TLS never comes about, and
	// until then there is no connection to write to.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	gw := h.New(t, "https://"+ln.Addr().String(), false)
	to, _ := h.number(t, OK)

	late, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	cancelled, stop := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, stop)
	over, end := context.WithCancel(t.Context())
	end()
	for name, ctx := range map[string]context.Context{"deadline": late, "cancel": cancelled, "cancelled before": over} {
		if _, e := h.send(ctx, t, gw, h.message(to)); e == nil || e.Kind != providers.NotWritten {
			t.Errorf("%s: %v; want not written", name, e)
		}
	}
	r := h.start(t, "")
	if _, e := h.send(over, t, r.gw, h.message(to)); e == nil || e.Kind != providers.NotWritten {
		t.Errorf("with a gateway at hand: %v; want not written", e)
	}
	if n := len(r.wire.Sends()); n != 0 {
		t.Errorf("%d requests were written nevertheless", n)
	}
}

func guarded(t *testing.T, h *Harness) {
	r := h.start(t, "")
	r.ok(t) // so that there is a connection
	to, _ := h.number(t, OK)
	m := h.message(to)
	m.WriteBy = time.Now().Add(-time.Millisecond)
	if _, e := r.send(t, m); e == nil || e.Kind != providers.NotWritten {
		t.Errorf("%v; want not written", e)
	}
	if n := len(r.wire.Sends()); n != 1 {
		t.Errorf("%d requests; want none after the first", n-1)
	}
	m.WriteBy = time.Now().Add(time.Minute)
	if _, e := r.send(t, m); e != nil {
		t.Errorf("within its guard: %v", e)
	}
}
