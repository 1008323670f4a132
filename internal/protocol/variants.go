package protocol

// Variant is a protocol in a world, and what an exploration must find.
type Variant struct {
	Name string
	// Breaks is the promise that a mutant breaks; "" for what must keep all.
	Breaks Promise
	// Explore visits every state.
	Explore func() Report
	// model is what is explored: Direct or Recorded.
	model any
}

func variant[S comparable](name string, m Model[S], breaks Promise) Variant {
	return Variant{Name: name, Breaks: breaks, model: m, Explore: func() Report { return Explore(m) }}
}

var (
	// keyed is the world in which reliability.md §5.4 counts its states.
	keyed = Bounds{Horizon: 11, W: 4, D: 1, V: 1, Lease: 2, G: 1, R: 1, Writes: maxWrites}
	// keyless remembers no key: an SMS gateway.
	keyless = Bounds{Horizon: 11, W: 0, D: 1, V: 1, Lease: 2, G: 1, R: 1, Writes: maxWrites}

	// Nothing is claimed from tick 5 on, so that at tick 8 everything is quiet.
	recorded = Recorded{Bounds: Bounds{Horizon: 8, W: 4, D: 1, V: 1, G: 1, R: 1, Writes: 2}, Expires: 5, Claims: 2}
)

// with returns the recorded protocol in another world.
func with(f Faults) Recorded {
	m := recorded
	m.Faults = f
	return m
}

// thrice returns it with a third attempt.
func thrice(f Faults) Recorded {
	m := with(f)
	m.Claims, m.Writes = 3, 3
	return m
}

// brief returns it with just the time for a second attempt.
func brief(f Faults) Recorded {
	m := with(f)
	m.Horizon, m.Expires = 7, 4
	return m
}

// unkeyed returns it before a gateway without keys.
func unkeyed(f Faults) Recorded {
	m := with(f)
	m.W = 0
	return m
}

// long returns it with more time and a third attempt. All of that takes longer
// to explore than a test may; mutants are found out early.
func long(g Gap, f Faults) Recorded {
	m := with(f)
	m.Horizon, m.Expires, m.Claims, m.Writes, m.Without = 9, 6, 3, 3, g
	return m
}

// Protocols are the variants that keep every promise.
var Protocols = []Variant{
	variant("direct", Direct{Bounds: keyed}, ""),
	variant("direct, refusals burn the key", Direct{Bounds: keyed, BurnsKeys: true}, ""),
	variant("direct, duplicate key counts as sent", Direct{Bounds: keyed, DuplicateIsSent: true}, ""),
	variant("direct, gateway cannot be asked", Direct{Bounds: keyed, CannotAsk: true}, ""),
	variant("direct, no key", Direct{Bounds: keyless}, ""),
	variant("direct, no key, gateway cannot be asked", Direct{Bounds: keyless, CannotAsk: true}, ""),
	variant("recorded", recorded, ""),
	variant("recorded, refusals burn the key", with(Faults{BurnsKeys: true, AlwaysAnswers: true}), ""),
	variant("recorded, gateway cannot be asked", thrice(Faults{CannotAsk: true}), ""),
	variant("recorded, gateway always answers", with(Faults{AlwaysAnswers: true}), ""),
	variant("recorded, gateway contradicts its reports", brief(Faults{Contradicts: true, AlwaysAnswers: true}), ""),
	variant("recorded, no key", unkeyed(Faults{AlwaysAnswers: true}), ""),
	variant("recorded, no key, gateway cannot be asked", unkeyed(Faults{CannotAsk: true}), ""),
}

// Mutants are the variants that go without one rule, each with the promise
// that it breaks.
var Mutants = []Variant{
	variant("cut-off only when a retry is scheduled", mutant(CutOffInClaim), AtMostOnce),
	variant("no write guard", mutant(WriteGuard), AtMostOnce),
	variant("no quiet period", mutant(QuietPeriod), AtMostOnce),
	variant("retry past the key window", mutant(CutOff), AtMostOnce),
	variant("duplicate key counts as failed", mutant(DuplicateIsAsked), AtMostOnce),
	variant("fallback on a timeout", mutant(ProofOfFailure), AtMostOnce),
	variant("a refusal speaks for earlier requests", mutant(RefusalOfOne), AtMostOnce),
	variant("no intent before the write", mutant(IntentFirst), AtMostOnce),
	variant("the network delays beyond D", mutant(DelayBound), AtMostOnce),
	variant("keyless retries", Direct{Bounds: keyless, Without: CutOff}, AtMostOnce),
	variant("duplicate key counts as sent, refusals burn the key", Direct{Bounds: keyed, BurnsKeys: true, DuplicateIsSent: true}, Honest),

	variant("recorded: refusals of older attempts count", long(OldRefusals, Faults{}), AtMostOnce),
	variant("recorded: releases of older attempts count", long(OldReleases, Faults{}), AtMostOnce),
	variant("recorded: parking of older attempts counts", long(OldParking, Faults{}), Heard),
	variant("recorded: a claim is stale at once", long(StaleAtOnce, Faults{}), Heard),
	variant("recorded: stale although the answer waits", long(StaleDespiteQueue, Faults{}), Heard),
	variant("recorded: absent counts at once", long(AbsentAtOnce, Faults{}), AtMostOnce),
	variant("recorded: no write guard", long(NoGuard, Faults{}), AtMostOnce),
	variant("recorded: the network delays beyond D", long(LateArrival, Faults{}), AtMostOnce),
	variant("recorded: a claim ignores the state", long(ClaimedTwice, Faults{}), AtMostOnce),
	variant("recorded: a timeout counts as not written", long(TimeoutIsNoWrite, Faults{}), AtMostOnce),
	variant("recorded: duplicate key counts as sent, refusals burn the key", long(DuplicateSent, Faults{BurnsKeys: true}), Honest),
	variant("recorded: a failure told later is tried again on Kakao", long(RetriedOnKakao, Faults{}), AtMostOnce),
	variant("recorded: forged failures are believed", long(ForgedFailures, Faults{}), AtMostOnce),
	variant("recorded: forged deliveries are believed", long(ForgedDeliveries, Faults{}), Honest),
	variant("recorded: the ledger's clock steps back", long(ClockStepsBack, Faults{}), AtMostOnce),
	variant("recorded: the last report wins", long(LastWordWins, Faults{Contradicts: true}), Forward),
	variant("recorded: nobody resolves", long(NoResolver, Faults{}), Ends),
}

// Choices are what a workflow's author may choose for outcomes that nobody can
// find out, at the price of the promise that they break.
var Choices = []Variant{
	variant("on_unknown: fallback", long(OnUnknownFallback, Faults{}), AtMostOnce),
	variant("on_unknown: resend", long(OnUnknownResend, Faults{}), AtMostOnce),
}

// mutant takes "duplicate key" for an acceptance, as the published counts do.
func mutant(without Rule) Direct {
	return Direct{Bounds: keyed, DuplicateIsSent: true, Without: without}
}
