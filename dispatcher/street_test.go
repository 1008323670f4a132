package dispatcher

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// street is the whole way from due steps to the gateways' simulator in virtual
// time: a ledger with its clock, a dispatcher, the adapters. It is the
// dispatcher's ledger, publisher and accounts.
type street struct {
	*Dispatcher
	t    *testing.T
	sim  *simulator.Simulator
	rate int

	slow time.Duration // how long a claim takes

	mu      sync.Mutex
	change  func(*store.Candidate) // of each candidate
	steps   map[uuid.UUID]*standing
	waiting map[uuid.UUID]*standing // planned, and what release has not yet seen to be otherwise
	news    chan struct{}
	claimed []time.Time
}

// standing is a step as the ledger has it.
type standing struct {
	event.Step
	state   event.Status // "": planned
	reason  event.Reason
	wake    time.Time
	expires time.Time
	inHand  bool
	sent    time.Time
	slept   int
}

// onStreet runs f in a bubble; what the street still has under way when f
// returns is waited for.
func onStreet(t *testing.T, rate int, rules simulator.Rules, f func(t *testing.T, s *street)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &street{t: t, rate: rate, steps: map[uuid.UUID]*standing{}, waiting: map[uuid.UUID]*standing{}, news: make(chan struct{}, 1)}
		s.sim = simulator.New(simulator.Config{Open: true, Seed: 1, Latency: 100 * time.Millisecond, Rules: rules, KeepRequests: -1, Templates: []simulator.Template{
			{Code: "CARE", Content: candidate().Definition.Steps[0].Message.KakaoText},
		}})
		client := &http.Client{Transport: s.sim.Transport(), Timeout: timing.R}
		gateways := NewGateways(s, func(_ string, a providers.Account) (providers.Gateway, error) {
			if a.Channel == event.SMS {
				return nhn.NewSMS(a, client), nil
			}
			return nhn.NewAlimtalk(a, client), nil
		})
		s.Dispatcher = New(Config{Ledger: s, Publisher: s, Gateways: gateways, Timing: timing, Logger: quiet})
		ctx, cancel := context.WithCancel(context.Background())
		var ends sync.WaitGroup
		ends.Go(func() { s.release(ctx) })
		defer func() {
			cancel()
			ends.Wait()
			s.Wait()
			for k, l := range s.Gateways.lines {
				if _, _, n := l.states(time.Now()); n != 0 {
					t.Errorf("%d tickets of %v were never given back", n, k)
				}
			}
		}()
		f(t, s)
	})
}

// release hands over what is due, as release and the stream do: at most every
// 10 ms, and when the next step wakes.
func (s *street) release(ctx context.Context) {
	var hands sync.WaitGroup
	defer hands.Wait()
	for {
		time.Sleep(10 * time.Millisecond)
		batch, next := s.awake()
		hands.Go(func() { s.handle(ctx, batch) })
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		case <-time.After(next):
		}
	}
}

// awake takes the steps that are due in hand, and says when the next one is.
func (s *street) awake() (batch []*work, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	next = time.Hour
	for id, st := range s.waiting {
		switch {
		case st.state != "":
			delete(s.waiting, id)
		case st.inHand:
		case st.wake.After(now):
			next = min(next, st.wake.Sub(now))
		case !now.Before(st.expires):
			st.state, st.reason = event.Expired, event.TimePassed
		default:
			st.inHand = true
			batch = append(batch, &work{step: st.Step, channel: st.Channel, settle: func(err error) {
				if err != nil {
					s.t.Error(err)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				st.inHand = false
				s.wait(st)
			}})
		}
	}
	return batch, next
}

// wait has release look at a step.
func (s *street) wait(st *standing) {
	s.waiting[st.ID] = st
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// from now on candidates are changed.
func (s *street) from(change func(*store.Candidate)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change = change
}

// due adds n steps that are due now.
func (s *street) due(n int, id tenant.ID, c event.Channel, validity time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		e := event.Step{Tenant: id, ID: uuid.Must(uuid.NewV7()), Lane: event.Care, Channel: c, PlanEpoch: 1}
		s.steps[e.ID] = &standing{Step: e, wake: time.Now(), expires: time.Now().Add(validity)}
		s.wait(s.steps[e.ID])
	}
}

// trickle adds a step every so often, until over.
func (s *street) trickle(every, over time.Duration, id tenant.ID, c event.Channel) {
	for end := time.Now().Add(over); time.Now().Before(end); time.Sleep(every) {
		s.due(1, id, c, time.Hour)
	}
}

// count counts the steps that a test asks about.
func (s *street) count(yes func(*standing) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.steps {
		if yes(st) {
			n++
		}
	}
	return n
}

func is(status event.Status) func(*standing) bool {
	return func(s *standing) bool { return s.state == status }
}

func waits(reason event.Reason) func(*standing) bool {
	return func(s *standing) bool { return s.state == "" && s.reason == reason }
}

// sentIn counts what was accepted in a span.
func (s *street) sentIn(from time.Time, d time.Duration) int {
	return s.count(func(st *standing) bool {
		return !st.sent.IsZero() && !st.sent.Before(from) && st.sent.Before(from.Add(d))
	})
}

// claims counts all claims, and those since a time.
func (s *street) claims(since time.Time) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.claimed {
		if !at.Before(since) {
			n++
		}
	}
	return n
}

