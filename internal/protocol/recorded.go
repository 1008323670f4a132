package protocol

// Recorded is the protocol as this repository has it: dispatchers and the
// resolver only tell what they saw, the recorder alone writes outcomes. What
// is told waits in a stream, for any time, and is applied in any order, any
// number of times, or never.
//
// It differs from [Direct] in three more ways. A request is never made again
// under a key whose window is open: each cycle has one claim. A gateway tells
// later whether the message arrived, and nothing is claimed after Expires.
type Recorded struct {
	Bounds         // Lease is not used: a claim is stale after R+G+D
	Expires int8   // no claim from then on
	Claims  int8   // claims in all, at most maxClaims
	Faults  Faults // what the world may do beyond crashes, losses and delays
	// Without is the rule that is left out.
	Without Gap
}

// Faults are what a gateway may do besides.
type Faults struct {
	// BurnsKeys: a refused request uses up its key as well.
	BurnsKeys bool
	// CannotAsk: it does not answer questions.
	CannotAsk bool
	// AlwaysAnswers: it answers every question, so that nothing is parked.
	AlwaysAnswers bool
	// Contradicts: it takes back what it reported.
	Contradicts bool
}

// Gap is a rule of [Recorded] that a mutant goes without.
type Gap uint8

// The gaps. OnUnknownFallback and OnUnknownResend are choices that a
// workflow's author may make; the promise excludes them.
const (
	NoGap             Gap = iota
	OldRefusals           // a refusal of an older attempt counts
	OldReleases           // so does an older attempt's release
	OldParking            // and a verdict to park an older attempt
	StaleAtOnce           // a claim is stale before its dispatcher must have answered
	StaleDespiteQueue     // a claim is stale although its answer waits for the recorder
	AbsentAtOnce          // absent counts without a quiet period
	NoGuard               // a claim may be written at any time
	LateArrival           // a request may arrive later than D
	ClaimedTwice          // a claim does not look at the step's state
	TimeoutIsNoWrite      // a timeout counts as not written
	DuplicateSent         // "this key was used" counts as an acceptance
	RetriedOnKakao        // a failure told later is tried again on Kakao
	ForgedFailures        // a report of failure is believed unasked
	ForgedDeliveries      // a report of delivery is believed unasked
	ClockStepsBack        // the ledger's clock may fall behind an expiry it has passed
	LastWordWins          // the latest report overwrites the one before
	NoResolver            // nobody looks for outcomes that are missing
	OnUnknownFallback     // what cannot be found out falls back
	OnUnknownResend       // what cannot be found out is sent again
)

// fate is what became of an accepted message.
type fate uint8

const (
	underWay fate = iota
	arrived
	lost
	lostThenArrived // reported failed, delivered after all
	arrivedThenLost // reported delivered, then failed
)

// maxClaims is how many attempts a state has room for.
const maxClaims = 3

// Ledger is a whole world with a stream between those who see and the one who
// writes. Like State it is its own key.
type Ledger struct {
	State
	fate fate
	// told is what is in the stream: for each attempt, and 0 for what speaks
	// of the message and not of an attempt, the kinds of news.
	told [maxClaims + 1]news
	// waits: the answer to the last claim is in the stream since before the
	// claim was stale, and the recorder has not acknowledged it.
	waits bool
	// named: the evidence that moved the step last named the message.
	named   bool
	anomaly bool
	broke   broke
}

// broke remembers what a move broke, for as long as it takes to be seen.
type broke uint8

const (
	whole broke = iota
	backward
	unheard
)

// Start is a step that is due.
func (m Recorded) Start() Ledger { return Ledger{State: Direct{}.Start()} }

// Clock is the tick of s.
func (m Recorded) Clock(s Ledger) int { return int(s.now) }

// Ended reports whether the step has an outcome.
func (m Recorded) Ended(s Ledger) bool { return s.status >= sent }

// Bounded is nowhere: nothing is claimed late, so that all ends in time.
func (m Recorded) Bounded(Ledger) bool { return false }

