package dispatcher

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// A gateway that is down costs a handful of attempts, whatever waits. The rest
// waits unclaimed, and says why.
func TestDownGatewayIsLeftAloneAfterAFewFailures(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"refuse", "reset", "http503", "http502html", "hang"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			onStreet(t, 20, simulator.Rules{}, func(t *testing.T, s *street) {
				start := time.Now()
				s.outage(simulator.Alimtalk, mode)
				s.trickle(100*time.Millisecond, 20*time.Second, aClinic, event.Kakao)
				for s.state(aClinic, event.Kakao) != "open" {
					time.Sleep(time.Millisecond)
				}
				// With a gateway that hangs, what went out before the first
				// time-out; else five and a probe or two.
				most := 10
				if mode == "hang" {
					most = 35
				}
				before := s.claims(time.Time{})
				if before < streakTrips || before > most || time.Since(start) > time.Minute {
					t.Errorf("%d of 200 steps were claimed, want at most %d", before, most)
				}
				open := s.Gateways.lines[lineKey{aClinic, event.Kakao, accountOf(aClinic, event.Kakao)}].breaker.hold
				s.due(50, aClinic, event.Kakao, time.Hour)
				time.Sleep(time.Until(open) - time.Millisecond)
				if got := s.claims(time.Time{}); got != before {
					t.Errorf("%d steps were claimed while the breaker was open", got-before)
				}
				planned := s.count(is(""))
				if got := s.count(waits(event.GatewayDown)); got != planned || got < 200 {
					t.Errorf("%d of %d waiting steps say gateway_down", got, planned)
				}
			})
		})
	}
}

func TestOneProbeAtATimeAndEverLater(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.outage(simulator.Alimtalk, "http503")
		s.due(500, aClinic, event.Kakao, 2*time.Hour)
		time.Sleep(3 * time.Second)
		opened := time.Now()
		time.Sleep(10 * time.Minute)
		// After 5, 10, 20, 40 seconds, then every minute.
		probes := s.claims(opened)
		if probes < 11 || probes > 14 {
			t.Errorf("%d probes in ten minutes", probes)
		}
		if n := s.count(is(event.Unknown)); n > 60 {
			t.Errorf("%d outcomes must be found out", n)
		}
	})
}

// What waited must not be thrown at a gateway that has just come back.
func TestBacklogDrainsGradually(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.outage(simulator.Alimtalk, "http503")
		s.due(2000, aClinic, event.Kakao, 2*time.Hour)
		time.Sleep(2 * time.Minute)
		s.sim.EndOutages()
		for s.state(aClinic, event.Kakao) != "closed" {
			time.Sleep(10 * time.Millisecond)
		}
		back := time.Now()
		time.Sleep(time.Minute)
		seconds := make([]int, 8)
		for i := range seconds {
			seconds[i] = s.sentIn(back.Add(time.Duration(i)*time.Second), time.Second)
		}
		t.Logf("sent in each second after: %v", seconds)
		if seconds[0] < 3 || seconds[0] > 10 {
			t.Errorf("%d sends in the first second, want about 7", seconds[0])
		}
		for i := 1; i < 4; i++ {
			if seconds[i] <= seconds[i-1] || seconds[i] > 4*seconds[i-1] {
				t.Errorf("%v sends per second: want it to double", seconds)
			}
		}
		if late := s.sentIn(back.Add(20*time.Second), 10*time.Second); late > 0 && late > 1000 {
			t.Errorf("%d sends in 10 s at 100/s", late)
		}
		if n := s.count(is("")); n > 0 {
			t.Errorf("%d steps still wait a minute later", n)
		}
		slept := 0
		for _, st := range s.steps {
			slept += st.slept
		}
		if slept > 20*len(s.steps) {
			t.Errorf("the ledger was written to %d times for %d waiting steps", slept, len(s.steps))
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	rules := simulator.Rules{RPS: 1, Burst: 5, RetryAfter: simulator.Duration(45 * time.Second)}
	onStreet(t, 100, rules, func(t *testing.T, s *street) {
		s.due(100, aClinic, event.Kakao, time.Hour)
		time.Sleep(2 * time.Second)
		told := time.Now()
		before := s.claims(time.Time{})
		if got := s.state(aClinic, event.Kakao); got != "open" {
			t.Fatalf("the breaker is %s after a 429 that names a time", got)
		}
		time.Sleep(42 * time.Second)
		if n := s.claims(told); n != 0 || before > 40 {
			t.Errorf("%d claims before the time that the gateway named, %d before it did", n, before)
		}
		if n, planned := s.count(waits(event.GatewayThrottled)), s.count(is("")); n != planned || n < 60 {
			t.Errorf("%d of %d waiting steps say gateway_throttled", n, planned)
		}
		time.Sleep(5 * time.Second)
		if n := s.claims(told); n == 0 {
			t.Error("nothing was tried after it")
		}
		if n := s.count(is(event.Unknown)); n > 0 {
			t.Errorf("%d outcomes are unknown: a 429 proves that nothing was accepted", n)
		}
	})
}

// A gateway that takes less than the account's rate is given about as much as
// it takes.
func TestThrottledGatewayGetsWhatItTakes(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{RPS: 20, Burst: 20}, func(t *testing.T, s *street) {
		s.due(2000, aClinic, event.Kakao, time.Hour)
		time.Sleep(time.Minute)
		sent, tried := s.count(is(event.Sent)), s.claims(time.Time{})
		t.Logf("%d sent by %d requests", sent, tried)
		if sent < 600 || tried > 2*sent {
			t.Errorf("%d sent by %d requests in a minute at 20/s", sent, tried)
		}
	})
}

