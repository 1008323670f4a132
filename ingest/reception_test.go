package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// slowBook keeps events one second each.
type slowBook struct {
	mu     sync.Mutex
	kept   map[tenant.ID][]string
	busy   map[tenant.ID]int
	most   int // of one clinic at a time
	broken error
}

func (b *slowBook) AcceptAppointmentEvent(ctx context.Context, id tenant.ID, e store.AppointmentEvent, _ func(*store.Replanning) store.NewPlan) (store.AppointmentReceipt, error) {
	b.mu.Lock()
	b.busy[id]++
	b.most = max(b.most, b.busy[id])
	b.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy[id]--
	if b.broken != nil {
		return store.AppointmentReceipt{}, b.broken
	}
	b.kept[id] = append(b.kept[id], e.ID)
	return store.AppointmentReceipt{Status: store.Accepted, Appointment: uuid.New(), Trigger: uuid.New(), Version: 1}, nil
}

func (b *slowBook) breaks(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = err
}

// counter is a reception, and the receipts that it gave by event.
type counter struct {
	*ingest.Reception
	book  *slowBook
	mu    sync.Mutex
	given map[string][]intake.Receipt
	empty int // answers without data
}

func newCounter(t *testing.T) *counter {
	book := &slowBook{kept: map[tenant.ID][]string{}, busy: map[tenant.ID]int{}}
	return &counter{
		book: book, given: map[string][]intake.Receipt{},
		Reception: ingest.NewReception(&intake.Desk{Ledger: book}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()),
	}
}

func (c *counter) say(id tenant.ID, kind, event string, waits bool) {
	body := fmt.Sprintf(`{"id":%q,"appointment":{"id":"A1","starts_at":"2026-12-01T14:30:00+09:00"}}`, event)
	c.Take(stream.Said{Tenant: id, Kind: kind, Data: []byte(body), Waits: waits}, func(_ string, data []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(data) == 0 {
			c.empty++
			return
		}
		var r intake.Receipt
		if err := json.Unmarshal(data, &r); err != nil {
			panic(err)
		}
		c.given[event] = append(c.given[event], r)
	})
}

// settle lets so much time pass and returns what was given and kept until then.
func (c *counter) settle(d time.Duration) (given map[string][]intake.Receipt, kept map[tenant.ID][]string, empty int) {
	time.Sleep(d)
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	return maps.Clone(c.given), maps.Clone(c.book.kept), c.empty
}

func TestAClinicsEventsAreTakenInTheirOrderAndClinicsBesideOneAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		clinics := []tenant.ID{tenant.NewID(), tenant.NewID(), tenant.NewID()}
		began := time.Now()
		for i := range 20 {
			for k, id := range clinics {
				c.say(id, "booked", fmt.Sprintf("%d-%02d", k, i), true)
			}
		}
		if given, _, _ := c.settle(0); len(given) != 0 {
			t.Fatal("a receipt came before the commit")
		}
		given, kept, _ := c.settle(20 * time.Second)
		if took := time.Since(began); len(given) != 60 || took > 20*time.Second {
			t.Errorf("%d receipts after %s", len(given), took)
		}
		for k, id := range clinics {
			for i, event := range kept[id] {
				if event != fmt.Sprintf("%d-%02d", k, i) {
					t.Fatalf("clinic %d: %v", k, kept[id])
				}
			}
		}
		c.book.mu.Lock()
		defer c.book.mu.Unlock()
		if c.book.most != 1 {
			t.Errorf("%d events of one clinic at a time", c.book.most)
		}
	})
}

