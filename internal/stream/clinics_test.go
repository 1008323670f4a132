package stream_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// lobby is a ledger of one clinic, whose credential can be revoked.
type lobby struct {
	natsauth.Identity
	revoked atomic.Bool
	asked   atomic.Int64
}

func (l *lobby) Identify(_ context.Context, id uuid.UUID, secret string) (natsauth.Identity, error) {
	l.asked.Add(1)
	if id != l.Credential || secret != "right" || l.revoked.Load() {
		return natsauth.Identity{}, natsauth.ErrUnknown
	}
	return l.Identity, nil
}

func (l *lobby) live(_ context.Context, asked []natsauth.Credential) (map[uuid.UUID]bool, error) {
	live := map[uuid.UUID]bool{}
	for _, c := range asked {
		live[c.ID] = c == natsauth.Credential{Tenant: l.Tenant, ID: l.Credential} && !l.revoked.Load()
	}
	return live, nil
}

// opened starts a server whose clinics a lobby vouches for; two copies answer.
func opened(t *testing.T, l *lobby) (url string, c *stream.Conn) {
	t.Helper()
	l.Tenant, l.Credential = tenant.ID(uuid.Must(uuid.NewV7())), uuid.Must(uuid.NewV7())
	seed, issuer, err := natsauth.NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	door, err := natsauth.New(seed, l, quiet)
	if err != nil {
		t.Fatal(err)
	}
	n := streamtest.ClinicNATS(t, issuer)
	for range 2 {
		c = connect(t, n.InProcess(), quiet)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		questions, err := c.AuthQuestions()
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- questions.Serve(ctx, door.Answer) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	return n.URL(), c
}

// enter connects as the clinic, once, and returns what is closed when the server
// ends the connection.
func (l *lobby) enter(t *testing.T, url, secret string) (<-chan struct{}, error) {
	t.Helper()
	gone := make(chan struct{})
	nc, err := nats.Connect(url, nats.UserInfo(l.Credential.String(), secret), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return gone, err
}

// A server asks once about a connection: whoever comes before anybody answers
// waits for it, and is not refused.
func TestWhatWasAskedBeforeAnybodyAnswersIsAnswered(t *testing.T) {
	t.Parallel()
	l := &lobby{Identity: natsauth.Identity{Tenant: tenant.ID(uuid.Must(uuid.NewV7())), Credential: uuid.Must(uuid.NewV7())}}
	seed, issuer, err := natsauth.NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	door, err := natsauth.New(seed, l, quiet)
	if err != nil {
		t.Fatal(err)
	}
	n := streamtest.ClinicNATS(t, issuer)
	questions, err := connect(t, n.InProcess(), quiet).AuthQuestions()
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan error, 1)
	go func() {
		_, err := l.enter(t, n.URL(), "right")
		entered <- err
	}()
	select {
	case err := <-entered:
		t.Fatalf("it was let in, or refused, by nobody: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- questions.Serve(ctx, door.Answer) }()
	if err := <-entered; err != nil {
		t.Errorf("it was refused: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestARevokedClinicIsDisconnectedWithinSeconds(t *testing.T) {
	t.Parallel()
	l := &lobby{}
	url, c := opened(t, l)
	gone, err := l.enter(t, url, "right")
	if err != nil {
		t.Fatal(err)
	}
	if l.asked.Load() != 1 {
		t.Errorf("one connection was asked about %d times, of two copies that answer", l.asked.Load())
	}
	sweep := &natsauth.Sweep{Broker: c, Live: l.live, Every: 50 * time.Millisecond, PerTenant: 4, Logger: quiet}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sweep.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	open, err := c.ClinicConnections(t.Context())
	if err != nil || len(open) != 1 || open[0].User != natsauth.UserName(l.Tenant, l.Credential) {
		t.Fatalf("connections %+v, %v; want the clinic's", open, err)
	}
	select {
	case <-gone:
		t.Fatal("the connection ended while its credential was in force")
	default:
	}
	l.revoked.Store(true)
	select {
	case <-gone:
	case <-time.After(soon):
		t.Fatal("the connection goes on after its credential was revoked")
	}
	if _, err := l.enter(t, url, "right"); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect with a revoked credential: %v, want %v", err, nats.ErrAuthorization)
	}
}

func TestAClinicHasSoManyConnectionsAndNoMore(t *testing.T) {
	t.Parallel()
	l := &lobby{}
	url, c := opened(t, l)
	var gone []<-chan struct{}
	for range 3 {
		one, err := l.enter(t, url, "right")
		if err != nil {
			t.Fatal(err)
		}
		gone = append(gone, one)
	}
	sweep := &natsauth.Sweep{Broker: c, Live: l.live, Every: time.Hour, PerTenant: 2, Logger: quiet}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sweep.Run(ctx) }()
	select {
	case <-gone[2]:
	case <-time.After(soon):
		t.Error("the third connection of two stays")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for i, one := range gone[:2] {
		select {
		case <-one:
			t.Errorf("connection %d of two was ended", i+1)
		default:
		}
	}
}

func TestAConnectionEndsWhenItsCredentialExpires(t *testing.T) {
	t.Parallel()
	expires := time.Now().Add(4 * time.Second).Truncate(time.Second) // tokens tell whole seconds
	l := &lobby{Identity: natsauth.Identity{Expires: expires}}
	url, _ := opened(t, l)
	gone, err := l.enter(t, url, "right")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(soon):
		t.Error("the connection goes on after its credential expired")
	}
	time.Sleep(time.Until(expires))
	if _, err := l.enter(t, url, "right"); err == nil {
		t.Error("an expired credential is let in, though the ledger still vouches for it")
	}
}

func TestAWrongSecretIsRefused(t *testing.T) {
	t.Parallel()
	l := &lobby{}
	url, _ := opened(t, l)
	if _, err := l.enter(t, url, "wrong"); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("connect = %v, want %v", err, nats.ErrAuthorization)
	}
}

func TestDisconnectingTwiceIsNoError(t *testing.T) {
	t.Parallel()
	l := &lobby{}
	url, c := opened(t, l)
	gone, err := l.enter(t, url, "right")
	if err != nil {
		t.Fatal(err)
	}
	open, err := c.ClinicConnections(t.Context())
	if err != nil || len(open) != 1 {
		t.Fatalf("connections %+v, %v", open, err)
	}
	for range 2 {
		if err := c.Disconnect(t.Context(), open[0]); err != nil {
			t.Error(err)
		}
	}
	<-gone
	if open, err = c.ClinicConnections(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("connections %+v, %v; want none", open, err)
	}
}
