package stream_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// clinicWorld is a server, a clinic that may connect to it, and our reception.
type clinicWorld struct {
	*lobby
	t     *testing.T
	url   string
	taken chan visit
	stop  func() error
}

type visit struct {
	stream.Said
	answer stream.Answer
}

// newClinicWorld begins the reception before anybody vouches for it, as a start
// may.
func newClinicWorld(t *testing.T) *clinicWorld {
	t.Helper()
	w := &clinicWorld{t: t, taken: make(chan visit, 100), lobby: &lobby{
		Identity: natsauth.Identity{Tenant: tenant.ID(uuid.Must(uuid.NewV7())), Credential: uuid.Must(uuid.NewV7())},
	}}
	seed, issuer, err := natsauth.NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	n := streamtest.ClinicNATS(t, issuer)
	w.url = n.URL()
	password, err := natsauth.ReceptionPassword(seed)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	received, vouched := make(chan error, 1), make(chan error, 1)
	go func() {
		received <- stream.Reception(ctx, stream.Config{InProcess: n.InProcess(), User: natsauth.ReceptionUser, Password: password, Logger: quiet},
			func(s stream.Said, a stream.Answer) { w.taken <- visit{s, a} })
	}()
	door, err := natsauth.New(seed, w.lobby, quiet)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, n.InProcess(), quiet)
	vouching, vouchNoMore := context.WithCancel(context.Background())
	questions, err := c.AuthQuestions()
	if err != nil {
		t.Fatal(err)
	}
	go func() { vouched <- questions.Serve(vouching, door.Answer) }()
	ended := false
	w.stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		err := <-received
		vouchNoMore()
		return errors.Join(err, <-vouched)
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *clinicWorld) connect() *nats.Conn {
	w.t.Helper()
	for deadline := time.Now().Add(soon); ; {
		nc, err := nats.Connect(w.url, nats.UserInfo(w.Credential.String(), "right"), nats.CustomInboxPrefix(natsauth.InboxPrefix(w.Tenant)),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err == nil {
			w.t.Cleanup(nc.Close)
			return nc
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
}

func (w *clinicWorld) subject(kind string) string {
	return "clinic." + w.Tenant.String() + ".appointment." + kind
}

// next is what is said next.
func (w *clinicWorld) next() visit {
	w.t.Helper()
	select {
	case v := <-w.taken:
		return v
	case <-time.After(soon):
		w.t.Fatal("nothing was taken")
	}
	return visit{}
}

// listening waits until the reception is there.
func (w *clinicWorld) listening(nc *nats.Conn) {
	w.t.Helper()
	go func() {
		v := <-w.taken
		v.answer("", []byte("here"))
	}()
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		if _, err := nc.Request(w.subject("booked"), nil, soon); !errors.Is(err, nats.ErrNoResponders) {
			return
		}
	}
	w.t.Fatal("nobody is at the reception")
}

func TestAClinicIsAnsweredAndTheTenantIsItsConnections(t *testing.T) {
	t.Parallel()
	w := newClinicWorld(t)
	nc := w.connect()
	w.listening(nc)
	go func() {
		v := w.next()
		if v.Tenant != w.Tenant || v.Kind != "cancelled" || string(v.Data) != "{}" || v.Header["ce-id"][0] != "e1" || !v.Waits {
			t.Errorf("taken: %+v", v.Said)
		}
		v.answer("e1", []byte("done"))
	}()
	m := nats.NewMsg(w.subject("cancelled"))
	m.Header["ce-id"], m.Data = []string{"e1"}, []byte("{}")
	reply, err := nc.RequestMsg(m, soon)
	if err != nil || string(reply.Data) != "done" {
		t.Fatalf("%v, %v", reply, err)
	}
}

func TestAReceiptGoesToItsClinicAlone(t *testing.T) {
	t.Parallel()
	w := newClinicWorld(t)
	nc := w.connect()
	w.listening(nc)
	receipts, err := nc.SubscribeSync("clinic." + w.Tenant.String() + ".receipt.>")
	if err != nil {
		t.Fatal(err)
	}
	other := tenant.ID(uuid.Must(uuid.NewV7()))
	for _, c := range []struct{ reply, event, want string }{
		{"", "e1", "e1"}, // nobody waits
		{"", "a.b >%가", "a%2Eb%20%3E%25%EA%B0%80"},
		{natsauth.InboxPrefix(other) + ".x", "e3", "e3"}, // not where another clinic listens
		{"clinic." + other.String() + ".receipt.e4", "e4", "e4"},
	} {
		if err := nc.PublishMsg(&nats.Msg{Subject: w.subject("booked"), Reply: c.reply, Data: []byte(c.event)}); err != nil {
			t.Fatal(err)
		}
		v := w.next()
		if v.Waits {
			t.Errorf("%q: somebody is said to wait", c.reply)
		}
		v.answer(string(v.Data), []byte("kept"))
		m, err := receipts.NextMsg(soon)
		if err != nil || string(m.Data) != "kept" || !strings.HasSuffix(m.Subject, ".receipt."+c.want) {
			t.Errorf("%q: %+v, %v", c.reply, m, err)
		}
	}
	// Another's subject is not even taken.
	for _, subject := range []string{"clinic." + other.String() + ".appointment.booked", "clinic." + w.Tenant.String() + ".receipt.e1", natsauth.InboxPrefix(w.Tenant) + ".x"} {
		if err := nc.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := receipts.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a clinic wrote its own receipt: %s", m.Subject)
	}
	if len(w.taken) != 0 {
		t.Errorf("taken: %+v", (<-w.taken).Said)
	}
}

func TestWhatWasTakenIsAnsweredBeforeTheReceptionCloses(t *testing.T) {
	t.Parallel()
	w := newClinicWorld(t)
	nc := w.connect()
	w.listening(nc)
	answers := make(chan error, 20)
	for range cap(answers) {
		go func() {
			_, err := nc.Request(w.subject("booked"), []byte("{}"), soon)
			answers <- err
		}()
	}
	var open []visit
	for range cap(answers) {
		open = append(open, w.next())
	}
	stopped := make(chan error, 1)
	go func() { stopped <- w.stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("the reception closed while %d wait: %v", len(open), err)
	case <-time.After(100 * time.Millisecond):
	}
	for _, v := range open {
		v.answer("e", []byte("done"))
	}
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := nc.Request(w.subject("booked"), nil, soon); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after it closed: %v", err)
	}
}
