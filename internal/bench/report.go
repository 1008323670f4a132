package bench

import (
	"runtime"
)

// Report is the medians over runs, the runs, and the ceilings beside them.
type Report struct {
	Machine Machine `json:"machine"`
	Shape   Shape   `json:"shape"`
	// Foreign tells that arrivals are those of [Gateway].Foreign.
	Foreign bool `json:"foreign_gateway"`
	// GatewayLatency is how long the gateway takes to answer.
	GatewayLatency Seconds   `json:"gateway_latency_s"`
	Median         Run       `json:"median"`
	Ceilings       []Ceiling `json:"ceilings"`
	Runs           []*Run    `json:"runs"`
}

// Machine is what a figure depends on that is not ours.
type Machine struct {
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Go   string `json:"go"`
}

func thisMachine() Machine {
	return Machine{CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
}

// NewReport takes the medians. Lost and Doubled are sums: one in any run is
// one too many.
func NewReport(s Shape, runs []*Run) *Report {
	r := &Report{Machine: thisMachine(), Shape: s, Runs: runs, Ceilings: []Ceiling{}}
	m := &r.Median
	m.Calls, m.Accepted = middle(runs, func(r *Run) int { return r.Calls }), middle(runs, func(r *Run) int { return r.Accepted })
	m.Refused, m.Sends = middle(runs, func(r *Run) int { return r.Refused }), middle(runs, func(r *Run) int { return r.Sends })
	m.Fallbacks = middle(runs, func(r *Run) int { return r.Fallbacks })
	m.AcceptedRate = middle(runs, func(r *Run) float64 { return r.AcceptedRate })
	m.SendRate = middle(runs, func(r *Run) float64 { return r.SendRate })
	m.BusySendRate = middle(runs, func(r *Run) float64 { return r.BusySendRate })
	m.CPUPer1000 = middle(runs, func(r *Run) float64 { return r.CPUPer1000 })
	m.Accept = middleLatency(runs, func(r *Run) Latency { return r.Accept })
	m.Trigger = middleLatency(runs, func(r *Run) Latency { return r.Trigger })
	m.Lateness = middleLatency(runs, func(r *Run) Latency { return r.Lateness })
	m.Fallback = middleLatency(runs, func(r *Run) Latency { return r.Fallback })
	m.Answers, m.Usage = map[string]int{}, middleUsage(runs, func(r *Run) Usage { return r.Usage })
	for _, run := range runs {
		m.Lost, m.Doubled = m.Lost+run.Lost, m.Doubled+run.Doubled
		for status, n := range run.Answers {
			m.Answers[status] += n
		}
	}
	return r
}

// Compare puts the ceilings beside the pipeline. At a fixed rate the pipeline
// does what it is asked, which says nothing about what it can, so that there is
// no ratio.
func (r *Report) Compare(list []Ceiling) {
	for _, c := range list {
		if c.PerSecond > 0 && r.Shape.Rate == 0 {
			c.Ratio = r.Median.SendRate / c.PerSecond
		}
		r.Ceilings = append(r.Ceilings, c)
	}
}

// Exact reports whether no run lost or doubled anything.
func (r *Report) Exact() bool { return r.Median.Exact() }

func middle[R any, T number](runs []*R, of func(*R) T) T {
	v := make([]T, len(runs))
	for i, r := range runs {
		v[i] = of(r)
	}
	return median(v)
}

func middleLatency[R any](runs []*R, of func(*R) Latency) Latency {
	return Latency{
		P50: middle(runs, func(r *R) Millis { return of(r).P50 }), P99: middle(runs, func(r *R) Millis { return of(r).P99 }),
		Max: middle(runs, func(r *R) Millis { return of(r).Max }), N: middle(runs, func(r *R) int { return of(r).N }),
	}
}

// middleUsage takes the processes that every run saw.
func middleUsage[R any](runs []*R, of func(*R) Usage) Usage {
	u := Usage{CPU: map[string]float64{}, Memory: map[string]int64{}}
	if len(runs) == 0 {
		return u
	}
	for name := range of(runs[0]).CPU {
		u.CPU[name] = middle(runs, func(r *R) float64 { return of(r).CPU[name] })
		u.Memory[name] = middle(runs, func(r *R) int64 { return of(r).Memory[name] })
	}
	return u
}

// TimersReport is, for each number of waiting steps, the medians over runs.
type TimersReport struct {
	Machine Machine     `json:"machine"`
	Timers  []TimersRow `json:"timers"`
}

// TimersRow is one number of waiting steps.
type TimersRow struct {
	Median Timers    `json:"median"`
	Runs   []*Timers `json:"runs"`
}

// Add takes the medians of the runs with one number of waiting steps; lost and
// doubled are sums.
func (r *TimersReport) Add(runs []*Timers) {
	r.Machine = thisMachine()
	m := Timers{Usage: middleUsage(runs, func(t *Timers) Usage { return t.Usage })}
	for _, run := range runs {
		m.Pending, m.Due, m.Spread = run.Pending, run.Due, run.Spread
		m.Lost, m.Doubled = m.Lost+run.Lost, m.Doubled+run.Doubled
	}
	m.Lateness = middleLatency(runs, func(t *Timers) Latency { return t.Lateness })
	r.Timers = append(r.Timers, TimersRow{m, runs})
}

// Exact reports whether no run lost or doubled anything.
func (r *TimersReport) Exact() bool {
	for _, t := range r.Timers {
		if t.Median.Lost != 0 || t.Median.Doubled != 0 {
			return false
		}
	}
	return true
}
