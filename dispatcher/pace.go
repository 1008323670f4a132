package dispatcher

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

const (
	// startRate is how many requests a unit of time sees first when a gateway
	// has come back.
	startRate = 5
	// climb is how many units it takes to climb from nothing to the account's
	// rate once a gateway has asked for less.
	climb = 16
)

// pace is an account's rate: a token now, or a place in the line of those who
// come back one by one. A common delay would bring them all at once, again and
// again. After an outage it grows from a few per unit, doubling with each; when
// the gateway asks for less it halves, and grows steadily from there.
//
// Its line's lock guards it.
type pace struct {
	limiter *rate.Limiter
	full    float64       // the account's rate, per second
	unit    time.Duration // in which a growing rate doubles

	last time.Time // when the last in line comes back

	// Growing: base at since, doubling up to knee, steadily from there on. A
	// zero since is the full rate.
	since      time.Time
	base, knee float64
}

func newPace(perSecond int, unit time.Duration) *pace {
	full := float64(max(1, perSecond))
	return &pace{limiter: rate.NewLimiter(rate.Limit(full), burst(full)), full: full, unit: unit}
}

func burst(perSecond float64) int { return max(1, int(perSecond)/4) }

// take takes a token, if there is one.
func (p *pace) take(now time.Time) bool {
	if !p.since.IsZero() {
		r := p.at(now)
		p.limiter.SetLimitAt(now, rate.Limit(r))
		p.limiter.SetBurstAt(now, burst(r))
		if r >= p.full {
			p.since = time.Time{}
		}
	}
	return p.limiter.AllowN(now, 1)
}

// place is the next place in line, at the rate that holds by then.
func (p *pace) place(notBefore time.Time) time.Time {
	if p.last.Before(notBefore) {
		p.last = notBefore
	}
	p.last = p.last.Add(time.Duration(float64(time.Second) / p.at(p.last)))
	return p.last
}

// at is the rate at a time, per second.
func (p *pace) at(t time.Time) float64 {
	if p.since.IsZero() {
		return p.full
	}
	units := max(0, float64(t.Sub(p.since))/float64(p.unit))
	r := p.base * math.Exp2(units)
	if r > p.knee {
		r = p.knee + (units-math.Log2(p.knee/p.base))*p.full/climb
	}
	return min(r, p.full)
}

// restart begins anew at a time with a few requests, doubling up to knee.
func (p *pace) restart(at time.Time, knee float64) {
	p.base = min(p.full, startRate/p.unit.Seconds())
	p.since, p.knee = at, max(p.base, knee)
}

// halve is the answer to a gateway that asks for less. Requests that were
// under way together are told together, and count once.
func (p *pace) halve(now time.Time) {
	if !p.since.IsZero() && now.Sub(p.since) < p.unit {
		return
	}
	p.base = max(p.at(now)/2, min(p.full, 1/p.unit.Seconds()))
	p.since, p.knee = now, p.base
}
