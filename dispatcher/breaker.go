package dispatcher

import (
	"errors"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// health is what one request says about its gateway.
type health int

const (
	untried   health = iota // nothing: it was not made, or our own doing ended it
	well                    // it answers, be it with a refusal
	throttled               // it asks for less
	down                    // it cannot be reached, or answers nothing usable
)

// reason is why steps wait for a gateway in this health.
func (h health) reason() event.Reason {
	switch h {
	case throttled:
		return event.GatewayThrottled
	case down:
		return event.GatewayDown
	}
	return ""
}

const (
	// streakTrips failures in a row open a breaker, however far apart.
	streakTrips = 5
	// freshTrips are enough for one that has only just closed.
	freshTrips = 2
	// ratioOf requests in the window are the fewest of which half must fail.
	ratioOf = 20
	// windowBuckets divide the window.
	windowBuckets = 10
)

var (
	errUntried = errors.New("dispatcher: the gateway was not tried")
	errFailed  = errors.New("dispatcher: the gateway failed")
)

// breaker decides whether requests are made at all. It opens by five failures
// in a row, by half of at least twenty in the window, or where the gateway
// names a time; then nothing is tried until a time, doubled with each
// disappointment, and then one request, whose answer decides.
//
// Its line's lock guards it: gobreaker's callbacks run inside its calls.
type breaker struct {
	two *gobreaker.TwoStepCircuitBreaker[struct{}]
	breakerConfig

	why    event.Reason // the last failure's
	streak int
	named  bool // the failure being counted names a time
	now    time.Time
	fresh  time.Time // when it last closed

	shut    bool
	hold    time.Time // nothing is tried before
	since   time.Time // when it opened first
	holds   int       // in a row
	refused time.Time // when the time that the gateway named ends
	turn    int       // counts changes: what began before one says nothing after it
}

// try is leave to make one request.
type try struct {
	done func(error)
	turn int
}

// breakerConfig is what a breaker goes by, and whom it tells.
type breakerConfig struct {
	unit   time.Duration // R of the send protocol
	log    *slog.Logger
	opened func(event.Reason)
}

func newBreaker(c breakerConfig) *breaker {
	r, b := c.unit, &breaker{breakerConfig: c}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		// Longer than any request takes: gobreaker forgets those that began
		// before the window.
		Interval:     3 * r,
		BucketPeriod: 3 * r / windowBuckets,
		// hold says how long; see allow.
		Timeout:       1,
		ReadyToTrip:   b.trips,
		IsExcluded:    func(err error) bool { return errors.Is(err, errUntried) },
		OnStateChange: b.changed,
	})
	return b
}

// allow lets a request go; report must then be told what came of it.
func (b *breaker) allow(now time.Time) (try, bool) {
	if b.now = now; now.Before(b.hold) {
		return try{}, false
	}
	done, err := b.two.Allow()
	return try{done, b.turn}, err == nil
}

// report counts what came of an allowed request.
func (b *breaker) report(now time.Time, t try, h health, after time.Duration) {
	b.now, b.named = now, h == throttled && after > 0
	if b.named {
		b.refused = later(b.refused, now.Add(after))
		if b.shut {
			b.hold = later(b.hold, b.refused)
		}
	}
	switch {
	case h == untried, t.turn != b.turn:
		t.done(errUntried)
	case h == well:
		b.streak = 0
		t.done(nil)
	case h == throttled && !b.shut && !b.named && b.streak+1 < streakTrips:
		// Among answers it asks for less, and gets it; it is not away.
		b.streak++
		t.done(errUntried)
	default:
		b.streak++
		b.why = h.reason()
		t.done(errFailed)
	}
}

// trips is asked at each failure of a closed breaker.
func (b *breaker) trips(c gobreaker.Counts) bool {
	switch {
	case b.named, b.streak >= streakTrips:
		return true
	case b.why == event.GatewayDown && b.streak >= freshTrips && !b.fresh.IsZero() && b.now.Sub(b.fresh) < b.unit:
		return true
	}
	tried := c.Requests - min(c.Requests, c.TotalExclusions)
	return tried >= ratioOf && 2*c.TotalFailures >= tried
}

func (b *breaker) changed(_ string, _, to gobreaker.State) {
	b.turn++
	switch to {
	case gobreaker.StateOpen:
		if !b.shut {
			b.since = b.now
			if b.now.Sub(b.fresh) >= b.most() {
				b.holds = 0
			}
		}
		if b.named {
			b.hold = later(b.now.Add(b.unit/10), b.refused)
		} else {
			b.hold = b.now.Add(min(b.unit/2<<min(b.holds, 8), b.most()))
			b.holds++
		}
		b.shut = true
		b.opened(b.why)
		b.log.Warn("gateway is left alone", "reason", b.why, "for", b.hold.Sub(b.now).Round(time.Millisecond).String(), "failed_in_a_row", b.streak)
	case gobreaker.StateClosed:
		b.shut, b.fresh, b.streak, b.hold, b.refused = false, b.now, 0, time.Time{}, time.Time{}
		b.log.Info("gateway answers again", "reason", b.why, "after", b.now.Sub(b.since).Round(time.Millisecond).String())
	}
}

// most is the longest that it waits by itself: six times R, a minute.
func (b *breaker) most() time.Duration { return 6 * b.unit }

// state is its state's name: closed, open or half_open.
func (b *breaker) state(now time.Time) string {
	switch {
	case !b.shut:
		return "closed"
	case now.Before(b.hold):
		return "open"
	}
	return "half_open"
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
