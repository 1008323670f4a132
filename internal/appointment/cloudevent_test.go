package appointment

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const cloudData = `{"patient":{"external_id":"P-1","name":"김하늘"},"appointment":{"id":"A-1","starts_at":"2026-12-01T14:30:00+09:00"}}`

func structured(data string) string {
	return `{"specversion":"1.0","id":"7","source":"/emr/miso","type":"kr.example.appointment.booked","time":"2026-11-23T10:00:00+09:00","sequence":"12","sequencetype":"Integer","traceparent":"00-x","data":` + data + `}`
}

func TestACloudEventSaysTheSameInEveryMode(t *testing.T) {
	t.Parallel()
	want, problems := Decode([]byte(`{"id":"/emr/miso#7","type":"appointment.booked","sequence":12,"at":"2026-11-23T10:00:00+09:00",` + cloudData[1:]))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	binary := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {"7"}, "Ce-Source": {"%2Femr/miso"}, "CE-Type": {"appointment.booked"}, "ce-time": {"2026-11-23T10:00:00+09:00"},
		"ce-sequence": {"12"}, "ce-traceparent": {"00-x"}, "Authorization": {"x", "y"},
	}
	encoded := strings.Replace(structured(""), `"data":`, `"data_base64":"`+base64.StdEncoding.EncodeToString([]byte(cloudData))+`"`, 1)
	for name, read := range map[string]func() (Event, []Problem){
		"structured": func() (Event, []Problem) { return Decode([]byte(structured(cloudData))) },
		"base64":     func() (Event, []Problem) { return Decode([]byte(encoded)) },
		"binary": func() (Event, []Problem) {
			return DecodeBinary(binary, "application/json; charset=utf-8", []byte(cloudData), "")
		},
		"by subject": func() (Event, []Problem) { return DecodeBinary(binary, "", []byte(cloudData), Booked) },
	} {
		got, problems := read()
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		again, problems := Decode(got.Raw)
		if len(problems) > 0 || again.Kind != Booked {
			t.Errorf("%s: what is kept is no event by itself: %s, %v", name, got.Raw, problems)
		}
		want.Raw, got.Raw = nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestACloudEventsSubjectIsTheAppointment(t *testing.T) {
	t.Parallel()
	e, problems := Decode([]byte(`{"specversion":"1.0","id":"7","source":"emr","type":"appointment.status","subject":"A-9","data":{"status":"cancelled"}}`))
	if len(problems) > 0 || e.Appointment != "A-9" || e.Stands != HasCancelled || e.Kind != "" || !e.At.IsZero() {
		t.Errorf("%+v, %v", e, problems)
	}
}

func TestAWrongCloudEventIsToldWhere(t *testing.T) {
	t.Parallel()
	with := func(old, other string) string { return strings.Replace(structured(cloudData), old, other, 1) }
	without := `{"specversion":"1.0","id":"7","source":"emr","type":"appointment.booked"}`
	for in, want := range map[string]string{
		with(`"1.0"`, `"0.3"`):                                  "/specversion not-in-list",
		with(`"id":"7",`, ``):                                   "/id missing",
		with(`"/emr/miso"`, `""`):                               "/source missing",
		with(`appointment.booked`, `visit.booked`):              "/type not-in-list",
		with(`appointment.booked`, `disappointment.booked`):     "/type not-in-list",
		with(`"12"`, `"twelve"`):                                "/sequence not-a-number",
		with(`"12"`, `12`):                                      "/sequence wrong-type",
		with(`T10:00:00`, `10:00`):                              "/time not-a-date-time",
		with(`"data":{`, `"data":{"id":"x",`):                   "/data/id not-the-envelope",
		with(`"data":{`, `"data":{"colour":1,`):                 "/data unknown-field",
		with(`"A-1"`, `""`):                                     "/data/appointment/id missing",
		with(`.booked`, `.status`):                              "/data/status missing",
		with(`2026-12-01`, `tomorrow`):                          "/data/appointment/starts_at not-a-date-time",
		with(`"data":`, `"datacontenttype":"text/xml","data":`): "/datacontenttype not-in-list",
		with(`"data":`, `"data_base64":"e30=","data":`):         "/data_base64 with-data",
		without: "/data missing",
	} {
		_, problems := Decode([]byte(in))
		if len(problems) == 0 || !strings.Contains(fmt.Sprint(problems), "{"+want+"}") {
			t.Errorf("%s: %v, want %s", in, problems, want)
		}
	}
	if _, problems := DecodeAs([]byte(structured(cloudData)), Cancelled); len(problems) != 1 || problems[0].Code != "not-the-subject" {
		t.Errorf("another subject: %v", problems)
	}
	twice := map[string][]string{"ce-id": {"7"}, "Ce-Id": {"8"}, "ce-specversion": {"1.0"}}
	if _, problems := DecodeBinary(twice, "", []byte(cloudData), ""); len(problems) != 1 || problems[0].Code != "twice" {
		t.Errorf("two ids: %v", problems)
	}
}

func FuzzDecodeBinary(f *testing.F) {
	f.Add("1.0", "7", "emr", "appointment.booked", "2026-11-23T10:00:00Z", "1", []byte(cloudData))
	f.Add("1.0", "%41", "%zz", "appointment.status", "", "-1", []byte(`{"status":"scheduled","appointment":{"id":"A"}}`))
	f.Fuzz(func(t *testing.T, version, id, source, kind, at, sequence string, data []byte) {
		h := map[string][]string{"ce-specversion": {version}, "ce-id": {id}, "ce-source": {source}, "ce-type": {kind}, "ce-time": {at}, "ce-sequence": {sequence}}
		e, problems := DecodeBinary(h, "application/json", data, "")
		if len(problems) > 0 {
			return
		}
		again, problems := Decode(e.Raw)
		if len(problems) > 0 {
			t.Fatalf("%q is kept as %q, which is wrong: %v", data, e.Raw, problems)
		}
		if !bytes.Equal(again.Raw, e.Raw) || !again.At.Equal(e.At) || !again.StartsAt.Equal(e.StartsAt) {
			t.Fatalf("%+v is kept as %+v", e, again)
		}
		again.At, e.At, again.StartsAt, e.StartsAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
