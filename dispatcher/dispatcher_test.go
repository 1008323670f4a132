package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

var untimed = cmpopts.IgnoreFields(event.Delivery{}, "At")

func TestClaimedStepIsSentAndItsOutcomeTold(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	step := dueStep()
	step.Attempt = 2
	start := time.Now()
	s.play(10, s.settled, step)
	sent := s.gate.requests()
	if len(sent) != 1 || sent[0].Key != event.Key(step.ID, event.Kakao) || s.book.contents[0] != "김하늘님, 임플란트 안내" {
		t.Fatalf("sent %+v, kept %q", sent, s.book.contents)
	}
	want := []event.Delivery{{
		Tenant: step.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: 3, Status: event.Sent, Source: event.Answer, RequestID: "r1", Seq: 1,
	}}
	got := s.told(1)
	if diff := cmp.Diff(want, got, untimed); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if at := got[0].At; at.Before(noon) || at.After(noon.Add(time.Since(start))) || at.Location() != time.UTC {
		t.Errorf("told at %s, want the ledger's time", at)
	}
}

// The guard counts from before the claim's transaction: the longer that takes,
// the less is left to write in.
func TestRequestIsGuardedFromBeforeItsClaim(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Timing.G, c.Timing.R = 3*time.Second, 7*time.Second })
	start := time.Now()
	s.play(1, s.settled, dueStep())
	by := s.gate.requests()[0].WriteBy
	if by.After(s.book.entered.Add(3*time.Second)) || by.Before(start.Add(3*time.Second)) {
		t.Errorf("to be written by %s, want 3 s after some time between %s and %s", by, start, s.book.entered)
	}
	if r := s.gate.limits[0]; r > 7*time.Second || r < 6*time.Second {
		t.Errorf("the request may take %v, want R", r)
	}
}

// gatedPublisher holds publishing back until it is opened.
type gatedPublisher struct {
	*stream.Conn
	entered, open chan struct{}
}

func (p gatedPublisher) Publish(ctx context.Context, events []event.Event) error {
	p.entered <- struct{}{}
	<-p.open
	return p.Conn.Publish(ctx, events)
}

func TestMessageIsAcknowledgedAfterItsOutcomeIsStored(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*store.Candidate){"sent": nil, "skipped": func(c *store.Candidate) { c.Erased = true }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := gatedPublisher{entered: make(chan struct{}, 1), open: make(chan struct{})}
			s := newStage(t, func(c *Config) { p.Conn = c.Publisher.(*stream.Conn); c.Publisher = p })
			s.book.change = change
			go func() {
				<-p.entered
				if b, err := s.bus.Backlog(context.WithoutCancel(t.Context()), stream.Steps, stream.DispatcherConsumer(event.Care)); err != nil || b.InHand != 1 {
					t.Errorf("before its outcome is stored the message is %+v, %v; want it in hand", b, err)
				}
				close(p.open)
			}()
			s.play(1, s.settled, dueStep())
			s.told(1)
		})
	}
}

func TestOnlyWhatWasClaimedIsSent(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	mine, gone, stolen := dueStep(), dueStep(), dueStep()
	s.book.gone, s.book.stolen = map[uuid.UUID]bool{gone.ID: true}, map[uuid.UUID]bool{stolen.ID: true}
	s.play(10, s.settled, gone, mine, stolen)
	if sent := s.gate.requests(); len(sent) != 1 || sent[0].Key != event.Key(mine.ID, event.Kakao) {
		t.Errorf("sent %+v, want only %s", sent, mine.ID)
	}
	if told := s.told(1); told[0].Step != mine.ID {
		t.Errorf("told %+v, want only of %s", told, mine.ID)
	}
}

func TestWhatAGuardKeepsIsToldAndNotSent(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	step := dueStep()
	step.Attempt = 2
	s.book.change = func(c *store.Candidate) { c.Suppressed = []string{"*"} }
	s.play(10, s.settled, step)
	want := []event.Delivery{{
		Tenant: step.Tenant, Step: step.ID, Channel: event.Kakao, Attempt: 2, Status: event.Skipped, Reason: event.OptedOut, Source: event.Guard,
	}}
	if diff := cmp.Diff(want, s.told(1), untimed); diff != "" || len(s.gate.requests()) != 0 {
		t.Errorf("%d requests; told (-want +got):\n%s", len(s.gate.requests()), diff)
	}
}

