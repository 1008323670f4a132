package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
	"github.com/doctorsflow/doctorsflow/planner"
)

// week is what a clinic's system says at random.
type week struct {
	*diary
	*history
	rnd   *rand.Rand
	count *atomic.Int64 // events
}

// open plans triggers, and keeps what is due as messages.
func (w *week) open(triggers ...uuid.UUID) {
	for _, s := range w.plan(triggers...) {
		var run uuid.UUID
		w.scan(`SELECT execution_id FROM steps WHERE id = $1`, []any{s.ID}, &run)
		w.publish(run, s)
	}
}

// say tells of an appointment, and keeps what was acknowledged.
func (w *week) say(kind, number, rest string) store.AppointmentReceipt {
	n := w.count.Add(1)
	out := w.tell(w.said(fmt.Sprint("e", n), kind, number, int(n), rest))
	type run struct {
		id      uuid.UUID
		epoch   int32
		stopped bool
	}
	rows, err := w.super.Query(context.Background(), `SELECT e.id, e.plan_epoch, coalesce(e.reason = 'appointment_cancelled', false) FROM workflow_executions e WHERE e.appointment_id = $1`, out.Appointment)
	if err != nil {
		w.t.Error(err)
		return out
	}
	defer rows.Close()
	for rows.Next() {
		var r run
		if err := rows.Scan(&r.id, &r.epoch, &r.stopped); err != nil {
			w.t.Error(err)
		}
		w.mu.Lock()
		w.epoch[r.id], w.stopped[r.id] = max(w.epoch[r.id], r.epoch), w.stopped[r.id] || r.stopped
		w.mu.Unlock()
	}
	return out
}

func (w *week) soon() string {
	return starts(time.Now().Add(time.Duration(w.rnd.IntN(300)-60) * time.Minute))
}

// TestNothingOfASupersededAppointmentIsClaimed has workers book, move, edit,
// cancel, complete and miss appointments at random while others claim, settle,
// release, ask questions and opt out. Whatever is claimed after a change was
// acknowledged is of the new plan, and nothing of a cancelled appointment's.
func TestNothingOfASupersededAppointmentIsClaimed(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.apart = true
	h := &history{run: map[uuid.UUID]uuid.UUID{}, epoch: map[uuid.UUID]int32{}, stopped: map[uuid.UUID]bool{}}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var left, events, booked, claimed, refused, out atomic.Int64
	left.Store(int64(*interleavings) / 3)
	var all sync.WaitGroup
	for worker := range 4 {
		w := &week{diary: d, history: h, rnd: rand.New(rand.NewPCG(seed, uint64(worker))), count: &events}
		all.Go(func() {
			for left.Add(-1) >= 0 && !t.Failed() {
				n := booked.Load()
				if n == 0 || w.rnd.IntN(8) == 0 {
					r := w.say("booked", fmt.Sprint("A", booked.Add(1)), w.soon())
					if w.rnd.IntN(3) > 0 { // else another is faster
						w.open(r.Trigger)
					}
					continue
				}
				number := fmt.Sprint("A", 1+w.rnd.Int64N(n))
				switch k := w.rnd.IntN(20); {
				case k < 7:
					got, of := w.claimSome(h, w.rnd)
					claimed.Add(int64(got))
					refused.Add(int64(of - got))
				case k < 9:
					w.settleSome(h, w.rnd)
				case k < 11:
					for _, s := range w.lease(20) {
						h.publish(s.Run, s.Step)
					}
				case k < 12:
					if _, _, err := w.AdvanceRuns(context.Background(), 20, planner.Advance); err != nil {
						t.Error(err)
					}
				case k < 13:
					w.late()
				case k < 14:
					w.optOut(number)
					out.Add(1)
				case k < 17:
					w.open(w.say("rescheduled", number, w.soon()).Trigger)
				case k < 18:
					w.say("edited", number, `,"surgery_type":"임플란트"`)
				default:
					w.open(w.say([]string{"cancelled", "completed", "no_show", "checked_in"}[w.rnd.IntN(4)], number, "").Trigger)
				}
			}
		})
	}
	all.Wait()
	last := &week{diary: d, history: h, rnd: rand.New(rand.NewPCG(seed, 9)), count: &events}
	last.late()
	t.Logf("%d appointments, %d events, %d claims, %d messages claimed nothing, %d opt-outs", booked.Load(), events.Load(), claimed.Load(), refused.Load(), out.Load())
	if claimed.Load() == 0 || refused.Load() == 0 {
		t.Error("one of them never happened")
	}
	if n := d.count(`SELECT count(*) FROM triggers WHERE kind = 'appointment'`); n != int(events.Load()) || d.count(`SELECT count(*) FROM triggers WHERE state = 'pending'`) != 0 {
		t.Errorf("%d triggers of %d events", n, events.Load())
	}
	if n := d.count(`SELECT count(*) FROM steps s JOIN workflow_executions e ON e.id = s.execution_id JOIN appointments a ON a.id = e.appointment_id
		WHERE a.status = 'cancelled' AND s.state = 'planned' AND s.node <> 'goodbye'`); n != 0 {
		t.Errorf("%d messages are planned for cancelled appointments", n)
	}
	d.holds()
}

