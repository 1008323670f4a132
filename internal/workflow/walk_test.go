package workflow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

var seoul = time.FixedZone("KST", 9*60*60)

func sunday(hour int) time.Time { return time.Date(2026, 11, 22, hour, 0, 0, 0, seoul) }

func mustParse(t interface{ Fatalf(string, ...any) }, doc string) *workflow.Visual {
	v, problems := workflow.ParseVisual([]byte(doc))
	if len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	if problems := workflow.CheckVisual(v, drawnTemplates); len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	return v
}

func moment(now time.Time) workflow.Moment {
	return workflow.Moment{Now: now, Zone: seoul, SendAt: workflow.Clock{Hour: 10}, Subject: "patient", Been: map[string]bool{}}
}

func remember(m *workflow.Moment, w workflow.Walked) {
	for _, id := range w.Passed {
		m.Been[id] = true
	}
}

func TestAConditionSeesTheWorldWhenItsTimeComes(t *testing.T) {
	t.Parallel()
	v := mustParse(t, drawn)
	m := moment(sunday(15))
	m.World.Patient = map[string]any{"gender": "F"}
	first := workflow.Walk(v, []workflow.Arrival{{Node: "t", At: m.Now}}, m)
	due := sunday(10).AddDate(0, 0, 3)
	if diff := cmp.Diff(workflow.Walked{
		Messages: []workflow.Arrival{{Node: "care", At: m.Now}},
		Rests:    []workflow.Rest{{Node: "c", At: due}},
		Passed:   []string{"t", "care", "d"},
	}, first); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	remember(&m, first)

	undelivered := m
	undelivered.Now = due
	got := workflow.Walk(v, []workflow.Arrival{{Node: "c", At: due}}, undelivered)
	if diff := cmp.Diff([]workflow.Ending{{Node: "end", Reason: "exit"}}, got.Endings); diff != "" || len(got.Messages) > 0 {
		t.Errorf("undelivered: %+v", got)
	}
	m.Now = due
	m.World.Happened = map[string]any{"care": map[string]any{"delivered": true}}
	got = workflow.Walk(v, []workflow.Arrival{{Node: "c", At: due}}, m)
	if len(got.Rests) != 1 || got.Rests[0] != (workflow.Rest{Node: "w", At: due.Add(48 * time.Hour), Event: "delivered"}) {
		t.Errorf("delivered: %+v", got)
	}
	remember(&m, got)
	m.Now = due.Add(48 * time.Hour)
	got = workflow.Walk(v, []workflow.Arrival{{Node: "w", At: m.Now, Handle: "timeout"}}, m)
	if diff := cmp.Diff([]workflow.Arrival{{Node: "again", At: m.Now}}, got.Messages); diff != "" {
		t.Errorf("after the timeout (-want +got):\n%s", diff)
	}
}

func delayed(data string) string {
	return `{"nodes": [{"id": "t", "type": "trigger"}, {"id": "d", "type": "delay", "data": ` + data + `}, {"id": "m", "type": "message", "data": {"template": "survey"}}],
	         "edges": [{"source": "t", "target": "d"}, {"source": "d", "target": "m"}]}`
}

func TestDelaysLeadToLocalTimes(t *testing.T) {
	t.Parallel()
	visit := time.Date(2026, 12, 1, 14, 30, 0, 0, seoul) // a Tuesday
	for data, want := range map[string]string{
		`{"seconds": 90}`: "11-22 15:01:30", `{"hours": 0}`: "11-22 15:00:00", `{"days": 0}`: "11-22 10:00:00",
		`{"days": 180}`: "05-21 10:00:00", `{"days": 1, "at": "08:30"}`: "11-23 08:30:00",
		`{"business_days": 1}`: "11-23 10:00:00", `{"business_days": 6}`: "12-01 10:00:00", // past a closed Friday
		`{"until": "18:00"}`: "11-22 18:00:00", `{"until": "09:00"}`: "11-23 09:00:00",
		`{"field": "/visit"}`: "12-01 14:30:00", `{"field": "/visit", "hours": 2, "before": true}`: "12-01 12:30:00",
		`{"field": "/visit", "days": 1, "before": true, "at": "19:00"}`: "11-30 19:00:00", `{"field": "/visit", "at": "07:00"}`: "12-01 07:00:00",
		`{"field": "/visit", "business_days": 3, "before": true}`: "11-25 10:00:00",
		`{"field": "/never"}`: "none",
	} {
		m := moment(sunday(15))
		m.Date = func(pointer string) (time.Time, bool) { return visit, pointer == "/visit" }
		m.Calendar = &workflow.Calendar{Closed: []string{"2026-11-27"}}
		got := "none"
		w := workflow.Walk(mustParse(t, delayed(data)), []workflow.Arrival{{Node: "t", At: m.Now}}, m)
		if len(w.Messages) == 1 {
			got = w.Messages[0].At.In(seoul).Format("01-02 15:04:05")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", data, got, want)
		}
	}
}

