package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// rules send each step of a day list at once, and its SMS where Kakao fails.
var rules = simulate.Rules{
	Plan: func(t store.PendingTrigger, d *workflow.Definition) (out store.Expansion) {
		for _, s := range d.Steps {
			out.Steps = append(out.Steps, store.StepPlan{Node: s.Node, Channel: event.Kakao, Fallback: true, DueAt: t.ReceivedAt, Expires: t.ReceivedAt.Add(time.Hour)})
		}
		return out
	},
	Judge: func(*store.Candidate, store.Timing) simulate.Verdict { return simulate.Verdict{Text: "text"} },
	Settle: func(s store.StepNow, e event.Delivery, _ store.Timing) store.Transition {
		return store.Transition{State: store.State(e.Status), Reason: e.Reason, Fallback: e.Status == event.Failed && s.Fallback}
	},
}

func TestASimulationTellsWhoWouldBeSentWhatAndIsAudited(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateDelivered)
	path, doc := "/api/workflows/{id}/simulate", l.api.huma.OpenAPI()
	target := strings.Replace(path, "{id}", l.mine.workflow.String(), 1)
	before, sends := len(l.mine.audited()), l.sends()
	for _, body := range []string{`{"at":"2030-01-01T10:00:00+09:00","event":{"type":"x"},"assume":{"kakao":"failed"},"against_version":1}`, `{"replay_days":1}`} {
		w := l.send(http.MethodPost, target, l.mine.keys[auth.Staff], body)
		validFor(t, doc, doc.Paths[path].Post, path, "200", w.Body.Bytes())
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"content":"`) || !strings.Contains(w.Body.String(), `"runs":1,`) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
		if strings.Contains(body, "kakao") && (!strings.Contains(w.Body.String(), `"sms_instead":1,"failed":1`) || !strings.Contains(w.Body.String(), `"due_at":"2030-01-01T10:00:00+09:00"`)) {
			t.Errorf("%s: %s", body, w.Body)
		}
	}
	rows := l.mine.audited()
	if len(rows) != before+2 || rows[0].Action != "read" || rows[0].Subject != "simulate-workflow" || len(rows[0].Patients) != 1 {
		t.Errorf("the audit log has %+v", rows[0])
	}
	if n := l.sends(); n != sends {
		t.Errorf("%d messages were sent", n-sends)
	}
	for body, want := range map[string]string{
		`{"version":7}`:                     "not-found",
		`{"event":[1]}`:                     "invalid-payload /event=not-an-object",
		`{"assume":{"sms":"lost"}}`:         "invalid-payload /assume/sms=not-in-list",
		`{"assume":{"nodes":{"a":"lost"}}}`: "invalid-payload /assume/nodes=not-in-list",
		`{"days":801}`:                      "invalid-payload /days=too-large",
		`{"patient_ids":["x"]}`:             "invalid-payload /patient_ids/0=not-a-uuid",
		`{"at":"tomorrow"}`:                 "invalid-payload /at=not-a-date-time",
		`{"patient_ids":["` + uuid.NewString() + `"],"days":1}`: "",
	} {
		w := l.send(http.MethodPost, target, l.mine.keys[auth.Owner], body)
		if want == "" {
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"runs":0,`) {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		} else if got := problemOf(t, w); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

// sends counts the attempts of every clinic.
func (l *ledger) sends() (n int64) {
	l.t.Helper()
	list, err := l.db.Conserve(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range list {
		n += c.Steps
	}
	return n
}
