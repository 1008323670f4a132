package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

const appointmentClinic = `
tenant: {slug: miso, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
  - {name: text, sms_text: "#{환자명}님"}
workflows:
  - name: reminders
    trigger_type: appointment
    visual_data: |
      {"nodes": [
        {"id": "booked", "type": "trigger", "data": {"event": "booked"}},
        {"id": "confirm", "type": "message", "data": {"template": "care"}},
        {"id": "before", "type": "delay", "data": {"field": "/appointment/starts_at", "days": 1, "before": true, "at": "10:00"}},
        {"id": "is", "type": "condition", "data": {"expression": "appointment.surgery_type == \"임플란트\""}},
        {"id": "implant", "type": "message", "data": {"template": "text"}},
        {"id": "other", "type": "message", "data": {"template": "care"}},
        {"id": "hours", "type": "delay", "data": {"field": "/appointment/starts_at", "hours": 2, "before": true}},
        {"id": "today", "type": "message", "data": {"template": "text"}}],
       "edges": [
        {"id": "e1", "source": "booked", "target": "confirm"}, {"id": "e2", "source": "confirm", "target": "before"},
        {"id": "e3", "source": "before", "target": "is"}, {"id": "e4", "source": "is", "target": "implant", "sourceHandle": "true"},
        {"id": "e5", "source": "is", "target": "other", "sourceHandle": "false"},
        {"id": "e6", "source": "booked", "target": "hours"}, {"id": "e7", "source": "hours", "target": "today"}]}
  - name: implant care
    trigger_type: post_surgery
    target_surgery_type: 임플란트
    steps: [{node: d1, day: 1, template: care}, {node: d7, day: 7, template: text}]
  - name: missed
    trigger_type: appointment.no_show
    steps: [{node: sorry, seconds: 0, template: text}]
  - name: gone
    trigger_type: appointment.cancelled
    steps: [{node: goodbye, seconds: 0, template: text}]
`

// diary is a ledger of a clinic whose workflows follow its appointments.
type diary struct {
	*replans
	zone *time.Location
	// apart gives every appointment's patient a phone of their own; otherwise
	// they are a family.
	apart bool
}

