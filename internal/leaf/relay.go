package leaf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The local streams.
const (
	Outbox   = "OUTBOX"
	Receipts = "RECEIPTS"
	Rejected = "REJECTED"
)

// Bounds of what is kept, and of what is under way.
const (
	maxOutbox   = 2 << 30 // bytes; a publish beyond is refused
	maxReceipts = 256 << 20
	keep        = 30 * 24 * time.Hour // receipts, and what was rejected
	atOnce      = 64
	patience    = 10 * time.Second // of one question
	// ackWait is longer than a batch may take while the line is up; while it is
	// down the first event of each appointment says that it is being worked on.
	ackWait = time.Hour
)

// Config is one clinic's leaf.
type Config struct {
	Tenant tenant.ID
	// Local is the server on this computer.
	Local               nats.InProcessConnProvider
	LocalUser, LocalKey string
	// Hub is the pipeline's address, and User and Password a credential of the
	// clinic.
	Hub, User, Password string
	Logger              *slog.Logger
}

// Relay carries events to the pipeline and receipts back.
type Relay struct {
	c         Config
	local     *nats.Conn
	js        jetstream.JetStream
	hub       *nats.Conn
	events    jetstream.Consumer
	down      atomic.Bool
	delivered atomic.Int64
}

// New connects to the local server and makes its streams. The pipeline need not
// be there.
func New(ctx context.Context, c Config) (*Relay, error) {
	r := &Relay{c: c}
	var err error
	if r.local, err = nats.Connect("", nats.InProcessServer(c.Local), nats.UserInfo(c.LocalUser, c.LocalKey), nats.Name("doctorsflow leaf"), nats.MaxReconnects(-1)); err != nil {
		return nil, fmt.Errorf("leaf: local server: %w", err)
	}
	if err := r.streams(ctx); err != nil {
		r.local.Close()
		return nil, fmt.Errorf("leaf: streams: %w", err)
	}
	r.hub, err = nats.Connect(c.Hub,
		nats.UserInfo(c.User, c.Password), nats.CustomInboxPrefix(natsauth.InboxPrefix(c.Tenant)), nats.Name("doctorsflow leaf"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.ReconnectWait(time.Second), nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.Timeout(5*time.Second), nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2), nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { r.line(true, err) }),
		nats.ConnectHandler(func(*nats.Conn) { r.line(false, nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { r.line(false, nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.Logger.Warn("line to the pipeline", "err", err) }),
	)
	if err != nil {
		r.local.Close()
		return nil, fmt.Errorf("leaf: hub: %w", err)
	}
	return r, nil
}

func (r *Relay) line(down bool, err error) {
	if r.down.Swap(down) == down && down {
		return
	}
	if down {
		r.c.Logger.Warn("the line to the pipeline is down; events are kept", "err", err)
		return
	}
	r.c.Logger.Info("the line to the pipeline is up")
}

func (r *Relay) subject(kind string) string { return "clinic." + r.c.Tenant.String() + "." + kind }

func (r *Relay) streams(ctx context.Context) (err error) {
	if r.js, err = jetstream.New(r.local); err != nil {
		return err
	}
	for _, s := range []jetstream.StreamConfig{
		{Name: Outbox, Subjects: []string{r.subject("appointment.>")}, Retention: jetstream.WorkQueuePolicy, MaxBytes: maxOutbox, MaxMsgSize: natsauth.MaxPayload, Discard: jetstream.DiscardNew},
		{Name: Receipts, Subjects: []string{r.subject("receipt.*")}, MaxBytes: maxReceipts, MaxAge: keep, AllowDirect: true},
		{Name: Rejected, Subjects: []string{r.subject("rejected.*")}, MaxBytes: maxReceipts, MaxAge: keep, AllowDirect: true},
	} {
		s.Storage = jetstream.FileStorage
		if _, err := r.js.CreateOrUpdateStream(ctx, s); err != nil {
			return err
		}
	}
	// Anew: what the process before had begun to say would come again only after
	// what is behind it.
	if err := r.js.DeleteConsumer(ctx, Outbox, "line"); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	r.events, err = r.js.CreateConsumer(ctx, Outbox, jetstream.ConsumerConfig{
		Durable: "line", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: 2 * atOnce, MaxDeliver: -1,
	})
	return err
}

// Close ends both connections.
func (r *Relay) Close() {
	r.hub.Close()
	r.local.Close()
}

// Kept is how many events have no receipt yet.
func (r *Relay) Kept(ctx context.Context) (uint64, error) {
	s, err := r.js.Stream(ctx, Outbox)
	if err != nil {
		return 0, fmt.Errorf("leaf: count events: %w", err)
	}
	return s.CachedInfo().State.Msgs, nil
}

// Run carries until ctx is done.
func (r *Relay) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		batch, err := r.events.FetchNoWait(atOnce)
		var list []jetstream.Msg
		if err == nil {
			for m := range batch.Messages() {
				list = append(list, m)
			}
			err = batch.Error()
		}
		if err != nil && ctx.Err() == nil {
			r.c.Logger.Warn("read the local stream", "err", err)
		}
		if len(list) > 0 {
			r.carry(ctx, list)
			continue
		}
		// Wait for the next one; its own batch is fetched then.
		if m, err := r.events.Next(jetstream.FetchMaxWait(time.Second), jetstream.FetchContext(ctx)); err == nil {
			r.carry(ctx, []jetstream.Msg{m})
		} else if !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
			sleep(ctx, 200*time.Millisecond)
		}
	}
	return nil
}