// late plans what nobody has planned yet.
func (w *week) late() {
	for _, id := range column[uuid.UUID](w.ledger, `SELECT id FROM triggers WHERE state = 'pending'`) {
		w.open(id)
	}
}

func (w *week) optOut(number string) {
	var patient uuid.UUID
	w.scan(`SELECT coalesce((SELECT patient_id FROM appointments WHERE external_id = $1), '00000000-0000-0000-0000-000000000000')`, []any{number}, &patient)
	if patient == uuid.Nil {
		return // booked, and not committed yet
	}
	if _, err := w.OptOut(context.Background(), w.tenant, patient, store.OptOut{Channel: event.SMS, Source: "api"}, hand); err != nil {
		w.t.Error(err)
	}
}

// A cancellation that comes while its booking is being planned waits for the
// run and cancels it: the two cannot miss each other.
func TestACancellationFindsTheRunThatIsJustBeingPlanned(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	booked := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(3, 9))))
	cancel := d.said("e2", "cancelled", "A1", 2, "")
	done := make(chan store.AppointmentReceipt, 1)
	p := (&planner.Planner{Phones: testNumbers}).Planning()
	expand := p.Expand
	p.Expand = func(trigger store.PendingTrigger, def *workflow.Definition) store.Expansion {
		go func() { done <- d.tell(cancel) }()
		select {
		case out := <-done:
			done <- out
		case <-time.After(300 * time.Millisecond): // it waits
		}
		return expand(trigger, def)
	}
	if _, err := d.PlanTriggers(t.Context(), []event.Trigger{{Tenant: d.tenant, ID: booked.Trigger, Kind: event.Appointment}}, p); err != nil {
		t.Fatal(err)
	}
	if out := <-done; out.Plans.Cancelled != 2 {
		t.Errorf("%+v", out)
	}
	if n := d.count(`SELECT count(*) FROM steps WHERE state = 'planned'`); n != 0 {
		t.Errorf("%d messages are planned for a cancelled appointment", n)
	}
	d.holds()
}

// A text that is sent after its appointment moved has the new date.
func TestATextSaysWhatTheAppointmentIsWhenItIsSent(t *testing.T) {
	t.Parallel()
	d := &diary{replans: &replans{ledger: newLedger(t)}, zone: time.FixedZone("KST", 9*3600)}
	file := strings.Split(appointmentClinic, "workflows:")[0] + `
  - {name: dated, sms_text: "#{날짜}"}
workflows:
  - {name: told, trigger_type: appointment.booked, steps: [{node: told, seconds: 0, template: dated, variables: {날짜: /appointment/date}}]}
`
	if _, err := d.apply(file, store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	old := d.plan(d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(3, 9)))).Trigger)
	d.tell(d.said("e2", "rescheduled", "A1", 2, starts(d.day(5, 9))))
	var due []event.Step
	for _, s := range d.lease(10) {
		due = append(due, s.Step)
	}
	var payload string
	claims, err := d.ClaimSteps(t.Context(), append(due, old...), func(c *store.Candidate) store.Decision {
		payload = string(c.Payload)
		return claimAll(c)
	})
	if want := fmt.Sprintf(`"date":%q`, d.day(5, 9).Format(time.DateOnly)); err != nil || len(claims) != 1 || !strings.Contains(payload, want) {
		t.Errorf("%d claims, %v, by %s; want %s", len(claims), err, payload, want)
	}
}