func (s *street) outage(p simulator.Product, mode string) {
	s.t.Helper()
	if err := s.sim.AddOutage(simulator.Outage{Product: p, Mode: mode}); err != nil {
		s.t.Fatal(err)
	}
}

// accountOf names a tenant's account for a channel.
func accountOf(id tenant.ID, c event.Channel) uuid.UUID {
	return uuid.NewSHA1(uuid.UUID(id), []byte(c))
}

// state is the state of an account's send breaker.
func (s *street) state(id tenant.ID, c event.Channel) string {
	return s.breakers(id, c)[0]
}

// breakers are the states of an account's breakers, of sends and of queries.
func (s *street) breakers(id tenant.ID, c event.Channel) [2]string {
	send, query, _ := s.line(id, c).states(time.Now())
	return [2]string{send, query}
}

func (s *street) line(id tenant.ID, c event.Channel) *line {
	s.Gateways.mu.Lock()
	defer s.Gateways.mu.Unlock()
	return s.Gateways.lines[lineKey{id, c, accountOf(id, c)}]
}

// hold is until when an account's send breaker lets nothing be tried.
func (s *street) hold(id tenant.ID, c event.Channel) time.Time {
	l := s.line(id, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.breaker.hold
}

func (s *street) Account(_ context.Context, id tenant.ID, c event.Channel) (store.Account, error) {
	a := store.Account{
		Tenant: id, Channel: c, ID: accountOf(id, c), Vendor: "nhn", BaseURL: "http://gateway", RatePerSecond: s.rate, Sender: "025550100",
		Credentials: store.Credentials{AppKey: "app-" + id.String()[24:], Secret: "secret"},
	}
	if c == event.Kakao {
		a.Sender = strings.Repeat("k", 40)
	}
	return a, nil
}

func (s *street) AccountByID(ctx context.Context, id tenant.ID, account uuid.UUID) (store.Account, error) {
	if account == accountOf(id, event.SMS) {
		return s.Account(ctx, id, event.SMS)
	}
	return s.Account(ctx, id, event.Kakao)
}

func (s *street) ClaimSteps(_ context.Context, due []event.Step, decide func(*store.Candidate) store.Decision) (claims []store.Claim, err error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range due {
		st := s.steps[e.ID]
		if st.state != "" || st.Attempt != e.Attempt {
			continue
		}
		c := candidate()
		c.Step, c.Root, c.Account, c.Now, c.DueAt, c.Expires = e, e.ID, accountOf(e.Tenant, e.Channel), time.Now(), time.Now(), st.expires
		if s.change != nil {
			s.change(c)
		}
		switch d := decide(c); {
		case d.Claim:
			st.state, st.reason = event.Unknown, ""
			st.Attempt++
			s.claimed = append(s.claimed, time.Now())
			claims = append(claims, store.Claim{Tenant: e.Tenant, Step: e.ID, Attempt: st.Attempt})
		case !d.Wait.IsZero():
			st.wake, st.reason = d.Wait, d.Reason
		}
	}
	return claims, nil
}

func (s *street) SleepSteps(_ context.Context, list []store.Sleep) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, z := range list {
		st := s.steps[z.ID]
		st.wake, st.reason = time.Now().Add(z.For), z.Reason
		if st.expires.Before(st.wake) {
			st.wake = st.expires
		}
		st.slept++
	}
	return nil
}

func (s *street) Publish(_ context.Context, events []event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		d := e.(*event.Delivery)
		if err := d.Validate(); err != nil {
			s.t.Error(err)
		}
		st := s.steps[d.Step]
		switch d.Status {
		case event.Released:
			st.state, st.wake, st.reason = "", d.RetryAt, d.Reason
			if st.expires.Before(st.wake) {
				st.wake = st.expires
			}
		case event.Sent:
			st.state, st.sent = event.Sent, time.Now()
			if st.sent.After(st.expires.Add(timing.R)) {
				s.t.Errorf("sent %v after it expired", st.sent.Sub(st.expires))
			}
		default:
			st.state, st.reason = d.Status, d.Reason
		}
	}
	return nil
}
