package bench

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

const clinicFile = `
tenant: {slug: bench-0, name: 벤치치과}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님"}
workflows:
  - name: timers
    steps: [{hours: 12, template: care}]
webhooks:
  - {name: visits, workflow: timers}
patients:
  - {external_id: P-0, name: 김하늘, phone: 010-1000-0000}
`

func newLedger(t *testing.T) (*Ledger, *store.DB, storetest.URLs) {
	t.Helper()
	urls := storetest.Database(t)
	db, err := store.Open(t.Context(), store.Config{APIURL: urls.API, WorkerURL: urls.Worker, Master: seal.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	f, err := clinic.Parse([]byte(clinicFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ApplyClinic(t.Context(), f, store.ApplyOptions{Phones: phone.Options{AllowTestBands: true}}); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLedger(t.Context(), urls.Worker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l, db, urls
}

// TestWaitingStepsAreWholeAndMoveTogether adds waiting steps as app_worker may,
// and makes those of one load due.
func TestWaitingStepsAreWholeAndMoveTogether(t *testing.T) {
	t.Parallel()
	l, db, urls := newLedger(t)
	added, err := l.AddPending(t.Context(), "bench-0", "timers", 1500)
	if err != nil {
		t.Fatal(err)
	}
	if added != 2000 {
		t.Errorf("%d steps added, want 2,000: two groups", added)
	}
	list, err := db.Conserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := list[0]; c.Diff() != 0 || c.Pending != 2000 {
		t.Errorf("conservation: %+v", c)
	}
	if n, err := l.Open(t.Context()); err != nil || n != 0 {
		t.Errorf("Open = %d, %v; what waits for a day is not open", n, err)
	}

	// Ten of the triggers become one load's.
	super, err := pgx.Connect(t.Context(), urls.Super)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(context.Background())
	const rename = `UPDATE triggers SET event_id = 'load-' || id WHERE id IN (SELECT id FROM triggers ORDER BY id LIMIT 10)`
	if _, err := super.Exec(t.Context(), rename); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Planned(t.Context(), "load"); err != nil || n != 100 {
		t.Errorf("Planned = %d, %v; want 100", n, err)
	}
	at := time.Now().Add(10 * time.Minute).Truncate(time.Microsecond)
	if err := l.Move(t.Context(), "load", at, 0); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Open(t.Context()); err != nil || n != 100 {
		t.Errorf("Open = %d, %v; want what was moved, 100", n, err)
	}
	steps, err := l.Steps(t.Context(), "load")
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != 100 {
		t.Errorf("%d steps, want 100", len(steps))
	}
	for _, s := range steps {
		if !s.Due.Equal(at) || s.State != "planned" || s.FellBack {
			t.Fatalf("step %+v, want it planned for %v", s, at)
		}
	}
	if err := l.Move(t.Context(), "load", at, time.Second); err != nil {
		t.Fatal(err)
	}
	if steps, err = l.Steps(t.Context(), "load"); err != nil {
		t.Fatal(err)
	}
	times := map[time.Time]bool{}
	for _, s := range steps {
		times[s.Due] = true
		if s.Due.Before(at) || s.Due.After(at.Add(time.Second)) {
			t.Errorf("due %v is not within a second of %v", s.Due, at)
		}
	}
	if len(times) < 50 {
		t.Errorf("%d different times, want them spread", len(times))
	}
}

func TestSentStepsArriveWhenTheyWereAnswered(t *testing.T) {
	t.Parallel()
	l, _, urls := newLedger(t)
	if _, err := l.AddPending(t.Context(), "bench-0", "timers", 1); err != nil {
		t.Fatal(err)
	}
	super, err := pgx.Connect(t.Context(), urls.Super)
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(context.Background())
	at := time.Now().Truncate(time.Microsecond)
	for _, sql := range []string{
		`UPDATE triggers SET event_id = 'load-1' WHERE id = (SELECT id FROM triggers LIMIT 1)`,
		`UPDATE steps SET state = 'sent', sent_at = $1 WHERE id = (SELECT s.id FROM triggers t JOIN workflow_executions e ON e.trigger_id = t.id
			JOIN steps s ON s.execution_id = e.id WHERE t.event_id = 'load-1' LIMIT 1)`,
	} {
		var args []any
		if sql[:12] == "UPDATE steps" {
			args = append(args, at)
		}
		if _, err := super.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	list, err := l.Sent(t.Context(), "load")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || !list[0].At.Equal(at) || list[0].Channel != "kakao" {
		t.Errorf("Sent = %+v, want one at %v", list, at)
	}
}

func TestTheServerIsFoundByItsConnection(t *testing.T) {
	t.Parallel()
	l, _, _ := newLedger(t)
	p := Process{Name: Database, PID: l.Postmaster(), Tree: true}
	if d, err := p.CPU(); err != nil || d <= 0 {
		t.Errorf("the server's process %d took %v, %v", p.PID, d, err)
	}
}

func TestWaitingStepsNeedTheWorkflow(t *testing.T) {
	t.Parallel()
	l, _, _ := newLedger(t)
	if _, err := l.AddPending(t.Context(), "bench-0", "nothing", 1); err == nil {
		t.Error("AddPending took a workflow that does not exist")
	}
}
