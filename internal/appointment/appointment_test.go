package appointment

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func change(t *rapid.T, i int) Change {
	c := Change{
		Rank: Rank{Sequence: rapid.Int64Range(0, 4).Draw(t, "sequence"), At: time.Unix(rapid.Int64Range(0, 4).Draw(t, "at"), 0), ID: fmt.Sprint("e", i)},
		Kind: rapid.SampledFrom(Kinds).Draw(t, "kind"),
	}
	if rapid.Bool().Draw(t, "stands") {
		c.Stands = rapid.SampledFrom(Statuses).Draw(t, "status")
	}
	if rapid.Bool().Draw(t, "dated") {
		c.When = &When{Date: fmt.Sprintf("2026-12-%02d", 1+i)}
	}
	if rapid.Bool().Draw(t, "operated") {
		c.Surgery = new(fmt.Sprint("s", i))
	}
	return c
}

func TestTheOrderOfArrivalDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var list []Change
		for i := range rapid.IntRange(0, 8).Draw(t, "events") {
			list = append(list, change(t, i))
		}
		want := Fold(list)
		mixed := append([]Change{}, list...)
		rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if got := Fold(mixed); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v in another order is %+v", want, got)
		}
		for i := range mixed {
			for j := range mixed {
				if (i == j) != (mixed[i].Compare(mixed[j].Rank) == 0) || mixed[i].Compare(mixed[j].Rank) != -mixed[j].Compare(mixed[i].Rank) {
					t.Fatal("two events have no order")
				}
			}
		}
	})
}

func TestTheNewestWordOfEachThingHolds(t *testing.T) {
	t.Parallel()
	surgery := "임플란트"
	got := Fold([]Change{
		{Rank: Rank{Sequence: 3, ID: "c"}, Kind: Cancelled},
		{Rank: Rank{Sequence: 1, ID: "a"}, Kind: Booked, When: &When{Date: "2026-12-01"}, Surgery: &surgery},
		{Rank: Rank{Sequence: 4, ID: "d"}, Kind: Edited, When: &When{Date: "2026-12-05"}},
		{Rank: Rank{At: time.Unix(1<<40, 0), ID: "z"}, Kind: Completed}, // without a sequence it is the oldest
	})
	if got.Status != HasCancelled || got.When.Date != "2026-12-05" || got.Surgery != surgery || got.Last.ID != "d" {
		t.Errorf("%+v", got)
	}
}

func TestAnAppointmentBeginsByTheClinicsClocks(t *testing.T) {
	t.Parallel()
	seoul, berlin := time.FixedZone("KST", 9*3600), load(t, "Europe/Berlin")
	at := time.Date(2026, 12, 1, 5, 30, 0, 0, time.UTC)
	w := At(at, seoul)
	if w.Date != "2026-12-01" || w.Time.String() != "14:30" || !w.Starts(seoul).Equal(at) {
		t.Errorf("%+v begins %s", w, w.Starts(seoul))
	}
	// 02:30 does not exist on the day that clocks go forward.
	gap := &When{Date: "2026-03-29", Time: &workflow.Clock{Hour: 2, Minute: 30}}
	if got := gap.Starts(berlin).UTC(); got != time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC) {
		t.Errorf("%s", got)
	}
	day := &When{Date: "2026-12-01"}
	if got := day.Starts(seoul); !got.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, seoul)) || !(*When)(nil).Starts(seoul).IsZero() {
		t.Errorf("%s", got)
	}
}

func load(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

const whole = `{"id":"evt-1","type":"appointment.booked","source":"emr","sequence":7,"at":"2026-11-23T10:00:00+09:00","create_patient":false,
 "patient":{"external_id":"P-1","name":"김하늘","phone":"010-0000-0000"},"appointment":{"id":"A-1","date":"2026-12-01","time":"14:30","surgery_type":"임플란트"}}`

func TestAnEventIsReadWhole(t *testing.T) {
	t.Parallel()
	e, problems := Decode([]byte(whole))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	e.Raw = nil
	want := Event{
		ID: "evt-1", Kind: Booked, Source: "emr", Sequence: 7, At: time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC), Appointment: "A-1",
		When: &When{Date: "2026-12-01", Time: &workflow.Clock{Hour: 14, Minute: 30}}, Surgery: new("임플란트"),
		Patient: Patient{ExternalID: "P-1", Name: "김하늘", Phone: "010-0000-0000"},
	}
	e.At = e.At.UTC()
	if !reflect.DeepEqual(e, want) {
		t.Errorf("%+v, want %+v", e, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{whole, `{}`, `[]`, `{"id":1}`, `{"appointment":null}`, `{"appointment":{"time":"25:00"}}`, `{"type":"x","type":"y"}`, `{"id":"e1","status":"scheduled","appointment":{"id":"A-1","date":"2026-12-01"}}`, `{"id":"e1","status":"gone","type":"appointment.booked","appointment":{"id":"A-1"}}`, "\xff", `{"id":"` + strings.Repeat("가", 300) + `"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, problems := Decode(b)
		if len(problems) > 0 {
			for _, p := range problems {
				if p.Code == "" || strings.ContainsAny(p.Pointer, "\x00\n") {
					t.Fatalf("a problem that says nothing: %q", p)
				}
			}
			return
		}
		if e.ID == "" || e.Appointment == "" || (e.Kind == "") == (e.Stands == "") || e.Sequence < 0 || (e.Stands == Scheduled && e.When == nil && e.StartsAt.IsZero()) || (e.Kind == Booked && e.When == nil && e.StartsAt.IsZero()) || !json.Valid(e.Raw) {
			t.Fatalf("%q is taken for an event", b)
		}
		if e.When != nil && e.When.Starts(time.UTC).IsZero() {
			t.Fatalf("%q has a date that is none", b)
		}
		if e.Stands != "" {
			if _, problems := DecodeAs(b, Booked); len(problems) == 0 {
				t.Fatalf("%q says what happened and where it stands", b)
			}
			return
		}
		// Where its subject says what it is, it may say the same or nothing.
		as, problems := DecodeAs(b, e.Kind)
		if len(problems) > 0 || as.Kind != e.Kind {
			t.Fatalf("%q is no %s: %v", b, e.Kind, problems)
		}
		if _, problems := DecodeAs(b, otherKind(e.Kind)); len(problems) == 0 {
			t.Fatalf("%q is taken for a %s", b, otherKind(e.Kind))
		}
	})
}

func otherKind(k Kind) Kind {
	if k == Cancelled {
		return Completed
	}
	return Cancelled
}

// What is kept of an event that its subject named is an event by itself, the
// same whenever it comes again.
func TestAnEventThatItsSubjectNamesIsKeptWhole(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"id":"e1","appointment":{"id":"A-1"}}`, " \n{ \"id\":\"e1\",\"appointment\":{\"id\":\"A-1\"}}"} {
		e, problems := DecodeAs([]byte(raw), CheckedIn)
		again, same := Decode(e.Raw)
		if len(problems)+len(same) > 0 || e.Kind != CheckedIn || again.Kind != CheckedIn || again.ID != e.ID {
			t.Errorf("%q: %s, %v %v", raw, e.Raw, problems, same)
		}
		if other, _ := DecodeAs([]byte(raw), Cancelled); string(other.Raw) == string(e.Raw) {
			t.Error("two events of one id are taken for one")
		}
	}
	if _, problems := DecodeAs([]byte(`{}`), CheckedIn); len(problems) == 0 {
		t.Error("nothing is an event")
	}
}