// stale is when a claim without an answer has surely left the wire.
func (m Recorded) stale(s Ledger) int8 { return s.claim + m.R + m.G + m.D }

// Broken names the promise that s breaks.
func (m Recorded) Broken(s Ledger) Promise {
	may := s.accepted > 0 && (s.fate == underWay || s.fate == arrived)
	switch {
	case s.accepted > 1 || s.sms > 1 || s.sms > 0 && may:
		return AtMostOnce
	case s.status == sent && s.accepted == 0,
		s.status == delivered && (s.accepted == 0 || s.fate == underWay || s.fate == lost):
		return Honest
	case s.broke == backward:
		return Forward
	case s.broke == unheard:
		return Heard
	}
	return ""
}

// Moves calls to with all that can happen next.
func (m Recorded) Moves(s Ledger, to func(Ledger, Move)) {
	if s.now < m.Horizon {
		n := s
		n.now++
		if m.Without != LateArrival {
			n.wire = s.wire.within(n.now - m.D)
		}
		to(n, tick)
	}
	free := true
	for i, w := range s.workers {
		// Those who are idle are alike: the first of them speaks for all.
		if w.phase != idle || free {
			m.dispatch(s, i, to)
		}
		free = free && w.phase != idle
	}
	m.arrive(s, to)
	m.answer(s, to)
	m.settle(s, to)
	m.find(s, to)
	m.record(s, to)
}

// dispatch is what worker i may do.
func (m Recorded) dispatch(s Ledger, i int, to func(Ledger, Move)) {
	me, w := Dispatcher+Actor(i), s.workers[i]
	n := s
	switch {
	case w.phase == idle && s.status == planned && s.now >= m.Expires:
		to(s.tell(s.attempt, tooLate), Move{me, "finds that the step has expired"})
		if m.Without != ClockStepsBack {
			return
		}
		fallthrough
	case w.phase == idle && (s.status == planned || s.status == claimed && m.Without == ClaimedTwice):
		if s.attempt < m.Claims && s.writes < m.Writes {
			n.status, n.attempt, n.claim, n.waits = claimed, s.attempt+1, s.now, false
			if s.intent < 0 {
				n.intent = s.now
			}
			n.workers[i] = worker{claiming, n.attempt, s.now}
			to(n, Move{me, "claims the step"})
		}
		return
	case w.phase == claiming:
		if s.now <= w.at+m.G || m.Without == NoGuard {
			n.State = s.write(i, w.attempt)
			to(n, Move{me, "writes the request"})
		}
		to(m.reply(s, i, notWritten), Move{me, "gets no connection in time and tells that nothing was written"})
	case w.phase == waiting && s.now >= w.at+m.R && m.Without == TimeoutIsNoWrite:
		to(m.reply(s, i, notWritten), Move{me, "has waited long enough and tells that nothing was written"})
	case w.phase == waiting && s.now >= w.at+m.R:
		to(m.reply(s, i, ambiguous), Move{me, "has waited long enough and tells that the outcome is unknown"})
	}
	if w.phase != idle {
		n.State = s.free(i)
		to(n, Move{me, "crashes"})
	}
}

// reply publishes what worker i learnt of its request and lets it go.
func (m Recorded) reply(s Ledger, i int, what news) Ledger {
	attempt := s.workers[i].attempt
	n := s.tell(attempt, what)
	n.State = n.free(i)
	n.waits = n.waits || attempt == s.attempt && s.now < m.stale(s)
	return n
}

// arrive is what becomes of a request on the wire.
func (m Recorded) arrive(s Ledger, to func(Ledger, Move)) {
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
		n.replies = s.replies.add(reply{r.attempt, throttled})
		to(n, Move{Gateway, "is asked too often and takes nothing"})
		took := n
		took.accepted, took.keyed, took.taken = s.accepted+1, s.now, s.now
		took.replies = s.replies.add(reply{r.attempt, accepted})
		to(took, Move{Gateway, "ACCEPTS the request"})
		if m.Faults.BurnsKeys {
			n.keyed = s.now
		}
		n.replies = s.replies.add(reply{r.attempt, refused})
		to(n, Move{Gateway, "refuses the request"})
	}
}

