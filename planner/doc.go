// Package planner turns triggers into timed steps and lets each step go when
// its time comes. It must not know how a message is sent.
//
//	TRIGGERS ─▶ Planner.Handle ─▶ one transaction: patient, run, steps ─┬─ due: publish to STEPS
//	                                                                    └─ later: wake_at
//	Release.Run: the only clock ─ sleeps until the next wake_at, or a hint, or a tick
//	   due steps      ─▶ lease ─▶ STEPS
//	   lease ran out  ─▶ published again, if the consumer has nothing waiting
//	   expired steps  ─▶ expired
//	   lost triggers  ─▶ TRIGGERS
//	   stream younger or lower than its mark ─▶ everything in flight is published again
//
// Guarantees:
//
//   - [Plan] is pure: the same definition and facts give the same plan.
//   - A trigger's runs and steps are written in one transaction with its state;
//     a trigger delivered twice is planned once.
//   - No step is published before its time, and none is forgotten: due is a
//     column, so a missed tick, a dead copy or a lost stream only delays it.
//   - One tenant's backlog takes no room from another's: each queue has its own
//     cap in flight, and queues are served in turn.
package planner
