package protocol

// Bounds are the numbers of a model, in ticks and requests. They are small
// because every interleaving is tried, and ordered like the real ones: a key
// is remembered for longer than a request can be under way.
type Bounds struct {
	Horizon int8 // nothing happens later
	W       int8 // the gateway refuses a key for W after it took it
	D       int8 // a request arrives within D of being written, or never
	V       int8 // a query sees an acceptance after V at the latest
	Lease   int8 // a claim without an outcome is looked at after Lease
	G       int8 // a request is written within G of its claim, or never
	R       int8 // a dispatcher waits R for an answer
	Writes  int8 // requests written in all, at most maxWrites
}

// maxWrites is how many requests a state has room for.
const maxWrites = 3

// Direct is the send protocol of one step as reliability.md §5.3 has it: a
// keyed gateway, an SMS that follows a proven failure, and dispatchers that
// write outcomes into the ledger themselves. The zero faults are the protocol.
type Direct struct {
	Bounds
	// BurnsKeys: a refused request uses up its key as well.
	BurnsKeys bool
	// CannotAsk: the gateway does not answer questions.
	CannotAsk bool
	// DuplicateIsSent takes "this key was used" for an acceptance. It is a lie
	// where the gateway burns keys.
	DuplicateIsSent bool
	// Without is the rule that is left out.
	Without Rule
}

// Rule is a rule of the protocol that a mutant goes without.
type Rule uint8

// The rules of [Direct].
const (
	Nothing          Rule = iota
	CutOffInClaim         // the cut-off is checked when a retry is scheduled, not in the claim
	CutOff                // the key is used again whenever it suits
	WriteGuard            // a claim may be written at any time
	QuietPeriod           // the gateway's "absent" counts at once
	DuplicateIsAsked      // "this key was used" counts as a refusal
	ProofOfFailure        // the SMS follows a timeout
	RefusalOfOne          // a refusal speaks for all earlier requests
	IntentFirst           // the request is written before the claim is
	DelayBound            // a request may arrive later than D
)

// Start is a step that is due.
func (m Direct) Start() State {
	s := State{intent: -1, claim: -1, keyed: never, taken: never}
	for i := range maxWrites {
		s.wire[i], s.replies[i] = noRequest, noReply
	}
	return s
}

// Clock is the tick of s.
func (m Direct) Clock(s State) int { return int(s.now) }

// Ended reports whether the step has an outcome.
func (m Direct) Ended(s State) bool { return s.status >= sent }

// Bounded reports whether too little time or no request is left to end in.
func (m Direct) Bounded(s State) bool {
	return s.now+m.Lease > m.Horizon || s.writes >= m.Writes
}

// Broken names the promise that s breaks.
func (m Direct) Broken(s State) Promise {
	switch {
	case s.accepted+s.sms > 1:
		return AtMostOnce
	case s.status == sent && s.accepted == 0:
		return Honest
	}
	return ""
}

// Moves calls to with all that can happen next.
func (m Direct) Moves(s State, to func(State, Move)) {
	if s.now < m.Horizon {
		to(m.tick(s), tick)
	}
	for i := range s.workers {
		m.dispatch(s, i, to)
	}
	m.arrive(s, to)
	m.answer(s, to)
	m.resolve(s, to)
	if s.status == failed && s.sms == 0 {
		n := s
		n.sms++
		to(n, Move{World, "the SMS is accepted"})
	}
}

// tick lets time pass; what is on the wire for longer than D is lost.
func (m Direct) tick(s State) State {
	s.now++
	if m.Without != DelayBound {
		s.wire = s.wire.within(s.now - m.D)
	}
	return s
}

// dispatch is what worker i may do.
func (m Direct) dispatch(s State, i int, to func(State, Move)) {
	me, w := Dispatcher+Actor(i), s.workers[i]
	switch {
	case w.phase == idle && s.status == planned && s.writes < m.Writes:
		m.claim(s, i, to)
	case w.phase == claiming && (s.now <= w.at+m.G || m.Without == WriteGuard):
		if s.writes < m.Writes {
			to(s.write(i, w.attempt), Move{me, "writes the request"})
		}
	case w.phase == claiming:
		n := s.free(i)
		if s.status == claimed && s.attempt == w.attempt {
			n.status = unknown
		}
		to(n, Move{me, "is too late and writes nothing"})
	case w.phase == waiting && s.now >= w.at+m.R:
		n := s.free(i)
		if s.status == claimed && s.attempt == w.attempt && m.Without != IntentFirst {
			n.status = unknown
		}
		to(n, Move{me, "has waited long enough; the outcome is unknown"})
	}
	if w.phase != idle {
		to(s.free(i), Move{me, "crashes"})
	}
}