// carry brings a batch over: appointments beside one another, the events of
// each in their order.
func (r *Relay) carry(ctx context.Context, list []jetstream.Msg) {
	groups := map[string][]jetstream.Msg{}
	for _, m := range list {
		key := about(m.Data(), m.Headers())
		groups[key] = append(groups[key], m)
	}
	var all sync.WaitGroup
	for _, group := range groups {
		all.Go(func() {
			for _, m := range group {
				if !r.one(ctx, m) {
					return // it comes again, and what is behind it too
				}
			}
		})
	}
	all.Wait()
}

// about is the appointment that an event is about, as far as that can be read;
// events of which it cannot are one another's.
func about(data []byte, header nats.Header) string {
	var e struct {
		Subject     string `json:"subject"`
		Appointment struct {
			ID string `json:"id"`
		} `json:"appointment"`
		Data struct {
			Appointment struct {
				ID string `json:"id"`
			} `json:"appointment"`
		} `json:"data"`
	}
	_ = json.Unmarshal(data, &e)
	for _, id := range []string{e.Appointment.ID, e.Data.Appointment.ID, e.Subject, header.Get("ce-subject")} {
		if id != "" {
			return id
		}
	}
	return ""
}

// answer is what of a receipt decides; the whole goes to the clinic's system.
type answer struct {
	EventID string `json:"event_id"`
	Status  string `json:"status"`
}

// one asks until there is a receipt, keeps it, and deletes the event. It reports
// false where ctx ended first.
func (r *Relay) one(ctx context.Context, m jetstream.Msg) bool {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		receipt, said, err := r.ask(ctx, m)
		if err == nil {
			if err = r.settle(ctx, m, receipt, said); err == nil {
				r.delivered.Add(1)
				return true
			}
			r.c.Logger.Warn("a receipt could not be kept; the event is said again", "err", err)
		}
		_ = m.InProgress() // should it fail, the event comes again, and is a duplicate
		if !sleep(ctx, wait) {
			return false
		}
	}
}

var errNotAnswered = errors.New("leaf: not answered")

func (r *Relay) ask(ctx context.Context, m jetstream.Msg) (receipt []byte, said answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	question := &nats.Msg{Subject: m.Subject(), Header: nats.Header{}, Data: m.Data()}
	for name, values := range m.Headers() {
		if len(name) < 5 || name[:5] != "Nats-" { // the local server's own
			question.Header[name] = values
		}
	}
	reply, err := r.hub.RequestMsgWithContext(ctx, question)
	if err != nil {
		return nil, said, err
	}
	if err := json.Unmarshal(reply.Data, &said); err != nil {
		return nil, said, fmt.Errorf("%w: %w", errNotAnswered, err)
	}
	switch said.Status {
	case "accepted", "duplicate", "rejected":
		return reply.Data, said, nil
	}
	return nil, said, errNotAnswered // unavailable: nothing is known
}

// settle keeps the receipt, and what was rejected, before the event goes.
func (r *Relay) settle(ctx context.Context, m jetstream.Msg, receipt []byte, said answer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	id := said.EventID
	if id == "" {
		id = "unnamed-" + strconv.FormatUint(meta.Sequence.Stream, 10)
	}
	subject := natsauth.ReceiptSubject(r.c.Tenant, id)
	if said.Status == "rejected" {
		token := subject[len(r.subject("receipt.")):]
		kept := &nats.Msg{Subject: r.subject("rejected." + token), Header: m.Headers(), Data: m.Data()}
		if _, err := r.js.PublishMsg(ctx, kept); err != nil {
			return err
		}
		r.c.Logger.Warn("an event was rejected; it is in "+Rejected+", and why in its receipt", "subject", subject)
	}
	if _, err := r.js.Publish(ctx, subject, receipt); err != nil {
		return err
	}
	return m.DoubleAck(ctx)
}

// sleep reports whether ctx is still there.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
