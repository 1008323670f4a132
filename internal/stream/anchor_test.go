package stream_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
)

// newest is the number of the newest file in which the server keeps TRIGGERS.
func newest(t *testing.T, dir string) (n int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", stream.Triggers, "msgs", "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of the stream below %s: %v", dir, err)
	}
	for _, f := range files {
		i, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(f), ".blk"))
		if err != nil {
			t.Fatal(err)
		}
		n = max(n, i)
	}
	return n
}

func TestAnAnchoredQueueKeepsItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := connect(t, streamtest.NATSIn(t, dir).InProcess(), quiet)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	one := func() {
		done := make(chan struct{}, 1)
		stop := consume(t, c, planner(1), func(batch []*stream.Msg[event.Trigger]) { batch[0].Settle(nil); done <- struct{}{} })
		publish(t, c, trigger())
		receive(t, done)
		stop()
		until(t, "the queue is empty", func() bool { return backlog(t, c) == stream.Backlog{} })
	}
	first := newest(t, dir)
	one()
	if newest(t, dir) == first {
		t.Fatal("the server keeps the file of an empty queue by itself: an anchor is of no use any more")
	}
	if err := c.Anchor(t.Context()); err != nil {
		t.Fatal(err)
	}
	first = newest(t, dir)
	for range 5 {
		one()
	}
	if n := newest(t, dir) - first; n != 0 {
		t.Errorf("the queue went through %d more files for 5 messages", n)
	}
}

func TestAnAnchorMovesOnWithItsQueueAndStaysOne(t *testing.T) {
	t.Parallel()
	server := streamtest.NATS(t)
	c := connect(t, server.InProcess(), quiet)
	if err := c.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	js := raw(t, server.InProcess())
	where := func() (uint64, uint64) {
		t.Helper()
		for range 2 { // any number of copies
			if err := c.Anchor(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		s, err := js.Stream(t.Context(), stream.Triggers)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter("anchor.>"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetLastMsgForSubject(t.Context(), "anchor.TRIGGERS")
		if err != nil {
			t.Fatal(err)
		}
		return m.Sequence, info.State.Subjects["anchor.TRIGGERS"]
	}
	first, n := where()
	publish(t, c, triggers(999)...)
	same, _ := where()
	publish(t, c, trigger())
	next, m := where()
	if same != first || next != first+1001 || n != 1 || m != 1 {
		t.Errorf("anchors at %d, %d after 999 messages and %d after 1,000, of which there are %d and %d", first, same, next, n, m)
	}
	if b := backlog(t, c); b.Waiting != 1000 {
		t.Errorf("%d messages wait, want the 1,000", b.Waiting)
	}
}