func TestStepThatMustWaitGoesBackToSleepSilently(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	s.book.change = quietUntilOne
	s.play(10, s.settled, dueStep())
	if diff := cmp.Diff([]time.Time{noon.Add(time.Hour)}, s.book.waits); diff != "" || s.book.claims != 0 {
		t.Errorf("%d claims; waits (-want +got):\n%s", s.book.claims, diff)
	}
	s.told(0)
}

func TestStepDoubledInABatchIsSentOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	once, other := dueStep(), dueStep()
	again := *once
	again.Lease = 1 // the same fence, published again
	s.handleTogether(s.settled, once, other, &again)
	if n := len(s.gate.requests()); n != 2 {
		t.Errorf("%d requests for two steps", n)
	}
	if len(s.book.calls) != 1 || len(s.book.calls[0]) != 2 {
		t.Errorf("claims of %v, want one of both steps", s.book.calls)
	}
	s.told(2)
}

func TestLedgerErrorDeliversTheStepAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	fails := 2
	s.book.fail = func([]event.Step) error {
		if fails--; fails >= 0 {
			return fmt.Errorf("store: claim: %w", store.ErrUnavailable)
		}
		return nil
	}
	s.play(1, s.settled, dueStep())
	if n := len(s.gate.requests()); n != 1 || len(s.book.calls) != 3 {
		t.Errorf("sent %d times in %d claims, want once in the third", n, len(s.book.calls))
	}
	if n := len(s.slots); n != 0 {
		t.Errorf("%d slots are lost", n)
	}
}

func TestPoisonousStepHoldsNoNeighbour(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	poison, good, other := dueStep(), dueStep(), dueStep()
	s.book.fail = func(due []event.Step) error {
		if slices.ContainsFunc(due, func(e event.Step) bool { return e.ID == poison.ID }) {
			return errors.New("definition cannot be read")
		}
		return nil
	}
	s.handleTogether(func() bool { return len(s.gate.requests()) == 2 }, poison, good, other)
	for _, m := range s.gate.requests() {
		if m.Key == event.Key(poison.ID, event.Kakao) {
			t.Error("the poisonous step was sent")
		}
	}
	if n := len(s.slots); n != 0 {
		t.Errorf("%d slots are lost", n)
	}
}

// Kept in this process, one clinic's backlog would fill the line for all.
func TestStepBeyondTheRateGoesBackToTheLedger(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Gateways = nil })
	s.Gateways = NewGateways(office{rate: 2}, opened(s.gate)) // one now, the next half a second later
	first, second, third := dueStep(), dueStep(), dueStep()
	second.Tenant, third.Tenant = first.Tenant, first.Tenant
	s.handleTogether(s.settled, first, second, third)
	if n := len(s.gate.requests()); n != 1 || s.book.claims != 1 {
		t.Errorf("%d requests, %d claims; want one of each: what waits burns no attempt", n, s.book.claims)
	}
	if len(s.book.slept) != 2 || s.book.slept[1].Sub(s.book.slept[0]) < 400*time.Millisecond {
		t.Errorf("the others sleep until %v, want two half a second apart", s.book.slept)
	}
	if n := len(s.slots); n != 0 {
		t.Errorf("%d slots are lost", n)
	}
}

func TestStepThatCannotBePutToSleepComesAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Gateways = nil })
	s.Gateways = NewGateways(office{rate: 1}, opened(s.gate))
	s.book.restless = 1
	first, second := dueStep(), dueStep()
	second.Tenant = first.Tenant
	// Its token may have come when it comes again: then it is sent.
	s.play(10, s.settled, first, second)
	if n := len(s.gate.requests()) + len(s.book.slept); n < 2 {
		t.Errorf("%d requests and %d asleep, want each step to be one of both", len(s.gate.requests()), len(s.book.slept))
	}
}