func newDiary(t testing.TB) *diary {
	t.Helper()
	d := &diary{replans: &replans{ledger: newLedger(t)}, zone: time.FixedZone("KST", 9*3600)}
	if _, err := d.apply(appointmentClinic, store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	return d
}

// said is an event as it comes over the wire.
func (d *diary) said(id, kind, number string, sequence int, rest string) store.AppointmentEvent {
	d.t.Helper()
	to := "010-0000-0001"
	if d.apart {
		to = fmt.Sprintf("010-0000-%04s", number[1:])
	}
	raw := fmt.Sprintf(`{"id":%q,"type":"appointment.%s","sequence":%d,"patient":{"external_id":"P-%s","name":"김하늘","phone":%q},"appointment":{"id":%q%s}}`, id, kind, sequence, number, to, number, rest)
	e, problems := appointment.Decode([]byte(raw))
	if len(problems) > 0 {
		d.t.Fatalf("%s: %v", raw, problems)
	}
	parsed, err := phone.Parse(e.Patient.Phone, testNumbers)
	if err != nil {
		d.t.Fatal(err)
	}
	return store.AppointmentEvent{Event: e, To: parsed, Hand: hand}
}

func (d *diary) tell(e store.AppointmentEvent) store.AppointmentReceipt {
	d.t.Helper()
	out, err := d.AcceptAppointmentEvent(context.Background(), d.tenant, e, planner.Again)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// plan plans triggers as the planner does, and returns the due steps.
func (d *diary) plan(triggers ...uuid.UUID) []event.Step {
	d.t.Helper()
	var list []event.Trigger
	for _, id := range triggers {
		list = append(list, event.Trigger{Tenant: d.tenant, ID: id, Kind: event.Appointment})
	}
	p := planner.Planner{Phones: testNumbers}
	due, err := d.PlanTriggers(context.Background(), list, p.Planning())
	if err != nil {
		d.t.Fatal(err)
	}
	return due
}

// steps are the steps of an appointment's runs, in the order of their nodes.
func (d *diary) steps(number string) (s string) {
	d.t.Helper()
	d.scan(`SELECT coalesce(string_agg(concat_ws(' ', s.node, s.state, s.reason, to_char(s.due_at AT TIME ZONE 'Asia/Seoul', 'MM-DD HH24:MI')), ', ' ORDER BY s.node), '')
		FROM steps s JOIN workflow_executions e ON e.id = s.execution_id JOIN appointments a ON a.id = e.appointment_id WHERE a.external_id = $1 AND s.node NOT IN ('confirm')`, []any{number}, &s)
	return s
}

func (d *diary) rests(number string) (s string) {
	d.t.Helper()
	d.scan(`SELECT coalesce(string_agg(r.node || ' ' || to_char(r.due_at AT TIME ZONE 'Asia/Seoul', 'MM-DD HH24:MI'), ', '), '')
		FROM run_rests r JOIN workflow_executions e ON e.id = r.execution_id JOIN appointments a ON a.id = e.appointment_id WHERE a.external_id = $1 AND r.wake_at IS NOT NULL`, []any{number}, &s)
	return s
}

func starts(t time.Time) string { return fmt.Sprintf(`,"starts_at":%q`, t.Format(time.RFC3339)) }

func (d *diary) day(n, hour int) time.Time {
	l := time.Now().In(d.zone)
	return time.Date(l.Year(), l.Month(), l.Day()+n, hour, 0, 0, 0, d.zone)
}

func TestAnAppointmentMovesAndItsMessagesMoveWithIt(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	at := d.day(10, 14)
	booked := d.tell(d.said("e1", "booked", "A1", 1, starts(at)+`,"surgery_type":"임플란트"`))
	if booked.Status != store.Accepted || booked.Late || booked.Version != 1 {
		t.Fatalf("%+v", booked)
	}
	if due := d.plan(booked.Trigger); len(due) != 1 {
		t.Errorf("%d steps are due, want the confirmation", len(due))
	}
	show := func(t time.Time) string { return t.Format("01-02 15:04") }
	if got, want := d.steps("A1"), "today planned "+show(at.Add(-2*time.Hour)); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if got, want := d.rests("A1"), "is "+show(d.day(9, 10)); got != want {
		t.Errorf("rests %s, want %s", got, want)
	}
	at = d.day(12, 9)
	moved := d.tell(d.said("e2", "rescheduled", "A1", 2, starts(at)))
	if moved.Plans.Runs != 1 || moved.Plans.Moved != 1 || moved.Plans.Cancelled != 0 || moved.Plans.Added != 0 || moved.Version != 2 {
		t.Errorf("%+v", moved)
	}
	if got, want := d.steps("A1"), "today planned "+show(at.Add(-2*time.Hour)); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	if got, want := d.rests("A1"), "is "+show(d.day(11, 10)); got != want {
		t.Errorf("rests %s, want %s", got, want)
	}
	d.plan(moved.Trigger)
	gone := d.tell(d.said("e3", "cancelled", "A1", 3, ""))
	if gone.Plans.Cancelled != 2 {
		t.Errorf("%+v", gone)
	}
	if due := d.plan(gone.Trigger); len(due) != 1 {
		t.Errorf("%d steps are due, want the goodbye", len(due))
	}
	if got := d.steps("A1"); !strings.Contains(got, "today cancelled appointment_cancelled") || !strings.Contains(got, "goodbye planned") {
		t.Errorf("steps %s", got)
	}
	if again := d.tell(d.said("e4", "edited", "A1", 4, `,"surgery_type":"교정"`)); again.Plans.Cancelled != 0 {
		t.Errorf("an edit of a cancelled appointment cancelled %d", again.Plans.Cancelled)
	}
	if got := d.rests("A1"); got != "" {
		t.Errorf("something still rests: %s", got)
	}
	d.holds()
}

// A condition sees the appointment as it is when it is asked, and the way that
// was taken is kept when the appointment moves afterwards.
func TestAQuestionSeesTheAppointmentAsItIs(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.plan(d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(0, 23))+`,"surgery_type":"스케일링"`)).Trigger)
	d.tell(d.said("e2", "edited", "A1", 2, `,"surgery_type":"임플란트"`))
	if _, n, err := d.AdvanceRuns(t.Context(), 10, planner.Advance); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if got := d.steps("A1"); !strings.Contains(got, "implant planned") || strings.Contains(got, "other") {
		t.Errorf("steps %s", got)
	}
	at := d.day(20, 14)
	out := d.tell(d.said("e3", "rescheduled", "A1", 3, starts(at)+`,"surgery_type":"교정"`))
	if out.Plans.Moved != 2 || out.Plans.Cancelled != 0 {
		t.Errorf("%+v", out)
	}
	if got, want := d.steps("A1"), "implant planned "+d.day(19, 10).Format("01-02 15:04")+", today planned "+at.Add(-2*time.Hour).Format("01-02 15:04"); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	d.holds()
}

