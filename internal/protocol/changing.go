package protocol

// Changing is how a change of plan and the send protocol meet: one run with a
// Kakao message and the SMS that may follow it, dispatchers that claim with
// messages of any age, a recorder, release, and a person who moves or cancels
// what is planned. A move is one hold of the run's row by one transaction, or
// what happens between two.
type Changing struct {
	// Changes is how often the plan changes, at most 2; Attempts how often the
	// message is claimed, at most 2.
	Changes, Attempts int8
	// Without is the rule that is left out; the zero value is the protocol.
	Without ChangeRule
}

// ChangeRule is a rule of [Changing] that a mutant goes without.
type ChangeRule uint8

// The rules.
const (
	EveryRule      ChangeRule = iota
	ClaimLocksRun             // a claim holds the run's row from before it looks
	MessageFence              // a message of another epoch than its step's claims nothing
	RunFence                  // a step of another epoch than its run's is not claimed
	FallbackFence             // an SMS that follows a message of an old plan is born cancelled
	NamesUnderLock            // what is in flight is read under the lock that excludes claims
	AckAfterCommit            // a change is acknowledged once it is committed
)

// piece is a step.
type piece struct {
	state   status // planned, claimed, sent, failed or expired, which stands for cancelled
	there   bool
	attempt int8
	epoch   int8
	of      int8 // the plan that it is of: an SMS is of its message's
}

// hand is a dispatcher with a message.
type hand struct {
	phase   phase // idle; claiming: it holds the run's row; waiting: it may write
	of      int8  // which step
	attempt int8  // of the message, then of the claim
	epoch   int8  // of the message, then of the plan that is sent
	may     bool  // what it saw, where it looked before it locked
}

// The phases of a change.
const (
	noChange   uint8 = iota
	looking          // it read what is in flight, and does not hold the run's row yet
	holding          // it holds the run's row
	unanswered       // it is committed
)

// ChangeState is the whole world. It has no pointer, so that it is its own key.
type ChangeState struct {
	epoch, acked int8
	steps        [2]piece // Kakao, SMS
	messages     [2]uint8 // published, a bit for each attempt and epoch
	hands        [2]hand
	news         answer // the Kakao message's, waiting for the recorder; nowhere: none
	change       uint8
	changes      int8
	named        [2]int8 // the attempt that an answer named, -1: none
	seen         [2]int8 // as the change read it
	broken       bool
}

// Start is a run that was just planned.
func (m Changing) Start() ChangeState {
	s := ChangeState{news: answer(nowhere), named: [2]int8{-1, -1}, seen: [2]int8{-1, -1}}
	s.steps[0].there = true
	return s
}

// Clock is 0: what a change promises holds at any time.
func (m Changing) Clock(ChangeState) int { return 0 }

// Ended reports whether every step has an outcome.
func (m Changing) Ended(s ChangeState) bool {
	return s.steps[0].state >= sent && (!s.steps[1].there || s.steps[1].state >= sent)
}

// Bounded reports whether the message may not be claimed again.
func (m Changing) Bounded(s ChangeState) bool {
	return s.steps[0].attempt >= m.Attempts
}

// Broken names the promise that s breaks.
func (m Changing) Broken(s ChangeState) Promise {
	if s.broken {
		return ChangeWins
	}
	return ""
}

// Moves calls to with all that can happen next.
func (m Changing) Moves(s ChangeState, to func(ChangeState, Move)) {
	for i := range s.steps {
		if p := s.steps[i]; p.there && p.state == planned {
			n := s
			n.messages[i] |= bit(p)
			to(n, Move{Release, "publishes " + stepNames[i]})
		}
	}
	for i := range s.hands {
		m.dispatch(s, i, to)
	}
	m.record(s, to)
	m.edit(s, to)
}

var stepNames = [2]string{"the message", "the SMS"}

// bit is a message's place among those of its step.
func bit(p piece) uint8 { return 1 << (p.attempt*3 + p.epoch) }

// shared reports whether a claim holds the run's row.
func (s ChangeState) shared() bool {
	return s.hands[0].phase == claiming || s.hands[1].phase == claiming
}

// dispatch is what dispatcher i may do.
func (m Changing) dispatch(s ChangeState, i int, to func(ChangeState, Move)) {
	me, h := Dispatcher+Actor(i), s.hands[i]
	switch h.phase {
	case idle:
		if s.change == holding && m.Without != ClaimLocksRun {
			return
		}
		for of := range s.steps {
			for at := range int8(6) {
				if s.messages[of]&(1<<at) == 0 {
					continue
				}
				n := s
				n.hands[i] = hand{claiming, int8(of), at / 3, at % 3, m.mayClaim(s, int8(of), at/3, at%3)}
				to(n, Move{me, "reads " + stepNames[of]})
			}
		}
	case claiming:
		n, may := s, h.may
		if m.Without != ClaimLocksRun {
			may = m.mayClaim(s, h.of, h.attempt, h.epoch)
		}
		n.hands[i] = hand{}
		p := &n.steps[h.of]
		switch {
		case p.state == planned && p.epoch != s.epoch && m.Without != RunFence:
			p.state = expired
			to(n, Move{me, "cancels what is of an old plan"})
			return
		case !may:
			to(n, Move{me, "claims nothing"})
			return
		}
		p.state = claimed
		p.attempt++
		n.hands[i] = hand{phase: waiting, of: h.of, attempt: p.attempt, epoch: min(h.epoch, p.of)}
		to(n, Move{me, "claims " + stepNames[h.of]})
	case waiting:
		m.write(s, i, to)
	}
}

