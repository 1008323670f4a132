package stream

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestEventsOfOneSubjectShareMessagesUpToTheLimit(t *testing.T) {
	t.Parallel()
	clinics := []tenant.ID{tenant.NewID(), tenant.NewID()}
	rapid.Check(t, func(t *rapid.T) {
		var events []event.Event
		for range rapid.IntRange(0, 8).Draw(t, "runs") {
			clinic, lane := rapid.SampledFrom(clinics).Draw(t, "clinic"), rapid.SampledFrom(event.Lanes).Draw(t, "lane")
			kind := rapid.IntRange(0, 2).Draw(t, "kind")
			for range rapid.SampledFrom([]int{1, 2, maxGroup - 1, maxGroup, maxGroup + 1, 3 * maxGroup}).Draw(t, "n") {
				switch id := uuid.Must(uuid.NewV7()); kind {
				case 0:
					events = append(events, &event.Trigger{Tenant: clinic, ID: id, Kind: event.Webhook})
				case 1:
					events = append(events, &event.Delivery{Tenant: clinic, Step: id, Channel: event.SMS, Status: event.Sent, Source: event.Answer, At: time.Now()})
				case 2:
					events = append(events, &event.Step{Tenant: clinic, ID: id, Channel: event.SMS, Lane: lane})
				}
			}
		}
		want, got, messages := map[string][]event.Event{}, map[string][]event.Event{}, map[string]int{}
		for _, e := range events {
			want[e.Subject()] = append(want[e.Subject()], e)
		}
		for _, g := range groupBySubject(events) {
			subject := g[0].Subject()
			messages[subject]++
			got[subject] = append(got[subject], g...)
			if _, trigger := g[0].(*event.Trigger); len(g) == 0 || len(g) > maxGroup || trigger && len(g) > 1 {
				t.Fatalf("a message of %d on %s", len(g), subject)
			}
			for _, e := range g {
				if e.Subject() != subject {
					t.Fatalf("%s shares a message on %s", e.Subject(), subject)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("events by subject, in their order (-want +got):\n%s", diff)
		}
		for subject, events := range want {
			least := (len(events) + maxGroup - 1) / maxGroup
			if _, trigger := events[0].(*event.Trigger); trigger {
				least = len(events)
			}
			if messages[subject] != least {
				t.Fatalf("%d events of one subject took %d messages, want %d", len(events), messages[subject], least)
			}
		}
	})
}

// answers is a message that remembers how it was answered.
type answers struct {
	jetstream.Msg
	got []string
}

func (a *answers) Subject() string { return "step.due.care.x" }

func (a *answers) Ack() error { a.got = append(a.got, "ack"); return nil }

func (a *answers) TermWithReason(reason string) error {
	a.got = append(a.got, "term "+reason)
	return nil
}

func (a *answers) NakWithDelay(d time.Duration) error {
	a.got = append(a.got, "again in "+d.String())
	return nil
}

func TestAMessageIsAnsweredOnceEveryMemberIsSettled(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, tt := range map[string]struct {
		settle []error
		want   string
	}{
		"all done":                           {[]error{nil, nil, nil}, "ack"},
		"one fails":                          {[]error{nil, boom, nil}, "again in 500ms"},
		"the last fails":                     {[]error{nil, nil, boom}, "again in 500ms"},
		"one asks for it again":              {[]error{Retry(3 * time.Second), nil, nil}, "again in 3s"},
		"one asks after another has failed":  {[]error{boom, Retry(time.Second)}, "again in 500ms"},
		"one fails after another has asked":  {[]error{Retry(time.Second), boom, nil}, "again in 500ms"},
		"one is discarded":                   {[]error{nil, Discard("bad"), nil}, "ack"},
		"every one is discarded":             {[]error{Discard("bad"), Discard("bad")}, "ack"},
		"one is discarded and another fails": {[]error{Discard("bad"), boom}, "again in 500ms"},
		"alone and discarded":                {[]error{Discard("bad")}, "term bad"},
		"alone and asked for":                {[]error{Retry(0)}, "again in 0s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := new(answers)
			from := &delivered{msg: a, log: slog.New(slog.DiscardHandler), members: len(tt.settle), left: len(tt.settle)}
			for i, err := range tt.settle {
				if len(a.got) != 0 {
					t.Fatalf("answered %v with %d members in hand", a.got, len(tt.settle)-i)
				}
				(&Msg[event.Step]{Deliveries: 2, from: from}).Settle(err)
			}
			if diff := cmp.Diff([]string{tt.want}, a.got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}