// branches keeps an account of its own for each id, and who asked for which.
type branches struct {
	office
	asked chan uuid.UUID
}

func (b branches) AccountByID(ctx context.Context, id tenant.ID, account uuid.UUID) (store.Account, error) {
	b.asked <- account
	return b.office.AccountByID(ctx, id, account)
}

// The account that the attempt's row names is the only one that can be asked
// what became of it.
func TestStepGoesByTheAccountOfItsClaim(t *testing.T) {
	t.Parallel()
	account, b := uuid.Must(uuid.NewV7()), branches{office{rate: 100}, make(chan uuid.UUID, 10)}
	s := newStage(t, func(c *Config) { c.Gateways = nil })
	s.Gateways = NewGateways(b, opened(s.gate))
	s.book.change = func(c *store.Candidate) { c.Account = account }
	s.play(1, s.settled, dueStep())
	if got := <-b.asked; got != account || len(s.gate.requests()) != 1 {
		t.Errorf("sent by %s, want %s", got, account)
	}
}

func TestMoreStepsThanSlotsAllGo(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) { c.Slots = 3 })
	steps := make([]*event.Step, 40)
	for i := range steps {
		steps[i] = dueStep()
	}
	s.play(20, s.settled, steps...)
	if n := len(s.gate.requests()); n != 40 || s.gate.most > 3 {
		t.Errorf("%d requests, %d at a time; want 40, at most 3 at a time", n, s.gate.most)
	}
}

func TestAccountThatCannotBeOpenedReleasesTheStep(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *Config) {
		c.Gateways = NewGateways(office{rate: 10}, func(string, providers.Account) (providers.Gateway, error) { return nil, errors.New("no such vendor") })
	})
	s.play(1, s.settled, dueStep())
	if got := s.told(1)[0]; got.Status != event.Released || !got.RetryAt.After(got.At) {
		t.Errorf("told %+v, want it released for later", got)
	}
}

// fickle refuses to publish some times.
type fickle struct {
	Publisher
	refuse atomic.Int32
}

func (f *fickle) Publish(ctx context.Context, events []event.Event) error {
	if f.refuse.Add(-1) >= 0 {
		return stream.ErrPublish
	}
	return f.Publisher.Publish(ctx, events)
}

func TestOutcomeIsPublishedAsSoonAsTheBrokerTakesIt(t *testing.T) {
	t.Parallel()
	f := new(fickle)
	s := newStage(t, func(c *Config) { f.Publisher, c.Publisher = c.Publisher, f })
	f.refuse.Store(2)
	s.play(1, s.settled, dueStep())
	if n := len(s.gate.requests()); n != 1 {
		t.Errorf("sent %d times, want once", n)
	}
	if got := s.told(1)[0]; got.Status != event.Sent {
		t.Errorf("told %+v", got)
	}
}

// A lost outcome is found out by a query; the step is not sent again for it.
func TestOutcomeThatCannotBePublishedSendsNothingTwice(t *testing.T) {
	t.Parallel()
	f := new(fickle)
	s := newStage(t, func(c *Config) { f.Publisher, c.Publisher, c.Timing.D = c.Publisher, f, 0 })
	f.refuse.Store(1)
	s.play(1, s.settled, dueStep())
	if n := len(s.gate.requests()); n != 1 || len(s.book.calls) != 2 {
		t.Errorf("sent %d times in %d claims, want once and a second look", n, len(s.book.calls))
	}
	s.told(0)
}

