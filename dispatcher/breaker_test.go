package dispatcher

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
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
				open := s.hold(aClinic, event.Kakao)
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
		s.due(200, aClinic, event.Kakao, 2*time.Hour)
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
		s.due(600, aClinic, event.Kakao, 2*time.Hour)
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
		s.count(func(st *standing) bool { slept += st.slept; return false })
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
		s.due(1000, aClinic, event.Kakao, time.Hour)
		time.Sleep(30 * time.Second)
		sent, tried := s.count(is(event.Sent)), s.claims(time.Time{})
		t.Logf("%d sent by %d requests", sent, tried)
		if sent < 300 || tried > 2*sent {
			t.Errorf("%d sent by %d requests in half a minute at 20/s", sent, tried)
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
				s.due(1000, aClinic, event.Kakao, time.Hour)
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

// What a guard keeps from being sent says nothing about the gateway, also when
// it was to be the probe.
func TestProbeThatAGuardKeepsIsMadeByAnother(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.outage(simulator.Alimtalk, "http503")
		s.due(20, aClinic, event.Kakao, time.Hour)
		time.Sleep(2 * time.Second)
		s.sim.EndOutages()
		kept := 0
		s.from(func(c *store.Candidate) {
			if kept++; kept <= 3 {
				c.Suppressed = []string{"*"}
			}
		})
		s.due(100, aClinic, event.Kakao, time.Hour)
		time.Sleep(30 * time.Second)
		if got, n := s.state(aClinic, event.Kakao), s.count(is(event.Skipped)); got != "closed" || n != 3 {
			t.Errorf("the breaker is %s after %d steps were kept", got, n)
		}
	})
}

// A claim that takes longer than G leaves nothing to write in: our own doing.
func TestOwnSlownessOpensNothing(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.slow = timing.G
		s.due(100, aClinic, event.Kakao, time.Hour)
		time.Sleep(10 * time.Second)
		if got, n := s.state(aClinic, event.Kakao), s.claims(time.Time{}); got != "closed" || n < 100 {
			t.Errorf("the breaker is %s after %d claims", got, n)
		}
		if n := s.count(waits(event.GatewayDown)); n != 0 {
			t.Errorf("%d steps put it down to the gateway", n)
		}
	})
}

// A step that was refused for rate waits like the others, and says so.
func TestReleasedStepSaysWhy(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]event.Reason{"429": event.GatewayThrottled, "refuse": event.GatewayDown} {
		rules := simulator.Rules{}
		if mode == "429" {
			rules = simulator.Rules{RPS: 0.0001, Burst: 1}
		}
		onStreet(t, 100, rules, func(t *testing.T, s *street) {
			if mode == "refuse" {
				s.outage("", mode)
			}
			s.due(3, aClinic, event.Kakao, time.Hour)
			time.Sleep(500 * time.Millisecond)
			if n, planned := s.count(waits(want)), s.count(is("")); n != planned || n < 2 {
				t.Errorf("%s: %d of %d waiting steps say %s", mode, n, planned, want)
			}
		})
	}
}

// trial is a breaker of which a test makes requests one at a time.
type trial struct{ *breaker }

func newTrial() trial {
	return trial{newBreaker(breakerConfig{unit: timing.R, log: quiet, opened: func(event.Reason) {}})}
}

// see makes requests with these ends; it reports whether all were let go.
func (b trial) see(ends ...health) bool {
	for _, h := range ends {
		try, ok := b.allow(time.Now())
		if !ok {
			return false
		}
		b.report(time.Now(), try, h, 0)
	}
	return true
}

