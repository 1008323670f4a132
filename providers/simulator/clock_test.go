package simulator

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestVirtualTimeKeepsItsPace(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, kst)
	tests := []struct {
		name  string
		c     Config
		after time.Duration // on the wall clock
		want  time.Duration // in virtual time
		mode  string
	}{
		{"real", Config{Start: start}, time.Minute, time.Minute, "real"},
		{"scaled", Config{Start: start, Scale: 1000}, time.Second, 1000 * time.Second, "scaled"},
		{"manual", Config{Start: start, Manual: true}, time.Hour, 0, "manual"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := New(tt.c)
				time.Sleep(tt.after)
				if got := s.Now().Sub(start); got != tt.want {
					t.Errorf("passed %v, want %v", got, tt.want)
				}
				if got := s.Clock().Mode; got != tt.mode {
					t.Errorf("mode = %s, want %s", got, tt.mode)
				}
			})
		})
	}
}

func TestChangingThePaceNeverMovesThePresentBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		last := s.Now()
		for _, scale := range []float64{10, 0, 1, 300, 0.5, 1} {
			time.Sleep(time.Second)
			if err := s.SetPace(scale); err != nil {
				t.Fatal(err)
			}
			if now := s.Now(); now.Before(last) {
				t.Fatalf("scale %v: %v is before %v", scale, now, last)
			}
			last = s.Now()
		}
		if s.SetPace(-1) == nil || s.Advance(-1) == nil {
			t.Error("a negative pace or advance is taken")
		}
		if err := s.Advance(time.Hour); err != nil || s.Now().Sub(last) != time.Hour {
			t.Errorf("advanced by %v, want an hour", s.Now().Sub(last))
		}
	})
}

func TestScaleShortensReportsAndHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Scale: 1000})
		start := time.Now()
		g.kakao("01005040000", "r0:kakao") // hangs for 30 virtual seconds
		if got := time.Since(start); got != hangFor/1000 {
			t.Errorf("hung for %v, want %v", got, hangFor/1000)
		}
		g.mustOK(g.kakao("01002190000", "r1:kakao"))
		time.Sleep(lateAfter/1000 + time.Millisecond)
		if got := g.findKakao("r1:kakao").at(kakaoList + "messages.0.resultCode"); got != "3019" {
			t.Errorf("result = %s, want 3019 after 0.3 s", got)
		}
	})
}

func TestRealStampsKeepTheWallClockOnTheWire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Scale: 1000, RealStamps: true})
		time.Sleep(time.Minute) // 16 virtual hours
		g.mustOK(g.kakao("01002190000", "r1:kakao"))
		time.Sleep(time.Second)
		e := g.Ledger()[0]
		if got := time.Since(e.At); got != time.Second {
			t.Errorf("accepted %v ago, want 1s", got)
		}
		if got := e.ResultAt.Sub(e.At); got < 0 || got > time.Second {
			t.Errorf("reported after %v of wall time, want at most 1s", got)
		}
	})
}

func TestManualTimeMovesReportsOnlyByAdvance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Manual: true, ReportDelay: time.Minute})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		g.mustOK(g.kakao("01012345678", "r1:kakao"))
		time.Sleep(time.Hour)
		if got := g.Stats().Open; got != 1 {
			t.Fatalf("open = %d before the advance, want 1", got)
		}
		if err := g.Advance(time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := g.Stats().Open; got != 0 {
			t.Errorf("open = %d after the advance, want 0", got)
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Manual: true})
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := s.clock.sleep(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("sleep = %v, want the context's end", err)
		}
	})
}