func TestACompletedSurgeryStartsItsCareCountedFromTheVisit(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	visit := d.day(-1, 14)
	first := d.tell(d.said("e1", "completed", "A1", 0, starts(visit)+`,"surgery_type":"임플란트"`))
	other := d.tell(d.said("e2", "completed", "A2", 0, starts(visit)+`,"surgery_type":"교정"`))
	d.plan(first.Trigger, other.Trigger)
	if got, want := d.steps("A1"), "d1 planned "+d.day(0, 10).Format("01-02 15:04")+", d7 planned "+d.day(6, 10).Format("01-02 15:04"); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	var reason string
	d.scan(`SELECT reason FROM triggers WHERE id = $1`, []any{other.Trigger}, &reason)
	if got := d.steps("A2"); got != "" || reason != string(event.NoWorkflow) {
		t.Errorf("another surgery: %q, %s", got, reason)
	}
	if n := d.count(`SELECT count(*) FROM patients WHERE last_surgery_date = $1`, visit.Format(time.DateOnly)); n != 2 {
		t.Errorf("%d patients have the date of their surgery; a family's phone is two numbers, two patients", n)
	}
	moved := d.tell(d.said("e3", "edited", "A1", 0, starts(visit.AddDate(0, 0, 1))))
	if moved.Plans.Moved != 2 {
		t.Errorf("the date was corrected: %+v", moved)
	}
	d.holds()
}

func TestAnEventIsKeptOnce(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	e := d.said("e1", "booked", "A1", 1, starts(d.day(3, 9)))
	var all sync.WaitGroup
	var mu sync.Mutex
	count := map[store.AcceptStatus]int{}
	for range 8 {
		all.Go(func() {
			out := d.tell(e)
			mu.Lock()
			defer mu.Unlock()
			count[out.Status]++
		})
	}
	all.Wait()
	if count[store.Accepted] != 1 || count[store.Duplicate] != 7 {
		t.Errorf("%v", count)
	}
	if out := d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(4, 9)))); out.Status != store.Conflict {
		t.Errorf("other words under the same id: %+v", out)
	}
	if n := d.count(`SELECT count(*) FROM triggers WHERE kind = 'appointment'`) + d.count(`SELECT count(*) FROM appointments`) + d.count(`SELECT count(*) FROM appointment_events`); n != 3 {
		t.Errorf("%d rows, want one each", n)
	}
	var trigger uuid.UUID
	d.scan(`SELECT id FROM triggers WHERE kind = 'appointment'`, nil, &trigger)
	d.plan(trigger, trigger)
	d.plan(trigger)
	if n := d.count(`SELECT count(*) FROM workflow_executions`); n != 1 {
		t.Errorf("%d runs", n)
	}
}

