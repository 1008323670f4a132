// Package protocol is the send protocol as a model that is small enough to
// try everything: every interleaving of two dispatchers, a recorder, a
// resolver, a network and a gateway, with a crash, a loss or a delay at any
// point. It must not know the code that it is a model of; only its tests do.
//
//	            claims                    writes            ACCEPTS, refuses,
//	ledger ───────────────▶ dispatcher ────────────▶ wire ──────────▶ gateway
//	  ▲  ▲                   │ crashes    lost, ≤ D │ duplicate key │   │
//	  │  │                   │ tells     ◀──────────┴───────────────┘   │
//	  │  │ writes            ▼           answer, lost                   │
//	  │  └──── recorder ◀── stream: any time, any order,                │
//	  │ reads               again, never                                │
//	  │                      ▲ tells                     asks by key    │
//	  └──────────────── resolver ◀──────────────────────────────────────┘
//	                         stale after R+G+D; absent after G+D+V
//
// Three models share one explorer. [Direct] is the protocol of reliability.md
// §5.3, in which dispatchers write outcomes themselves and a key may be used
// again while its window is open; its state counts are those of §5.4.
// [Recorded] is the protocol that runs: the recorder alone writes outcomes,
// from news that waits in a stream.
//
// A third, [Changing], is how a change of plan meets claims, retries and
// fallbacks: a move in it is one hold of the run's row by one transaction.
//
// What is promised, of each state or of the graph:
//
//   - [AtMostOnce]: one accepted request per channel; an SMS only where the
//     Kakao message cannot arrive any more.
//   - [Honest]: no sent without an acceptance, no delivered without a delivery.
//   - [Forward]: an outcome is never taken back.
//   - [Heard]: nothing is parked while the answer to its last request waits.
//   - [ChangeWins]: after a change is acknowledged, nothing of the plan before it
//     is sent but what was named.
//   - [Ends]: from everywhere an outcome can be reached.
//
// [Mutants], and [Changing] without a [ChangeRule], go without one rule each,
// and each breaks one of these: no rule is there for nothing. A mutant that can no longer be caught, or a protocol
// that breaks, fails the tests with a short story of how it came about.
//
// Limits: one step, at most three requests, small numbers of ticks, a clock
// that does not step back, a gateway that tells the truth when it is asked.
// It is the design that is proven. What holds it and the code together are the
// tests, which compare the recorder's decisions with the model's in every
// situation that the model reaches, and the settings with its assumptions.
package protocol
