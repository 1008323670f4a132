package local_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

const secret = "a secret / with @ signs"

func startNATS(t *testing.T, cfg local.NATSConfig) *local.NATS {
	t.Helper()
	cfg.AppPassword, cfg.OpsPassword = secret, secret+"2"
	n, err := local.StartNATS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Shutdown)
	return n
}

func dial(t *testing.T, n *local.NATS, user, password string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append(opts, nats.InProcessServer(n.InProcess()), nats.UserInfo(user, password))
	nc, err := nats.Connect("", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// denials is what the server refused to a connection.
type denials struct {
	mu   sync.Mutex
	said []string
}

func (d *denials) handle(_ *nats.Conn, _ *nats.Subscription, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, err.Error())
}

// want waits for the server's answer to all before, and wants it to be a
// refusal that names what.
func (d *denials) want(t *testing.T, nc *nats.Conn, what string) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		d.mu.Lock()
		found := strings.Contains(strings.ToLower(strings.Join(d.said, "\n")), strings.ToLower(what))
		d.mu.Unlock()
		if found {
			return
		}
	}
	t.Errorf("no refusal of %s, but %q", what, d.said)
}

func TestOpsSeesDeliveriesAndNothingElse(t *testing.T) {
	t.Parallel()
	n := startNATS(t, local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	app := dial(t, n, local.AppUser, secret)
	js, err := jetstream.New(app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "STEPS", Subjects: []string{"step.>"}, Retention: jetstream.WorkQueuePolicy}); err != nil {
		t.Fatal(err)
	}

	var refused denials
	// As the nats command does it: by URL, over TCP.
	ops, err := nats.Connect(n.UserURL(local.OpsUser, secret+"2"), nats.ErrorHandler(refused.handle), nats.CustomInboxPrefix("_INBOX_ops"))
	if err != nil {
		t.Fatal(err)
	}
	defer ops.Close()
	seen, err := ops.SubscribeSync("delivery.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := ops.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := app.Publish("delivery.t.kakao.sent", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if m, err := seen.NextMsg(5 * time.Second); err != nil || m.Subject != "delivery.t.kakao.sent" {
		t.Errorf("ops got %v, %v; want the delivery", m, err)
	}

	for _, subject := range []string{"step.>", "trigger.>", ">", "_INBOX.>", "$JS.>", "clinic.>"} {
		if _, err := ops.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		refused.want(t, ops, `subscription to "`+subject+`"`)
	}
	for _, subject := range []string{"delivery.t.kakao.sent", "step.due.care.t", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.MSG.GET.STEPS", "$JS.API.STREAM.PURGE.STEPS"} {
		if err := ops.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
		refused.want(t, ops, `publish to "`+subject+`"`)
	}
	if m, err := seen.NextMsg(50 * time.Millisecond); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("ops published to itself: %v, %v", m, err)
	}
}

func TestNATSKeepsItsStreamsAcrossStarts(t *testing.T) {
	t.Parallel()
	cfg := local.NATSConfig{Dir: t.TempDir()}
	n := startNATS(t, cfg)
	if n.URL() != "" {
		t.Errorf("URL = %q of a server that listens nowhere", n.URL())
	}
	js, err := jetstream.New(dial(t, n, local.AppUser, secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kept", []byte("42")); err != nil {
		t.Fatal(err)
	}
	n.Shutdown()

	n = startNATS(t, cfg)
	if js, err = jetstream.New(dial(t, n, local.AppUser, secret)); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KEPT")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "42" {
		t.Errorf("kept %v, %v; want the message", m, err)
	}
}

func TestNATSTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	n := startNATS(t, local.NATSConfig{Dir: t.TempDir(), Listen: taken.Addr().String()})
	if n.URL() == "nats://"+taken.Addr().String() || !strings.HasPrefix(n.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL = %s, want another port of 127.0.0.1 than %s", n.URL(), taken.Addr())
	}
	if _, err := nats.Connect(n.URL()); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect without credentials: %v, want %v", err, nats.ErrAuthorization)
	}
	if _, err := nats.Connect(n.UserURL(local.AppUser, "wrong")); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect with a wrong password: %v, want %v", err, nats.ErrAuthorization)
	}
	nc, err := nats.Connect(n.UserURL(local.AppUser, secret))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestNATSStartsWithoutWarnings(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	n := startNATS(t, local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(&said, nil))})
	n.Shutdown()
	if said.Len() > 0 {
		t.Errorf("an ordinary start and stop warns:\n%s", said.String())
	}
}

// What a client wrote may be about a patient: the server's own texts quote it.
func TestNoWordOfAClientIsLogged(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	n := startNATS(t, local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0", OpsPassword: secret + "2", Logger: slog.New(slog.NewTextHandler(&said, nil))})
	for _, line := range []string{
		"PUB 01023456789 0\r\n\r\n",
		"PUB delivery.x 01023456789 0\r\n\r\n",
		"SUB 01023456789 1\r\n",
		"SUB 01023456789 01023456789 1\r\n",
		"PUB x 2\r\n01023456789 is longer than two bytes\r\n",
		"01023456789\r\n",
		"SUB " + strings.Repeat("01023456789", 1000) + " 1\r\n",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(n.URL(), "nats://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(c, "CONNECT {\"verbose\":false,\"user\":%q,\"pass\":%q}\r\n%sPING\r\n", local.OpsUser, secret+"2", line); err != nil {
			t.Fatal(err)
		}
		answer := bufio.NewScanner(c)
		for answer.Scan() && !strings.HasPrefix(answer.Text(), "PONG") && !strings.HasPrefix(answer.Text(), "-ERR") {
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	n.Shutdown()
	if !strings.Contains(said.String(), "Violation") || !strings.Contains(said.String(), "parser ERROR") {
		t.Fatalf("nothing was refused: this test proves nothing:\n%s", &said)
	}
	if strings.Contains(said.String(), "0102345") {
		t.Errorf("logged:\n%.2000s", &said)
	}
}

func TestNATSConfigThatCannotWorkIsAnError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  local.NATSConfig
		err  string
	}{
		{"no_password", local.NATSConfig{}, "no password"},
		{"long_password", local.NATSConfig{AppPassword: strings.Repeat("x", 73)}, "72"},
		{"no_port", local.NATSConfig{AppPassword: secret, Listen: "localhost"}, "127.0.0.1:4222"},
		{"named_port", local.NATSConfig{AppPassword: secret, Listen: "127.0.0.1:nats"}, "not a number"},
		{"foreign_address", local.NATSConfig{AppPassword: secret, Listen: "203.0.113.1:4222"}, "203.0.113.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Dir = t.TempDir()
			if _, err := local.StartNATS(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("StartNATS = %v, want an error with %q", err, tt.err)
			}
		})
	}
}