func TestNobodyIsMergedByGuess(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.tell(d.said("e1", "booked", "A1", 1, starts(d.day(3, 9))))
	d.tell(d.said("e2", "booked", "A2", 1, starts(d.day(3, 9))))
	if n := d.count(`SELECT count(DISTINCT patient_id) FROM appointments`); n != 2 {
		t.Errorf("a shared phone made %d patients of two", n)
	}
	byPhone := d.said("e3", "booked", "A3", 1, starts(d.day(3, 9)))
	byPhone.Patient.ExternalID, byPhone.Patient.Name = "", ""
	if out := d.tell(byPhone); out.Status != store.Refused || out.Why != event.AmbiguousPatient {
		t.Errorf("by a shared phone alone: %+v", out)
	}
	other := d.said("e4", "edited", "A1", 2, "")
	other.Patient.ExternalID = "P-A2"
	if out := d.tell(other); out.Status != store.Refused {
		t.Errorf("another's number: %+v", out)
	}
	unknown := d.said("e5", "booked", "A5", 1, starts(d.day(3, 9)))
	unknown.Patient.Create = false
	if out := d.tell(unknown); out.Status != store.Refused || out.Why != event.UnknownPatient {
		t.Errorf("one that may not be created: %+v", out)
	}
	if n := d.count(`SELECT count(*) FROM appointment_events`); n != 2 {
		t.Errorf("%d events are kept, want two: what is refused leaves nothing", n)
	}
}

// Whatever order the events come in, the appointment ends up the same, and
// nothing that was cancelled is sent.
func TestTheOrderInWhichEventsComeDoesNotMatter(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	for round := range 12 {
		number := fmt.Sprint("A", round)
		events := []store.AppointmentEvent{
			d.said(number+"1", "booked", number, 1, starts(d.day(10, 9))+`,"surgery_type":"임플란트"`),
			d.said(number+"2", "rescheduled", number, 2, starts(d.day(11, 9))),
			d.said(number+"3", "edited", number, 3, `,"surgery_type":"교정"`),
			d.said(number+"4", "rescheduled", number, 4, starts(d.day(12, 9))),
			d.said(number+"5", "cancelled", number, 5, ""),
		}
		rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		newest := int64(0)
		for _, e := range events {
			out := d.tell(e)
			if late := e.Sequence < newest; out.Status != store.Accepted || out.Late != late {
				t.Errorf("%d after %d: %+v", e.Sequence, newest, out)
			}
			newest = max(newest, e.Sequence)
			if rand.IntN(2) == 0 {
				d.plan(out.Trigger)
			}
		}
		for _, trigger := range column[uuid.UUID](d.ledger, `SELECT t.id FROM triggers t JOIN appointment_events v ON v.trigger_id = t.id JOIN appointments a ON a.id = v.appointment_id WHERE a.external_id = $1`, number) {
			d.plan(trigger)
		}
		var state string
		d.scan(`SELECT concat_ws(' ', status, surgery_type, to_char(starts_at AT TIME ZONE 'Asia/Seoul', 'MM-DD HH24:MI')) FROM appointments WHERE external_id = $1`, []any{number}, &state)
		if want := "cancelled 교정 " + d.day(12, 9).Format("01-02 15:04"); state != want {
			t.Errorf("%s, want %s", state, want)
		}
		if n := d.count(`SELECT count(*) FROM steps s JOIN workflow_executions e ON e.id = s.execution_id JOIN appointments a ON a.id = e.appointment_id
			WHERE a.external_id = $1 AND s.state = 'planned' AND s.node <> 'goodbye'`, number); n != 0 {
			t.Errorf("%d messages are planned for a cancelled appointment: %s", n, d.steps(number))
		}
	}
	d.holds()
}
