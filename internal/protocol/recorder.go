package protocol

import (
	"fmt"
	"math/bits"
)

// news is a set of what the stream carries about one attempt.
type news uint16

// The news, each with who tells it.
const (
	taken         news = 1 << iota // dispatcher: the request was accepted
	rejected                       // dispatcher: it was refused
	ambiguous                      // dispatcher: its outcome is unknown
	notWritten                     // dispatcher: it surely was not accepted
	stale                          // resolver: the claim has no answer
	absent                         // resolver: the gateway has none, send again
	gone                           // resolver: the gateway has none, and it is too late
	unsolved                       // resolver: nobody can say
	tooLate                        // dispatcher: the step expired unsent
	found                          // resolver: the gateway has it
	saidDelivered                  // resolver, poll, confirmer: the gateway says delivered
	saidFailed                     // the same: the gateway says failed
	lastNews
)

var heard = map[news]string{
	taken: "acceptance", rejected: "refusal", ambiguous: "unknown outcome", notWritten: "release", stale: "stale claim",
	absent: "absence", gone: "end of trying", unsolved: "parking", tooLate: "expiry", found: "message found",
	saidDelivered: "delivery", saidFailed: "failure",
}

// tell puts news into the stream, where it stays: what is delivered again, or
// never, is a choice of when to apply it.
func (s Ledger) tell(attempt int8, what news) Ledger {
	s.told[attempt] |= what
	return s
}

// change is what a piece of news does to a step.
type change struct {
	moves    bool
	to       status // if it moves
	newCycle bool
	fallback bool
	anomaly  bool
}

// record applies anything that is in the stream. It stays there: the
// acknowledgement may be lost.
func (m Recorded) record(s Ledger, to func(Ledger, Move)) {
	for attempt, told := range s.told {
		for ; told != 0; told &= told - 1 {
			what := told & -told
			c := m.apply(s, what, int8(attempt))
			answers := s.waits && attempt == int(s.attempt) && what <= notWritten
			if c == (change{}) && !answers {
				continue
			}
			n := s
			n.waits = s.waits && !answers
			to(m.moved(n, what, c), Move{Recorder, words[attempt][bits.TrailingZeros16(uint16(what))]})
		}
	}
	if s.waits {
		s.waits = false
		to(s, Move{World, "the stream loses the answer"})
	}
}

// words are what the recorder does, by attempt and news.
var words = func() (w [maxClaims + 1][16]string) {
	for attempt := range w {
		for what, name := range heard {
			says := "records: " + name
			if attempt > 0 {
				says += fmt.Sprintf(" of attempt %d", attempt)
			}
			w[attempt][bits.TrailingZeros16(uint16(what))] = says
		}
	}
	return w
}()

// moved is the ledger after a change, with what the change broke.
func (m Recorded) moved(s Ledger, what news, c change) Ledger {
	s.anomaly = s.anomaly || c.anomaly
	if !c.moves {
		return s
	}
	after := s.status >= sent && c.to != s.status
	allowed := s.status == sent && (c.to == delivered || c.to == failed) ||
		s.status == parked && (c.to == sent || c.to == delivered)
	switch {
	case after && !allowed:
		s.broke = backward
	case c.to == parked && (s.waits || m.underWay(s)):
		s.broke = unheard
	}
	s.status = c.to
	s.named = s.named || what&(taken|found|saidDelivered|saidFailed) != 0
	if c.newCycle {
		s.intent = -1
	}
	if c.fallback {
		s.sms++
	}
	return s
}

// underWay reports whether a dispatcher is about to answer the last claim.
func (m Recorded) underWay(s Ledger) bool {
	for _, w := range s.workers {
		if w.phase != idle && w.attempt == s.attempt && s.now < m.stale(s) {
			return true
		}
	}
	return false
}

// apply says what news changes: recorder.Apply in the model's words, of a
// Kakao step with an SMS behind it.
func (m Recorded) apply(s Ledger, what news, attempt int8) change {
	open := s.status <= unknown
	trying := s.status == claimed || s.status == unknown
	current := attempt == s.attempt
	fail := change{to: failed, moves: true, fallback: true}
	switch what {
	case taken, found:
		switch {
		case open || s.status == parked:
			return change{to: sent, moves: true}
		case s.status == failed && !s.named:
			return change{anomaly: true}
		}
	case saidDelivered:
		switch {
		case open || s.status == sent || s.status == parked, s.status == failed && m.Without == LastWordWins:
			return change{to: delivered, moves: true}
		case s.status == failed:
			return change{anomaly: true}
		}
	case saidFailed:
		switch {
		case trying && m.Without == RetriedOnKakao:
			return change{to: planned, moves: true, newCycle: true}
		case trying || s.status == sent:
			return fail
		case s.status == delivered:
			return change{anomaly: true}
		}
	case rejected:
		switch {
		case !trying || !current && m.Without != OldRefusals:
		case s.intent != s.claim:
			return change{to: unknown, moves: true}
		default:
			return fail
		}
	case gone:
		if trying || s.status == sent {
			return fail
		}
	case ambiguous, stale:
		if s.status == claimed && current {
			return change{to: unknown, moves: true}
		}
	case notWritten:
		if s.status == claimed && (current || m.Without == OldReleases) {
			return change{to: planned, moves: true, newCycle: s.intent == s.claim}
		}
	case absent:
		if s.status == unknown && (current || m.Without == OldReleases) {
			return change{to: planned, moves: true, newCycle: true}
		}
	case unsolved:
		if trying && (current || m.Without == OldParking) {
			return change{to: parked, moves: true}
		}
	case tooLate:
		if s.status == planned && current {
			return change{to: expired, moves: true}
		}
	}
	return change{}
}