func TestWhatOpensABreaker(t *testing.T) {
	t.Parallel()
	alternately := func(n int, ends ...health) (all []health) {
		for range n {
			all = append(all, ends...)
		}
		return all
	}
	for _, tt := range []struct {
		name string
		ends []health
		open bool
	}{
		{"four_in_a_row", []health{down, down, down, down}, false},
		{"five_in_a_row", []health{down, down, down, down, down}, true},
		{"five_of_both_kinds", []health{down, throttled, down, throttled, down}, true},
		{"an_answer_between", []health{down, down, down, down, well, down, down, down, down}, false},
		{"not_tried_between", []health{down, down, untried, untried, down, down, down}, true},
		{"half_of_eighteen", alternately(9, down, well), false},
		{"half_of_twenty", append(alternately(9, down, well), well, down), true},
		{"two_fifths", alternately(10, down, down, well, well, well), false},
		{"throttled_among_answers", alternately(40, throttled, well), false},
		{"four_of_five_throttled", alternately(40, throttled, throttled, throttled, throttled, well), false},
		{"only_throttled", alternately(5, throttled), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newTrial()
			if all := b.see(tt.ends...); b.shut != tt.open || !all {
				t.Errorf("%s: open is %v after all of them: %v; want %v", tt.name, b.shut, all, tt.open)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newTrial()
		for range 9 {
			b.see(down, well)
		}
		time.Sleep(3*timing.R + time.Second)
		if b.see(well, down); b.shut {
			t.Error("failures of half a minute ago count")
		}
		for range 3 {
			time.Sleep(time.Hour)
			b.see(down)
		}
		if time.Sleep(time.Hour); b.shut {
			t.Error("four in a row opened it")
		}
		if b.see(down); !b.shut {
			t.Error("five in a row that were hours apart did not open it")
		}
	})
}

func TestBreakerThatHasJustClosedIsWary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTrial()
		b.see(down, down, down, down, down)
		time.Sleep(timing.R / 2)
		if b.see(well, well, down); b.shut {
			t.Fatal("one failure opened it")
		}
		if b.see(down); !b.shut {
			t.Error("two failures right after it closed did not open it")
		}
		if got := time.Until(b.hold); got != timing.R {
			t.Errorf("the second time it is open for %v, want twice as long as the first", got)
		}
		time.Sleep(timing.R)
		b.see(well)
		time.Sleep(2 * timing.R)
		if b.see(down, down, down, down); b.shut {
			t.Error("four failures opened it when it had been closed for long")
		}
	})
}

// What began before a change says nothing after it: requests that were under
// way when the breaker opened end when it may have closed.
func TestLateEndsChangeNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTrial()
		var late []try
		for range 20 {
			l, _ := b.allow(time.Now())
			late = append(late, l)
		}
		b.see(down, down, down, down, down)
		hold := b.hold
		b.report(time.Now(), late[0], well, 0)
		b.report(time.Now(), late[1], down, 0)
		if !b.shut || !b.hold.Equal(hold) {
			t.Error("late ends changed an open breaker")
		}
		time.Sleep(timing.R / 2)
		b.see(well)
		for _, l := range late[2:] {
			b.report(time.Now(), l, down, 0)
		}
		if b.shut || b.streak != 0 {
			t.Error("late failures count for a closed breaker")
		}
	})
}

func TestTimeThatTheGatewayNamesIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTrial()
		first, _ := b.allow(time.Now())
		second, _ := b.allow(time.Now())
		b.report(time.Now(), first, throttled, time.Minute)
		if !b.shut || time.Until(b.hold) != time.Minute {
			t.Errorf("open %v for %v, want a minute", b.shut, time.Until(b.hold))
		}
		// The latest word counts, also of a request that was under way.
		b.report(time.Now(), second, throttled, time.Hour)
		if time.Until(b.hold) != time.Hour {
			t.Errorf("held for %v, want an hour", time.Until(b.hold))
		}
		time.Sleep(time.Hour)
		if !b.see(throttled) || time.Until(b.hold) > timing.R {
			t.Errorf("when the time has passed and nothing else is named, held for %v", time.Until(b.hold))
		}
	})
}

func TestOneProbeDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newTrial()
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
