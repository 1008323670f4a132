package workflow

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// Arrival is a run's coming to a node.
type Arrival struct {
	Node string
	At   time.Time
	// Handle is set where the node was answered: the way out that is taken.
	Handle string
}

// Rest is a node that a run comes to later, or waits in: the world is looked
// at then, not now.
type Rest struct {
	Node string
	At   time.Time
	// Event ends the rest before At; the way out is then "event", else, at At,
	// "timeout". It is "" for a node that only has not been reached.
	Event string
	// Soon says that Event has happened already: it is looked at at once.
	Soon bool
}

// Ending is a way that leads no further, and why.
type Ending struct {
	Node   string
	Reason string // exit, end, no_date, no_branch
}

// Moment is what a walk knows. The same moment gives the same walk.
type Moment struct {
	Now time.Time
	// Zone is the clinic's, and SendAt its time of day for delays in days.
	Zone   *time.Location
	SendAt Clock
	World  World
	// Date reads a date or time of the event by its pointer.
	Date func(pointer string) (time.Time, bool)
	// Calendar has the days on which the clinic works.
	Calendar *Calendar
	// Subject is whom a split is stable for.
	Subject string
	// Been are the nodes that the run has passed; it passes none twice.
	Been map[string]bool
	// Answers are the ways that were taken already, by node: they are taken
	// again, whatever the world is like by now.
	Answers map[string]Answer
}

// Answer is the way out of a node that a run took.
type Answer struct {
	Handle string `json:"handle"`
	// At is set where a wait was over: the run goes on from then.
	At time.Time `json:"at,omitzero"`
}

// Walked is what a walk found: messages with their times, what is to be looked
// at later, and where it ended.
type Walked struct {
	Messages []Arrival
	Rests    []Rest
	Endings  []Ending
	// Passed are the nodes that were passed, for the next walk's Been.
	Passed []string
	// Answers are the ways that were chosen.
	Answers map[string]Answer
}

// Walk leads a run on from where it stands, as far as can be said at m.Now.
// Several ways are walked in the order of their times, those of one time in
// the order of the drawing. v must have passed [CheckVisual].
func Walk(v *Visual, from []Arrival, m Moment) Walked {
	w := &walker{v: v, m: m, been: map[string]bool{}}
	maps.Copy(w.been, m.Been)
	w.queue = slices.Clone(from)
	for len(w.queue) > 0 {
		slices.SortStableFunc(w.queue, func(a, b Arrival) int { return a.At.Compare(b.At) })
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.arrive(next)
	}
	return w.out
}

type walker struct {
	v     *Visual
	m     Moment
	been  map[string]bool
	queue []Arrival
	out   Walked
}

func (w *walker) arrive(a Arrival) {
	n, known := w.v.way(a.Node)
	if !known || w.been[a.Node] && a.Handle == "" {
		return // joined: whoever came first went on
	}
	if a.Handle != "" { // an answered wait
		w.leave(a, a.Handle)
		return
	}
	if answer, given := w.m.Answers[a.Node]; given {
		w.been[a.Node] = true
		w.out.Passed = append(w.out.Passed, a.Node)
		if !answer.At.IsZero() {
			a.At = answer.At
		}
		w.leave(a, answer.Handle)
		return
	}
	if a.At.After(w.m.Now) && (n.Kind == KindCondition || n.Kind == KindWait) {
		w.out.Rests = append(w.out.Rests, Rest{Node: a.Node, At: a.At})
		return // it is passed only when it is reached
	}
	w.been[a.Node] = true
	w.out.Passed = append(w.out.Passed, a.Node)
	switch n.Kind {
	case KindTrigger:
		w.leave(a, "")
	case KindMessage:
		w.out.Messages = append(w.out.Messages, a)
		w.leave(a, "")
	case KindDelay:
		at, ok := time.Time{}, n.sound
		if ok {
			at, ok = w.after(a.At, n.delay)
		}
		if !ok {
			w.end(a.Node, "no_date")
			return
		}
		a.At = at
		w.leave(a, "")
	case KindCondition:
		w.choose(a, w.branch(n))
	case KindSplit:
		w.choose(a, w.share(n))
	case KindWait:
		at, ok := time.Time{}, n.sound
		if ok {
			at, ok = w.after(a.At, n.wait.Timeout)
		}
		if !ok {
			w.end(a.Node, "no_date")
			return
		}
		w.out.Rests = append(w.out.Rests, Rest{Node: a.Node, At: at, Event: n.wait.Event})
	case KindExit:
		w.end(a.Node, "exit")
	case KindNote:
	}
}

// choose takes a way and keeps that it did.
func (w *walker) choose(a Arrival, handle string) {
	if w.out.Answers == nil {
		w.out.Answers = map[string]Answer{}
	}
	w.out.Answers[a.Node] = Answer{Handle: handle}
	w.leave(a, handle)
}

// leave follows the edges of one way out; "" is every edge.
func (w *walker) leave(a Arrival, handle string) {
	ways := 0
	n, _ := w.v.way(a.Node)
	for _, e := range n.edges {
		if handle == "" || e.Handle == handle {
			ways++
			w.queue = append(w.queue, Arrival{Node: e.Target, At: a.At})
		}
	}
	switch {
	case ways > 0:
	case handle == "":
		w.end(a.Node, "end")
	default:
		w.end(a.Node, "no_branch")
	}
}

func (w *walker) end(node, reason string) {
	w.out.Endings = append(w.out.Endings, Ending{node, reason})
}

// after returns when a delay that begins at t is over.
func (w *walker) after(t time.Time, d DelayData) (time.Time, bool) {
	clock := w.m.SendAt
	if d.At != nil {
		clock = *d.At
	}
	sign := 1
	if d.Before {
		sign = -1
	}
	if d.Field != "" {
		if w.m.Date == nil {
			return t, false
		}
		at, ok := w.m.Date(d.Field)
		if !ok {
			return t, false
		}
		t = at
	}
	switch {
	case d.Seconds != nil:
		return t.Add(time.Duration(sign**d.Seconds) * time.Second), true
	case d.Minutes != nil:
		return t.Add(time.Duration(sign**d.Minutes) * time.Minute), true
	case d.Hours != nil:
		return t.Add(time.Duration(sign**d.Hours) * time.Hour), true
	case d.Days != nil:
		return clock.On(t, sign**d.Days, w.m.Zone), true
	case d.BusinessDays != nil:
		return clock.On(t, w.m.Calendar.Add(t, sign**d.BusinessDays, w.m.Zone), w.m.Zone), true
	case d.Until != nil:
		at := d.Until.On(t, 0, w.m.Zone)
		if at.Before(t) {
			at = d.Until.On(t, 1, w.m.Zone)
		}
		return at, true
	case d.At != nil && d.Field != "":
		return clock.On(t, 0, w.m.Zone), true
	}
	return t, d.Field != ""
}

func (w *walker) branch(n *way) string {
	for _, c := range n.condition {
		if c.Expression == nil {
			continue
		}
		if yes, _ := c.Holds(w.m.World); yes {
			return c.handle
		}
	}
	return n.otherwise
}

// share picks a branch by a hash of whom it is for and where: the same in
// every run and version, and unlike that of another node.
func (w *walker) share(n *way) string {
	d := n.split
	if !n.sound {
		return "else"
	}
	sum := sha256.Sum256([]byte(w.m.Subject + "\x00" + n.ID))
	at := int(binary.BigEndian.Uint64(sum[:8]) % 100)
	for _, b := range d.Branches {
		if at -= b.Percent; at < 0 {
			return b.Handle
		}
	}
	return d.Branches[len(d.Branches)-1].Handle
}