func TestClassificationFollowsTheEvidence(t *testing.T) {
	t.Parallel()
	at := noon.UTC()
	refused := func(kind providers.Kind, scope providers.Scope, code string, after time.Duration) error {
		return fmt.Errorf("nhn: %w", &providers.SendError{Kind: kind, Scope: scope, Code: code, After: after, Err: errors.New("x")})
	}
	type D = event.Delivery
	tests := []struct {
		name    string
		err     error
		attempt int32
		want    D
	}{
		{"accepted", nil, 1, D{Status: event.Sent}},
		{"not_written", refused(providers.NotWritten, 0, "", 0), 1, D{Status: event.Released, RetryAt: at.Add(time.Second)}},
		{"not_written_again", refused(providers.NotWritten, 0, "", 0), 4, D{Status: event.Released, RetryAt: at.Add(8 * time.Second)}},
		{"throttled", refused(providers.Throttled, providers.Sender, "429", 0), 1, D{Status: event.Released, Code: "429", RetryAt: at.Add(time.Second)}},
		{"throttled_for_long", refused(providers.Throttled, 0, "429", time.Hour), 1, D{Status: event.Released, Code: "429", RetryAt: at.Add(time.Hour)}},
		{"rejected_recipient", refused(providers.Rejected, providers.Recipient, "3018", 0), 1, D{Status: event.Failed, Code: "3018", Reason: "rejected:3018"}},
		{"rejected_request", refused(providers.Rejected, providers.Request, "-1022", 0), 1, D{Status: event.Failed, Code: "-1022", Reason: "rejected:-1022"}},
		{"rejected_sender", refused(providers.Rejected, providers.Sender, "401", 0), 1, D{Status: event.Failed, Code: "401", Reason: "rejected:401"}},
		{"rejected_policy", refused(providers.Rejected, providers.Policy, "3022", 0), 1, D{Status: event.Failed, Code: "3022", Reason: "rejected:3022", Final: true}},
		{"rejected_without_code", refused(providers.Rejected, 0, "", 0), 1, D{Status: event.Failed, Reason: "rejected:other"}},
		{"duplicate", refused(providers.Duplicate, 0, "-1005", 0), 1, D{Status: event.Unknown, Code: "-1005"}},
		{"ambiguous", refused(providers.Ambiguous, 0, "", time.Minute), 1, D{Status: event.Unknown}},
		{"of_a_kind_to_come", refused(providers.Kind(99), 0, "", 0), 1, D{Status: event.Unknown}},
		{"not_a_send_error", context.DeadlineExceeded, 1, D{Status: event.Unknown}},
	}
	for _, tt := range tests {
		got := D{Attempt: tt.attempt, At: at}
		classify(&got, tt.err)
		tt.want.Attempt, tt.want.At = tt.attempt, at
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if got.Tenant, got.Step, got.Channel, got.Source = aClinic, aRoot, event.Kakao, event.Answer; got.Validate() != nil {
			t.Errorf("%s cannot be published: %v", tt.name, got.Validate())
		}
	}
}

func TestRetriesComeSlowerToABound(t *testing.T) {
	t.Parallel()
	var got []string
	for _, attempt := range []int32{0, 1, 2, 3, 6, 7, 8, 1 << 30} {
		got = append(got, retryDelay(attempt).String())
	}
	if want := "1s 1s 2s 4s 32s 1m0s 1m0s 1m0s"; strings.Join(got, " ") != want {
		t.Errorf("delays %v, want %s", got, want)
	}
}

// A stale publication must not take the place of the one that counts.
func TestStepOfTwoFencesInABatchIsDecidedOneByOne(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	fresh := dueStep()
	fresh.Attempt = 1
	stale := *fresh
	stale.Attempt = 0
	s.book.change = func(c *store.Candidate) {
		if c.Step.Attempt == 0 {
			c.RunEpoch++ // the ledger knows nothing of this one any more
		}
	}
	var together []*stream.Msg[event.Step]
	var decided atomic.Bool // both, together
	s.playWith(func(ctx context.Context, batch []*stream.Msg[event.Step]) {
		if together = append(together, batch...); len(together) >= 2 {
			s.Handle(ctx, together[:2])
			together = together[2:]
			decided.Store(true)
		}
	}, stream.Consumer{Batch: 1}, decided.Load, &stale, fresh)
	if b, err := s.bus.Backlog(context.WithoutCancel(t.Context()), stream.Steps, stream.DispatcherConsumer(event.Care)); err != nil || b.Waiting+b.InHand != 1 {
		t.Errorf("the broker holds %+v, %v; want the one that was not decided", b, err)
	}
}
