package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// BenchmarkAppointmentMoves is the acknowledgement of a change that moves 200
// planned messages.
func BenchmarkAppointmentMoves(b *testing.B) {
	d := &diary{replans: &replans{ledger: newLedger(b)}, zone: time.FixedZone("KST", 9*3600)}
	var days []string
	for i := range 200 {
		days = append(days, fmt.Sprintf("{node: d%d, day: %d, template: text}", i, 2+i))
	}
	file := strings.Split(appointmentClinic, "workflows:")[0] + "workflows:\n  - {name: long, trigger_type: post_surgery, steps: [" + strings.Join(days, ", ") + "]}\n"
	if _, err := d.apply(file, store.ApplyOptions{}); err != nil {
		b.Fatal(err)
	}
	d.plan(d.tell(d.said("e0", "completed", "A1", 1, starts(d.day(0, 9)))).Trigger)
	var took []time.Duration
	n := 1
	for b.Loop() {
		n++
		e := d.said(fmt.Sprint("e", n), "edited", "A1", n, starts(d.day(n%2, 9)))
		begin := time.Now()
		out := d.tell(e)
		took = append(took, time.Since(begin))
		if want := 200; n > 2 && out.Plans.Moved != want {
			b.Fatalf("%d moved, want %d: %+v", out.Plans.Moved, want, out)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
