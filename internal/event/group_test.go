package event_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// stepGroup and deliveryGroup are messages of one subject each.
var (
	stepGroup = []event.Event{
		step(),
		with(step, func(e *event.Step) { e.ID[15]++; e.Channel, e.Attempt = event.SMS, 2 }),
		with(step, func(e *event.Step) { e.ID[15] += 2; e.PlanEpoch, e.Lease = 1, 1772413200000 }),
	}
	deliveryGroup = []event.Event{
		delivery(),
		with(delivery, func(e *event.Delivery) { e.Step[15]++; e.Seq, e.RequestID = 0, "" }),
		with(delivery, func(e *event.Delivery) { e.Step[15] += 2; e.Source, e.Reason = event.Query, event.ReportTimeout }),
	}
)

func encodeGroup(t testing.TB, events ...event.Event) []byte {
	t.Helper()
	b, err := event.EncodeGroup(events)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryReleasedGroupDecodesForEver(t *testing.T) {
	t.Parallel()
	for name, group := range map[string][]event.Event{"step": stepGroup, "delivery": deliveryGroup} {
		file := filepath.Join("testdata/groups", name+".json")
		now := string(encodeGroup(t, group...)) + "\n"
		want, err := os.ReadFile(file)
		if os.IsNotExist(err) && *update {
			want, err = []byte(now), os.WriteFile(file, []byte(now), 0o644)
		}
		if err != nil {
			t.Errorf("%v; run go test ./internal/event -update", err)
			continue
		}
		if diff := cmp.Diff(string(want), now); diff != "" {
			t.Errorf("a group of %ss is written otherwise (-golden +now):\n%s", name, diff)
		}
		var got []event.Event
		var invalid int
		if name == "step" {
			got, invalid, err = decodeGroup[event.Step](want)
		} else {
			got, invalid, err = decodeGroup[event.Delivery](want)
		}
		if diff := cmp.Diff(group, got); err != nil || invalid != 0 || diff != "" {
			t.Errorf("%s: %d invalid, %v (-want +got):\n%s", file, invalid, err, diff)
		}
	}
}

// decodeGroup is [event.DecodeGroup] with members as what [event.EncodeGroup]
// takes.
func decodeGroup[E any, P interface {
	*E
	event.Event
}](b []byte) (events []event.Event, invalid int, err error) {
	list, invalid, err := event.DecodeGroup[E, P](b)
	for i := range list {
		events = append(events, P(&list[i]))
	}
	return events, invalid, err
}

func TestAGroupComesOutAsItWentIn(t *testing.T) {
	t.Parallel()
	anyID := rapid.Custom(func(t *rapid.T) (id uuid.UUID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		id[0] |= 1 // not the zero id
		return id
	})
	deliveries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Event {
		e := &event.Delivery{
			Tenant: clinic, Step: anyID.Draw(t, "step"), Channel: rapid.SampledFrom([]event.Channel{event.Kakao, event.SMS}).Draw(t, "channel"),
			Attempt: rapid.Int32Min(0).Draw(t, "attempt"), Status: rapid.SampledFrom([]event.Status{event.Sent, event.Failed, event.Released}).Draw(t, "status"),
			Source: rapid.SampledFrom([]event.Source{event.Answer, event.Guard}).Draw(t, "source"), Reason: event.NoPhone,
			RequestID: rapid.StringMatching(`[0-9A-Za-z_.:+-]{0,64}`).Draw(t, "request"), Code: rapid.StringMatching(`-?[0-9]{0,5}`).Draw(t, "code"),
			Seq: rapid.IntRange(0, 1<<31-1).Draw(t, "seq"), At: time.Unix(rapid.Int64Range(0, 1<<37).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC(),
			Final: rapid.Bool().Draw(t, "final"),
		}
		if rapid.Bool().Draw(t, "again") {
			e.RetryAt = e.At.Add(time.Minute)
		}
		return e
	}), 1, 40)
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event.Event {
		return &event.Step{
			Tenant: clinic, ID: anyID.Draw(t, "id"), Lane: rapid.SampledFrom(event.Lanes).Draw(t, "lane"), Channel: event.SMS,
			Attempt: rapid.Int32Min(0).Draw(t, "attempt"), PlanEpoch: rapid.Int32Min(0).Draw(t, "epoch"), Lease: rapid.Int64().Draw(t, "lease"),
		}
	}), 1, 40)
	rapid.Check(t, func(t *rapid.T) {
		for _, group := range [][]event.Event{steps.Draw(t, "steps"), deliveries.Draw(t, "deliveries")} {
			b, err := event.EncodeGroup(group)
			if err != nil {
				t.Fatal(err)
			}
			got, invalid, err := decodeGroup[event.Step](b)
			if _, ok := group[0].(*event.Delivery); ok {
				got, invalid, err = decodeGroup[event.Delivery](b)
			}
			if diff := cmp.Diff(group, got); err != nil || invalid != 0 || diff != "" {
				t.Fatalf("%d invalid, %v (-want +got):\n%s", invalid, err, diff)
			}
		}
	})
}

