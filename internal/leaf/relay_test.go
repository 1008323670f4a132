package leaf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is the line between two servers, which can be cut.
type wire struct {
	t        testing.TB
	to, addr string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newWire(t testing.TB, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, to: strings.TrimPrefix(to, "nats://"), addr: "nats://" + l.Addr().String(), conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the loop
		w.set(true)
		all.Wait()
	})
	return w
}

func (w *wire) carry(c net.Conn) {
	d, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = c.Close() // the hub is not there
		return
	}
	w.mu.Lock()
	w.conns[c], w.conns[d] = true, true
	down := w.cut
	w.mu.Unlock()
	if down {
		_, _ = c.Close(), d.Close()
	}
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{c, d}, {d, c}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends with either
			_, _ = c.Close(), d.Close()
		})
	}
	both.Wait()
}

// set cuts the line, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut = cut; cut {
		for c := range w.conns {
			_ = c.Close()
			delete(w.conns, c)
		}
	}
}

// hub is a pipeline that remembers the order in which it heard what.
type hub struct {
	mu     sync.Mutex
	seen   map[string]bool
	order  map[string][]int // by appointment
	moody  bool             // now and then it is unavailable, or silent
	asked  int
	header string
}

type saidEvent struct {
	ID          string `json:"id"`
	Appointment struct {
		ID string `json:"id"`
	} `json:"appointment"`
	N int `json:"sequence"`
}

func (h *hub) answer(m *nats.Msg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if v := m.Header.Get("ce-type"); v != "" {
		h.header = v
	}
	var e saidEvent
	status, reply := "accepted", map[string]any{}
	switch err := json.Unmarshal(m.Data, &e); {
	case err != nil:
		status = "rejected"
	case h.moody && rand.IntN(10) == 0:
		return // it died before its commit
	case h.moody && rand.IntN(10) == 0:
		status = "unavailable"
	case h.seen[e.ID]:
		status = "duplicate"
	default:
		h.seen[e.ID] = true
		h.order[e.Appointment.ID] = append(h.order[e.Appointment.ID], e.N)
		if h.moody && rand.IntN(10) == 0 {
			return // it died after its commit
		}
	}
	reply["event_id"], reply["status"] = e.ID, status
	b, err := json.Marshal(reply)
	if err == nil {
		_ = m.Respond(b) // the line may be cut
	}
}

func newHub(t testing.TB) (h *hub, url string) {
	t.Helper()
	n := streamtest.HubNATS(t)
	h = &hub{seen: map[string]bool{}, order: map[string][]int{}}
	nc := streamtest.Client(t, n.URL(), streamtest.AppUser, streamtest.Password, "_INBOX_hub")
	if _, err := nc.Subscribe(natsauth.Events, h.answer); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return h, n.URL()
}

// site is a clinic's computer.
type site struct {
	t    testing.TB
	id   tenant.ID
	dir  string
	hub  string
	url  string
	stop func()
}

func (s *site) start() {
	s.t.Helper()
	server := streamtest.LeafNATS(s.t, s.dir, s.id.String())
	s.url = server.URL()
	r, err := New(s.t.Context(), Config{
		Tenant: s.id, Local: server.InProcess(), LocalUser: streamtest.AppUser, LocalKey: streamtest.Password,
		Hub: s.hub, User: streamtest.AppUser, Password: streamtest.Password, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = r.Run(ctx) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		r.Close() // in the middle of whatever it does
		run.Wait()
		server.Shutdown()
	})
	s.t.Cleanup(s.stop)
}

// system is the clinic's own program.
func (s *site) system() (*nats.Conn, jetstream.JetStream) {
	s.t.Helper()
	nc := streamtest.Client(s.t, s.url, streamtest.ClinicUser, streamtest.Password, "_INBOX")
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	return nc, js
}

func (s *site) say(ctx context.Context, js jetstream.JetStream, id, appointment string, n int) error {
	_, err := js.Publish(ctx, "clinic."+s.id.String()+".appointment.edited", fmt.Appendf(nil, `{"id":%q,"sequence":%d,"appointment":{"id":%q}}`, id, n, appointment))
	return err
}

// emptied waits until there is a receipt for everything.
func (s *site) emptied() {
	s.t.Helper()
	nc := streamtest.Client(s.t, s.url, streamtest.AppUser, streamtest.Password, "_INBOX_look")
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 90*time.Second)
	defer cancel()
	for {
		st, err := js.Stream(ctx, Outbox)
		if err == nil && st.CachedInfo().State.Msgs == 0 {
			return
		}
		if !sleep(ctx, 50*time.Millisecond) {
			s.t.Fatal("events wait still", err)
		}
	}
}

