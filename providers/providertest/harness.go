// Package providertest is the conformance suite that every gateway adapter
// must pass, with a raw TCP server to play the gateway's worst days. It must
// not know any vendor: the vendor's tests describe theirs in a [Harness].
package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/providers"
)

// Scenario is what a gateway does with a send to one of its magic numbers.
type Scenario string

// The scenarios. The names of those that accept say so: everything else must
// not be found by key afterwards.
const (
	OK                Scenario = "ok"                  // accepted, and reported delivered at once
	RejectedAtOnce    Scenario = "rejected at once"    // a documented refusal in the answer
	FailedByReport    Scenario = "failed by report"    // accepted, and reported failed at once
	AcceptedThenHang  Scenario = "accepted then hang"  // accepted; the answer never comes
	AcceptedThenReset Scenario = "accepted then reset" // accepted; the connection is reset
	ResetBefore       Scenario = "reset before"        // the connection is reset, nothing is accepted
	ServerError       Scenario = "server error"        // HTTP 500
	BadGateway        Scenario = "bad gateway"         // HTTP 502 with HTML
	Garbage           Scenario = "garbage"             // HTTP 200 with HTML
	Truncated         Scenario = "truncated"           // accepted; half of the JSON arrives
	Empty             Scenario = "empty"               // accepted; HTTP 200 without a body
	NoID              Scenario = "no id"               // HTTP 200, success without a request id
	Huge              Scenario = "huge"                // HTTP 200 with 64 MiB that begin as JSON
	Throttled         Scenario = "throttled"           // HTTP 429 with Retry-After: 7
	Redirect          Scenario = "redirect"            // HTTP 307 to the trap given to Start
	DropIdle          Scenario = "drop idle"           // accepted; the connection ends right after the answer
)

// ambiguous are the scenarios of which nothing is proven.
var ambiguous = []Scenario{
	AcceptedThenHang, AcceptedThenReset, ResetBefore, ServerError, BadGateway, Garbage, Truncated, Empty, NoID, Huge, Redirect,
}

// all are the scenarios that a harness must offer or name as shown elsewhere.
var all = append([]Scenario{OK, RejectedAtOnce, FailedByReport, Throttled, DropIdle}, ambiguous...)

// Harness describes one adapter and a gateway to run it against.
type Harness struct {
	Channel event.Channel
	// Start runs a fresh gateway until the test ends. Scenario [Redirect]
	// points to trap.
	Start func(t *testing.T, trap string) *Wire
	// New returns the adapter under test for the gateway at base: with
	// credentials that the gateway of Start accepts or, if wrong, refuses. It
	// trusts any certificate and stops what it started when the test ends.
	New func(t *testing.T, base string, wrong bool) providers.Gateway
	// Numbers are the magic numbers, as phone.Parse reads them.
	Numbers map[Scenario]string
	// Elsewhere are scenarios that this gateway cannot play and that another
	// run of the suite shows for the same adapter.
	Elsewhere []Scenario
	// Complete fills in what the vendor needs, such as a template code.
	Complete func(m *providers.Message)
	// Secrets must not appear in errors nor reach a redirect's target: the
	// app key and the secret.
	Secrets []string

	// Group returns a send's grouping key, by which Find finds it.
	Group func(Request) string
	// Key returns a send's idempotency key; nil if the vendor has none.
	Key func(Request) string
	// NoResend reports whether a send forbids the vendor's own fallback
	// explicitly; nil if the vendor has none.
	NoResend func(Request) bool
}

// Wire is a running gateway under observation.
type Wire struct {
	// URL is its scheme and host.
	URL string
	// Sends returns the sends that arrived, whether or not they were
	// processed, oldest first.
	Sends func() []Request
	// Wrote returns how many bytes the gateway could write of its latest
	// answer; nil where [Huge] is shown elsewhere.
	Wrote func() int64
}

// Request is one request as it arrived.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// number returns the scenario's number, or false where it is shown elsewhere.
func (h *Harness) number(t *testing.T, s Scenario) (phone.Number, bool) {
	t.Helper()
	text, ok := h.Numbers[s]
	if !ok {
		if !slices.Contains(h.Elsewhere, s) {
			t.Fatalf("the harness offers no number for %q and does not name it as shown elsewhere", s)
		}
		return phone.Number{}, false
	}
	n, err := phone.Parse(text, phone.Options{AllowTestBands: true, International: true})
	if err != nil {
		t.Fatalf("number for %q: %v", s, err)
	}
	return n, true
}

// message makes a message with patient data in every part that holds some.
func (h *Harness) message(to phone.Number) providers.Message {
	m := providers.Message{
		Key: event.Key(uuid.Must(uuid.NewV7()), h.Channel), Group: "clinic:workflow", To: to,
		Variables: map[string]string{"환자명": "김하늘", "일시": "11/24(화) 14:30"},
		Title:     "예약 안내", Body: "[미소치과] 김하늘님, 11/24(화) 14:30 예약되어 있습니다.",
	}
	h.Complete(&m)
	return m
}

// rig is one adapter at one gateway.
type rig struct {
	h    *Harness
	wire *Wire
	gw   providers.Gateway
}

func (h *Harness) start(t *testing.T, trap string) *rig {
	t.Helper()
	w := h.Start(t, trap)
	return &rig{h, w, h.New(t, w.URL, false)}
}

// patience bounds every exchange that ought to end by itself.
const patience = 10 * time.Second

// send sends once, and checks what holds of every send: at most one request,
// an error of the one type, and nothing of the patient or the account in it.
func (r *rig) send(t *testing.T, m providers.Message) (providers.Receipt, *providers.SendError) {
	t.Helper()
	before := len(r.wire.Sends())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	var wait sync.WaitGroup
	defer func() { cancel(); wait.Wait() }()
	if to, here := r.h.number(t, AcceptedThenHang); here && m.To == to {
		wait.Go(func() { r.giveUp(ctx, cancel, before) })
	}
	receipt, e := r.h.send(ctx, t, r.gw, m)
	if n := len(r.wire.Sends()) - before; n > 1 {
		t.Errorf("one send wrote %d requests", n)
	}
	return receipt, e
}

// giveUp cancels a send soon after its request arrived.
func (r *rig) giveUp(ctx context.Context, cancel func(), before int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for arrived := false; !arrived; {
		arrived = len(r.wire.Sends()) > before
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	cancel()
}

func (h *Harness) send(ctx context.Context, t *testing.T, gw providers.Gateway, m providers.Message) (providers.Receipt, *providers.SendError) {
	t.Helper()
	receipt, err := gw.Send(ctx, m)
	if err == nil {
		if receipt.RequestID == "" || receipt.Seq < 0 {
			t.Errorf("accepted without evidence: %+v", receipt)
		}
		return receipt, nil
	}
	if receipt != (providers.Receipt{}) {
		t.Errorf("an error together with a receipt: %+v", receipt)
	}
	h.discreet(t, err, m)
	var e *providers.SendError
	if !errors.As(err, &e) {
		t.Fatalf("Send returned a %T; want a *providers.SendError", err)
	}
	return receipt, e
}

// discreet checks that an error tells nothing of patient or account.
func (h *Harness) discreet(t *testing.T, err error, m providers.Message) {
	t.Helper()
	private := append([]string{m.To.E164(), m.To.E164()[1:], m.To.National(), m.To.National()[1:], m.Title, m.Body, "김하늘"}, h.Secrets...)
	for ; err != nil; err = errors.Unwrap(err) {
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		for _, p := range private {
			if p != "" && strings.Contains(text, p) {
				t.Errorf("an error of type %T tells %q", err, p)
			}
		}
	}
}
