package dispatcher

import (
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers"
)

// line is one account's way out, and an account is of one channel: its rate,
// its breaker and what is under way. Its state is this process's own.
type line struct {
	account store.Account
	gateway *inquiry
	unit    time.Duration // R of the send protocol

	mu       sync.Mutex
	pace     *pace
	breaker  *breaker
	underway int
	answered time.Time // when it last had an answer, or nothing under way
}

func (g *Gateways) newLine(a store.Account, gateway providers.Gateway) *line {
	config := func(requests string) breakerConfig {
		return breakerConfig{
			unit:   g.Timing.R,
			log:    g.Logger.With("tenant", a.Tenant, "channel", a.Channel, "account", a.ID, "requests", requests),
			opened: func(r event.Reason) { g.opened.WithLabelValues(string(a.Channel), requests, string(r)).Inc() },
		}
	}
	return &line{
		account: a, unit: g.Timing.R, gateway: newInquiry(gateway, config("query")),
		pace: newPace(a.RatePerSecond, g.Timing.R/10), breaker: newBreaker(config("send")),
	}
}

// ticket is leave to send one step by a line. It must be given back, once,
// with what came of it. Nil is a step's without an account: the claim says so.
type ticket struct {
	line *line
	try  try
}

// delay is why a step may not go yet, and until when.
type delay struct {
	reason event.Reason
	until  time.Time
}

// enter returns a ticket, or the delay of a step that may not go now. free is
// how many slots the dispatcher has left for everybody.
func (l *line) enter(now time.Time, free int) (*ticket, delay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case now.Before(l.breaker.hold):
		return nil, delay{l.breaker.why, l.pace.place(l.breaker.hold)}
	case l.silent(now, free):
		return nil, delay{event.GatewayDown, l.pace.place(now.Add(l.unit / 10))}
	case !l.pace.take(now):
		return nil, delay{l.slowed(), l.pace.place(now)}
	}
	try, ok := l.breaker.allow(now)
	if !ok {
		// One request finds out for all.
		return nil, delay{l.breaker.why, l.pace.place(now)}
	}
	if l.underway++; l.underway == 1 {
		l.answered = now
	}
	return &ticket{l, try}, delay{}
}

// silent reports whether too much is under way at a gateway that has stopped
// answering. Its breaker hears of that only when the first of them times out;
// until then it must neither take every slot nor leave ever more outcomes to
// be found out.
func (l *line) silent(now time.Time, free int) bool {
	since := now.Sub(l.answered)
	return l.underway >= streakTrips && since > l.unit/4 || l.underway > free && l.underway >= streakTrips && since > l.unit/20
}

// slowed is why there is no token: the account's own rate, or the gateway's
// wish or return.
func (l *line) slowed() event.Reason {
	if l.pace.since.IsZero() || l.breaker.why == "" {
		return event.RateLimited
	}
	return l.breaker.why
}

// report gives the ticket back.
func (t *ticket) report(h health, after time.Duration) {
	if t == nil {
		return
	}
	l, now := t.line, time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underway--
	if h == well || h == throttled {
		l.answered = now
	}
	was, current := l.breaker.shut, t.try.turn == l.breaker.turn
	rate := l.pace.at(now)
	l.breaker.report(now, t.try, h, after)
	switch is := l.breaker.shut; {
	case is && current && h != untried:
		knee := l.pace.full
		if h == throttled {
			knee = rate / 2
		} else if was {
			knee = l.pace.knee
		}
		l.pace.restart(l.breaker.hold, knee)
	case was && !is:
		l.pace.restart(now, l.pace.knee)
	case !is && current && h == throttled:
		l.breaker.why = event.GatewayThrottled
		l.pace.halve(now)
	}
}

// of reports whether the ticket is of an account.
func (t *ticket) of(account uuid.UUID) bool { return t != nil && t.line.account.ID == account }

// idle reports whether the line has nothing that is worth keeping.
func (l *line) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.underway == 0 && !l.breaker.shut && l.pace.since.IsZero()
}

// healthOf says what a request's end tells about its gateway: everything that
// proves that somebody is there, refusals included, speaks for it.
func healthOf(err error) (h health, after time.Duration) {
	if err == nil {
		return well, 0
	}
	e, ok := errors.AsType[*providers.SendError](err)
	if !ok {
		return down, 0
	}
	switch e.Kind {
	case providers.Rejected, providers.Duplicate:
		return well, 0
	case providers.Throttled:
		return throttled, e.After
	}
	return down, 0
}