func TestASplitIsStableAndFair(t *testing.T) {
	t.Parallel()
	v := mustParse(t, `{"nodes": [{"id": "t", "type": "trigger"}, {"id": "s", "type": "split", "data": {"branches": [{"handle": "a", "percent": 70}, {"handle": "b", "percent": 30}]}},
	  {"id": "x", "type": "message", "data": {"template": "survey"}}, {"id": "y", "type": "message", "data": {"template": "survey"}}],
	  "edges": [{"source": "t", "target": "s"}, {"source": "s", "target": "x", "sourceHandle": "a"}, {"source": "s", "target": "y", "sourceHandle": "b"}]}`)
	count := map[string]int{}
	for i := range 2000 {
		m := moment(sunday(15))
		m.Subject = fmt.Sprint("patient ", i)
		first := workflow.Walk(v, []workflow.Arrival{{Node: "t", At: m.Now}}, m).Messages[0].Node
		again := workflow.Walk(v, []workflow.Arrival{{Node: "t", At: m.Now}}, m).Messages[0].Node
		if first != again {
			t.Fatal("a patient changes branches")
		}
		count[first]++
	}
	if count["x"] < 1300 || count["x"] > 1500 {
		t.Errorf("%v of 2,000 at 70 to 30", count)
	}
}

// Whatever is drawn, a run ends and no node is passed twice, whichever way its
// questions are answered.
func TestEveryRunEndsAndPassesNoNodeTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "nodes")
		nodes, edges := `{"id": "0", "type": "trigger"}`, ""
		for i := 1; i < n; i++ {
			data := rapid.SampledFrom([]string{
				`"message", "data": {"template": "survey"}`, `"delay", "data": {"hours": 5}`, `"delay", "data": {"days": 1}`,
				`"condition", "data": {"expression": "patient.yes"}`, `"wait", "data": {"event": "delivered", "timeout": {"hours": 3}}`, `"exit"`,
			}).Draw(t, "kind")
			nodes += fmt.Sprintf(`, {"id": "%d", "type": %s}`, i, data)
		}
		for i := range n {
			for range rapid.IntRange(0, 3).Draw(t, "ways") {
				handle := rapid.SampledFrom([]string{"true", "false", "event", "timeout"}).Draw(t, "handle")
				edges += fmt.Sprintf(`, {"source": "%d", "target": "%d", "sourceHandle": %q}`, i, rapid.IntRange(i+1, n).Draw(t, "to"), handle)
			}
		}
		if edges == "" {
			return
		}
		v, problems := workflow.ParseVisual([]byte(`{"nodes": [` + nodes + `], "edges": [` + edges[2:] + `]}`))
		if len(problems) > 0 {
			t.Fatalf("%+v", problems)
		}
		m := moment(sunday(15))
		m.World.Patient = map[string]any{"yes": rapid.Bool().Draw(t, "yes")}
		passed := map[string]int{}
		todo := []workflow.Arrival{{Node: "0", At: m.Now}}
		for rounds := 0; len(todo) > 0; rounds++ {
			if rounds > 100 {
				t.Fatal("the run never ends")
			}
			w := workflow.Walk(v, todo, m)
			for _, id := range w.Passed {
				passed[id]++
			}
			remember(&m, w)
			todo = nil
			for _, r := range w.Rests {
				a := workflow.Arrival{Node: r.Node, At: r.At}
				if r.Event != "" {
					a.Handle = rapid.SampledFrom([]string{"event", "timeout"}).Draw(t, "answer")
				}
				todo = append(todo, a)
				if r.At.After(m.Now) {
					m.Now = r.At
				}
			}
		}
		for id, n := range passed {
			if n > 1 {
				t.Fatalf("node %s was passed %d times", id, n)
			}
		}
	})
}
