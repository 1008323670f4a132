package local_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// credentials is a ledger in memory.
type credentials map[uuid.UUID]struct {
	secret string
	natsauth.Identity
}

func (c credentials) Identify(_ context.Context, id uuid.UUID, secret string) (natsauth.Identity, error) {
	if one, ok := c[id]; ok && one.secret == secret {
		return one.Identity, nil
	}
	return natsauth.Identity{}, natsauth.ErrUnknown
}

// clinicWorld is a server with the pipeline, a listener in the clinics' account
// and two clinics.
type clinicWorld struct {
	nats          *local.NATS
	app, listener *nats.Conn
	a, b          natsauth.Identity
}

const clinicSecret = "dfn_of_this_test_only"

func newClinicWorld(t *testing.T) *clinicWorld {
	t.Helper()
	seed, issuer, err := natsauth.NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	w := &clinicWorld{}
	w.nats = local.StartNATSWithListener(t, local.NATSConfig{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", AppPassword: secret, OpsPassword: secret + "2", ClinicIssuer: issuer,
	}, "listener", secret)
	known := credentials{}
	for _, id := range []*natsauth.Identity{&w.a, &w.b} {
		*id = natsauth.Identity{Tenant: tenant.ID(uuid.Must(uuid.NewV7())), Credential: uuid.Must(uuid.NewV7())}
		known[id.Credential] = struct {
			secret string
			natsauth.Identity
		}{clinicSecret, *id}
	}
	door, err := natsauth.New(seed, known, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.app, w.listener = dial(t, w.nats, local.AppUser, secret), dial(t, w.nats, "listener", secret)
	_, err = w.app.Subscribe("$SYS.REQ.USER.AUTH", func(m *nats.Msg) {
		if text := door.Answer(context.Background(), m.Data); text != nil {
			_ = m.Respond(text) // the server's timeout tells
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.app.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

// enter connects over TCP, as a clinic does.
func (w *clinicWorld) enter(user, password string, opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect(w.nats.URL(), append(opts, nats.UserInfo(user, password), nats.NoReconnect())...)
}

func (w *clinicWorld) clinic(t *testing.T, id natsauth.Identity) (*nats.Conn, refusals) {
	t.Helper()
	d := make(refusals, 8)
	nc, err := w.enter(id.Credential.String(), clinicSecret, nats.ErrorHandler(d.handle), nats.CustomInboxPrefix(natsauth.InboxPrefix(id.Tenant)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, d
}

func TestAClinicSpeaksOnItsOwnSubjects(t *testing.T) {
	t.Parallel()
	w := newClinicWorld(t)
	a, refused := w.clinic(t, w.a)
	own := "clinic." + w.a.Tenant.String()
	_, err := w.listener.Subscribe("clinic.*.appointment.>", func(m *nats.Msg) {
		_ = m.Respond([]byte(m.Subject)) // the request's timeout tells
	})
	if err := errors.Join(err, w.listener.Flush()); err != nil {
		t.Fatal(err)
	}
	if m, err := a.Request(own+".appointment.created", []byte("{}"), 5*time.Second); err != nil || string(m.Data) != own+".appointment.created" {
		t.Errorf("request on its own subject: %v, %v", m, err)
	}
	receipts, err := a.SubscribeSync(own + ".receipt.>")
	if err := errors.Join(err, a.Flush(), w.listener.Publish(own+".receipt.e1", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := receipts.NextMsg(5 * time.Second); err != nil {
		t.Errorf("its own receipts: %v", err)
	}
	if len(refused) > 0 {
		t.Errorf("refused: %s", <-refused)
	}
	if a.MaxPayload() > natsauth.MaxPayload {
		t.Errorf("may send %d bytes at once, want at most %d", a.MaxPayload(), natsauth.MaxPayload)
	}
}

// foreign is every subject that is not a clinic's own, as it could try them; o
// is another clinic's id, own its own.
func foreign(own, o string) (subjects []string) {
	clinic := "clinic." + o
	return []string{
		// What the pipeline speaks of.
		"trigger." + own + ".webhook", "trigger." + o + ".appointment", "trigger.>", "trigger.*.*",
		"step.due.care." + own, "step.due.bulk." + o, "step.>", "step.*.*.*",
		"delivery." + own + ".kakao.sent", "delivery." + o + ".sms.failed", "delivery.>", "delivery.*.*.*",
		"hint.release", "hint.>", "anchor.TRIGGERS", "anchor.STEPS", "anchor.>",
		// Another clinic, by name and by wildcards.
		clinic + ".appointment.created", clinic + ".appointment.cancelled", clinic + ".appointment.>", clinic + ".receipt.e1",
		clinic + ".receipt.>", clinic + ".>", clinic + ".*.*", "clinic.*.appointment.created", "clinic.*.appointment.>", "clinic.*.receipt.>",
		"clinic.*.*.*", "clinic.>", "*." + own + ".appointment.created", "*." + o + ".appointment.created", "*.*.*.*", "*.>", ">", "*",
		// Its own name, but not its own subjects.
		"clinic." + own, "clinic." + own + ".appointment", "clinic." + own + ".patient.created", "clinic." + own + ".>", "clinic." + own + ".*.created",
		// Odd spellings of the same.
		"clinic." + strings.ToUpper(own) + ".appointment.created", "CLINIC." + own + ".appointment.created",
		"clinic.{" + own + "}.appointment.created", "clinic." + own + "%2e" + o + ".appointment.created", "clinic." + own + "/" + o + ".appointment.created",
		"clinic." + strings.ReplaceAll(own, "-", "") + ".appointment.created", "clinic.urn:uuid:" + own + ".appointment.created", "clinic." + own + "\x00.appointment.created",
		"clinic.치과.appointment.created",
		// Other people's inboxes.
		"_INBOX.>", "_INBOX.x.y", "_INBOX_" + o + ".>", "_INBOX_" + o + ".x", "_INBOX_ops.>", "_INBOX_*.>", "_R_.>",
		// JetStream, its stores, and the server itself.
		"$JS.API.>", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.UPDATE.STEPS",
		"$JS.API.STREAM.DELETE.STEPS", "$JS.API.STREAM.PURGE.DELIVERIES", "$JS.API.STREAM.MSG.GET.TRIGGERS", "$JS.API.STREAM.MSG.DELETE.STEPS",
		"$JS.API.DIRECT.GET.STEPS", "$JS.API.CONSUMER.CREATE.STEPS", "$JS.API.CONSUMER.DURABLE.CREATE.STEPS.mine", "$JS.API.CONSUMER.MSG.NEXT.STEPS.dispatcher-care",
		"$JS.API.CONSUMER.DELETE.STEPS.dispatcher-care", "$JS.ACK.STEPS.dispatcher-care.1.1.1.1.1", "$JS.FC.STEPS.x", "$JSC.>", "$KV.>", "$KV.bucket.key", "$O.>", "$O.bucket.C.x",
		"$SYS.>", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.CLINICS.CONNZ", "$SYS.REQ.ACCOUNT.APP.CONNZ",
		"$SYS.REQ.SERVER.X.KICK", "$SYS.REQ.SERVER.X.RELOAD", "$SYS.REQ.USER.AUTH", "$SYS.REQ.CLAIMS.UPDATE", "$SRV.PING", "$SRV.>",
	}
}

// attempt is one way to use a subject.
type attempt struct {
	name string
	do   func(nc *nats.Conn, subject, foreign string) error
	said string // the server's refusal begins so
}

var attempts = []attempt{
	{"publish", func(nc *nats.Conn, s, _ string) error { return nc.Publish(s, []byte("{}")) }, "publish to"},
	{"request", func(nc *nats.Conn, s, foreign string) error { return nc.PublishRequest(s, foreign, []byte("{}")) }, "publish to"},
	{"headers", func(nc *nats.Conn, s, foreign string) error {
		return nc.PublishMsg(&nats.Msg{Subject: s, Header: nats.Header{
			"Nats-Msg-Id": {"x"}, "Tenant": {foreign}, "Nats-Rollup": {"all"}, "Nats-Schedule-Target": {s},
		}})
	}, "publish to"},
	{"subscribe", func(nc *nats.Conn, s, _ string) error { _, err := nc.SubscribeSync(s); return err }, "subscription to"},
	{"queue", func(nc *nats.Conn, s, _ string) error { _, err := nc.QueueSubscribeSync(s, "clinics"); return err }, "subscription to"},
}

// TestEveryForeignSubjectIsRefused tries every foreign subject in every way as
// a clinic, and every subject of a clinic as ops.
func TestEveryForeignSubjectIsRefused(t *testing.T) {
	t.Parallel()
	w := newClinicWorld(t)
	js, err := jetstream.New(w.app)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "STEPS", Subjects: []string{"step.>", "trigger.>", "delivery.>", "clinic.>", "anchor.>"}})
	if err != nil {
		t.Fatal(err)
	}
	heard, err := w.listener.SubscribeSync(">") // whatever gets into the clinics' account
	if err != nil {
		t.Fatal(err)
	}
	b, _ := w.clinic(t, w.b)
	stranger, err := b.SubscribeSync("clinic." + w.b.Tenant.String() + ".receipt.>")
	if err := errors.Join(err, b.Flush(), w.listener.Flush()); err != nil {
		t.Fatal(err)
	}
	refused := make(refusals, 8)
	ops, err := nats.Connect(w.nats.UserURL(local.OpsUser, secret+"2"), nats.ErrorHandler(refused.handle))
	if err != nil {
		t.Fatal(err)
	}
	defer ops.Close()
	own, other := w.a.Tenant.String(), w.b.Tenant.String()
	list := foreign(own, other)
	seen := map[string]bool{}
	for _, s := range list {
		if seen[s] {
			t.Errorf("%s is on the list twice", s)
		}
		seen[s] = true
	}
	if len(list) < 40 {
		t.Fatalf("only %d subjects are tried, want 40 or more", len(list))
	}
	tried, denied := 0, 0
	try := func(nc *nats.Conn, d refusals, list []string) {
		for _, how := range attempts {
			for _, s := range list {
				if err := how.do(nc, s, "_INBOX_"+other+".x"); err != nil {
					t.Errorf("%s %s was not even tried: %v", how.name, s, err)
				}
				tried++
				said := strings.ToLower(d.next(t, nc))
				if strings.Contains(said, how.said) && (strings.Contains(said, strings.ToLower(s)) || strings.Contains(said, strings.ToLower(fmt.Sprintf("%q", s)))) {
					denied++
				} else {
					t.Errorf("%s %q was not refused, but %q", how.name, s, said)
				}
			}
		}
	}
	a, saidToA := w.clinic(t, w.a)
	try(a, saidToA, list)
	try(ops, refused, []string{
		"clinic." + own + ".appointment.created", "clinic." + own + ".receipt.e1", "clinic.>", "_INBOX_" + own + ".>", "$SYS.REQ.USER.AUTH",
		"$SYS.REQ.ACCOUNT.CLINICS.CONNZ", "$SYS.REQ.SERVER.X.KICK", "trigger." + own + ".webhook", "$JS.API.STREAM.DELETE.STEPS", ">",
	})
	if denied != tried || tried < 40 {
		t.Errorf("%d of %d attempts were refused", denied, tried)
	}
	t.Logf("%d subjects, %d attempts, %d refused", len(list), tried, denied)

	info, err := kept.Info(t.Context())
	if err != nil || info.State.LastSeq != 0 {
		t.Errorf("the pipeline's stream is at %d, %v; want 0", info.State.LastSeq, err)
	}
	for name, sub := range map[string]*nats.Subscription{"the clinics' account": heard, "the other clinic": stranger} {
		if m, err := sub.NextMsg(50 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
			t.Errorf("%s heard %v, %v", name, m, err)
		}
	}
}

// refusals is what a server says no to, one by one.
type refusals chan string

func (r refusals) handle(_ *nats.Conn, _ *nats.Subscription, err error) { r <- err.Error() }

// next is the server's refusal among its answers to all before, or "".
func (r refusals) next(t *testing.T, nc *nats.Conn) string {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case said := <-r:
		return said
	case <-time.After(2 * time.Second):
		return ""
	}
}

func TestStrangersAreNotLetIn(t *testing.T) {
	t.Parallel()
	w := newClinicWorld(t)
	id := w.a.Credential.String()
	for name, who := range map[string][2]string{
		"nobody": {"", ""}, "wrong_secret": {id, "dfn_wrong"}, "no_secret": {id, ""}, "unknown": {uuid.NewString(), clinicSecret},
		"tenant_as_user": {w.a.Tenant.String(), clinicSecret}, "user_name_as_listed": {natsauth.UserName(w.a.Tenant, w.a.Credential), clinicSecret},
		"other_spelling": {strings.ToUpper(id), clinicSecret}, "urn": {"urn:uuid:" + id, clinicSecret}, "braces": {"{" + id + "}", clinicSecret},
		"app": {local.AppUser, clinicSecret}, "ops": {local.OpsUser, clinicSecret}, "sys": {"sys", "sys"}, "long": {id, strings.Repeat("x", 2000)},
	} {
		if nc, err := w.enter(who[0], who[1]); !errors.Is(err, nats.ErrAuthorization) {
			if nc != nil {
				nc.Close()
			}
			t.Errorf("%s: connect = %v, want %v", name, err, nats.ErrAuthorization)
		}
	}
	// With nobody to answer, nobody is let in either.
	w.app.Close()
	if _, err := w.enter(id, clinicSecret); err == nil {
		t.Error("a clinic is let in without being asked about")
	}
}