// claim takes the step, unless its key may be forgotten before the request
// would arrive.
func (m Direct) claim(s State, i int, to func(State, Move)) {
	me := Dispatcher + Actor(i)
	n := s
	switch {
	case m.Without == IntentFirst:
		to(s.write(i, s.attempt), Move{me, "writes the request, claiming nothing"})
	case s.intent >= 0 && !m.inWindow(s) && m.Without != CutOff && m.Without != CutOffInClaim:
		n.status = unknown
		to(n, Move{me, "is past the cut-off and claims nothing"})
	default:
		n.status, n.attempt, n.claim = claimed, s.attempt+1, s.now
		if s.intent < 0 {
			n.intent = s.now
		}
		n.workers[i] = worker{claiming, n.attempt, s.now}
		to(n, Move{me, "claims the step"})
	}
}

// inWindow reports whether a request of now arrives while the gateway surely
// remembers the first one.
func (m Direct) inWindow(s State) bool { return s.now+m.G+m.D < s.intent+m.W }

// arrive is what becomes of a request on the wire.
func (m Direct) arrive(s State, to func(State, Move)) {
	for k, r := range s.wire {
		if r == noRequest {
			break
		}
		n := s
		n.wire = s.wire.drop(k)
		to(n, Move{Wire, "loses the request"})
		if s.now < s.keyed+m.W {
			n.replies = s.replies.add(reply{r.attempt, duplicate})
			to(n, Move{Gateway, "answers that this key was used"})
			continue
		}
		took := n
		took.accepted, took.keyed, took.taken = s.accepted+1, s.now, s.now
		took.replies = s.replies.add(reply{r.attempt, accepted})
		to(took, Move{Gateway, "ACCEPTS the request"})
		if m.BurnsKeys {
			n.keyed = s.now
		}
		n.replies = s.replies.add(reply{r.attempt, refused})
		to(n, Move{Gateway, "refuses the request"})
	}
}

// answer is what becomes of a reply on its way back.
func (m Direct) answer(s State, to func(State, Move)) {
	for k, r := range s.replies {
		if r == noReply {
			break
		}
		n := s
		n.replies = s.replies.drop(k)
		to(n, Move{Wire, "loses the answer"})
		for i, w := range s.workers {
			if w.phase != waiting || w.attempt != r.attempt {
				continue
			}
			n := n.free(i)
			if s.status <= unknown && (s.attempt == r.attempt || m.Without == IntentFirst) {
				n.status = m.learn(s, r.answer)
			}
			to(n, Move{Dispatcher + Actor(i), [...]string{
				duplicate: "hears that the key was used", accepted: "hears that it was accepted", refused: "hears that it was refused",
			}[r.answer]})
		}
	}
}

// learn is the state that an answer of the current attempt leads to.
func (m Direct) learn(s State, a answer) status {
	switch {
	case a == accepted:
		return sent
	case a == duplicate && m.Without == DuplicateIsAsked:
		return failed
	case a == duplicate && m.DuplicateIsSent:
		return sent
	case a == refused && (s.writes == 1 || m.Without == RefusalOfOne):
		return failed
	}
	return unknown
}

// resolve finds out what became of claims without an outcome.
func (m Direct) resolve(s State, to func(State, Move)) {
	become := func(st status, words string) {
		n := s
		n.status = st
		to(n, Move{Resolver, words})
	}
	if s.status == claimed && s.now >= s.claim+m.Lease {
		become(unknown, "finds a claim without an outcome")
	}
	if s.status != unknown {
		return
	}
	if m.Without == ProofOfFailure {
		become(failed, "takes what is unknown for a failure")
	}
	if s.intent >= 0 && (m.inWindow(s) || m.Without == CutOff) {
		become(planned, "lets the same key be tried again")
	}
	visible := s.accepted > 0 && s.now >= s.taken+m.V
	if visible && !m.CannotAsk {
		become(sent, "asks and finds the message")
	}
	quiet := s.now > s.claim+m.G+m.D+m.V || m.Without == QuietPeriod
	if quiet && !visible && !m.CannotAsk {
		become(failed, "asks, finds nothing, and lets the SMS follow")
		n := s
		n.status, n.intent = planned, -1
		to(n, Move{Resolver, "asks, finds nothing, and begins again"})
	}
	become(parked, "parks the step for a human")
}
