//go:build failpoint

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

// changeClinic sends at a booking, and twice when its appointment is near.
const changeClinic = `
tenant: {slug: %[1]s, name: 미소치과}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %[2]q, app_key: %[1]s-kakao, secret: s, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: nhn, base_url: %[2]q, app_key: %[1]s-sms, secret: s, sender: "15880000"}
templates:
  - {name: care, class: transactional, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
  - {name: text, class: transactional, sms_text: "#{환자명}님"}
workflows:
  - name: reminders
    trigger_type: appointment.booked
    visual_data: '{"nodes": [{"id": "t", "type": "trigger", "data": {}}, {"id": "booked", "type": "message", "data": {"template": "care"}},
      {"id": "d", "type": "delay", "data": {"field": "/appointment/starts_at"}}, {"id": "near", "type": "message", "data": {"template": "care"}},
      {"id": "too", "type": "message", "data": {"template": "text"}}],
      "edges": [{"source": "t", "target": "booked"}, {"source": "booked", "target": "d"}, {"source": "d", "target": "near"}, {"source": "d", "target": "too"}]}'
`

// told is what a clinic's system was answered about an appointment.
type told struct {
	cancelled time.Time // acknowledged
	inFlight  []uuid.UUID
}

// tellUntilAnswered posts an event again and again until it is answered 200.
func tellUntilAnswered(ctx context.Context, base, key, event string) (inFlight []uuid.UUID, err error) {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/appointments/events", strings.NewReader(event))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			var body struct {
				Results []struct {
					InFlight []uuid.UUID `json:"in_flight"`
				} `json:"results"`
			}
			var b bytes.Buffer
			_, err := b.ReadFrom(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK && json.Unmarshal(b.Bytes(), &body) == nil && len(body.Results) == 1 {
				return body.Results[0].InFlight, nil
			}
			if resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
				return nil, fmt.Errorf("%d %s", resp.StatusCode, b.String())
			}
		}
		wait(ctx, 20*time.Millisecond)
	}
	return nil, ctx.Err()
}

// TestKillAtAChange kills the program while a clinic's system books, moves and
// cancels appointments, and repeats what was not answered. After the restart
// each event counts once, each message went once, and nothing of an appointment
// was claimed once its cancellation was acknowledged but what the answer named.
func TestKillAtAChange(t *testing.T) {
	exe := built(t, "")
	for _, c := range []faultCase{{point: failpoint.ChangeTaken, hit: 10}, {point: failpoint.ChangePlanning, hit: 5}, {point: failpoint.ChangeKept, hit: 15}} {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			l := newLane(t, exe)
			l.change(t, c)
			command(t, "conserve", "--data", l.data)
		})
	}
}

func (l *lane) change(t testing.TB, c faultCase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	v, err := l.start(fmt.Sprintf("%s:%d", c.point, c.hit))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clinic.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, changeClinic, c.name(), l.gateway), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "apply", "-f", file, "--data", l.data)
	key := strings.TrimSpace(command(t, "tenant", "key", c.name(), "--name", "emr", "--role", "integration", "--data", l.data))
	key = key[strings.LastIndex(key, "dfk_"):]
	key, _, _ = strings.Cut(key, "\n")

	var mu sync.Mutex
	said := map[string]told{}
	var all sync.WaitGroup
	const callers, each = 3, 6
	for caller := range callers {
		all.Go(func() {
			for n := range each {
				id := fmt.Sprintf("A-%d-%d", caller, n)
				say := func(k int, kind, starts string) told {
					event := fmt.Sprintf(`{"id": "%s-%d", "type": "appointment.%s", "sequence": %d, "patient": {"external_id": "P-%s", "name": "김하늘", "phone": "010-0000-%04d"}, "appointment": {"id": %q%s}}`,
						id, k, kind, k, id, 10*caller+n, id, starts)
					inFlight, err := tellUntilAnswered(ctx, "http://"+l.addr, key, event)
					if err != nil {
						t.Error(err)
					}
					return told{time.Now(), inFlight}
				}
				at := func(d time.Duration) string {
					return fmt.Sprintf(`, "starts_at": %q`, time.Now().Add(d).Format(time.RFC3339))
				}
				say(1, "booked", at(2*time.Second))
				wait(ctx, 300*time.Millisecond) // until its run is planned
				say(2, "rescheduled", at(4*time.Second))
				if n%3 == 0 {
					wait(ctx, 3*time.Second) // until it may be under way
				}
				if n%2 == 0 {
					x := say(3, "cancelled", "")
					mu.Lock()
					said[id] = x
					mu.Unlock()
				}
			}
		})
	}
	select {
	case <-v.ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s was not hit %d times\n%s", c.point, c.hit, v.tail())
	}
	if !v.fired(c.point, c.hit) {
		t.Fatalf("the process ended by something else: %v\n%s", v.cmd.ProcessState, v.tail())
	}
	if _, err = l.start(""); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	db := openRunning(t, l.data)
	id, err := db.TenantBySlug(ctx, c.name())
	if err != nil {
		t.Fatal(err)
	}
	l.decided(ctx, t, id)
	wait(ctx, 5*time.Second) // until the last appointment was near
	if _, err := rest(ctx, db, id); err != nil {
		t.Errorf("%v:\n%s", err, openSteps(t, l.data, id))
	}
	l.superseded(t, id.String(), said)
	where, err := readRunning(l.data)
	if err != nil {
		t.Fatal(err)
	}
	var triggers, doubled int
	storetest.URLs{Super: where.WorkerURL}.Scan(t, `SELECT count(*) FROM triggers WHERE tenant_id = $1`, []any{id.String()}, &triggers)
	if want := callers * each * 5 / 2; triggers != want {
		t.Errorf("%d triggers of %d events", triggers, want)
	}
	storetest.URLs{Super: where.WorkerURL}.Scan(t, `SELECT count(*) FROM (SELECT FROM steps WHERE tenant_id = $1 AND parent_id IS NULL GROUP BY execution_id, node HAVING count(*) FILTER (WHERE state IN ('sent', 'delivered')) > 1) n`, []any{id.String()}, &doubled)
	if doubled > 0 {
		t.Errorf("%d messages went twice", doubled)
	}
	var violations []json.RawMessage
	if err := l.control(ctx, http.MethodGet, "violations", nil, &violations); err != nil || len(violations) > 0 {
		t.Errorf("the gateway's oracle: %s, %v", violations, err)
	}
}

// superseded finds what was claimed of cancelled appointments afterwards.
func (l *lane) superseded(t testing.TB, id string, said map[string]told) {
	t.Helper()
	where, err := readRunning(l.data)
	if err != nil {
		t.Fatal(err)
	}
	look := storetest.URLs{Super: where.WorkerURL}.Look(t)
	var step uuid.UUID
	var number, node string
	var at time.Time
	found, claims := 0, 0
	look.Each(`SELECT s.id, s.node, p.external_id, a.claimed_at FROM attempts a JOIN steps s ON s.tenant_id = a.tenant_id AND s.id = a.step_id
		JOIN workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id JOIN appointments p ON p.tenant_id = e.tenant_id AND p.id = e.appointment_id
		WHERE a.tenant_id = $1`, []any{id}, []any{&step, &node, &number, &at}, func() {
		claims++
		x, cancelled := said[number]
		if cancelled && at.After(x.cancelled) && !slices.Contains(x.inFlight, step) {
			found++
			t.Errorf("%s of %s was claimed %s after its cancellation was acknowledged", node, number, at.Sub(x.cancelled))
		}
	})
	t.Logf("%d cancellations, %d claims, %d afterwards", len(said), claims, found)
}
