package bench

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// evaluate puts together what driver, ledger and gateway saw.
func evaluate(calls []Call, steps []Step, arrivals []Arrival) *Run {
	run := &Run{Calls: len(calls), Answers: map[string]int{}}
	begun := make(map[uuid.UUID]time.Time, len(calls))
	var accept []time.Duration
	first, answered := time.Time{}, time.Time{}
	for i := range calls {
		c := &calls[i]
		if c.Status == 0 {
			run.Answers["none"]++
		} else {
			run.Answers[strconv.Itoa(c.Status)]++
		}
		if !c.Kept() {
			run.Refused++
			continue
		}
		run.Accepted++
		begun[c.Trigger] = c.Begun
		accept = append(accept, c.Answered.Sub(c.Begun))
		if first.IsZero() || c.Begun.Before(first) {
			first = c.Begun
		}
		if c.Answered.After(answered) {
			answered = c.Answered
		}
	}
	run.Accept = Summarize(accept)
	run.AcceptedRate = perSecond(run.Accepted, answered.Sub(first))

	reached := make(map[uuid.UUID]Arrival, len(arrivals))
	slices.SortFunc(arrivals, func(a, b Arrival) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	for _, a := range arrivals {
		if _, twice := reached[a.Root]; twice {
			run.Doubled++
			continue
		}
		reached[a.Root] = a
	}
	var now, late, fell []time.Duration
	found := make(map[uuid.UUID]int, len(begun))
	for _, s := range steps {
		since, ours := begun[s.Trigger]
		a, ok := reached[s.Root]
		if !ours || !ok {
			continue
		}
		found[s.Trigger]++
		switch {
		case s.FellBack:
			run.Fallbacks++
			if s.Node != LaterNode {
				fell = append(fell, a.At.Sub(since))
			}
		case s.Node == LaterNode:
			late = append(late, a.At.Sub(s.Due))
		default:
			now = append(now, a.At.Sub(since))
		}
	}
	for id := range begun {
		run.Lost += max(0, stepsEach-found[id])
	}
	run.Trigger, run.Lateness, run.Fallback = Summarize(now), Summarize(late), Summarize(fell)
	run.Sends = len(arrivals) + run.Fallbacks
	if n := len(arrivals); n > 0 {
		run.SendRate = perSecond(run.Sends, arrivals[n-1].At.Sub(first))
		run.BusySendRate = busiestHalf(arrivals) * float64(run.Sends) / float64(n)
	}
	return run
}

// busiestHalf is the rate in the shortest time in which half of all messages
// arrived: what is sustained, without the start and the wait for late steps.
func busiestHalf(sorted []Arrival) float64 {
	half := len(sorted) / 2
	best := 0.0
	for i := 0; i+half < len(sorted); i++ {
		best = max(best, perSecond(half, sorted[i+half].At.Sub(sorted[i].At)))
	}
	return best
}

func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
