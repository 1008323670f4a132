package providertest

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// find asks for a message by its key and checks how many there are. A gateway
// may still be at work on a request whose answer nobody waits for.
func (r *rig) find(t *testing.T, m providers.Message, want int) (got []providers.Result) {
	t.Helper()
	for start, again := time.Now(), true; again; again = len(got) < want && time.Since(start) < patience {
		now := time.Now()
		var err error
		if got, err = r.gw.Find(t.Context(), m.Key, now.Add(-time.Minute), now); err != nil {
			t.Fatalf("find: %v", err)
		}
	}
	if len(got) != want {
		t.Fatalf("found %d messages; want %d", len(got), want)
	}
	for _, g := range got {
		if g.Key != m.Key || g.RequestID == "" || g.Seq < 0 || g.At.IsZero() {
			t.Errorf("found %+v, which does not name the message", g)
		}
	}
	return got
}

func findLost(t *testing.T, h *Harness) {
	for _, s := range []Scenario{OK, FailedByReport, AcceptedThenHang, AcceptedThenReset, Truncated, Empty} {
		to, here := h.number(t, s)
		if !here {
			continue
		}
		t.Run(string(s), func(t *testing.T) {
			t.Parallel()
			r := h.start(t, "")
			m := h.message(to)
			receipt, e := r.send(t, m)
			r.ok(t) // another's message, not to be found
			got := r.find(t, m, 1)
			if e == nil && (got[0].RequestID != receipt.RequestID || got[0].Seq != receipt.Seq) {
				t.Errorf("found %+v; sent as %+v", got[0], receipt)
			}
		})
	}
}

func findAbsent(t *testing.T, h *Harness) {
	r := h.start(t, "")
	r.ok(t)
	to, _ := h.number(t, OK)
	r.find(t, h.message(to), 0)
	if to, here := h.number(t, ResetBefore); here {
		m := h.message(to)
		r.send(t, m)
		r.find(t, m, 0)
	}
}

func results(t *testing.T, h *Harness) {
	r := h.start(t, "")
	want := map[providers.Receipt]providers.State{}
	for s, state := range map[Scenario]providers.State{OK: providers.Delivered, FailedByReport: providers.Failed} {
		to, here := h.number(t, s)
		if !here {
			continue
		}
		receipt, e := r.send(t, h.message(to))
		if e != nil {
			t.Fatalf("%s: %v", s, e)
		}
		want[receipt] = state
	}
	deadline := time.Now().Add(5 * time.Second)
	for len(want) > 0 {
		now := time.Now()
		got, err := r.gw.Results(t.Context(), now.Add(-time.Minute), now.Add(time.Minute))
		if err != nil {
			t.Fatalf("results: %v", err)
		}
		for _, g := range got {
			id := providers.Receipt{RequestID: g.RequestID, Seq: g.Seq}
			if state, ok := want[id]; ok && g.State != providers.Pending {
				if g.State != state || g.Code == "" || g.At.IsZero() {
					t.Errorf("result %+v; want state %d with a code and a time", g, state)
				}
				delete(want, id)
			}
		}
		if now.After(deadline) {
			t.Fatalf("no result for %d messages", len(want))
		}
	}
}

func unavailable(t *testing.T, h *Harness) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + ln.Addr().String()
	_ = ln.Close() // nobody listens there any more
	to, _ := h.number(t, OK)
	h.mustNotKnow(t, h.New(t, base, false), h.message(to))

	html := NewServer(t, func(Request) Reply { return Reply{Body: []byte("<html>ok</html>")} })
	h.mustNotKnow(t, h.New(t, html.URL(), false), h.message(to))
	bare := NewServer(t, func(Request) Reply { return Reply{Body: []byte("{}")} })
	h.mustNotKnow(t, h.New(t, bare.URL(), false), h.message(to))
}

// mustNotKnow checks that queries fail as unavailable instead of finding
// nothing.
func (h *Harness) mustNotKnow(t *testing.T, gw providers.Gateway, m providers.Message) {
	t.Helper()
	now := time.Now()
	found, ferr := gw.Find(t.Context(), m.Key, now.Add(-time.Minute), now)
	reported, rerr := gw.Results(t.Context(), now.Add(-time.Minute), now)
	for name, err := range map[string]error{"find": ferr, "results": rerr} {
		if !errors.Is(err, providers.ErrUnavailable) {
			t.Errorf("%s: %v; want ErrUnavailable", name, err)
			continue
		}
		h.discreet(t, err, m)
	}
	if len(found)+len(reported) != 0 {
		t.Errorf("%d messages together with an error", len(found)+len(reported))
	}
}
