package stream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

func TestABatchWaitsForMoreOnlyInBusyTimes(t *testing.T) {
	t.Parallel()
	const each = time.Millisecond // how often a message comes after the first
	for name, tt := range map[string]struct {
		there  int // beside the first
		busy   bool
		linger time.Duration
		batch  int
		close  bool

		want int
		took time.Duration
	}{
		"alone":                     {0, false, linger, 10, false, 1, 0},
		"what is there":             {4, false, linger, 10, false, 5, 0},
		"no more than a batch":      {20, false, linger, 10, false, 10, 0},
		"busy and full":             {20, true, linger, 10, false, 10, 0},
		"busy fills up":             {2, true, linger, 6, false, 6, 3 * each},
		"busy until it has waited":  {2, true, linger + each/2, 100, false, 8, linger + each/2},
		"busy without lingering":    {2, true, 0, 100, false, 3, 0},
		"a batch of one never does": {5, true, linger, 1, false, 1, 0},
		"the end of the queue":      {2, true, linger, 100, true, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				queue := make(chan *Msg[event.Step], 100)
				for range tt.there {
					queue <- new(Msg[event.Step])
				}
				if tt.close {
					close(queue)
				} else {
					go func() {
						for range 20 {
							time.Sleep(each)
							queue <- new(Msg[event.Step])
						}
					}()
				}
				defer time.Sleep(30 * each) // until nothing comes any more
				start := time.Now()
				batch := gather(queue, new(Msg[event.Step]), Consumer{Batch: tt.batch, Linger: tt.linger}, tt.busy)
				if took := time.Since(start); len(batch) != tt.want || took != tt.took {
					t.Errorf("a batch of %d after %v, want %d after %v", len(batch), took, tt.want, tt.took)
				}
			})
		})
	}
}

// What one process holds and has not handled is delivered again when that takes
// too long.
func TestAProcessHoldsAboutAsManyEventsAsItsBuffer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		c    Consumer
		want int
	}{
		{Consumer{Stream: Triggers, Buffer: 1024}, 1024},
		{Consumer{Stream: Triggers, Buffer: 2}, 64},
		{Consumer{Stream: Steps, Buffer: 512}, 64},
		{Consumer{Stream: Deliveries, Buffer: 32 * 100}, 100},
	} {
		if got := tt.c.prefetch(); got != tt.want {
			t.Errorf("%s with room for %d events prefetches %d messages, want %d", tt.c.Stream, tt.c.Buffer, got, tt.want)
		}
	}
}
