// Package simulate lets time pass for a workflow without sending anything: a
// ledger in memory, whose clock stands wherever it is put. It decides nothing
// itself and must not know how: what is planned, asked, judged and concluded it
// is told by the functions that the running path uses.
//
//	Subject ─▶ Plan ─▶ steps ─▶ Judge ─▶ accepted ─▶ what is assumed of it ─▶ Settle ─┐
//	                     ▲ └─▶ rests ─▶ Advance ─┐                                      │
//	                     └───────────────────────┴──── the SMS that follows a failure ◀─┘
//
// Guarantees:
//
//   - What it says is what happens: runs planned by the ledger and runs
//     simulated have the same messages, times, channels, texts and reasons,
//     while the gateway does what is assumed and the world stays as it was.
//   - The same machine and subject give the same run; nothing is read but the
//     two, and no clock.
//   - Of one instant, outcomes come first, then questions, then messages, as
//     the ledger has them.
package simulate