func TestRefusalsOpenNothing(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		err := s.sim.AddScript(simulator.Script{Times: 200, Body: `{"header":{"isSuccessful":false,"resultCode":-3003,"resultMessage":"x"}}`})
		if err != nil {
			t.Fatal(err)
		}
		s.due(200, aClinic, event.Kakao, time.Hour)
		time.Sleep(10 * time.Second)
		if got := s.state(aClinic, event.Kakao); got != "closed" || s.count(is(event.Failed)) != 200 {
			t.Errorf("the breaker is %s after %d refusals", got, s.count(is(event.Failed)))
		}
	})
}

func TestNothingIsSentPastItsExpiry(t *testing.T) {
	t.Parallel()
	rules := simulator.Rules{RPS: 1, Burst: 1, RetryAfter: simulator.Duration(20 * time.Hour)}
	for name, f := range map[string]func(s *street){
		"down":      func(s *street) { s.outage(simulator.Alimtalk, "refuse") },
		"throttled": func(*street) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rules
			if name == "down" {
				r = simulator.Rules{}
			}
			onStreet(t, 100, r, func(t *testing.T, s *street) {
				f(s)
				s.due(300, aClinic, event.Kakao, 5*time.Minute)
				time.Sleep(5*time.Minute + time.Second)
				s.sim.EndOutages()
				expired, sent := s.count(is(event.Expired)), s.count(is(event.Sent))
				if expired+sent != 300 || sent > 1 {
					t.Errorf("%d expired in time, %d sent, of 300", expired, sent)
				}
				time.Sleep(5 * time.Minute)
				if n := s.count(is(event.Sent)); n != sent {
					t.Errorf("%d sent past their validity", n-sent)
				}
			})
		})
	}
}

// Each account, and so each clinic and product, has a breaker of its own, and
// none takes the slots of all.
func TestOutageHoldsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"http503", "hang"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			onStreet(t, 300, simulator.Rules{}, func(t *testing.T, s *street) {
				s.outage(simulator.Alimtalk, mode)
				s.due(3000, aClinic, event.Kakao, time.Hour)
				other := tenant.NewID()
				slowest := time.Duration(0)
				for range 30 {
					s.due(1, aClinic, event.SMS, time.Hour)
					s.due(1, other, event.SMS, time.Hour)
					begin := time.Now()
					for s.count(func(st *standing) bool { return st.Channel == event.SMS && st.state != event.Sent }) > 0 {
						time.Sleep(10 * time.Millisecond)
					}
					slowest = max(slowest, time.Since(begin))
					time.Sleep(300 * time.Millisecond)
				}
				if slowest > 500*time.Millisecond {
					t.Errorf("another product's message took %v", slowest)
				}
				if got := s.state(aClinic, event.SMS); got != "closed" {
					t.Errorf("the other product's breaker is %s", got)
				}
			})
		})
	}
}

func TestBreakerClosesForARefusal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(breakerConfig{unit: timing.R, log: quiet, opened: func(event.Reason) {}})
		for range streakTrips {
			try, ok := b.allow(time.Now())
			if !ok {
				t.Fatal("it opened too early")
			}
			b.report(time.Now(), try, down, 0)
		}
		if _, ok := b.allow(time.Now()); ok || b.state(time.Now()) != "open" {
			t.Fatalf("it is %s after five failures", b.state(time.Now()))
		}
		time.Sleep(timing.R / 2)
		probe, ok := b.allow(time.Now())
		if !ok || b.state(time.Now()) != "half_open" {
			t.Fatalf("it is %s when its time has come", b.state(time.Now()))
		}
		if _, ok := b.allow(time.Now()); ok {
			t.Error("two probes at a time")
		}
		b.report(time.Now(), probe, untried, 0)
		if probe, ok = b.allow(time.Now()); !ok {
			t.Fatal("a probe that was not made keeps others from it")
		}
		b.report(time.Now(), probe, well, 0)
		if b.state(time.Now()) != "closed" {
			t.Errorf("it is %s after an answer", b.state(time.Now()))
		}
	})
}
