package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	tests := []struct {
		name string
		of   []time.Duration
		p    float64
		want time.Duration
	}{
		{"none", nil, 50, 0},
		{"one", []time.Duration{7}, 99, 7},
		{"median_of_two_is_the_lower", []time.Duration{1, 2}, 50, 1},
		{"p50", hundred, 50, 50},
		{"p99", hundred, 99, 99},
		{"just_above_p99", hundred, 99.1, 100},
		{"max", hundred, 100, 100},
		{"min", hundred, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Percentile(tt.of, tt.p); got != tt.want {
				t.Errorf("Percentile(%g) = %d, want %d", tt.p, got, tt.want)
			}
		})
	}
}

func TestPercentileIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, 50), func(n int64) time.Duration { return time.Duration(n) }), 1, 200).Draw(t, "values")
		p := rapid.Float64Range(0, 100).Draw(t, "p")
		slices.Sort(values)
		got := Percentile(values, p)
		within, below := 0, 0
		for _, v := range values {
			if v <= got {
				within++
			}
			if v < got {
				below++
			}
		}
		n := float64(len(values))
		if float64(within) < p/100*n-1e-9 || below > 0 && float64(below) >= p/100*n+1e-9 {
			t.Fatalf("%d of %d are at most %d and %d are less, which is not the %g th percentile", within, len(values), got, below, p)
		}
	})
}

func TestSummarizeIsInMilliseconds(t *testing.T) {
	t.Parallel()
	got := Summarize([]time.Duration{3500 * time.Microsecond, 1500 * time.Microsecond, 2 * time.Second})
	if diff := cmp.Diff(Latency{P50: 3.5, P99: 2000, Max: 2000, N: 3}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{4}, 4}, {[]float64{9, 1, 5}, 5}, {[]float64{8, 2, 4, 6}, 5}} {
		before := slices.Clone(tt.of)
		if got := median(tt.of); got != tt.want {
			t.Errorf("median(%v) = %g, want %g", tt.of, got, tt.want)
		}
		if diff := cmp.Diff(before, tt.of); diff != "" {
			t.Errorf("median changed its argument: %s", diff)
		}
	}
}
