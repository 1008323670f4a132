package event_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

var update = flag.Bool("update", false, "write the golden files of shapes that have none")

// shapes is each shape of each message; the word before the first _ is its
// type. A released shape that changes gets a new name here, and its old file
// stays: messages of it may still be on a stream.
var shapes = map[string]event.Event{
	"trigger_webhook":     trigger(),
	"trigger_appointment": with(trigger, func(e *event.Trigger) { e.Kind = event.Appointment }),
	"trigger_cron":        with(trigger, func(e *event.Trigger) { e.Kind = event.Cron }),
	"trigger_campaign":    with(trigger, func(e *event.Trigger) { e.Kind = event.Campaign }),
	"step_planned":        step(),
	"step_released": with(step, func(e *event.Step) {
		e.Lane, e.Channel, e.Attempt, e.PlanEpoch, e.Lease = event.Bulk, event.SMS, 2, 1, 1772413200000
	}),
	"delivery_sent": delivery(),
	"delivery_report_timeout": with(delivery, func(e *event.Delivery) {
		e.Source, e.Reason = event.Query, event.ReportTimeout
	}),
	"delivery_delivered": with(delivery, func(e *event.Delivery) {
		e.Channel, e.Status, e.Source, e.Code = event.SMS, event.Delivered, event.Poll, "1000"
	}),
	"delivery_failed": with(delivery, func(e *event.Delivery) {
		e.Status, e.Source, e.Code, e.Reason = event.Failed, event.Report, "3018", event.Rejected("3018")
	}),
	"delivery_failed_final": with(delivery, func(e *event.Delivery) {
		e.Status, e.Code, e.Reason, e.Final, e.RequestID, e.Seq = event.Failed, "-1", event.Rejected("-1"), true, "", 0
	}),
	"delivery_unknown": with(delivery, func(e *event.Delivery) { e.Status, e.RequestID, e.Seq = event.Unknown, "", 0 }),
	"delivery_released": with(delivery, func(e *event.Delivery) {
		e.Status, e.RequestID, e.Seq, e.RetryAt = event.Released, "", 0, at.Add(time.Minute)
	}),
	"delivery_parked": with(delivery, func(e *event.Delivery) {
		e.Status, e.Source, e.Reason, e.RequestID, e.Seq = event.Parked, event.Query, event.OutcomeUnknown, "", 0
	}),
	"delivery_skipped": with(delivery, func(e *event.Delivery) {
		e.Status, e.Source, e.Reason, e.RequestID, e.Seq, e.Attempt = event.Skipped, event.Guard, event.OptedOut, "", 0, 0
	}),
	"delivery_cancelled": with(delivery, func(e *event.Delivery) {
		e.Status, e.Source, e.Reason, e.RequestID, e.Seq, e.Attempt = event.Cancelled, event.Guard, event.Superseded, "", 0, 0
	}),
	"delivery_expired": with(delivery, func(e *event.Delivery) {
		e.Status, e.Source, e.Reason, e.RequestID, e.Seq, e.Attempt = event.Expired, event.Guard, event.TimePassed, "", 0, 0
	}),
}

const golden = "testdata/golden"

func TestEveryShapeIsWrittenAsItsGoldenFileHasIt(t *testing.T) {
	t.Parallel()
	for name, e := range shapes {
		file := filepath.Join(golden, name+".json")
		b, err := event.Encode(e)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := os.ReadFile(file)
		if os.IsNotExist(err) && *update {
			want, err = append(b, '\n'), os.WriteFile(file, append(b, '\n'), 0o644)
		}
		if err != nil {
			t.Errorf("%v; run go test ./internal/event -update", err)
			continue
		}
		if diff := cmp.Diff(string(want), string(b)+"\n"); diff != "" {
			t.Errorf("%s is written otherwise (-golden +now); a new shape needs a new name:\n%s", name, diff)
		}
	}
}

// The folder, not the table, is what must decode: it keeps shapes that no
// version writes any more.
func TestEveryReleasedShapeDecodesForEver(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(golden, "*.json"))
	if err != nil || len(files) < len(shapes) {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		kind, _, _ := strings.Cut(name, "_")
		decode, ok := decoders[kind]
		if !ok {
			t.Errorf("%s: no message is called %s", file, kind)
			continue
		}
		got, err := decode(b)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if want, ok := shapes[name]; ok {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s decodes otherwise (-want +got):\n%s", file, diff)
			}
		}
		// What a newer role adds is ignored.
		newer := append(bytes.TrimSuffix(bytes.TrimSpace(b), []byte("}")), `,"added_later":{"a":[1]}}`...)
		if again, err := decode(newer); err != nil || !cmp.Equal(got, again) {
			t.Errorf("%s with an unknown field: %v, %v", file, again, err)
		}
	}
}

var decoders = map[string]func([]byte) (event.Event, error){
	"trigger": func(b []byte) (event.Event, error) {
		e, err := event.Decode[event.Trigger](b)
		return &e, err
	},
	"step": func(b []byte) (event.Event, error) {
		e, err := event.Decode[event.Step](b)
		return &e, err
	},
	"delivery": func(b []byte) (event.Event, error) {
		e, err := event.Decode[event.Delivery](b)
		return &e, err
	},
}
