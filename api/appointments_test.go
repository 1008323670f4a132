package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func (f *fakeLedger) Appointments(context.Context, tenant.ID, store.AppointmentQuery) (store.Page[store.AppointmentRow], error) {
	return store.Page[store.AppointmentRow]{}, nil
}

func (f *fakeLedger) AppointmentByID(context.Context, tenant.ID, uuid.UUID) (store.AppointmentRow, []store.AppointmentHeard, error) {
	return store.AppointmentRow{}, nil, store.ErrNotFound
}

func (f *fakeLedger) AcceptAppointmentEvent(context.Context, tenant.ID, store.AppointmentEvent, func(*store.Replanning) store.NewPlan) (store.AppointmentReceipt, error) {
	return store.AppointmentReceipt{Status: store.Accepted}, nil
}

// testAgain stops what an appointment's change meets, and keeps other plans: it
// stands for the planner, whose own tests say what becomes of them.
func testAgain(r *store.Replanning) store.NewPlan {
	if r.Appointment == nil {
		return store.NewPlan{}
	}
	return store.Stop(event.AppointmentCancelled)(r)
}

func bookedEvent(id, number string) string {
	return fmt.Sprintf(`{"id":%q,"type":"appointment.booked","sequence":1,"patient":{"external_id":"P-%s","name":"김하늘","phone":"010-0000-0001"},"appointment":{"id":%q,"starts_at":"2026-12-01T14:30:00+09:00","surgery_type":"임플란트"}}`, id, number, number)
}

type appointmentPage struct {
	Data       []shownAppointment `json:"data"`
	NextCursor *string            `json:"next_cursor"`
}

// appointment is one of the clinic's.
func (c *seeded) appointment() shownAppointment {
	c.l.t.Helper()
	var p appointmentPage
	c.l.fetch("/api/appointments", c.keys[auth.Owner], &p)
	return p.Data[0]
}

func (o *office) tell(body string) (int, []intake.Receipt, string) {
	o.l.t.Helper()
	w := o.l.send(http.MethodPost, "/api/appointments/events", o.keys[auth.Integration], body)
	var out struct{ Results []intake.Receipt }
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			o.l.t.Fatal(err)
		}
		return w.Code, out.Results, ""
	}
	return w.Code, nil, problemOf(o.l.t, w)
}

func TestEachEventOfABatchHasItsOwnAnswer(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	body := fmt.Sprintf(`{"events":[%s,%s,{"id":"e3","type":"appointment.booked","patient":{"external_id":"P-1"},"appointment":{"id":"A-3","starts_at":"tomorrow"}},{"id":"e4","moon":1},%s]}`,
		bookedEvent("e1", "A-1"), bookedEvent("e1", "A-1"), bookedEvent("e1", "A-9"))
	code, got, _ := l.mine.tell(body)
	if code != http.StatusOK || len(got) != 5 {
		t.Fatal(code, got)
	}
	for i, want := range []string{"accepted []", "duplicate []", "rejected [{/appointment/starts_at not-a-date-time}]", "rejected [{ unknown-field}]", "rejected [{/id idempotency-conflict}]"} {
		if said := fmt.Sprint(got[i].Status, " ", got[i].Problems); said != want {
			t.Errorf("event %d: %s, want %s", i, said, want)
		}
	}
	if got[0].EventID != "e1" || got[0].AppointmentID == nil || *got[1].AppointmentID != *got[0].AppointmentID || got[2].AppointmentID != nil || got[0].InFlight == nil {
		t.Errorf("%+v", got)
	}
	var p appointmentPage
	l.fetch("/api/appointments?status=scheduled", l.mine.keys[auth.Viewer], &p)
	if len(p.Data) != 1 || *p.Data[0].Date != "2026-12-01" || *p.Data[0].Time != "14:30" || *p.Data[0].SurgeryType != "임플란트" || p.Data[0].Version != 1 {
		t.Errorf("%+v", p.Data)
	}
	var one struct {
		Appointment shownAppointment
		Events      []heardEvent
	}
	l.fetch("/api/appointments/"+p.Data[0].ID.String(), l.mine.keys[auth.Viewer], &one)
	if len(one.Events) != 1 || one.Events[0].State != "pending" || one.Events[0].Type != "appointment.booked" {
		t.Errorf("%+v", one)
	}
	rows := 0
	for _, r := range l.mine.audited() {
		if r.Action == "appointment.booked" && strings.HasPrefix(r.Actor, "key:") && r.From == "192.0.2.1" && len(r.Patients) == 1 {
			rows++
		}
	}
	if rows != 1 {
		t.Errorf("%d rows in the audit log tell of the event, want 1", rows)
	}
}

func TestAWrongEventIsAnsweredByPlaceAndCode(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	with := func(old, now string) string { return strings.Replace(bookedEvent("e1", "A-1"), old, now, 1) }
	for name, c := range map[string]struct{ body, want string }{
		"no_id":        {with(`"id":"e1",`, ``), "invalid-payload /id=missing"},
		"type":         {with(`appointment.booked`, `appointment.moon`), "invalid-payload /type=not-in-list"},
		"phone":        {with(`010-0000-0001`, `12`), "invalid-payload /patient/phone=not-a-phone-number"},
		"nobody":       {with(`"external_id":"P-A-1","name":"김하늘","phone":"010-0000-0001"`, ``), "invalid-payload /patient=invalid_patient"},
		"no_time":      {with(`"starts_at":"2026-12-01T14:30:00+09:00",`, ``), "invalid-payload /appointment/starts_at=missing"},
		"sequence":     {with(`"sequence":1`, `"sequence":"1"`), "invalid-payload /sequence=wrong-type"},
		"year":         {with(`2026-12-01T`, `9026-12-01T`), "invalid-payload /appointment/starts_at=not-a-date-time"},
		"twice":        {with(`"sequence":1`, `"sequence":1,"sequence":2`), "duplicate-key /sequence=duplicate-key"},
		"empty":        {`{"events":[]}`, "invalid-payload /events=too-few"},
		"many":         {`{"events":[` + strings.Repeat("{},", 500) + `{}]}`, "invalid-payload /events=too-many"},
		"beside":       {`{"events":[{}],"id":"e1"}`, "invalid-payload =unknown-field"},
		"not_a_list":   {`{"events":{}}`, "invalid-payload /events=not-an-array"},
		"not_creating": {with(`"sequence":1`, `"create_patient":false`), "invalid-payload /patient=unknown_patient"},
	} {
		if code, _, got := l.mine.tell(c.body); got != c.want {
			t.Errorf("%s: %d %s, want %s", name, code, got, c.want)
		}
	}
	if _, got, _ := l.mine.tell(bookedEvent("e1", "A-1")); len(got) != 1 || got[0].Status != "accepted" || got[0].Version != 1 {
		t.Errorf("what was rejected left something behind: %+v", got)
	}
}
