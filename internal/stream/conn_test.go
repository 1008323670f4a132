package stream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
)

func TestWrongCredentialsAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	c, err := stream.Connect(ctx, stream.Config{
		URL: answer(t, "2.15.2", "-ERR 'Authorization Violation'"), User: user, Password: "5ecret", Logger: quiet,
	})
	if err == nil {
		c.Close()
		t.Fatal("it was let in")
	}
	if ctx.Err() != nil || !strings.Contains(err.Error(), "refuses these credentials") || strings.Contains(err.Error(), "5ecret") {
		t.Errorf("Connect = %v", err)
	}
}

func TestConnectWaitsForTheBrokerUntilToldNotTo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := stream.Connect(ctx, stream.Config{URL: "nats://127.0.0.1:1", Logger: quiet})
	if err == nil || ctx.Err() == nil {
		t.Errorf("Connect = %v before its context ended", err)
	}
}

func TestServerThatLosesMessagesIsRefused(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]error{"2.12.15": stream.ErrServerTooOld, "2.14.9": nil} {
		c, err := stream.Connect(t.Context(), stream.Config{URL: answer(t, version, "PONG"), Logger: quiet})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("server %s: %v, want %v", version, err, want)
		}
		if err == nil {
			c.Close()
		}
	}
}

// answer is a server that says which version it is, answers the first ping
// with line, and can do nothing else.
func answer(t *testing.T, version, line string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":%q,\"max_payload\":1024,\"headers\":true}\r\n", version)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if lines.Text() == "PING" {
				fmt.Fprintf(conn, "%s\r\n", line)
			}
		}
	}()
	return "nats://" + l.Addr().String()
}

func TestHintWakesEveryCopyAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, server := broker(t)
	other := connect(t, server, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var copies []<-chan struct{}
	for _, conn := range []*stream.Conn{c, other} {
		hints, err := conn.Hints(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// A request on the connection: the broker knows of its subscription.
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, hints)
	}
	for range 100 {
		c.Hint() // many are one, and none blocks
	}
	for _, hints := range copies {
		receive(t, hints)
	}
}

func TestStoppingWhileTheBrokerIsAwayIsPossible(t *testing.T) {
	t.Parallel()
	n := streamtest.NATS(t)
	c := connect(t, n.InProcess(), quiet)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, c, trigger())
	entered := make(chan struct{}, 1)
	stop := consume(t, c, planner(1), func([]*stream.Msg[event.Trigger]) { entered <- struct{}{} })
	receive(t, entered)
	n.Shutdown()
	until(t, "the broker's absence is noticed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return c.Ping(ctx) != nil
	})
	if err := c.Publish(t.Context(), triggers(1)); !errors.Is(err, stream.ErrPublish) {
		t.Errorf("Publish without a broker = %v", err)
	}
	c.Hint() // must neither block nor panic
	stop()
}
