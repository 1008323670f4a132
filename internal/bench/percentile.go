package bench

import (
	"math"
	"slices"
	"time"
)

// Percentile returns the nearest-rank percentile of sorted values: the
// smallest value that at least p percent of them do not exceed. It is exact,
// and 0 where there is none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Latency is what a set of durations comes to. Its JSON is in milliseconds.
type Latency struct {
	P50 Millis `json:"p50_ms"`
	P99 Millis `json:"p99_ms"`
	Max Millis `json:"max_ms"`
	// N is how many were measured.
	N int `json:"n"`
}

// Millis is a number of milliseconds.
type Millis float64

func millis(d time.Duration) Millis { return Millis(float64(d.Microseconds()) / 1000) }

// Summarize sorts the durations in place.
func Summarize(d []time.Duration) Latency {
	slices.Sort(d)
	return Latency{P50: millis(Percentile(d, 50)), P99: millis(Percentile(d, 99)), Max: millis(Percentile(d, 100)), N: len(d)}
}

// number is what a median can be taken of.
type number interface{ ~int | ~int64 | ~float64 }

// median returns the middle of the values, the mean of the middle two where
// their number is even, and 0 where there is none.
func median[T number](v []T) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}
