package bench

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
)

func TestEachDoesEveryOneOnceAndStopsAtAnError(t *testing.T) {
	t.Parallel()
	var seen [100]atomic.Int32
	rate, err := each(t.Context(), 100, 8, func(_ context.Context, n int) error { seen[n].Add(1); return nil })
	if err != nil || rate <= 0 {
		t.Errorf("each = %g, %v", rate, err)
	}
	for n := range seen {
		if seen[n].Load() != 1 {
			t.Errorf("%d was done %d times", n, seen[n].Load())
		}
	}
	broken, did := errors.New("broken"), atomic.Int32{}
	if _, err := each(t.Context(), 1000, 1, func(context.Context, int) error { did.Add(1); return broken }); !errors.Is(err, broken) || did.Load() != 1 {
		t.Errorf("each = %v after %d, want the first error", err, did.Load())
	}
}

func TestPostgresCeilingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	urls := storetest.Database(t)
	rate, err := PostgresCommits(t.Context(), urls.Super, 4*group)
	if err != nil || rate <= 0 {
		t.Fatalf("PostgresCommits = %g, %v", rate, err)
	}
	conn, err := pgx.Connect(t.Context(), urls.Super)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var there bool
	if err := conn.QueryRow(t.Context(), `SELECT to_regclass('ceiling') IS NOT NULL`).Scan(&there); err != nil || there {
		t.Errorf("the table is still there: %v, %v", there, err)
	}
}

func TestJetStreamCeilingCanBeRepeated(t *testing.T) {
	t.Parallel()
	nats := streamtest.NATS(t)
	c, err := stream.Connect(t.Context(), stream.Config{InProcess: nats.InProcess(), User: "app", Password: streamtest.Password, Replicas: 1, Name: "bench"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for range 2 {
		if rate, err := JetStreamMessages(t.Context(), c, 3*group); err != nil || rate <= 0 {
			t.Fatalf("JetStreamMessages = %g, %v", rate, err)
		}
	}
}
