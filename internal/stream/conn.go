package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MinServer is the oldest nats-server that may carry the streams: older ones
// can skip acknowledged messages without an error when message files are older
// than consumer state (measured on 2.12.1 and 2.12.15; fixed in 2.14.9).
const MinServer = "2.14.9"

// ErrServerTooOld is returned by [Connect] for a server before [MinServer].
var ErrServerTooOld = errors.New("stream: nats-server is older than " + MinServer + ", which can lose acknowledged messages; upgrade it")

// Config says how to reach the broker.
type Config struct {
	// URL is where the server listens; ignored when InProcess is set.
	URL string
	// InProcess is the embedded server.
	InProcess      nats.InProcessConnProvider
	User, Password string
	// Replicas of each stream; 0 means 1. Use 3 in a cluster.
	Replicas int
	// Name is shown in the server's connection list.
	Name   string
	Logger *slog.Logger
}

// Conn is a connection to the broker. It reconnects for ever by itself.
type Conn struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	replicas int
	log      *slog.Logger
}

// options are those of every connection of ours.
func options(c Config) []nats.Option {
	opts := []nats.Option{
		nats.Name(c.Name), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(2 * time.Second),
		// Publishing while disconnected must fail at once: the ledger keeps
		// what is to be published, not a buffer in this process.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.Logger.Warn("broker connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.Logger.Info("broker connection restored") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.Logger.Warn("broker", "err", err) }),
	}
	if c.User != "" {
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	return opts
}

// Connect waits for the broker until ctx ends and refuses a server that is
// too old.
func Connect(ctx context.Context, c Config) (*Conn, error) {
	opts := options(c)
	var nc *nats.Conn
	var err error
	for {
		if nc, err = nats.Connect(c.URL, opts...); err == nil {
			break
		}
		if errors.Is(err, nats.ErrAuthorization) {
			return nil, errors.New("stream: the broker refuses these credentials; check NATS_URL, its user and its password")
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stream: connect to the broker: %w", err)
		case <-time.After(250 * time.Millisecond):
		}
	}
	if olderThan(nc.ConnectedServerVersion(), MinServer) {
		nc.Close()
		return nil, ErrServerTooOld
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(16_384), jetstream.WithPublishAsyncTimeout(5*time.Second))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("stream: jetstream: %w", err)
	}
	return &Conn{nc: nc, js: js, replicas: max(1, c.Replicas), log: c.Logger}, nil
}

// Close flushes what was published and closes the connection.
func (c *Conn) Close() {
	// A flush that fails changes nothing: unacknowledged publishes were
	// reported as such to their callers.
	_ = c.nc.FlushTimeout(time.Second)
	c.nc.Close()
}

// Ping reports whether the broker answers a JetStream request.
func (c *Conn) Ping(ctx context.Context) error {
	if _, err := c.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("stream: ping: %w", err)
	}
	return nil
}

// hint wakes every release loop: something is due before it would look.
const hint = "hint.release"

// Hint wakes every copy of release. It is a courtesy: a lost one costs a tick.
func (c *Conn) Hint() {
	if err := c.nc.Publish(hint, nil); err != nil && !errors.Is(err, nats.ErrReconnectBufExceeded) {
		c.log.Debug("hint", "err", err)
	}
}

// Hints returns a channel that gets a value when somebody called [Conn.Hint];
// several hints may be one value. It ends with ctx.
func (c *Conn) Hints(ctx context.Context) (<-chan struct{}, error) {
	out := make(chan struct{}, 1)
	sub, err := c.nc.Subscribe(hint, func(*nats.Msg) {
		select {
		case out <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, fmt.Errorf("stream: subscribe to hints: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })
	return out, nil
}

// olderThan compares versions of the form 2.14.9; a suffix after - is older
// than none.
func olderThan(have, want string) bool {
	h, pre, _ := strings.Cut(strings.TrimPrefix(have, "v"), "-")
	hs, ws := strings.Split(h, "."), strings.Split(want, ".")
	for i := range ws {
		a, b := 0, 0
		if i < len(hs) {
			a, _ = strconv.Atoi(hs[i])
		}
		b, _ = strconv.Atoi(ws[i])
		if a != b {
			return a < b
		}
	}
	return pre != ""
}
