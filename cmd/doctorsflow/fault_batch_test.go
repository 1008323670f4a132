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
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

// batchClinic has patients, and a schedule that fires soon.
const batchClinic = `
tenant: {slug: %[1]s, name: 미소치과}
accounts:
  - {channel: sms, vendor: nhn, base_url: %[2]q, app_key: %[1]s-sms, secret: s, sender: "15880000"}
templates:
  - {name: text, class: transactional, sms_text: "#{환자명}님"}
workflows:
  - {name: recall, trigger_type: schedule, steps: [{seconds: 0, template: text}]}
patients:
`

// ask sends a request until it is answered 200.
func ask(ctx context.Context, method, url, key, body string, into any) error {
	for {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+key)
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			var b bytes.Buffer
			_, err := b.ReadFrom(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return json.Unmarshal(b.Bytes(), into)
			}
			if resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
				return fmt.Errorf("%s: %d %s", url, resp.StatusCode, b.String())
			}
		}
		if wait(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// TestKillAtABatch kills the program while a schedule fires and a campaign is
// planned. After the restart each patient has one message of each, and the fire
// is one.
func TestKillAtABatch(t *testing.T) {
	exe := built(t, "")
	for _, c := range []faultCase{{point: failpoint.ScheduleFired, hit: 1}, {point: failpoint.BatchPlanning, hit: 1}, {point: failpoint.BatchPlanned, hit: 2}, {point: failpoint.BatchKept, hit: 2}} {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			l := newLane(t, exe)
			l.batch(t, c)
			command(t, "conserve", "--data", l.data)
		})
	}
}

func (l *lane) batch(t testing.TB, c faultCase) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	v, err := l.start(fmt.Sprintf("%s:%d", c.point, c.hit))
	if err != nil {
		t.Fatal(err)
	}
	const patients = 40
	text := fmt.Appendf(nil, batchClinic, c.name(), l.gateway)
	for i := range patients {
		text = fmt.Appendf(text, "  - {external_id: P-%d, name: 김하늘, phone: 010-0000-%04d}\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "clinic.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "apply", "-f", file, "--data", l.data)
	key := strings.TrimSpace(command(t, "tenant", "key", c.name(), "--name", "desk", "--role", "staff", "--data", l.data))
	key = key[strings.LastIndex(key, "dfk_"):]
	key, _, _ = strings.Cut(key, "\n")
	base := "http://" + l.addr
	var segment, campaign, sched struct{ ID string }
	var flows, templates struct {
		Data []struct{ ID, Name string }
	}
	for _, r := range []struct {
		method, path string
		body         func() string
		into         any
	}{
		{http.MethodGet, "/api/workflows", func() string { return "" }, &flows},
		{http.MethodGet, "/api/templates", func() string { return "" }, &templates},
		{http.MethodPost, "/api/segments", func() string { return `{"name":"all","filter":{}}` }, &segment},
		{http.MethodPost, "/api/campaigns", func() string {
			return fmt.Sprintf(`{"name":"autumn","template_id":%q,"segment_id":%q,"scheduled_at":%q}`, templates.Data[0].ID, segment.ID, time.Now().Add(2*time.Second).Format(time.RFC3339))
		}, &campaign},
		// It fires once in the life of the test.
		{http.MethodPost, "/api/schedules", func() string {
			at := time.Now().UTC().Add(2 * time.Second)
			return fmt.Sprintf(`{"name":"recall","pattern":"%s %d *","time_zone":"UTC","workflow_id":%q,"segment_id":%q}`, at.Format("5 4 15 2"), at.Month(), flows.Data[0].ID, segment.ID)
		}, &sched},
	} {
		if err := ask(ctx, r.method, base+strings.Replace(r.path, "{id}", campaign.ID, 1), key, r.body(), r.into); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		if r.path == "/api/segments" && len(flows.Data)*len(templates.Data) != 1 {
			t.Fatalf("%+v %+v", flows, templates)
		}
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
	db := openRunning(t, l.data)
	id, err := db.TenantBySlug(ctx, c.name())
	if err != nil {
		t.Fatal(err)
	}
	where, err := readRunning(l.data)
	if err != nil {
		t.Fatal(err)
	}
	look := storetest.URLs{Super: where.WorkerURL}
	for done := 0; done < 2; wait(ctx, 100*time.Millisecond) {
		if look.Scan(t, `SELECT count(*) FROM batches WHERE tenant_id = $1 AND state = 'done'`, []any{id.String()}, &done); ctx.Err() != nil {
			t.Fatalf("%d of 2 batches are done", done)
		}
	}
	if _, err := rest(ctx, db, id); err != nil {
		t.Errorf("%v:\n%s", err, openSteps(t, l.data, id))
	}
	var fires, sent, people int
	look.Scan(t, `SELECT count(*) FROM batches WHERE tenant_id = $1 AND schedule_id IS NOT NULL`, []any{id.String()}, &fires)
	look.Scan(t, `SELECT count(*), count(DISTINCT (e.patient_id, e.workflow_id)) FROM steps s JOIN workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
		WHERE s.tenant_id = $1 AND s.state IN ('sent', 'delivered', 'parked')`, []any{id.String()}, &sent, &people)
	if fires != 1 || sent != 2*patients || people != 2*patients {
		t.Errorf("%d fires, %d messages to %d of %d", fires, sent, people, 2*patients)
	}
	var violations []json.RawMessage
	if err := l.control(ctx, http.MethodGet, "violations", nil, &violations); err != nil || len(violations) > 0 {
		t.Errorf("the gateway's oracle: %s, %v", violations, err)
	}
}
