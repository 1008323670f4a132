package protocol

import (
	"strings"
	"testing"
)

// Every interleaving of two changes of plan with claims, retries, fallbacks
// and messages of any age: nothing of a superseded plan is written after the
// acknowledgement, but what it named.
func TestAChangeWins(t *testing.T) {
	t.Parallel()
	r := Explore(Changing{Changes: 2, Attempts: 2})
	t.Logf("%d states", r.States)
	if r.Broken != "" {
		t.Errorf("broken: %s\n%s", r.Broken, strings.Join(r.Trace, "\n"))
	}
}

func TestEveryRuleOfAChangeIsNeeded(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]ChangeRule{
		"claims look before they lock":        ClaimLocksRun,
		"messages of any epoch claim":         MessageFence,
		"steps of any epoch are claimed":      RunFence,
		"an SMS follows whatever the plan is": FallbackFence,
		"what is in flight is read too early": NamesUnderLock,
		"a change is acknowledged too early":  AckAfterCommit,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Explore(Changing{Changes: 2, Attempts: 2, Without: rule})
			t.Logf("%d states, then broken: %s\n%s", r.States, r.Broken, strings.Join(r.Trace, "\n"))
			if r.Broken != ChangeWins {
				t.Errorf("broken: %q, want %q", r.Broken, ChangeWins)
			}
			if len(r.Trace) == 0 || len(r.Trace) > longest {
				t.Errorf("a story of %d moves, want 1 to %d", len(r.Trace), longest)
			}
		})
	}
}
