package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// scene is one accepted call whose steps arrive as a test says.
type scene struct {
	begin    time.Time
	calls    []Call
	steps    []Step
	arrivals []Arrival
}

func newScene() *scene {
	s := &scene{begin: time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)}
	trigger := uuid.New()
	s.calls = []Call{{Begun: s.begin, Answered: s.begin.Add(10 * time.Millisecond), Status: 202, Trigger: trigger}}
	for _, node := range []string{"first", "second", LaterNode} {
		due, takes := s.begin, 20*time.Millisecond
		if node == LaterNode {
			due, takes = s.begin.Add(2*time.Second), 5*time.Millisecond
		}
		root := uuid.New()
		s.steps = append(s.steps, Step{Root: root, Trigger: trigger, Node: node, State: "sent", Due: due})
		s.arrivals = append(s.arrivals, Arrival{root, "kakao", due.Add(takes)})
	}
	return s
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	type figures struct{ Accepted, Refused, Sends, Fallbacks, Lost, Doubled int }
	tests := []struct {
		name   string
		change func(*scene)
		want   figures
	}{
		{"all_well", func(*scene) {}, figures{1, 0, 3, 0, 0, 0}},
		{"a_message_never_arrived", func(s *scene) { s.arrivals = s.arrivals[:2] }, figures{1, 0, 2, 0, 1, 0}},
		{"a_step_is_not_in_the_ledger", func(s *scene) { s.steps = s.steps[:2] }, figures{1, 0, 3, 0, 1, 0}},
		{"the_trigger_is_not_in_the_ledger", func(s *scene) { s.steps, s.arrivals = nil, nil }, figures{1, 0, 0, 0, 3, 0}},
		{"kakao_twice", func(s *scene) { s.arrivals = append(s.arrivals, s.arrivals[0]) }, figures{1, 0, 4, 0, 0, 1}},
		{"kakao_and_sms", func(s *scene) {
			s.arrivals = append(s.arrivals, Arrival{s.arrivals[0].Root, "sms", s.begin.Add(time.Second)})
		}, figures{1, 0, 4, 0, 0, 1}},
		{"fell_back", func(s *scene) { s.steps[0].FellBack, s.arrivals[0].Channel = true, "sms" }, figures{1, 0, 4, 1, 0, 0}},
		{"refused_call", func(s *scene) { s.calls = append(s.calls, Call{Begun: s.begin, Status: 429}) }, figures{1, 1, 3, 0, 0, 0}},
		{"call_without_an_answer", func(s *scene) { s.calls = append(s.calls, Call{Begun: s.begin}) }, figures{1, 1, 3, 0, 0, 0}},
		{"steps_of_others", func(s *scene) { s.steps = append(s.steps, Step{Root: uuid.New(), Trigger: uuid.New()}) }, figures{1, 0, 3, 0, 0, 0}},
		{"nothing", func(s *scene) { *s = scene{} }, figures{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScene()
			tt.change(s)
			r := evaluate(s.calls, s.steps, s.arrivals)
			if diff := cmp.Diff(tt.want, figures{r.Accepted, r.Refused, r.Sends, r.Fallbacks, r.Lost, r.Doubled}); diff != "" {
				t.Error(diff)
			}
			if want := tt.want.Lost == 0 && tt.want.Doubled == 0; r.Exact() != want {
				t.Errorf("Exact() = %v, want %v", r.Exact(), want)
			}
		})
	}
}

func TestLatenciesAreMeasuredFromTheCallAndFromTheDueTime(t *testing.T) {
	t.Parallel()
	s := newScene()
	s.steps[1].FellBack = true
	s.arrivals[1] = Arrival{s.steps[1].Root, "sms", s.begin.Add(40 * time.Millisecond)}
	r := evaluate(s.calls, s.steps, s.arrivals)
	at := func(ms Millis) Latency { return Latency{ms, ms, ms, 1} }
	if diff := cmp.Diff([]Latency{at(10), at(20), at(5), at(40)}, []Latency{r.Accept, r.Trigger, r.Lateness, r.Fallback}); diff != "" {
		t.Errorf("accept, trigger, lateness, fallback: %s", diff)
	}
	if want := 4 / 2.005; r.SendRate < want-0.001 || r.SendRate > want+0.001 {
		t.Errorf("sends per second = %g, want %g: 4 until the later step is there", r.SendRate, want)
	}
}

func TestBusiestHalf(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	var list []Arrival
	for n := range 100 { // 10/s at first, then 100/s
		at := time.Duration(n) * 100 * time.Millisecond
		if n >= 40 {
			at = 4*time.Second + time.Duration(n-40)*10*time.Millisecond
		}
		list = append(list, Arrival{At: begin.Add(at)})
	}
	if got := busiestHalf(list); got < 99.9 || got > 100.1 {
		t.Errorf("busiestHalf = %g, want 100", got)
	}
	if got := busiestHalf(nil); got != 0 {
		t.Errorf("busiestHalf of nothing = %g", got)
	}
}

func TestTimely(t *testing.T) {
	t.Parallel()
	due := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	a, b := uuid.New(), uuid.New()
	got := timely([]Step{{Root: a, Due: due}, {Root: b, Due: due}},
		[]Arrival{{a, "kakao", due.Add(time.Second)}, {a, "kakao", due.Add(2 * time.Second)}})
	if diff := cmp.Diff(&Timers{Lateness: Latency{1000, 1000, 1000, 1}, Lost: 1, Doubled: 1}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheRefusedShareIsKeptAndSpread(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 0.05, 0.5, 1} {
		s := Shape{Refusals: share}
		n, half := 0, 0
		for i := range 1000 {
			if s.refused(i) {
				n++
				if i < 500 {
					half++
				}
			}
		}
		if want := int(share * 1000); n != want || half < want/2-1 || half > want/2+1 {
			t.Errorf("share %g: %d of 1000, %d of the first half", share, n, half)
		}
	}
}
