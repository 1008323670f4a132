package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// BenchmarkWhy asks for the story of a patient, a trigger, a run and a step of
// a clinic with a million steps, in turn.
func BenchmarkWhy(b *testing.B) {
	l := newLedger(b)
	l.fill(500_000)
	l.exec(`ANALYZE`)
	var subjects []uuid.UUID
	l.scan(`SELECT array_agg(id) FROM (
  SELECT unnest(ARRAY[e.patient_id, e.trigger_id, e.id, (SELECT s.id FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id LIMIT 1)]) AS id
  FROM   (SELECT * FROM workflow_executions ORDER BY random() LIMIT 1000) AS e) AS n`, nil, &subjects)
	var took []time.Duration
	for b.Loop() {
		subject := subjects[len(took)%len(subjects)]
		begin := time.Now()
		st, err := l.Why(b.Context(), l.tenant, subject)
		took = append(took, time.Since(begin))
		if err != nil || len(st.Triggers) != 1 || len(st.Triggers[0].Steps) != 2 {
			b.Fatalf("%s: %+v, %v", subject, st, err)
		}
	}
	slices.Sort(took)
	for name, at := range map[string]int{"p50-ms": 50, "p99-ms": 99} {
		b.ReportMetric(float64(took[len(took)*at/100].Microseconds())/1000, name)
	}
}