// Roles of before groups, and of after, read each other's single messages.
func TestAGroupOfOneIsThePlainEvent(t *testing.T) {
	t.Parallel()
	for _, e := range []event.Event{trigger(), step(), delivery()} {
		plain, err := event.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := encodeGroup(t, e); string(got) != string(plain) {
			t.Errorf("a group of one is %s, want %s", got, plain)
		}
		if got := event.GroupMsgID([]event.Event{e}); got != e.MsgID() {
			t.Errorf("a group of one is called %s, want %s", got, e.MsgID())
		}
	}
	alone := string(encodeGroup(t, step()))
	for _, b := range []string{alone, " \t\r\n" + alone, "[" + alone + "]", " [ " + alone + " ] "} {
		got, invalid, err := decodeGroup[event.Step]([]byte(b))
		if diff := cmp.Diff([]event.Event{step()}, got); err != nil || invalid != 0 || diff != "" {
			t.Errorf("%q: %d invalid, %v (-want +got):\n%s", b, invalid, err, diff)
		}
	}
}

func TestInvalidMembersAreLeftOutAndCounted(t *testing.T) {
	t.Parallel()
	good := func(n byte) *event.Step { return with(step, func(e *event.Step) { e.ID[15] += n }) }
	one, two := string(encodeGroup(t, good(1))), string(encodeGroup(t, good(2)))
	foreign := strings.Replace(one, `"care"`, `"express"`, 1) // of a version to come
	for _, tt := range []struct {
		name, b string
		want    []event.Event
		invalid int
	}{
		{"none", "[" + one + "," + two + "]", []event.Event{good(1), good(2)}, 0},
		{"first", "[{}," + one + "," + two + "]", []event.Event{good(1), good(2)}, 1},
		{"middle", "[" + one + ",null," + two + "]", []event.Event{good(1), good(2)}, 1},
		{"last", "[" + one + "," + foreign + "]", []event.Event{good(1)}, 1},
		{"nested", "[[" + one + "]," + two + "]", []event.Event{good(2)}, 1},
		{"of another kind", `["x",1,` + two + "]", []event.Event{good(2)}, 2},
		{"every one", "[{}," + foreign + ",[]]", nil, 3},
		{"empty", "[]", nil, 1},
		{"cut off", "[" + one + "," + two, nil, 1},
		{"cut off in a member", "[" + one + "," + two[:40], nil, 1},
		{"more after it", "[" + one + "]]", nil, 1},
		{"one that is not one", foreign, nil, 1},
		{"nothing", "", nil, 1},
		{"white space", " \n", nil, 1},
	} {
		got, invalid, err := decodeGroup[event.Step]([]byte(tt.b))
		if diff := cmp.Diff(tt.want, got); diff != "" || invalid != tt.invalid || errors.Is(err, event.ErrInvalid) != (tt.invalid > 0) {
			t.Errorf("%s: %d invalid, want %d; error %v (-want +got):\n%s", tt.name, invalid, tt.invalid, err, diff)
		}
	}
}