func TestWhatIsTooMuchIsToldSoAndNothingElseWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		loud, calm := tenant.NewID(), tenant.NewID()
		for i := range 300 {
			c.say(loud, "booked", fmt.Sprint("l", i), i%2 == 0)
		}
		c.say(calm, "booked", "c", true)
		given, _, empty := c.settle(2 * time.Second)
		if got := given["c"]; len(got) != 1 || got[0].Status != intake.Accepted {
			t.Errorf("the other clinic: %+v", got)
		}
		refused := 0
		for _, list := range given {
			for _, r := range list {
				if r.Status == intake.Unavailable {
					refused++
				}
			}
		}
		if refused == 0 || refused+empty != 300-257 && refused+empty != 300-256 {
			t.Errorf("%d told, %d not answered, of 300", refused, empty)
		}
		_, all, empty := c.settle(300 * time.Second)
		if kept := len(all[loud]); kept+refused+empty != 300 {
			t.Errorf("%d kept, %d told, %d not answered, of 300", kept, refused, empty)
		}
	})
}

func TestAnEventThatCannotBeKeptIsNotConfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		id := tenant.NewID()
		for _, broken := range []error{store.ErrUnavailable, errors.New("something else")} {
			c.book.breaks(broken)
			c.say(id, "booked", "waited for", true)
			c.say(id, "booked", "not waited for", false)
			c.settle(3 * time.Second)
		}
		given, _, empty := c.settle(0)
		for _, r := range given["waited for"] {
			if r.Status != intake.Unavailable || len(r.Problems) != 1 || r.Problems[0].Code != "try-again" {
				t.Errorf("%+v", r)
			}
		}
		if len(given["waited for"]) != 2 || len(given["not waited for"]) != 0 || empty != 2 {
			t.Errorf("%+v, %d", given, empty)
		}
	})
}

func TestAnEventIsWhatItsSubjectSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		c.say(tenant.NewID(), "created", "unheard of", true)
		c.say(tenant.NewID(), "", "nothing", true)
		c.Take(stream.Said{Tenant: tenant.NewID(), Kind: "cancelled", Data: []byte(`{"id":"e","type":"appointment.booked","appointment":{"id":"A1"}}`), Waits: true},
			func(event string, data []byte) {
				var r intake.Receipt
				if err := json.Unmarshal(data, &r); err != nil || event != "e" || r.Status != intake.Rejected || r.Problems[0] != (intake.Fault{Pointer: "/type", Code: "not-the-subject"}) {
					t.Errorf("%s, %v", data, err)
				}
			})
		given, kept, _ := c.settle(2 * time.Second)
		for _, event := range []string{"unheard of", "nothing"} {
			if got := given[event]; len(got) != 1 || got[0].Status != intake.Rejected || got[0].Problems[0].Pointer != "/type" {
				t.Errorf("%s: %+v", event, got)
			}
		}
		if len(kept) != 0 {
			t.Errorf("kept: %v", kept)
		}
	})
}

func TestACloudEventIsTakenInEitherMode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCounter(t)
		clinic := tenant.NewID()
		data := `{"appointment":{"id":"A1","starts_at":"2026-12-01T14:30:00+09:00"}}`
		receipt := func(want string) stream.Answer {
			return func(event string, said []byte) {
				var r intake.Receipt
				if err := json.Unmarshal(said, &r); err != nil || event != want || r.Status != intake.Accepted {
					t.Errorf("%s: %s, %v", event, said, err)
				}
			}
		}
		binary := map[string][]string{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"emr"}, "ce-type": {"appointment.booked"}}
		c.Take(stream.Said{Tenant: clinic, Kind: "booked", Header: binary, Data: []byte(data), Waits: true}, receipt("emr#1"))
		whole := `{"specversion":"1.0","id":"2","source":"emr","type":"appointment.booked","data":` + data + `}`
		c.Take(stream.Said{Tenant: clinic, Kind: "booked", Header: map[string][]string{"Content-Type": {"application/cloudevents+json"}}, Data: []byte(whole), Waits: true}, receipt("emr#2"))
		if _, kept, _ := c.settle(3 * time.Second); fmt.Sprint(kept[clinic]) != "[emr#1 emr#2]" {
			t.Errorf("kept %v", kept)
		}
	})
}
