package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// ledger is a database of its own with one clinic in it.
type ledger struct {
	*store.DB
	t      testing.TB
	urls   storetest.URLs
	master seal.Key
	// super sees every row, to look at what is really there.
	super    *pgxpool.Pool
	tenant   tenant.ID
	webhook  uuid.UUID
	workflow uuid.UUID
}

const clinicFile = `
tenant: {slug: %s, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - name: aftercare
    steps:
      - {seconds: 0, template: care}
      - {hours: 1, template: care}
webhooks:
  - {name: booking, workflow: aftercare}
`

func newLedger(t testing.TB) *ledger {
	t.Helper()
	urls := storetest.Database(t)
	l := &ledger{t: t, urls: urls, master: seal.NewKey()}
	l.DB = l.open(store.Timing{})
	super, err := pgxpool.New(t.Context(), urls.Super)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(super.Close)
	l.super = super
	l.tenant, l.webhook = l.clinic("miso")
	l.scan(`SELECT id FROM workflows WHERE tenant_id = $1`, []any{l.tenant}, &l.workflow)
	return l
}

func (l *ledger) open(timing store.Timing) *store.DB {
	l.t.Helper()
	db, err := store.Open(l.t.Context(), store.Config{APIURL: l.urls.API, WorkerURL: l.urls.Worker, Master: l.master, Timing: timing})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(db.Close)
	return db
}

func (l *ledger) clinic(slug string) (tenant.ID, uuid.UUID) {
	l.t.Helper()
	f, err := clinic.Parse(fmt.Appendf(nil, clinicFile, slug))
	if err != nil {
		l.t.Fatal(err)
	}
	a, err := l.ApplyClinic(l.t.Context(), f, store.ApplyOptions{Phones: testNumbers})
	if err != nil {
		l.t.Fatal(err)
	}
	return a.Tenant, a.Webhooks[0].ID
}

var testNumbers = phone.Options{AllowTestBands: true}

// scan reads one row as the superuser.
func (l *ledger) scan(sql string, args []any, into ...any) {
	l.t.Helper()
	if err := l.super.QueryRow(context.Background(), sql, args...).Scan(into...); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
}

func (l *ledger) count(sql string, args ...any) (n int) {
	l.t.Helper()
	l.scan(sql, args, &n)
	return n
}

func (l *ledger) exec(sql string, args ...any) {
	l.t.Helper()
	if _, err := l.super.Exec(context.Background(), sql, args...); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
}

// call is one signed call of the clinic's webhook.
func (l *ledger) call(id, body string) store.Accept {
	return store.Accept{
		Tenant: l.tenant, WebhookID: l.webhook, Source: "webhook:" + l.webhook.String(), EventID: id,
		EventType: "visit", Kind: event.Webhook, Body: []byte(body), Received: time.Now(),
	}
}

func (l *ledger) accept(calls ...store.Accept) []store.AcceptResult {
	l.t.Helper()
	out, err := l.AcceptTriggers(l.t.Context(), calls)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func body(number, name string) string {
	b, _ := json.Marshal(map[string]any{"patient": map[string]string{"phone": number, "name": name}})
	return string(b)
}

// planning reads the payload as the planner would, and plans every step of
// the definition after its delay.
func planning() store.Planning {
	return store.Planning{
		Read: func(t store.PendingTrigger) store.Reading {
			var p struct {
				Patient struct {
					Phone, Name, ExternalID string
					External_id             string
				}
			}
			_ = json.Unmarshal(t.Payload, &p)
			n, err := phone.Parse(p.Patient.Phone, testNumbers)
			r := store.Reading{Patient: store.PatientRef{Phone: n, Name: p.Patient.Name, ExternalID: p.Patient.External_id}, Workflows: []uuid.UUID{t.WorkflowID}}
			if err != nil {
				r.Ignored = event.InvalidPatient
			}
			return r
		},
		Expand: func(t store.PendingTrigger, d *workflow.Definition) (out store.Expansion) {
			for _, s := range d.Steps {
				delay, _ := s.Delay()
				due := t.ReceivedAt.Add(delay)
				out.Steps = append(out.Steps, store.StepPlan{
					Node: s.Node, Channel: event.Kakao, Lane: event.Care, Fallback: true, DueAt: due, Expires: due.Add(24 * time.Hour), Late: workflow.LateSend,
				})
			}
			return out
		},
	}
}

// planned accepts and plans one trigger and returns its due step.
func (l *ledger) planned(id, number string) event.Step {
	l.t.Helper()
	trigger := l.accept(l.call(id, body(number, "김하늘")))[0].TriggerID
	due, err := l.PlanTriggers(l.t.Context(), []event.Trigger{{Tenant: l.tenant, ID: trigger}}, planning())
	if err != nil {
		l.t.Fatal(err)
	}
	if len(due) != 1 {
		l.t.Fatalf("planning gave %d due steps, want 1", len(due))
	}
	return due[0]
}

func claimAll(*store.Candidate) store.Decision { return store.Decision{Claim: true, Content: "text"} }

func (l *ledger) claimed(id, number string) (event.Step, store.Claim) {
	l.t.Helper()
	step := l.planned(id, number)
	claims, err := l.ClaimSteps(l.t.Context(), []event.Step{step}, claimAll)
	if err != nil || len(claims) != 1 {
		l.t.Fatalf("claims = %v, %v; want one", claims, err)
	}
	return step, claims[0]
}

func (l *ledger) state(step uuid.UUID) (state, reason string) {
	l.t.Helper()
	l.scan(`SELECT state, coalesce(reason, '') FROM steps WHERE id = $1`, []any{step}, &state, &reason)
	return state, reason
}

func (l *ledger) holds() {
	l.t.Helper()
	list, err := l.Conserve(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range list {
		if c.Diff() != 0 {
			l.t.Errorf("conservation is off by %d: %+v", c.Diff(), c)
		}
	}
}

// connect is a raw connection as one of the roles.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}
