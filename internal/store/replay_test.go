package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// runs counts the runs of an appointment by workflow.
func (d *diary) runs(number string) (s string) {
	d.t.Helper()
	d.scan(`SELECT coalesce(string_agg(n.name || ' ' || n.runs, ', ' ORDER BY n.name), '') FROM (
		SELECT w.name, count(*) AS runs FROM workflow_executions e JOIN workflows w ON w.id = e.workflow_id JOIN appointments a ON a.id = e.appointment_id
		WHERE a.external_id = $1 GROUP BY 1) AS n`, []any{number}, &s)
	return s
}

func (d *diary) replay(r store.Replay) store.Replayed {
	d.t.Helper()
	r.Hand = hand
	r.Note = "lost"
	out, err := d.Replay(d.t.Context(), d.tenant, r)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// A trigger that is looked at again gives a run to what has none, and none to
// what has one, however often and by however many.
func TestAReplayRunsNothingTwice(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.exec(`UPDATE workflows SET is_active = false`)
	e := d.tell(d.said("e1", "completed", "A1", 1, starts(d.day(-1, 14))+`,"surgery_type":"임플란트"`))
	d.plan(e.Trigger)
	if got := d.runs("A1"); got != "" {
		t.Fatalf("runs %s of workflows that are off", got)
	}
	d.exec(`UPDATE workflows SET is_active = true`)
	for range 3 {
		if out := d.replay(store.Replay{Trigger: e.Trigger}); !out.Opened || out.State != "pending" {
			t.Fatalf("%+v", out)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { d.plan(e.Trigger) })
		}
		all.Wait()
		if out := d.replay(store.Replay{Trigger: e.Trigger}); len(out.Runs) != 1 {
			t.Fatalf("%+v", out)
		}
		d.plan(e.Trigger)
		d.holds()
	}
	var state, reason string
	d.scan(`SELECT state || ' ' || reason, coalesce(reason, '') FROM triggers WHERE id = $1`, []any{e.Trigger}, &state, &reason)
	if state != "planned planned" {
		t.Errorf("the trigger is %s", state)
	}
	if got := d.steps("A1"); got == "" {
		t.Error("nothing is planned")
	}
}

// A visit whose end is told by two events has one run of its care.
func TestAVisitThatEndsTwiceIsCaredForOnce(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	at := starts(d.day(-1, 14)) + `,"surgery_type":"임플란트"`
	first, second := d.tell(d.said("e1", "completed", "A1", 1, at)), d.tell(d.said("e2", "completed", "A1", 2, at))
	var all sync.WaitGroup
	for _, trigger := range []uuid.UUID{first.Trigger, second.Trigger, first.Trigger, second.Trigger} {
		all.Go(func() { d.plan(trigger) })
	}
	all.Wait()
	third := d.tell(d.said("e3", "completed", "A1", 3, at))
	d.plan(third.Trigger)
	if n := d.count(`SELECT count(*) FROM workflow_executions`); n != 1 {
		t.Errorf("%d runs: %s", n, d.runs("A1"))
	}
	var reason string
	d.scan(`SELECT reason FROM triggers WHERE id = $1`, []any{third.Trigger}, &reason)
	if reason != string(event.AlreadyRan) {
		t.Errorf("the third is %s", reason)
	}
	d.holds()
}

