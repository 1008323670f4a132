package appointment

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWhatHappenedIsReadFromWhereItStands(t *testing.T) {
	t.Parallel()
	first, other := &When{Date: "2026-12-01"}, &When{Date: "2026-12-02"}
	state := func(s Status) *State { return &State{Status: s, When: first} }
	for _, c := range []struct {
		known  *State
		stands Status
		when   *When
		want   Kind
	}{
		{nil, HasRequested, first, Requested},
		{nil, Scheduled, first, Booked},
		{nil, HasCheckedIn, first, CheckedIn},
		{nil, HasCompleted, first, Completed},
		{nil, HasNotShown, nil, NoShow},
		{nil, HasCancelled, nil, Cancelled},
		{state(HasRequested), HasRequested, other, Edited},
		{state(HasRequested), Scheduled, other, Booked},
		{state(HasCancelled), Scheduled, first, Booked},
		{state(HasNotShown), Scheduled, other, Booked},
		{state(Scheduled), Scheduled, other, Rescheduled},
		{state(Scheduled), Scheduled, first, Edited},
		{state(Scheduled), Scheduled, nil, Edited},
		{state(Scheduled), HasRequested, first, Edited},
		{state(HasCheckedIn), Scheduled, first, Edited},
		{state(HasCompleted), Scheduled, other, Rescheduled},
		{state(Scheduled), HasCheckedIn, first, CheckedIn},
		{state(HasCheckedIn), HasCompleted, first, Completed},
		{state(HasCompleted), HasCompleted, other, Edited},
		{state(HasNotShown), HasCompleted, first, Completed},
		{state(Scheduled), HasNotShown, first, NoShow},
		{state(HasCompleted), HasCancelled, first, Cancelled},
	} {
		if got := Became(c.known, c.stands, c.when); got != c.want {
			t.Errorf("%+v, now %s at %v: %s, want %s", c.known, c.stands, c.when, got, c.want)
		}
	}
}

// What a source says of where an appointment stands is where it stands, whatever
// kind was made of it and in whatever order the words come.
func TestTheNewestWordOfAStandingSourceHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		said := rapid.SliceOfN(rapid.SampledFrom(Statuses), 1, 6).Draw(t, "said")
		order := rapid.Permutation(numbers(len(said))).Draw(t, "order")
		var heard []Change
		for _, i := range order {
			c := Change{Rank: Rank{At: time.Unix(int64(i), 0)}, Stands: said[i], When: &When{Date: "2026-12-0" + string(rune('1'+i))}}
			c.Kind = Became(Before(heard, c.Rank), c.Stands, c.When)
			if c.Kind == "" {
				t.Fatalf("%s is nothing that happened", c.Stands)
			}
			heard = append(heard, c)
		}
		newest := len(said) - 1
		if got := Fold(heard); got.Status != said[newest] || got.When.Date != "2026-12-0"+string(rune('1'+newest)) {
			t.Fatalf("%v in the order %v: %+v", said, order, got)
		}
	})
}

func TestWhatIsKnownIsNotNews(t *testing.T) {
	t.Parallel()
	known := State{Status: Scheduled, When: &When{Date: "2026-12-01"}, Surgery: "교정"}
	for _, c := range []struct {
		Change
		want bool
	}{
		{Change{Stands: Scheduled}, false},
		{Change{Stands: Scheduled, When: &When{Date: "2026-12-01"}, Surgery: new("교정")}, false},
		{Change{Kind: Edited}, false},
		{Change{Stands: HasCancelled}, true},
		{Change{Stands: Scheduled, When: &When{Date: "2026-12-02"}}, true},
		{Change{Stands: Scheduled, Surgery: new("")}, true},
	} {
		if got := c.Says(known); got != c.want {
			t.Errorf("%+v: %t", c.Change, got)
		}
	}
}

func numbers(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}