// mayClaim reports whether a message claims its step as it stands.
func (m Changing) mayClaim(s ChangeState, of, attempt, epoch int8) bool {
	p := s.steps[of]
	return p.there && p.state == planned && p.attempt == attempt && p.attempt < m.Attempts &&
		(p.epoch == epoch || m.Without == MessageFence) && (p.epoch == s.epoch || m.Without == RunFence)
}

// write is the request of what dispatcher i claimed, with every answer, and a
// death before it.
func (m Changing) write(s ChangeState, i int, to func(ChangeState, Move)) {
	me, h := Dispatcher+Actor(i), s.hands[i]
	s.hands[i] = hand{}
	if h.of == 0 {
		n := s
		n.news = throttled
		to(n, Move{me, "dies before it writes"})
	}
	s.broken = h.epoch < s.acked && s.named[h.of] != h.attempt
	if h.of == 1 {
		s.steps[1].state = sent // its outcome changes nothing here
		to(s, Move{me, "writes the SMS"})
		return
	}
	for _, a := range []answer{accepted, refused, throttled} {
		n := s
		n.news = a
		to(n, Move{me, "writes the message"})
	}
}

// record is what the recorder may do with news of the message.
func (m Changing) record(s ChangeState, to func(ChangeState, Move)) {
	if s.news == answer(nowhere) {
		return
	}
	if s.change == holding || s.shared() {
		return // who records an outcome holds the run's row, too
	}
	news := s.news
	s.news = answer(nowhere)
	k := &s.steps[0]
	switch news {
	case accepted:
		k.state = sent
	case throttled:
		k.state = planned
	default:
		k.state = failed
		s.steps[1] = piece{there: true, epoch: s.epoch, of: k.of, state: planned}
		if k.epoch != s.epoch && m.Without != FallbackFence {
			s.steps[1].state = expired
		}
	}
	to(s, Move{Recorder, [...]string{"", "records the acceptance", "records the refusal", "plans it again"}[news]})
}

// edit is what a person's change may do.
func (m Changing) edit(s ChangeState, to func(ChangeState, Move)) {
	me := Move{By: World}
	switch s.change {
	case noChange:
		if s.changes == m.Changes {
			return
		}
		s.change = holding
		switch {
		case m.Without == NamesUnderLock:
			s.change, s.seen = looking, s.inFlight()
		case m.Without == AckAfterCommit:
			s = s.name(s.inFlight())
			s.change, s.acked = looking, s.epoch+1
		case s.shared() && m.Without != ClaimLocksRun:
			return
		}
		me.Does = "a change of the plan begins"
		to(s, me)
	case looking:
		if s.shared() {
			return
		}
		s.change = holding
		me.Does = "the change takes the run"
		to(s, me)
	case holding:
		m.commit(s, to)
	case unanswered:
		s.acked, s.change = s.epoch, noChange
		me.Does = "the change is acknowledged"
		to(s, me)
	}
}

// inFlight is the attempt of each step that may be with the gateway.
func (s ChangeState) inFlight() [2]int8 {
	out := [2]int8{-1, -1}
	for i, p := range s.steps {
		if p.there && p.state == claimed {
			out[i] = p.attempt
		}
	}
	return out
}

// name keeps what an answer names.
func (s ChangeState) name(attempts [2]int8) ChangeState {
	for i, attempt := range attempts {
		if attempt >= 0 {
			s.named[i] = attempt
		}
	}
	return s
}

// commit moves or cancels what is planned, under a new epoch.
func (m Changing) commit(s ChangeState, to func(ChangeState, Move)) {
	seen := s.inFlight()
	if m.Without == NamesUnderLock {
		seen = s.seen
	}
	s = s.name(seen)
	s.epoch++
	s.changes++
	s.change, s.seen = unanswered, [2]int8{-1, -1}
	for _, cancels := range []bool{false, true} {
		n, does := s, "the plan is moved"
		for i := range n.steps {
			if p := &n.steps[i]; p.there && p.state == planned {
				p.epoch++
				if p.of = p.epoch; cancels {
					p.state, does = expired, "the plan is cancelled"
				}
			}
		}
		to(n, Move{World, does})
	}
}
