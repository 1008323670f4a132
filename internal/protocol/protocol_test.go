package protocol

import (
	"strings"
	"testing"
)

// published are the counts of states of reliability.md §5.4, those of mutants
// up to the first violation.
var published = map[string]int{
	"direct":                                  696_949,
	"direct, refusals burn the key":           1_236_949,
	"direct, no key":                          110_750,
	"direct, gateway cannot be asked":         52_378,
	"direct, no key, gateway cannot be asked": 6_987,
	"direct, duplicate key counts as sent":    677_151,

	"cut-off only when a retry is scheduled": 15_457,
	"no write guard":                         7_366,
	"no quiet period":                        1_493,
	"retry past the key window":              33_076,
	"duplicate key counts as failed":         7_369,
	"fallback on a timeout":                  1_299,
	"a refusal speaks for earlier requests":  7_547,
	"no intent before the write":             8_858,
	"the network delays beyond D":            6_556,
	"keyless retries":                        4_743,
}

// recount fails if a variant has other states than those published.
func recount(t *testing.T, v Variant, r Report) {
	t.Helper()
	if want, ok := published[v.Name]; ok && r.States != want {
		t.Errorf("%d states, want the published %d: this is another protocol", r.States, want)
	}
}

// In every world, with the recorder's code deciding as the model's.
func TestProtocolKeepsItsPromises(t *testing.T) {
	t.Parallel()
	for _, v := range Protocols {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			r := explore(t, v)
			t.Logf("%d states", r.States)
			if r.Broken != "" {
				t.Errorf("broken: %s\n%s", r.Broken, strings.Join(r.Trace, "\n"))
			}
			recount(t, v, r)
		})
	}
}

func TestEveryRuleIsNeeded(t *testing.T) {
	t.Parallel()
	for _, v := range Mutants {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			caught(t, v)
		})
	}
}

// What an author may choose breaks the promise, which is why the promise
// excludes it and the default is to park.
func TestChoicesAreOutsideThePromise(t *testing.T) {
	t.Parallel()
	for _, v := range Choices {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			caught(t, v)
		})
	}
}

// longest is the length from which a story is no longer short.
const longest = 16

func caught(t *testing.T, v Variant) {
	t.Helper()
	r := v.Explore()
	t.Logf("%d states, then broken: %s\n%s", r.States, r.Broken, strings.Join(r.Trace, "\n"))
	if r.Broken != v.Breaks {
		t.Errorf("broken: %q, want %q", r.Broken, v.Breaks)
	}
	if len(r.Trace) == 0 || len(r.Trace) > longest {
		t.Errorf("a story of %d moves, want 1 to %d", len(r.Trace), longest)
	}
	recount(t, v, r)
}

func TestPublishedCountsAreAllChecked(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, v := range append(append([]Variant(nil), Protocols...), Mutants...) {
		if names[v.Name] {
			t.Errorf("two variants are named %q", v.Name)
		}
		names[v.Name] = true
	}
	for name := range published {
		if !names[name] {
			t.Errorf("no variant is named %q", name)
		}
	}
}

// The rules without which nothing is left of a protocol are all tried.
func TestEveryRuleHasItsMutant(t *testing.T) {
	t.Parallel()
	for rule := Nothing + 1; rule <= DelayBound; rule++ {
		if r := Explore(mutant(rule)); r.Broken == "" {
			t.Errorf("nothing breaks without rule %d", rule)
		}
	}
}

// counter is a model of three moves, one of which leads nowhere.
type counter struct{ trap int }

func (counter) Start() int           { return 0 }
func (counter) Clock(s int) int      { return s }
func (counter) Ended(s int) bool     { return s == 5 }
func (counter) Bounded(s int) bool   { return s > 5 }
func (counter) Broken(s int) Promise { return map[int]Promise{4: Forward}[s] }

func (c counter) Moves(s int, to func(int, Move)) {
	if s < 3 {
		to(s+1, Move{World, "one"})
	}
	if s == c.trap-2 {
		to(s+2, Move{World, "two"})
	}
	if s == 3 {
		to(5, tick)
	}
	to(s, tick)
}

func TestExplorerTellsTheShortestStory(t *testing.T) {
	t.Parallel()
	r := Explore(counter{trap: 4})
	if want := "t=0 world: one,t=1 world: one,t=2 world: two"; r.Broken != Forward || strings.Join(r.Trace, ",") != want {
		t.Errorf("%s after %q, want %s after %s", r.Broken, r.Trace, Forward, want)
	}
	r = Explore(counter{trap: 3})
	if r.Broken != "" || r.States != 5 {
		t.Errorf("%+v, want 5 states that break nothing", r)
	}
}
