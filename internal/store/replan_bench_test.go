package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

// BenchmarkReplan acknowledges a change of a run with 200 pending steps, every
// one of which moves.
func BenchmarkReplan(b *testing.B) {
	steps := func(hours int) string {
		var s strings.Builder
		for i := range 200 {
			fmt.Fprintf(&s, "{node: n%d, hours: %d, template: text}, ", i, hours+i)
		}
		return strings.TrimSuffix(s.String(), ", ")
	}
	r := &replans{ledger: newLedger(b)}
	versions := []int32{r.publish(steps(1)), r.publish(steps(2))}
	r.scan(`SELECT id FROM webhooks WHERE name = 'days'`, nil, &r.webhook)
	r.scan(`SELECT id FROM workflows WHERE name = 'days'`, nil, &r.workflow)
	run, _ := r.begin()
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begin := time.Now()
		out := r.replan(store.Replan{Run: run, Version: versions[i%2]}, planner.Again)
		took = append(took, time.Since(begin))
		if out.Moved != 200 {
			b.Fatalf("%+v", out)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}
