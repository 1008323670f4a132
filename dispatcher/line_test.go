package dispatcher

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// Steps come back when they may be sent, and as fast: each that comes too
// early costs the ledger two writes.
func TestHeldStepsComeBackAsFastAsTheyMaySend(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.outage(simulator.Alimtalk, "refuse")
		s.due(5, aClinic, event.Kakao, time.Hour)
		time.Sleep(time.Second)
		l, hold := s.line(aClinic, event.Kakao), s.hold(aClinic, event.Kakao)
		if left := time.Until(hold); left < 3*time.Second || left > 5*time.Second {
			t.Fatalf("held for %v", left)
		}
		var first, second, fifth int
		for range 800 {
			_, wait := l.enter(time.Now(), 256)
			switch after := wait.until.Sub(hold); {
			case after <= 0:
				t.Fatalf("a step comes back %v before it may be sent", -after)
			case after <= time.Second:
				first++
			case after <= 2*time.Second:
				second++
			case after > 4*time.Second && after <= 5*time.Second:
				fifth++
			}
		}
		if first < 4 || first > 10 || second < 10 || second > 20 || fifth < 70 || fifth > 101 {
			t.Errorf("%d come in the first second, %d in the second, %d in the fifth; want about 7, 14 and 100", first, second, fifth)
		}
	})
}

// Requests that were under way together are refused together, and say one
// thing.
func TestPaceHalvesOncePerAnswer(t *testing.T) {
	t.Parallel()
	p := newPace(320, time.Second)
	for i := range 20 {
		p.halve(noon.Add(time.Duration(i) * 10 * time.Millisecond))
	}
	if got := p.at(noon); got != 160 {
		t.Errorf("%v/s after one burst of refusals at 320/s, want 160", got)
	}
	// A sixteenth of the account's rate more with each second.
	if got := p.at(noon.Add(2 * time.Second)); math.Abs(got-200) > 1e-9 {
		t.Errorf("%v/s two seconds later, want 200", got)
	}
	p.halve(noon.Add(2 * time.Second))
	if got := p.at(noon.Add(2 * time.Second)); math.Abs(got-100) > 1e-9 {
		t.Errorf("%v/s after the next, want 100", got)
	}
	for i := range 100 {
		p.halve(noon.Add(time.Duration(4+i) * time.Second))
	}
	if got := p.at(noon.Add(104 * time.Second)); got < 1 {
		t.Errorf("%v/s after many: it must not stop", got)
	}
	if got := p.at(noon.Add(time.Hour)); got != 320 {
		t.Errorf("%v/s in the end", got)
	}
}

// What an account does says nothing about the one that took its place.
func TestReplacedAccountOpensNothing(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.outage(simulator.Alimtalk, "http503")
		s.from(func(c *store.Candidate) { c.Account = uuid.Must(uuid.NewV7()) })
		s.due(40, aClinic, event.Kakao, time.Hour)
		time.Sleep(5 * time.Second)
		if got := s.state(aClinic, event.Kakao); got != "closed" {
			t.Errorf("the breaker is %s", got)
		}
	})
}

func TestSlowSecondsAreNotSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewGateways(office{}, nil).newLine(store.Account{RatePerSecond: 1000}, nil)
		var last *ticket
		for range 40 {
			last, _ = l.enter(time.Now(), 200)
		}
		time.Sleep(timing.R/20 + 1)
		if l.silent(time.Now(), 200) {
			t.Error("held back after half a second, with slots for all")
		}
		if !l.silent(time.Now(), 39) {
			t.Error("it may take the last slots although it does not answer")
		}
		time.Sleep(timing.R / 4)
		if !l.silent(time.Now(), 200) {
			t.Error("it does not answer, and is given more")
		}
		if last.report(well, 0); l.silent(time.Now(), 39) {
			t.Error("it has just answered, and is given nothing")
		}
	})
}
