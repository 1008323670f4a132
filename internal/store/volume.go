package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// volume is how many rows this process handled since it started, and what
// keeps Postgres' statistics in step with it.
type volume struct {
	rows    atomic.Int64
	next    atomic.Int64 // when the tables are analyzed again
	working sync.WaitGroup
}

// The tables are analyzed when this process has handled so many rows, and each
// time four times as many, up to the last: tables that large change slowly
// enough for autovacuum.
const (
	firstAnalysis = 64
	lastAnalysis  = 1 << 20
	growth        = 4
)

const analyzeLedger = `SELECT analyze_ledger()`

// handle notes rows, and has the tables analyzed when they may have outgrown
// the plans. Postgres then makes every cached plan anew.
func (db *DB) handle(rows int) {
	now, next := db.handled.rows.Add(int64(rows)), max(firstAnalysis, db.handled.next.Load())
	if now < next || next > lastAnalysis || db.worker == nil {
		return
	}
	for next <= now {
		next *= growth
	}
	if old := db.handled.next.Load(); old >= next || !db.handled.next.CompareAndSwap(old, next) {
		return // another batch does it
	}
	db.handled.working.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		// Without it, plans are slower and not wrong.
		_, _ = db.worker.Exec(ctx, analyzeLedger)
	})
}
