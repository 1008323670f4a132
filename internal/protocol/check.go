package protocol

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
)

// Model is a protocol as a graph: a first state and the moves out of each.
type Model[S comparable] interface {
	Start() S
	// Moves calls to with every state that can follow s and with what leads to
	// it. The order must be the same on every call.
	Moves(s S, to func(S, Move))
	// Broken names the promise that s breaks, "" if it keeps all of them.
	Broken(s S) Promise
	// Ended reports whether the step has an outcome in s.
	Ended(s S) bool
	// Bounded reports whether s is where the model ends and not the protocol:
	// no claim about its future is made.
	Bounded(s S) bool
	// Clock is the tick of s.
	Clock(s S) int
}

// Move is one thing that happens.
type Move struct {
	// By is who does it; the zero value is the environment.
	By   Actor
	Does string
}

// Actor is who moves; dispatchers have numbers.
type Actor uint8

// The actors.
const (
	World Actor = iota
	Wire
	Gateway
	Resolver
	Recorder
	Release
	Dispatcher // and Dispatcher+1
)

// String names the actor in a trace.
func (a Actor) String() string {
	if a >= Dispatcher {
		return fmt.Sprintf("dispatcher %d", a-Dispatcher+1)
	}
	return [...]string{"world", "network", "gateway", "resolver", "recorder", "release"}[a]
}

// tick is the move that every trace leaves out: its times show it.
var tick = Move{Does: "time passes"}

// Promise is what a state can break, in words; "" is none.
type Promise string

// The promises.
const (
	// AtMostOnce: one accepted request per channel, and an SMS only where the
	// Kakao message cannot arrive.
	AtMostOnce Promise = "at most one message"
	// Honest: no sent without an acceptance, no delivered without a delivery.
	Honest Promise = "never sent without evidence"
	// Forward: evidence never takes an outcome back.
	Forward Promise = "an outcome is never taken back"
	// Heard: nothing is parked while the answer to its last request waits to
	// be recorded, or may still come.
	Heard Promise = "never parked over an answer that waits"
	// ChangeWins: once a change of plan is acknowledged, nothing of the plan
	// before it is sent but what the acknowledgement named.
	ChangeWins Promise = "a change wins"
	// Ends: an outcome can be reached from everywhere.
	Ends Promise = "every step can end"
)

// Report is what an exploration found.
type Report struct {
	// States is how many distinct states were seen.
	States int
	// Broken is the first promise found broken, breadth first; "" if none.
	Broken Promise
	// Trace is a shortest way there, a line per move.
	Trace []string
}

// Explore visits every state breadth first and stops at the first that breaks
// a promise. If none does, it checks backwards that from each state one can be
// reached in which the step has ended.
func Explore[S comparable](m Model[S]) Report {
	g := graph[S]{seed: maphash.MakeSeed(), table: make([]int32, 1<<10)}
	g.visit(m.Start(), -1)
	for i := int32(0); int(i) < len(g.states); i++ {
		s := g.states[i]
		if broken := m.Broken(s); broken != "" {
			return Report{States: len(g.states), Broken: broken, Trace: g.trace(m, i)}
		}
		g.edges = append(g.edges, uint32(len(g.next)))
		m.Moves(s, func(to S, _ Move) {
			if to != s {
				g.next = append(g.next, g.visit(to, i))
			}
		})
	}
	g.edges = append(g.edges, uint32(len(g.next)))
	if stuck := g.stuck(m); stuck >= 0 {
		return Report{States: len(g.states), Broken: Ends, Trace: g.trace(m, stuck)}
	}
	return Report{States: len(g.states)}
}

// graph is what has been seen: states in the order in which they were found,
// each with the state that it was found from and the states that follow it.
type graph[S comparable] struct {
	states []S
	parent []int32
	edges  []uint32 // next[edges[i]:edges[i+1]] follow state i
	next   []int32

	// table finds a state's number plus one from its hash, by open addressing;
	// it has a power of two places, at least half of them 0. A map would keep
	// every state a second time.
	seed  maphash.Seed
	table []int32
}

// visit returns the number of a state, a new one if it was not seen before.
func (g *graph[S]) visit(s S, from int32) int32 {
	place := g.place(s)
	if i := g.table[place] - 1; i >= 0 {
		return i
	}
	if len(g.states) == math.MaxInt32 {
		panic("protocol: more states than can be numbered; make the model smaller")
	}
	g.states, g.parent = append(g.states, s), append(g.parent, from)
	g.table[place] = int32(len(g.states))
	if 2*len(g.states) > len(g.table) {
		g.table = make([]int32, 2*len(g.table))
		for i, s := range g.states {
			g.table[g.place(s)] = int32(i + 1)
		}
	}
	return int32(len(g.states)) - 1
}

// place is where the table has s, or where it belongs.
func (g *graph[S]) place(s S) uint64 {
	last := uint64(len(g.table) - 1)
	at := maphash.Comparable(g.seed, s) & last
	for g.table[at] != 0 && g.states[g.table[at]-1] != s {
		at = (at + 1) & last
	}
	return at
}

// stuck returns a state from which no end can be reached, -1 if there is none.
func (g *graph[S]) stuck(m Model[S]) int32 {
	ends := make([]bool, len(g.states))
	// What follows was mostly found later, so that few rounds are needed.
	for changed := true; changed; {
		changed = false
		for i := len(g.states) - 1; i >= 0; i-- {
			if ends[i] {
				continue
			}
			end := m.Ended(g.states[i])
			for _, j := range g.next[g.edges[i]:g.edges[i+1]] {
				end = end || ends[j]
			}
			ends[i], changed = end, changed || end
		}
	}
	for i, end := range ends {
		if !end && !m.Bounded(g.states[i]) {
			return int32(i)
		}
	}
	return -1
}

// trace tells how a state came about, in words.
func (g *graph[S]) trace(m Model[S], i int32) []string {
	var lines []string
	for ; g.parent[i] >= 0; i = g.parent[i] {
		from, found := g.states[g.parent[i]], false
		m.Moves(from, func(to S, move Move) {
			if found || to != g.states[i] {
				return
			}
			if found = true; move != tick {
				lines = append(lines, fmt.Sprintf("t=%d %s: %s", m.Clock(from), move.By, move.Does))
			}
		})
	}
	slices.Reverse(lines)
	return lines
}
