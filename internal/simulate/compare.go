package simulate

import (
	"cmp"
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// ChangeKind is how a message differs between two versions.
type ChangeKind string

// The kinds of change.
const (
	More   ChangeKind = "more"   // only the new version sends it
	Less   ChangeKind = "less"   // only the old version does
	Later  ChangeKind = "later"  // the new one sends it later
	Sooner ChangeKind = "sooner" // or sooner
	Text   ChangeKind = "text"   // at the same time, with another text
)

// Change is one message of one subject that differs.
type Change struct {
	Kind          ChangeKind
	Subject       *store.Subject
	Before, After *Step // nil where there is none
}

// Difference is how two versions treat the same cohort.
type Difference struct {
	// Subjects that are treated alike, and those that are not.
	Alike, Unlike int
	// Messages of both that are the same.
	Same    int
	Changes []Change // by subject, then by time
}

// Count counts changes of a kind, and the subjects that have one.
func (d Difference) Count(k ChangeKind) (messages, subjects int) {
	var last *store.Subject
	for _, c := range d.Changes {
		if c.Kind == k {
			messages++
			if c.Subject != last {
				subjects, last = subjects+1, c.Subject
			}
		}
	}
	return messages, subjects
}

// Compare sets two simulations of the same subjects side by side. Messages are
// the same if their node and channel are; it is what is sent that counts.
func Compare(before, after []Run) (d Difference) {
	for i := range min(len(before), len(after)) {
		changes, same := compare(before[i], after[i])
		d.Same += same
		if len(changes) == 0 {
			d.Alike++
		} else {
			d.Unlike++
		}
		d.Changes = append(d.Changes, changes...)
	}
	return d
}

type messageKey struct {
	node    string
	channel event.Channel
	nth     int
}

func messages(r Run) (keys []messageKey, steps map[messageKey]*Step) {
	steps = map[messageKey]*Step{}
	seen := map[messageKey]int{}
	for i := range r.Steps {
		s := &r.Steps[i]
		if !s.Sent() {
			continue
		}
		k := messageKey{node: s.Node, channel: s.Channel}
		k.nth, seen[k] = seen[k], seen[k]+1
		keys, steps[k] = append(keys, k), s
	}
	return keys, steps
}

func compare(before, after Run) (changes []Change, same int) {
	oldKeys, old := messages(before)
	newKeys, now := messages(after)
	add := func(k ChangeKind, a, b *Step) {
		changes = append(changes, Change{Kind: k, Subject: after.Subject, Before: a, After: b})
	}
	for _, k := range oldKeys {
		a, b := old[k], now[k]
		switch {
		case b == nil:
			add(Less, a, nil)
		case b.At.After(a.At):
			add(Later, a, b)
		case b.At.Before(a.At):
			add(Sooner, a, b)
		case a.Text != b.Text || a.Title != b.Title:
			add(Text, a, b)
		default:
			same++
		}
	}
	for _, k := range newKeys {
		if old[k] == nil {
			add(More, nil, now[k])
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.step().At.UnixNano(), b.step().At.UnixNano()) })
	return changes, same
}

func (c Change) step() *Step {
	if c.After != nil {
		return c.After
	}
	return c.Before
}
