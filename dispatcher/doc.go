// Package dispatcher sends due steps and finds out what became of those whose
// answer was lost. It must not write outcomes: it tells what it saw to the
// DELIVERIES stream, and the recorder alone makes it so.
//
//	STEPS ─▶ Handle: free slot, rate token, breaker ─▶ claim: locks, guards, attempt row ─▶ send ─▶ DELIVERIES ─▶ ack
//	               │ none: back to sleep,              │                                  │
//	               ▼ unclaimed, with the reason        └─ skipped, expired, cancelled ────┤
//	Resolver: stale claims and unknown outcomes, asked for by grouping key ───────────────┤
//	Poller:   message-results of every account ───────────────────────────────────────────┘
//
// Guarantees:
//
//   - No byte goes out before its attempt is committed, and none later than G
//     after the claim began, on the monotonic clock.
//   - A request is made at most once per claim; the same step is claimed again
//     only when the request was provably not written, was refused for rate, or
//     the gateway says, after the quiet period, that it has none.
//   - Pause, opt-out, cancel, quiet hours, expiry and plan epoch are checked
//     under the locks that whoever changes them takes.
//   - A gateway that is down or throttles is left alone, account by account; its
//     steps wait unclaimed, say why, and are let go gradually.
//   - What cannot be found out is parked; it is never guessed.
package dispatcher
