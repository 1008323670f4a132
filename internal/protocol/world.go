package protocol

import "cmp"

type phase uint8

// The phases of a dispatcher.
const (
	idle phase = iota
	claiming
	waiting
)

type status uint8

// The states of a step.
const (
	planned status = iota
	claimed
	unknown
	sent
	delivered
	failed
	parked
	expired
)

type answer int8

// The answers of a gateway, in the order in which states keep them.
const (
	duplicate answer = iota
	accepted
	refused
	throttled // refused for rate: nothing was accepted and no key taken
)

// request is one on the wire.
type request struct{ at, attempt int8 }

// reply is an answer on its way back.
type reply struct {
	attempt int8
	answer  answer
}

// worker is a dispatcher with a claim.
type worker struct {
	phase   phase
	attempt int8
	at      int8 // of the claim, then of the write
}

const never, nowhere int8 = -99, 127

// The empty places of a state; they sort last.
var (
	noRequest = request{nowhere, nowhere}
	noReply   = reply{nowhere, answer(nowhere)}
)

// State is a whole world: ledger, dispatchers, network, gateway and clock. It
// has no padding and no pointer, so that it is its own key.
type State struct {
	status  status
	attempt int8
	intent  int8 // first claim of the cycle; -1: none
	claim   int8 // last claim; -1: none

	accepted int8 // requests that the gateway accepted
	keyed    int8 // when it took the key
	taken    int8 // when it last accepted
	sms      int8

	wire    requests
	replies replies
	workers [2]worker
	writes  int8
	now     int8
}

// requests are those on the wire, sorted, noRequest at the end.
type requests [maxWrites]request

// replies are the answers on their way, sorted, noReply at the end.
type replies [maxWrites]reply

func (r requests) add(q request) requests {
	for i := range r {
		if cmp.Or(cmp.Compare(q.at, r[i].at), cmp.Compare(q.attempt, r[i].attempt)) < 0 {
			q, r[i] = r[i], q
		}
	}
	return r
}

func (r requests) drop(k int) requests {
	copy(r[k:], r[k+1:])
	r[maxWrites-1] = noRequest
	return r
}

// within keeps what was written at the tick or later; they are in that order.
func (r requests) within(from int8) requests {
	for r[0].at < from {
		r = r.drop(0)
	}
	return r
}

func (r replies) add(a reply) replies {
	for i := range r {
		if cmp.Or(cmp.Compare(a.attempt, r[i].attempt), cmp.Compare(a.answer, r[i].answer)) < 0 {
			a, r[i] = r[i], a
		}
	}
	return r
}

func (r replies) drop(k int) replies {
	copy(r[k:], r[k+1:])
	r[maxWrites-1] = noReply
	return r
}

// write puts worker i's request on the wire.
func (s State) write(i int, attempt int8) State {
	s.wire = s.wire.add(request{s.now, attempt})
	s.workers[i] = worker{waiting, attempt, s.now}
	s.writes++
	return s
}

// free lets worker i go.
func (s State) free(i int) State {
	s.workers[i] = worker{}
	return s
}
