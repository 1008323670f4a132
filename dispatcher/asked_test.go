package dispatcher

import (
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Whoever has an outcome asked for again gives it as long as it had at first.
func TestAskingAgainHasADeadlineOfItsOwn(t *testing.T) {
	t.Parallel()
	r := &Resolver{Timing: store.DefaultTiming}
	now, first := time.Now(), time.Now().Add(-2*store.DefaultTiming.UnknownDeadline)
	for _, c := range []struct {
		name  string
		asked time.Time
		want  bool
	}{
		{"nobody asked again", time.Time{}, true},
		{"asked just now", now, false},
		{"asked long ago", now.Add(-store.DefaultTiming.UnknownDeadline - time.Second), true},
		{"asked before the request of this cycle", first.Add(-time.Hour), true},
	} {
		u := store.Unresolved{State: store.StateUnknown, FirstIntent: first, Asked: c.asked, Now: now}
		if got := r.overdue(u); got != c.want {
			t.Errorf("%s: given up %v, want %v", c.name, got, c.want)
		}
	}
}
