package simulator

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// kst is the zone of every time on NHN's wire, which carries no offset.
var kst = time.FixedZone("KST", 9*60*60)

// ClockState is what GET /__sim/clock announces.
type ClockState struct {
	// Mode is "real", "scaled" or "manual".
	Mode string `json:"mode"`
	// Scale is how many virtual seconds pass in a real one; 0 when manual.
	Scale float64 `json:"scale"`
	// Now is the virtual time at the moment Real of the wall clock.
	Now  time.Time `json:"now"`
	Real time.Time `json:"real"`
	// Stamps is "virtual", or "real" where the wire carries wall-clock times.
	Stamps string `json:"stamps"`
	// Next is when the next report or other event is due, in virtual time;
	// zero while there is none.
	Next time.Time `json:"next,omitzero"`
}

// clock maps the wall clock to virtual time. Changing its pace never moves
// the present back.
type clock struct {
	real  bool // stamps are wall-clock times
	state atomic.Pointer[pace]
	mu    sync.Mutex    // serialises changes
	moved chan struct{} // tells Run to compute its timer anew
}

// pace is one immutable stretch of the mapping.
type pace struct {
	virtual time.Time // at the moment from
	from    time.Time
	scale   float64 // 0 stands still
}

func (p *pace) at(t time.Time) time.Time {
	if p.scale == 0 {
		return p.virtual
	}
	if p.scale == 1 {
		return p.virtual.Add(t.Sub(p.from))
	}
	return p.virtual.Add(time.Duration(float64(t.Sub(p.from)) * p.scale))
}

func newClock(c Config) *clock {
	k := &clock{real: c.RealStamps, moved: make(chan struct{}, 1)}
	start := c.Start
	if start.IsZero() {
		start = time.Now()
	}
	scale := c.Scale
	if scale <= 0 {
		scale = 1
	}
	if c.Manual {
		scale = 0
	}
	k.state.Store(&pace{virtual: start.Round(0), from: time.Now(), scale: scale})
	return k
}

// now returns the virtual time.
func (k *clock) now() time.Time { return k.state.Load().at(time.Now()) }

// stamp returns what the wire shows for the virtual time v.
func (k *clock) stamp(v time.Time) int64 {
	if k.real {
		return time.Now().UnixNano()
	}
	return v.UnixNano()
}

// stampNow returns what the wire shows for the present.
func (k *clock) stampNow() int64 { return k.stamp(k.now()) }

// wall returns how long the virtual duration d lasts on the wall clock; ok is
// false while time stands still.
func (k *clock) wall(d time.Duration) (w time.Duration, ok bool) {
	p := k.state.Load()
	if p.scale == 0 {
		return 0, false
	}
	if p.scale == 1 {
		return d, true
	}
	return time.Duration(float64(d) / p.scale), true
}

// sleep waits for a virtual duration, or until ctx ends. While time stands
// still it waits as long on the wall clock, so that an answer always comes.
func (k *clock) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	w, ok := k.wall(d)
	if !ok {
		w = d
	}
	t := time.NewTimer(w)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change replaces the pace from now on and moves the present forward by ahead.
func (k *clock) change(scale float64, ahead time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.state.Store(&pace{virtual: k.state.Load().at(now).Add(ahead), from: now, scale: scale})
	k.poke()
}

// poke makes Run look at the clock again.
func (k *clock) poke() {
	select {
	case k.moved <- struct{}{}:
	default:
	}
}

func (k *clock) announce() ClockState {
	p, now := k.state.Load(), time.Now()
	st := ClockState{Mode: "scaled", Scale: p.scale, Now: p.at(now).In(kst), Real: now.In(kst), Stamps: "virtual"}
	switch p.scale {
	case 0:
		st.Mode = "manual"
	case 1:
		st.Mode = "real"
	}
	if k.real {
		st.Stamps = "real"
	}
	return st
}

// Clock returns the clock's announcement.
func (s *Simulator) Clock() ClockState {
	st := s.clock.announce()
	if next := s.nextDue.Load(); next != math.MaxInt64 {
		st.Next = time.Unix(0, next).In(kst)
	}
	return st
}

// Now returns the virtual time.
func (s *Simulator) Now() time.Time { return s.clock.now() }

// Advance moves virtual time forward by d, in any mode; a negative d is an
// error.
func (s *Simulator) Advance(d time.Duration) error {
	if d < 0 {
		return errors.New("simulator: time cannot be moved back; advance by a positive duration")
	}
	s.clock.change(s.clock.state.Load().scale, d)
	s.settle()
	return nil
}

// SetPace changes how fast virtual time passes: 1 is real time, 0 stands
// still, anything else is the scale; a negative scale is an error.
func (s *Simulator) SetPace(scale float64) error {
	if scale < 0 {
		return errors.New("simulator: the scale cannot be negative; use 0 to stop time, 1 for real time")
	}
	s.clock.change(scale, 0)
	return nil
}