// TestALineThatIsCutLosesAndDoublesNothing cuts the line again and again while
// the clinic's system goes on, the pipeline dies before and after its commits,
// and the clinic's computer is switched off once.
func TestALineThatIsCutLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	h, url := newHub(t)
	h.moody = true
	w := newWire(t, url)
	s := &site{t: t, id: tenant.NewID(), dir: t.TempDir(), hub: w.addr}
	s.start()
	const appointments, each = 12, 25
	sayAll := func(from, to int) {
		_, js := s.system()
		var all sync.WaitGroup
		for a := range appointments {
			all.Go(func() {
				for n := from; n < to; n++ {
					if err := s.say(t.Context(), js, fmt.Sprintf("e-%d-%d", a, n), fmt.Sprint("A-", a), n); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			all.Wait()
		}()
		for cut := true; ; cut = !cut {
			select {
			case <-done:
				w.set(false)
				return
			case <-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond):
				w.set(cut)
			}
		}
	}
	sayAll(0, each/2)
	s.stop()
	s.start()
	sayAll(each/2, each)
	h.mu.Lock()
	h.moody = false
	h.mu.Unlock()
	s.emptied()
	h.mu.Lock()
	defer h.mu.Unlock()
	for a := range appointments {
		got := h.order[fmt.Sprint("A-", a)]
		if len(got) != each {
			t.Errorf("A-%d: %d events of %d", a, len(got), each)
		}
		for i, n := range got {
			if n != i {
				t.Errorf("A-%d was heard in the order %v", a, got)
				break
			}
		}
	}
	_, js := s.system()
	st, err := js.Stream(t.Context(), Receipts)
	if err != nil {
		t.Fatal(err)
	}
	for a := range appointments {
		for n := range each {
			subject := natsauth.ReceiptSubject(s.id, fmt.Sprintf("e-%d-%d", a, n))
			m, err := st.GetLastMsgForSubject(t.Context(), subject)
			var said answer
			if err != nil || json.Unmarshal(m.Data, &said) != nil || said.Status != "accepted" && said.Status != "duplicate" {
				t.Errorf("%s: %v, %v", subject, said, err)
			}
		}
	}
}

func TestWhatIsRejectedIsKeptWithItsReceipt(t *testing.T) {
	t.Parallel()
	h, url := newHub(t)
	s := &site{t: t, id: tenant.NewID(), dir: t.TempDir(), hub: url}
	s.start()
	nc, js := s.system()
	heard, err := nc.SubscribeSync("clinic." + s.id.String() + ".receipt.*")
	if err != nil {
		t.Fatal(err)
	}
	subject := "clinic." + s.id.String() + ".appointment.booked"
	msg := &nats.Msg{Subject: subject, Header: nats.Header{"ce-type": {"appointment.booked"}, jetstream.MsgIDHeader: {"x"}}, Data: []byte(`rubbish`)}
	if _, err := js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	m, err := heard.NextMsg(20 * time.Second)
	if err != nil || !strings.HasSuffix(m.Subject, ".receipt.unnamed-1") || !strings.Contains(string(m.Data), "rejected") {
		t.Fatal(m, err)
	}
	s.emptied()
	st, err := js.Stream(t.Context(), Rejected)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := st.GetLastMsgForSubject(t.Context(), "clinic."+s.id.String()+".rejected.unnamed-1")
	if err != nil || string(kept.Data) != "rubbish" || kept.Header.Get("ce-type") != "appointment.booked" {
		t.Error(kept, err)
	}
	if h.header != "appointment.booked" {
		t.Errorf("the pipeline got the header %q", h.header)
	}
}

func TestAClinicsSystemMaySayAndReadAndNothingElse(t *testing.T) {
	t.Parallel()
	_, url := newHub(t)
	s := &site{t: t, id: tenant.NewID(), dir: t.TempDir(), hub: url}
	s.start()
	nc, js := s.system()
	for _, subject := range []string{
		"clinic." + tenant.NewID().String() + ".appointment.booked", "clinic." + s.id.String() + ".receipt.x", "clinic." + s.id.String() + ".rejected.x",
		"$JS.API.STREAM.DELETE.OUTBOX", "$JS.API.STREAM.PURGE.OUTBOX", "$JS.API.CONSUMER.DELETE.OUTBOX.line",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if _, err := nc.RequestWithContext(ctx, subject, nil); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", subject, err)
		}
		cancel()
	}
	if err := js.DeleteStream(t.Context(), Outbox); err == nil {
		t.Error("it may delete the outbox")
	}
	if err := s.say(t.Context(), js, "e-1", "A-1", 1); err != nil {
		t.Error(err)
	}
	s.emptied()
}
