package simulator

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// profile is how the gateways behave as a whole. The shares are assumptions
// for tests, not statistics of any carrier.
type profile struct {
	name string
	// outcomes are what numbers in 010-1xxx-xxxx end in; empty is always 1000.
	alimtalk, sms []share
	// drawn switches drawn latencies, and drawn report delays for 010-1xxx.
	drawn bool
	// slow and slowReport multiply latency and report delay; 0 is 1.
	slow, slowReport float64
	// Shares of requests, in percent, that meet a fault of the wire.
	http5xx, http429, resetBefore, resetAfter, stall float64
	// down names a product whose every request gets 503.
	down Product
}

// share is a result code and how often it is drawn, in percent.
type share struct {
	code    string
	percent float64
}

var (
	healthyAlimtalk = []share{
		{"1000", 92}, {"3018", 4}, {"3019", 2}, {"3020", 1.3}, {"3005", 0.3}, {"3012", 0.2}, {"3016", 0.2},
	}
	healthySMS = []share{
		{"1000", 97.5}, {"2003", 0.8}, {"2005", 0.3}, {"3001", 0.6}, {"3003", 0.3}, {"3006", 0.2}, {"3012", 0.2}, {"1001", 0.1},
	}
	badAlimtalk = []share{
		{"1000", 77.2}, {"3012", 15}, {"3018", 4}, {"3019", 2}, {"3020", 1.3}, {"3005", 0.3}, {"3016", 0.2},
	}
)

var profiles = []profile{
	{name: "ideal"},
	{name: "healthy", alimtalk: healthyAlimtalk, sms: healthySMS, drawn: true},
	{name: "badday", alimtalk: badAlimtalk, sms: healthySMS, drawn: true, http5xx: 5, http429: 5},
	{name: "kakao_down", alimtalk: healthyAlimtalk, sms: healthySMS, drawn: true, down: Alimtalk},
	{name: "sms_down", alimtalk: healthyAlimtalk, sms: healthySMS, drawn: true, down: SMS},
	{name: "slow", alimtalk: healthyAlimtalk, sms: healthySMS, drawn: true, slow: 10, slowReport: 30},
	{name: "flaky_net", alimtalk: healthyAlimtalk, sms: healthySMS, drawn: true, resetBefore: 2, resetAfter: 2, stall: 1},
}

func profileOf(name string) (*profile, bool) {
	if name == "" {
		name = "ideal"
	}
	i := slices.IndexFunc(profiles, func(p profile) bool { return p.name == name })
	if i < 0 {
		return nil, false
	}
	return &profiles[i], true
}

// Profiles returns the names that Config.Profile may have.
func Profiles() string {
	var names []string
	for i := range profiles {
		names = append(names, profiles[i].name)
	}
	return strings.Join(names, ", ")
}

// noisy reports whether the profile draws faults of the wire.
func (p *profile) noisy() bool { return p.http5xx+p.http429+p.resetBefore+p.resetAfter+p.stall > 0 }

// fault draws what happens to one request.
func (p *profile) fault(r *rand.Rand) (f fault, throttle, stall bool) {
	x := r.Float64() * 100
	for _, c := range []struct {
		percent float64
		f       fault
	}{{p.http5xx, faultHTTP500}, {p.resetBefore, faultReset}, {p.resetAfter, faultAcceptReset}} {
		if x < c.percent {
			return c.f, false, false
		}
		x -= c.percent
	}
	if x < p.http429 {
		return faultNone, true, false
	}
	return faultNone, false, x-p.http429 < p.stall
}

// lognormal draws around a median.
func lognormal(r *rand.Rand, median time.Duration, sigma float64) time.Duration {
	return time.Duration(float64(median) * math.Exp(sigma*r.NormFloat64()))
}

func uniform(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

func times(d time.Duration, factor float64) time.Duration {
	if factor == 0 {
		return d
	}
	return time.Duration(float64(d) * factor)
}

// latency draws the time to an answer: lognormal, at most 5 s, and a stall of
// 3–12 s for one request in a thousand.
func (p *profile) latency(r *rand.Rand, product Product, stall bool) time.Duration {
	if !p.drawn {
		return 0
	}
	if stall || r.Float64() < 0.001 {
		return uniform(r, 3*time.Second, 12*time.Second)
	}
	d := lognormal(r, 270*time.Millisecond, 0.40)
	if product == Alimtalk {
		d = lognormal(r, 180*time.Millisecond, 0.35)
	}
	return times(min(d, 5*time.Second), p.slow)
}

// reportDelay draws the time to a report. The long tails belong to drawn
// numbers only: a magic number promises what its mode says.
func (p *profile) reportDelay(r *rand.Rand, product Product, tail bool) time.Duration {
	x := r.Float64()
	d := lognormal(r, 3*time.Second, 0.9)
	if product == Alimtalk {
		d = lognormal(r, 1500*time.Millisecond, 0.8)
	}
	switch {
	case !tail:
	case product == Alimtalk && x < 0.01:
		d = uniform(r, time.Minute, 10*time.Minute)
	case product == SMS && x < 0.02:
		d = uniform(r, time.Minute, time.Hour)
	}
	return times(d, p.slowReport)
}

// outcome draws a result code.
func (p *profile) outcome(r *rand.Rand, product Product) string {
	shares := p.sms
	if product == Alimtalk {
		shares = p.alimtalk
	}
	x := r.Float64() * 100
	for _, s := range shares {
		if x < s.percent {
			return s.code
		}
		x -= s.percent
	}
	return "1000"
}
