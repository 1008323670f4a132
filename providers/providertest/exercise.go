package providertest

import (
	"context"
	"sync"
	"testing"

	"github.com/doctorsflow/doctorsflow/providers"
)

// Exercise runs the suite. Each subtest is named after what it guarantees.
func Exercise(t *testing.T, h Harness) {
	for _, s := range all {
		h.number(t, s) // a gap is reported before anything runs
	}
	for _, c := range []struct {
		guarantee string
		test      func(*testing.T, *Harness)
	}{
		{"an acceptance carries evidence and is one request", acceptance},
		{"key and grouping key are sent", keys},
		{"the vendor's own fallback is forbidden explicitly", noResend},
		{"one send is at most one request, whatever happens", oneRequest},
		{"sends may run at the same time", concurrent},
		{"no usable answer is ambiguous and never accepted", ambiguity},
		{"redirects are not followed and the secret stays here", redirect},
		{"a huge answer is not read", huge},
		{"a documented refusal is rejected with its code", rejected},
		{"wrong credentials are the sender's matter", credentials},
		{"429 is throttled and says for how long", throttled},
		{"a used key is a duplicate, not a failure", duplicate},
		{"a refused connection is not written", refusedConnection},
		{"giving up before there is a connection is not written", noConnection},
		{"after its guard a request is not written", guarded},
		{"find knows what was accepted although the answer was lost", findLost},
		{"find knows nothing of what never arrived", findAbsent},
		{"results return reports", results},
		{"a gateway that cannot be asked is no evidence", unavailable},
	} {
		t.Run(c.guarantee, func(t *testing.T) {
			t.Parallel()
			c.test(t, &h)
		})
	}
}

// ok sends to the number that is accepted.
func (r *rig) ok(t *testing.T) (providers.Message, providers.Receipt) {
	t.Helper()
	to, _ := r.h.number(t, OK)
	m := r.h.message(to)
	receipt, e := r.send(t, m)
	if e != nil {
		t.Fatalf("send: %v", e)
	}
	return m, receipt
}

func acceptance(t *testing.T, h *Harness) {
	r := h.start(t, "")
	r.ok(t)
	if n := len(r.wire.Sends()); n != 1 {
		t.Errorf("%d requests; want 1", n)
	}
}

func keys(t *testing.T, h *Harness) {
	r := h.start(t, "")
	m, _ := r.ok(t)
	req := r.wire.Sends()[0]
	if got := h.Group(req); got != m.Key {
		t.Errorf("grouping key %q; want %q", got, m.Key)
	}
	if h.Key != nil && h.Key(req) != m.Key {
		t.Errorf("idempotency key %q; want %q", h.Key(req), m.Key)
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if req.Header.Get(name) != "" {
			t.Errorf("header %s lets net/http repeat the request", name)
		}
	}
}

func noResend(t *testing.T, h *Harness) {
	r := h.start(t, "")
	r.ok(t)
	if h.NoResend != nil && !h.NoResend(r.wire.Sends()[0]) {
		t.Error("the request does not say that the vendor must not resend")
	}
}

func oneRequest(t *testing.T, h *Harness) {
	for _, s := range all {
		to, here := h.number(t, s)
		if !here {
			continue
		}
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			r := h.start(t, "http://127.0.0.1:9")
			r.ok(t) // the next send finds a connection to reuse
			for range 2 {
				r.send(t, h.message(to)) // which counts
			}
		})
	}
}

func concurrent(t *testing.T, h *Harness) {
	const n = 32
	r := h.start(t, "")
	to, _ := h.number(t, OK)
	var mu sync.Mutex
	seen := map[providers.Receipt]bool{}
	var wait sync.WaitGroup
	for range n {
		m := h.message(to)
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			receipt, e := h.send(ctx, t, r.gw, m)
			if e != nil {
				t.Errorf("send: %v", e)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[receipt] = true
		})
	}
	wait.Wait()
	if sends := len(r.wire.Sends()); sends != n || len(seen) != n {
		t.Errorf("%d sends made %d requests and %d receipts", n, sends, len(seen))
	}
}