func TestAForcedRunIsOneByItsName(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	e := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(3, 14))))
	d.plan(e.Trigger)
	before := d.count(`SELECT count(*) FROM workflow_executions`)
	if before == 0 {
		t.Fatal("the booking started nothing")
	}
	var w uuid.UUID
	d.scan(`SELECT workflow_id FROM workflow_executions LIMIT 1`, nil, &w)
	var all sync.WaitGroup
	made := make([]store.Replayed, 6)
	for i := range made {
		all.Go(func() { made[i] = d.replay(store.Replay{Trigger: e.Trigger, Workflow: w, Name: "again"}) })
	}
	all.Wait()
	opened := 0
	for _, m := range made {
		if m.Trigger != made[0].Trigger || m.Trigger == e.Trigger {
			t.Errorf("%+v", m)
		}
		if m.Opened {
			opened++
		}
		d.plan(m.Trigger)
	}
	other := d.replay(store.Replay{Trigger: e.Trigger, Workflow: w, Name: "and.again", FromNow: true})
	d.plan(other.Trigger)
	if n := d.count(`SELECT count(*) FROM workflow_executions`); n != before+2 || opened != 1 {
		t.Errorf("%d runs after %d, %d opened", n, before, opened)
	}
	if n := d.count(`SELECT count(*) FROM audit_log WHERE action = 'replay.force'`); n != 2 {
		t.Errorf("%d rows of the audit log", n)
	}
	for want, r := range map[error]store.Replay{
		store.ErrNotPublished: {Trigger: e.Trigger, Workflow: uuid.Must(uuid.NewV7()), Name: "x"},
		store.ErrUnnamed:      {Trigger: e.Trigger, Workflow: w},
		store.ErrNotFound:     {Trigger: uuid.Must(uuid.NewV7())},
		store.ErrNote:         {Trigger: e.Trigger, Workflow: w, Name: "y"},
	} {
		r.Hand = hand
		if !errors.Is(want, store.ErrNote) {
			r.Note = "lost"
		} else {
			r.Note = ""
		}
		if _, err := d.Replay(t.Context(), d.tenant, r); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", r, err, want)
		}
	}
	d.holds()
}

func TestNothingIsReplayedOfWhoeverWasErased(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	e := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(3, 14))))
	d.plan(e.Trigger)
	var patient uuid.UUID
	d.scan(`SELECT patient_id FROM appointments`, nil, &patient)
	if _, err := d.ErasePatient(t.Context(), d.tenant, patient, "", hand); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Replay(t.Context(), d.tenant, store.Replay{Trigger: e.Trigger, Hand: hand}); !errors.Is(err, store.ErrPayloadGone) {
		t.Errorf("%v", err)
	}
	d.holds()
}