// answer is what becomes of a reply on its way back.
func (m Recorded) answer(s Ledger, to func(Ledger, Move)) {
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
			me := Dispatcher + Actor(i)
			switch {
			case r.answer == accepted, r.answer == duplicate && m.Without == DuplicateSent:
				to(m.reply(n, i, taken), Move{me, "tells that it was accepted"})
			case r.answer == duplicate:
				to(m.reply(n, i, ambiguous), Move{me, "hears that the key was used and tells that the outcome is unknown"})
			case r.answer == refused:
				to(m.reply(n, i, rejected), Move{me, "tells that it was refused"})
			case r.answer == throttled:
				to(m.reply(n, i, notWritten), Move{me, "tells that it was asked to wait"})
			}
		}
	}
}

// settle is what the gateway makes of an accepted message, and how that
// becomes known: by a report that is confirmed, or by the poll.
func (m Recorded) settle(s Ledger, to func(Ledger, Move)) {
	become := func(f fate, words string) {
		n := s
		n.fate = f
		to(n, Move{Gateway, words})
	}
	switch {
	case s.accepted == 0:
	case s.fate == underWay:
		become(arrived, "DELIVERS the message")
		become(lost, "fails to deliver the message")
	case s.fate == lost && m.Faults.Contradicts:
		become(lostThenArrived, "delivers the message after all")
	case s.fate == arrived && m.Faults.Contradicts:
		become(arrivedThenLost, "says that the message was not delivered")
	}
	if s.accepted > 0 && s.fate != underWay {
		to(s.tell(0, s.says()), Move{Gateway, "reports it"})
	}
	if m.Without == ForgedFailures && s.attempt > 0 {
		to(s.tell(0, saidFailed), Move{World, "somebody forges a report of failure"})
	}
	if m.Without == ForgedDeliveries && s.attempt > 0 {
		to(s.tell(0, saidDelivered), Move{World, "somebody forges a report of delivery"})
	}
}

// says is what the gateway tells of the message that it accepted.
func (s Ledger) says() news {
	switch s.fate {
	case arrived, lostThenArrived:
		return saidDelivered
	case lost, arrivedThenLost:
		return saidFailed
	}
	return found
}

// find is the resolver: it tells what it can of claims without an outcome. Its
// look at the ledger and its question are one move here; whatever happens in
// between, happens before the recorder applies what it tells.
func (m Recorded) find(s Ledger, to func(Ledger, Move)) {
	if m.Without == NoResolver {
		return
	}
	if s.status == claimed {
		old := s.now >= m.stale(s) || m.Without == StaleAtOnce
		if old && (!s.waits || m.Without == StaleDespiteQueue) {
			to(s.tell(s.attempt, stale), Move{Resolver, "finds the claim stale and tells that the outcome is unknown"})
		}
	}
	if s.status != unknown {
		return
	}
	if !m.Faults.CannotAsk {
		if s.accepted > 0 {
			to(s.tell(0, s.says()), Move{Resolver, "asks, finds the message, and tells it"})
		}
		quiet := s.now >= s.claim+m.G+m.D+m.V || m.Without == AbsentAtOnce
		visible := s.accepted > 0 && s.now >= s.taken+m.V
		switch {
		case !quiet || visible:
		case s.now < m.Expires:
			to(s.tell(s.attempt, absent), Move{Resolver, "asks, finds nothing, and tells that it may be sent again"})
		default:
			to(s.tell(s.attempt, gone), Move{Resolver, "asks, finds nothing, and tells that it failed"})
		}
	}
	switch {
	case m.Faults.AlwaysAnswers:
	case m.Without == OnUnknownFallback:
		to(s.tell(s.attempt, gone), Move{Resolver, "cannot ask, and falls back as the author chose"})
	case m.Without == OnUnknownResend:
		to(s.tell(s.attempt, absent), Move{Resolver, "cannot ask, and sends again as the author chose"})
	default:
		to(s.tell(s.attempt, unsolved), Move{Resolver, "cannot ask, and tells to park the step"})
	}
}