func TestOneInvalidEventIsNotEncodedWithOthers(t *testing.T) {
	t.Parallel()
	bad := with(step, func(e *event.Step) { e.Lane = "" })
	for _, group := range [][]event.Event{{bad}, {bad, step()}, {step(), bad}} {
		if b, err := event.EncodeGroup(group); !errors.Is(err, event.ErrInvalid) || b != nil {
			t.Errorf("encoded %s, %v; want ErrInvalid", b, err)
		}
	}
}

// A group's id must tell it from every other one: what the broker takes for a
// repetition it does not store.
func TestAGroupIsNamedByItsMembersAndTheirOrder(t *testing.T) {
	t.Parallel()
	a, b, c := stepGroup[0], stepGroup[1], stepGroup[2]
	again := with(step, func(e *event.Step) { e.Lease = 1 })
	seen := map[string][]event.Event{}
	for _, group := range [][]event.Event{{a}, {b}, {a, b}, {b, a}, {a, b, c}, {a, c, b}, {b, c}, {a, a}, {again, b}, {a, b, b}} {
		id := event.GroupMsgID(group)
		if same, ok := seen[id]; ok {
			t.Errorf("%v and %v share the name %s", group, same, id)
		}
		seen[id] = group
		if got := event.GroupMsgID(slices.Clone(group)); got != id {
			t.Errorf("the same group is called %s and %s", id, got)
		}
		if len(id) > 64 || strings.ContainsAny(id, " \r\n") {
			t.Errorf("%q cannot stand in a header", id)
		}
	}
}

// Times that JSON cannot hold are found before others share their message.
func TestATimeThatCannotBeWrittenIsInvalid(t *testing.T) {
	t.Parallel()
	for _, when := range []time.Time{
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
		at.In(time.FixedZone("", 24*60*60)), at.In(time.FixedZone("", -25*60*60)),
	} {
		for name, e := range map[string]*event.Delivery{
			"at":       with(delivery, func(e *event.Delivery) { e.At = when }),
			"retry_at": with(delivery, func(e *event.Delivery) { e.Status, e.RetryAt = event.Released, when }),
		} {
			if err := e.Validate(); !errors.Is(err, event.ErrInvalid) {
				t.Errorf("%s = %v: Validate = %v, want ErrInvalid", name, when, err)
			}
		}
	}
	far := with(delivery, func(e *event.Delivery) { e.At = at.In(time.FixedZone("", 24*60*60-60)) })
	if _, err := event.Encode(far); err != nil {
		t.Errorf("a time of the farthest zone: %v", err)
	}
}

func FuzzDecodeGroup(f *testing.F) {
	f.Add(encodeGroup(f, deliveryGroup...))
	f.Add(encodeGroup(f, deliveryGroup[0]))
	f.Add(encodeGroup(f, stepGroup...))
	for _, s := range []string{``, `[]`, `[null]`, `[{}`, `[[]]`, `[{},{}]`, ` [ ]`, "[\xff]", `[{"tenant":"*"}]`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		events, invalid, err := decodeGroup[event.Delivery](b)
		if (err != nil) != (invalid > 0) || err != nil && !errors.Is(err, event.ErrInvalid) {
			t.Fatalf("%d invalid with the error %v", invalid, err)
		}
		if len(events)+invalid == 0 {
			t.Fatal("neither a member nor a reason why there is none")
		}
		var members []json.RawMessage
		if json.Unmarshal(b, &members) == nil && len(members) > 0 && len(events)+invalid != len(members) {
			t.Fatalf("%d members became %d and %d invalid ones", len(members), len(events), invalid)
		}
		if len(events) == 0 {
			return
		}
		again, invalid, err := decodeGroup[event.Delivery](encodeGroup(t, events...))
		if diff := cmp.Diff(events, again); err != nil || invalid != 0 || diff != "" {
			t.Fatalf("changed on another trip, %v:\n%s", err, diff)
		}
	})
}
