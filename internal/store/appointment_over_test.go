package store_test

import (
	"strings"
	"testing"
	"time"
)

// A visit that is over, or was missed, needs no reminder: what was meant for
// before it is cancelled before the event is acknowledged.
func TestWhatWasMeantForBeforeAVisitEndsWithIt(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"completed", "no_show"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			d := newDiary(t)
			booked := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(10, 14))+`,"surgery_type":"임플란트"`))
			d.plan(booked.Trigger)
			over := d.tell(d.said("e2", kind, "A1", 2, "")) // earlier than it was booked for
			// The reminder, and the confirmation that was not sent yet.
			if over.Plans.Runs != 1 || over.Plans.Cancelled != 2 || over.Plans.Added != 0 {
				t.Errorf("%+v", over)
			}
			if got := d.steps("A1"); !strings.HasPrefix(got, "today cancelled superseded") {
				t.Errorf("steps %s", got)
			}
			d.plan(over.Trigger)
			if got, want := d.steps("A1"), map[string]string{"completed": "d1 planned", "no_show": "sorry planned"}[kind]; !strings.Contains(got, want) {
				t.Errorf("steps %s, want %s", got, want)
			}
			d.holds()
		})
	}
}

// A booking after a cancellation is a new event, and starts its own run; the
// cancelled one stays as it is.
func TestABookingAfterACancellationStartsAnew(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.plan(d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(10, 14)))).Trigger)
	d.plan(d.tell(d.said("e2", "cancelled", "A1", 2, "")).Trigger)
	again := d.tell(d.said("e3", "booked", "A1", 3, starts(d.day(12, 9))))
	d.plan(again.Trigger)
	got := d.steps("A1")
	if strings.Count(got, "today cancelled appointment_cancelled") != 1 || strings.Count(got, "today planned") != 1 || !strings.Contains(got, "today planned "+d.day(12, 7).Format("01-02 15:04")) {
		t.Errorf("steps %s", got)
	}
	if n := d.count(`SELECT count(*) FROM run_rests r WHERE r.wake_at IS NOT NULL`); n != 1 {
		t.Errorf("%d questions are open, want the new run's", n)
	}
	d.holds()
}

// What was answered stays answered when the appointment moves afterwards.
func TestAnAnswerStandsWhenTheAppointmentMoves(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	at := time.Now().Add(20 * time.Hour)
	d.plan(d.tell(d.said("e1", "booked", "A1", 1, starts(at)+`,"surgery_type":"임플란트"`)).Trigger)
	d.exec(`UPDATE run_rests SET wake_at = now(), due_at = now() - interval '1 s' WHERE wake_at IS NOT NULL`)
	if nodes, _ := d.advance(); len(nodes) != 1 || nodes[0] != "implant" {
		t.Fatalf("it went on to %v", nodes)
	}
	d.tell(d.said("e2", "edited", "A1", 2, `,"surgery_type":"교정"`))
	moved := d.tell(d.said("e3", "rescheduled", "A1", 3, starts(at.Add(time.Hour))))
	if got := d.steps("A1"); strings.Contains(got, "other") || !strings.Contains(got, "implant planned") {
		t.Errorf("%+v; steps %s", moved, got)
	}
	if got := d.rests("A1"); got != "" {
		t.Errorf("the question is open again: %s", got)
	}
	d.holds()
}