// A source's replay goes on from where it was, by whichever copy, and opens
// everything that it means and nothing else.
func TestASourceIsReplayedWholeAndOnce(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.exec(`UPDATE workflows SET is_active = false`)
	var triggers []uuid.UUID
	for i := range 40 {
		triggers = append(triggers, d.tell(d.said(fmt.Sprint("e", i), "booked", fmt.Sprint("A", i), 1, starts(d.day(3, 14)))).Trigger)
	}
	d.plan(triggers...)
	d.exec(`UPDATE workflows SET is_active = true`)
	d.exec(`UPDATE triggers SET received_at = received_at - interval '2 days' WHERE id = ANY ($1)`, triggers[:10])
	r := store.SourceReplay{Source: "appointment", Since: time.Now().Add(-time.Hour), Hand: store.Hand{Actor: "cli:test", Note: "workflows were off"}}
	if seen, gone, err := d.CountSource(t.Context(), d.tenant, r); err != nil || seen != 30 || gone != 0 {
		t.Errorf("%d, %d, %v", seen, gone, err)
	}
	job, err := d.ReplaySource(t.Context(), d.tenant, r)
	if err != nil || job.State != "running" {
		t.Fatal(job, err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for more := true; more; {
				var err error
				if more, err = d.ContinueReplay(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if job, err = d.ReplayByID(t.Context(), d.tenant, job.ID); err != nil || job.State != "done" || job.Seen != 30 || job.Reopened != 30 {
		t.Errorf("%+v, %v", job, err)
	}
	d.plan(triggers...)
	if n := d.count(`SELECT count(DISTINCT trigger_id) FROM workflow_executions`); n != 30 {
		t.Errorf("%d triggers have runs", n)
	}
	runs := d.count(`SELECT count(*) FROM workflow_executions`)
	if _, err := d.ReplaySource(t.Context(), d.tenant, r); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		if more, err = d.ContinueReplay(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.plan(triggers...)
	if n := d.count(`SELECT count(*) FROM workflow_executions`); n != runs {
		t.Errorf("%d runs after %d", n, runs)
	}
	d.holds()
}

func TestAReplayGivesWayAndCanBeStopped(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	e := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(3, 14))))
	d.plan(e.Trigger)
	d.exec(`INSERT INTO triggers (tenant_id, id, kind, source, event_id, body_hash, wake_at) SELECT $1, gen_random_uuid(), 'webhook', 'crowd', 'c' || i, '', app_now() FROM generate_series(1, 600) AS g (i)`, d.tenant)
	job, err := d.ReplaySource(t.Context(), d.tenant, store.SourceReplay{Since: time.Now().Add(-time.Hour), Hand: store.Hand{Actor: "cli:test", Note: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if more, err := d.ContinueReplay(t.Context()); more || err != nil {
		t.Errorf("it does not wait: %t, %v", more, err)
	}
	if job, err = d.CancelReplay(t.Context(), d.tenant, job.ID, store.Hand{Actor: "cli:test", Note: "x"}); err != nil || job.State != "cancelled" || job.Seen != 0 {
		t.Errorf("%+v, %v", job, err)
	}
	d.exec(`DELETE FROM triggers WHERE source = 'crowd'`)
	if more, err := d.ContinueReplay(t.Context()); more || err != nil {
		t.Errorf("it goes on: %t, %v", more, err)
	}
}

// Whatever kept a completed visit from its care, it is found, and nothing runs
// twice, whoever plans at the same moment.
func TestASweepFindsEveryVisitWithoutItsCare(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.exec(`UPDATE workflows SET is_active = false`)
	surgery := `,"surgery_type":"임플란트"`
	var triggers []uuid.UUID
	for i := range 6 {
		triggers = append(triggers, d.tell(d.said(fmt.Sprint("e", i), "completed", fmt.Sprint("A", i), 1, starts(d.day(-3, 10+i))+surgery)).Trigger)
	}
	old := d.tell(d.said("old", "completed", "A8", 1, starts(d.day(-60, 10))+surgery))
	other := d.tell(d.said("other", "completed", "A9", 1, starts(d.day(-3, 10))+`,"surgery_type":"교정"`))
	d.plan(append(triggers, old.Trigger, other.Trigger)...)
	d.exec(`UPDATE workflows SET is_active = true`)
	late := d.tell(d.said("late", "completed", "A7", 1, starts(d.day(-2, 10))+surgery))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := d.SweepVisits(context.Background(), d.tenant, 30); err != nil {
				t.Error(err)
			}
			d.plan(append(triggers, late.Trigger)...)
		})
	}
	all.Wait()
	d.plan(append(triggers, late.Trigger, old.Trigger, other.Trigger)...)
	if n := d.count(`SELECT count(*) FROM workflow_executions`); n != 7 {
		t.Errorf("%d runs, want 7", n)
	}
	if n, err := d.SweepVisits(t.Context(), d.tenant, 30); n != 0 || err != nil {
		t.Errorf("%d visits more, %v", n, err)
	}
	if n, err := d.SweepVisits(t.Context(), d.tenant, 90); n != 1 || err != nil {
		t.Errorf("%d visits of the last 90 days, %v", n, err)
	}
	d.holds()
}

func TestADayIsSweptOnceWhoeverDies(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.exec(`UPDATE tenants SET time_zone = 'Etc/GMT+12'`) // a zone in which it may be before nine
	d.exec(`INSERT INTO sweeps (tenant_id, day) VALUES ($1, '2026-01-01')`, d.tenant)
	id, _, more, err := d.SweepDaily(t.Context(), 30)
	if err != nil || !more || id != d.tenant {
		t.Fatal(id, more, err)
	}
	for more {
		if _, _, more, err = d.SweepDaily(t.Context(), 30); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.count(`SELECT count(*) FROM sweeps WHERE done_at IS NULL`); n != 0 {
		t.Errorf("%d days are left", n)
	}
}
