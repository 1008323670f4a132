package store

import "time"

// Timing holds the numbers of the send protocol (reliability.md §5.3). They
// scale together where a simulator announces a faster clock.
type Timing struct {
	R time.Duration // a request is given up after R; default 10 s
	G time.Duration // and must be on the wire within G of its claim; default 2 s
	D time.Duration // no request reaches the gateway later than D after it was written; default 30 s
	V time.Duration // a query sees an accepted request after V; default 120 s
	W time.Duration // the gateway remembers a key for W; default 600 s
	// Slack covers clocks that run apart; default 8 s.
	Slack time.Duration
	// Lease is how long a published step or trigger may stay unclaimed before
	// release looks at it again; default 60 s.
	Lease time.Duration
	// ReportTimeout ends the wait for a report; default 96 h, more than the
	// 80 h that NHN keeps trying an LMS.
	ReportTimeout time.Duration
	// UnknownDeadline parks what could not be found out; default 6 h.
	UnknownDeadline time.Duration
}

// DefaultTiming is what a real gateway needs.
var DefaultTiming = Timing{
	R: 10 * time.Second, G: 2 * time.Second, D: 30 * time.Second, V: 120 * time.Second,
	W: 600 * time.Second, Slack: 8 * time.Second, Lease: 60 * time.Second,
	ReportTimeout: 96 * time.Hour, UnknownDeadline: 6 * time.Hour,
}

// Scaled divides every number by n, for a simulator whose clock runs n times
// as fast.
func (t Timing) Scaled(n float64) Timing {
	t = t.withDefaults()
	for _, d := range []*time.Duration{&t.R, &t.G, &t.D, &t.V, &t.W, &t.Slack, &t.Lease, &t.ReportTimeout, &t.UnknownDeadline} {
		*d = time.Duration(float64(*d) / n)
	}
	return t
}

// StaleClaim is when a claim without an outcome has surely left the wire.
func (t Timing) StaleClaim() time.Duration { return t.R + t.G + t.D }

// Quiet is how long after the last claim an absence begins to count.
func (t Timing) Quiet() time.Duration { return t.G + t.D + t.V }

func (t Timing) withDefaults() Timing {
	d := DefaultTiming
	for _, p := range []struct{ have, def *time.Duration }{
		{&t.R, &d.R},
		{&t.G, &d.G},
		{&t.D, &d.D},
		{&t.V, &d.V},
		{&t.W, &d.W},
		{&t.Slack, &d.Slack},
		{&t.Lease, &d.Lease},
		{&t.ReportTimeout, &d.ReportTimeout},
		{&t.UnknownDeadline, &d.UnknownDeadline},
	} {
		if *p.have == 0 {
			*p.have = *p.def
		}
	}
	return t
}
