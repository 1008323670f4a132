package simulator

import (
	"math/rand/v2"
	"sync"
	"time"
)

// report is a result and when it comes, counted from acceptance.
type report struct {
	after time.Duration
	code  string
}

// plan is what will become of one recipient, fixed when it is accepted.
type plan struct {
	refuse  int           // the answer's code instead of acceptance, or 0
	release time.Duration // until a scheduled message goes out
	reports [2]report
	n       int // reports that come
	hook    anomaly
}

func (p *plan) report(after time.Duration, code string) {
	p.reports[p.n] = report{after, code}
	p.n++
}

// What a drawn stream is for; each has its own, so that drawing one more
// number for one purpose leaves the others as they were.
const (
	drawPlan = iota + 1
	drawFault
	drawLatency
	drawHook
	drawResend
)

// dice returns the stream of random numbers that belongs to a purpose, an app
// key, a number and how often it was tried.
func (s *Simulator) dice(purpose uint64, app, no string, attempt uint32) *rand.Rand {
	return rand.New(rand.NewPCG(mix(s.seed^purpose<<56), mix(fold(app, no)+uint64(attempt))))
}

// fold hashes words, the same way in every process (FNV-1a).
func fold(words ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, w := range words {
		for i := range len(w) {
			h = (h ^ uint64(w[i])) * 1099511628211
		}
		h = (h ^ 0xFF) * 1099511628211 // no word contains it
	}
	return h
}

// visits counts how often something was tried, and when first.
type visits struct {
	mu    sync.Mutex
	n     map[uint64]uint32
	first map[uint64]time.Time
}

// next returns 0 for the first visit of who, then 1, 2, ….
func (v *visits) next(who ...string) uint32 {
	key := fold(who...)
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.n[key]
	v.n[key] = n + 1
	return n
}

// since returns when who was first seen, now if that is now.
func (v *visits) since(now time.Time, who ...string) time.Time {
	key := fold(who...)
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.first[key]
	if !ok {
		t = now
		v.first[key] = now
	}
	return t
}

func (v *visits) reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n, v.first = make(map[uint64]uint32), make(map[uint64]time.Time)
}

// planFor fixes what becomes of one recipient.
func (s *Simulator) planFor(c *call, k kind, no string) plan {
	p := s.draw(c, k, no)
	if w, ok := c.set.webhook(c.app); ok && w.BeforeResponse && p.n > 0 {
		p.reports[0].after = 0
	}
	return p
}

func (s *Simulator) draw(c *call, k kind, no string) (p plan) {
	product := k.product()
	sc, isMagic := magic(product, no)
	drawn := probabilistic(no) && c.set.profile.drawn
	if !isMagic && !drawn {
		p.report(max(c.set.reportDelay, 0), "1000")
		return p
	}
	attempt := s.visits.next("plan", string(product), c.app, no)
	r := s.dice(drawPlan, c.app, no, attempt)
	delay := c.set.profile.reportDelay(r, product, drawn)
	if c.set.reportDelay != 0 {
		delay = max(c.set.reportDelay, 0)
	}
	if drawn {
		// One text in a thousand is tried until it expires (sending-policy).
		if product == SMS && r.Float64() < 0.001 {
			p.report(expiryOf(k), "2000")
			return p
		}
		p.report(delay, c.set.profile.outcome(r, product))
		return p
	}
	p.scenario(k, sc, attempt, delay, &c.set.rules)
	return p
}

// scenario fills in the plan of a magic number.
func (p *plan) scenario(k kind, sc scenario, attempt uint32, delay time.Duration, rules *Rules) {
	product := k.product()
	o := outcomeOf(product, sc.outcome)
	switch sc.mode {
	case modeReport, modeReject, modeLate, modeVeryLate, modeFlaky:
		if o.refuse != 0 && (sc.mode == modeReject || o.report == "") {
			p.refuse = o.refuse
			return
		}
	case modeHook:
		p.hook = anomaly(sc.outcome) + hookTripled
		if p.hook == hookEarly {
			delay = 0
		}
		if p.hook == hookConflict {
			p.report(delay, conflicting[product])
			delay += conflictGap
		}
		p.report(delay, "1000")
		return
	}
	switch sc.mode {
	case modeReport, modeReject:
		p.report(delay, o.report)
	case modeLate:
		p.report(lateAfter, o.report)
	case modeVeryLate:
		if product == SMS {
			p.report(expiryOf(k), "2000")
			return
		}
		p.report(veryLateAfter, o.report)
	case modeSilent:
	case modeFlaky:
		if attempt >= 2 {
			p.report(delay, "1000")
			return
		}
		p.report(delay, o.report)
	case modeThrottle:
		if sc.outcome == throttleQuota && product == Alimtalk {
			p.report(delay, rules.dailyCode())
			return
		}
		p.report(delay, "1000")
	default:
		p.report(delay, "1000")
	}
}

func expiryOf(k kind) time.Duration {
	if k == kindLMS {
		return lmsExpiry
	}
	return smsExpiry
}

func (r *Rules) dailyCode() string {
	if r.KakaoDailyCode == "" {
		return "4156"
	}
	return r.KakaoDailyCode
}
