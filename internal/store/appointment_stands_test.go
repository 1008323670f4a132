package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// stands is an event of a source that says where an appointment stands; at 0 is
// no time.
func (d *diary) stands(id, status, number string, at int64, rest string) store.AppointmentEvent {
	d.t.Helper()
	order := ""
	if at > 0 {
		order = fmt.Sprintf(`,"at":%q`, time.Unix(at, 0).UTC().Format(time.RFC3339))
	}
	raw := fmt.Sprintf(`{"id":%q,"status":%q%s,"patient":{"external_id":"P-%s","name":"김하늘","phone":"010-0000-0001"},"appointment":{"id":%q%s}}`, id, status, order, number, number, rest)
	e, problems := appointment.Decode([]byte(raw))
	if len(problems) > 0 {
		d.t.Fatalf("%s: %v", raw, problems)
	}
	to, err := phone.Parse(e.Patient.Phone, testNumbers)
	if err != nil {
		d.t.Fatal(err)
	}
	return store.AppointmentEvent{Event: e, To: to, Hand: hand}
}

func (d *diary) heard(number string) (s string) {
	d.t.Helper()
	d.scan(`SELECT coalesce(string_agg(v.event_id || ' ' || v.kind || coalesce(' ' || t.reason, ''), ', ' ORDER BY v.event_id), '') FROM appointment_events v
		JOIN appointments a ON a.id = v.appointment_id JOIN triggers t ON t.id = v.trigger_id WHERE a.external_id = $1`, []any{number}, &s)
	return s
}

func TestASourceThatSaysHowThingsStandIsComparedWithWhatWasKnown(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	first, second := starts(d.day(10, 14)), starts(d.day(12, 9))
	for i, c := range []struct{ status, when string }{
		{"requested", first}, {"scheduled", first}, {"scheduled", first}, {"scheduled", second}, {"cancelled", second}, {"scheduled", second},
	} {
		d.tell(d.stands(fmt.Sprint("e", i), c.status, "A1", int64(1000+i), c.when))
	}
	if got, want := d.heard("A1"), "e0 requested, e1 booked, e2 edited nothing_new, e3 rescheduled, e4 cancelled, e5 booked"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Nothing is planned for what says nothing, and nothing of it is kept in clear or sealed.
	if n := d.count(`SELECT count(*) FROM triggers WHERE reason = 'nothing_new' AND state = 'ignored' AND payload IS NULL AND wake_at IS NULL`); n != 1 {
		t.Errorf("%d quiet triggers", n)
	}
	d.holds()
}

func TestALateWordOfHowThingsStoodChangesNothingNewer(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	d.tell(d.stands("e1", "scheduled", "A1", 1000, starts(d.day(10, 14))))
	d.tell(d.stands("e3", "scheduled", "A1", 3000, starts(d.day(10, 14))))
	late := d.tell(d.stands("e2", "cancelled", "A1", 2000, ""))
	var status string
	d.scan(`SELECT status FROM appointments WHERE external_id = 'A1'`, nil, &status)
	if !late.Late || status != "scheduled" {
		t.Errorf("%+v, the appointment is %s", late, status)
	}
	d.holds()
}

// A list that is sent again every day, without an order of its own, leaves
// nothing behind where nothing changed.
func TestWhatIsSaidAgainWithoutAnOrderIsNotKept(t *testing.T) {
	t.Parallel()
	d := newDiary(t)
	when := starts(d.day(10, 14))
	booked := d.tell(d.stands("day1", "scheduled", "A1", 0, when))
	again := d.tell(d.stands("day2", "scheduled", "A1", 0, when))
	if again.Status != store.Duplicate || again.Appointment != booked.Appointment || again.Version != 1 {
		t.Errorf("%+v", again)
	}
	if moved := d.tell(d.stands("day3", "scheduled", "A1", 0, starts(d.day(11, 14)))); moved.Status != store.Accepted || moved.Version != 2 {
		t.Errorf("%+v", moved)
	}
	if got, want := d.heard("A1"), "day1 booked, day3 rescheduled"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !event.NothingNew.Valid() {
		t.Error("the reason is not on the list")
	}
	d.holds()
}
