package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

func (a *audience) template() (id uuid.UUID) {
	a.scan(`SELECT id FROM templates WHERE tenant_id = $1`, []any{a.tenant}, &id)
	return id
}

func (a *audience) campaign(c store.Campaign) store.Campaign {
	a.t.Helper()
	c, err := a.CreateCampaign(a.t.Context(), a.tenant, c)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *audience) status(id uuid.UUID) (store.CampaignStatus, store.CampaignCounts) {
	a.t.Helper()
	c, n, err := a.CampaignByID(a.t.Context(), a.tenant, id)
	if err != nil {
		a.t.Fatal(err)
	}
	return c.Status, n
}

// due are the steps that release would publish.
func (a *audience) due(n int) (list []event.Step) {
	a.t.Helper()
	leased, err := a.LeaseSteps(a.t.Context(), []store.Lease{{Queue: store.Queue{Tenant: a.tenant, Name: string(event.Bulk)}, Room: n}})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, s := range leased {
		list = append(list, s.Step)
	}
	return list
}

func TestACampaignOfATemplateIsAWorkflowOfOneMessage(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 3)
	c := a.campaign(store.Campaign{Name: "autumn", Template: a.template(), Patients: a.patients[:2]})
	if c.Status != store.CampaignDraft || c.Progress != nil {
		t.Fatalf("%+v", c)
	}
	for range 2 { // the second time changes nothing
		if _, err := a.ExecuteCampaign(t.Context(), a.tenant, c.ID, hand); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.planAll(a.DB); n != 2 {
		t.Errorf("planned for %d", n)
	}
	status, n := a.status(c.ID)
	if status != store.CampaignRunning || n.Runs["running"] != 2 || n.Messages[event.Kakao][store.StatePlanned] != 2 {
		t.Errorf("%s %+v", status, n)
	}
	due := a.due(10)
	claims, err := a.ClaimSteps(t.Context(), due, claimAll)
	if err != nil || len(claims) != 2 {
		t.Fatal(claims, err)
	}
	if err := a.FinishCampaigns(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := a.status(c.ID); status != store.CampaignRunning {
		t.Errorf("with two open runs it is %s", status)
	}
	var events []event.Delivery
	for _, c := range claims {
		events = append(events, event.Delivery{Tenant: a.tenant, Step: c.Step, Channel: event.Kakao, Attempt: c.Attempt, Source: event.Query, Status: event.Delivered, At: time.Now().UTC()})
	}
	if _, err := a.SettleDeliveries(t.Context(), events, func(store.StepNow, event.Delivery) store.Transition {
		return store.Transition{State: store.StateDelivered, Reason: event.ConfirmedByReport, Finish: true}
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.FinishCampaigns(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, n := a.status(c.ID); status != store.CampaignCompleted || n.Messages[event.Kakao][store.StateDelivered] != 2 {
		t.Errorf("%s %+v", status, n)
	}
	for what, move := range map[string]func(context.Context) error{
		"execute": func(ctx context.Context) error { _, err := a.ExecuteCampaign(ctx, a.tenant, c.ID, hand); return err },
		"pause":   func(ctx context.Context) error { _, err := a.PauseCampaign(ctx, a.tenant, c.ID, hand); return err },
		"resume":  func(ctx context.Context) error { _, err := a.ResumeCampaign(ctx, a.tenant, c.ID, hand); return err },
		"cancel":  func(ctx context.Context) error { _, _, err := a.CancelCampaign(ctx, a.tenant, c.ID, hand); return err },
		"change": func(ctx context.Context) error {
			_, err := a.ChangeCampaign(ctx, a.tenant, c.ID, 0, func(*store.Campaign) {})
			return err
		},
	} {
		if e, ok := errors.AsType[*store.StatusError](move(t.Context())); !ok || e.Status != store.CampaignCompleted {
			t.Errorf("%s of a completed campaign: %v", what, e)
		}
	}
	// The same template again is the same workflow.
	again := a.campaign(store.Campaign{Name: "winter", Template: a.template(), Segment: a.segment, At: time.Now().Add(-time.Second)})
	if again.Status != store.CampaignScheduled {
		t.Errorf("%+v", again)
	}
	if n, err := a.StartCampaigns(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n := a.planAll(a.DB); n != 3 {
		t.Errorf("planned for %d", n)
	}
	if n := a.count(`SELECT count(DISTINCT workflow_id) FROM workflow_executions WHERE campaign_id IS NOT NULL`); n != 1 {
		t.Errorf("%d workflows", n)
	}
	a.holds()
}

func TestAPausedCampaignPlansAndClaimsNothingUntilItGoesOn(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 1500)
	c := a.campaign(store.Campaign{Name: "autumn", Template: a.template(), Segment: a.segment})
	if _, err := a.ExecuteCampaign(t.Context(), a.tenant, c.ID, hand); err != nil {
		t.Fatal(err)
	}
	if n, more, err := a.PlanBatch(t.Context(), planner.Expand); n != 1000 || !more || err != nil {
		t.Fatal(n, more, err)
	}
	due := a.due(5)
	if _, err := a.PauseCampaign(t.Context(), a.tenant, c.ID, hand); err != nil {
		t.Fatal(err)
	}
	if n := a.planAll(a.DB); n != 0 {
		t.Errorf("%d were planned while it was paused", n)
	}
	judge := func(c *store.Candidate) store.Decision {
		if !c.CampaignPaused {
			return claimAll(c)
		}
		return store.Decision{Wait: c.Now.Add(time.Hour), Reason: event.CampaignPaused}
	}
	if claims, err := a.ClaimSteps(t.Context(), due, judge); len(claims) != 0 || err != nil {
		t.Errorf("claimed %v, %v", claims, err)
	}
	if n := a.count(`SELECT count(*) FROM steps WHERE reason = 'campaign_paused'`); n != 5 {
		t.Errorf("%d wait", n)
	}
	if _, err := a.ResumeCampaign(t.Context(), a.tenant, c.ID, hand); err != nil {
		t.Fatal(err)
	}
	if n := a.count(`SELECT count(*) FROM steps WHERE reason = 'campaign_paused' OR wake_at > now()`); n != 0 {
		t.Errorf("%d wait still", n)
	}
	if n := a.planAll(a.DB); n != 500 {
		t.Errorf("%d were planned after it", n)
	}
	if n := a.count(`SELECT count(DISTINCT patient_id) FROM workflow_executions WHERE campaign_id = $1`, c.ID); n != 1500 {
		t.Errorf("%d patients", n)
	}
	a.holds()
}

func TestACancelledCampaignSendsNothingMore(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 1200)
	c := a.campaign(store.Campaign{Name: "autumn", Template: a.template(), Segment: a.segment})
	if _, err := a.ExecuteCampaign(t.Context(), a.tenant, c.ID, hand); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.PlanBatch(t.Context(), planner.Expand); err != nil {
		t.Fatal(err)
	}
	due := a.due(3)
	claims, err := a.ClaimSteps(t.Context(), due[:1], claimAll)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	_, out, err := a.CancelCampaign(t.Context(), a.tenant, c.ID, hand)
	if err != nil || out.Cancelled != 999 || len(out.InFlight) != 1 || out.InFlight[0] != claims[0].Step {
		t.Errorf("%+v, %v", out, err)
	}
	if claims, err := a.ClaimSteps(t.Context(), due[1:], claimAll); len(claims) != 0 || err != nil {
		t.Errorf("claimed %v, %v", claims, err)
	}
	if n := a.planAll(a.DB); n != 0 {
		t.Errorf("%d were planned after it", n)
	}
	if status, n := a.status(c.ID); status != store.CampaignCancelled || n.Messages[event.Kakao][store.StateCancelled] != 999 {
		t.Errorf("%s %+v", status, n)
	}
	// What a broken-off cancellation left is stopped from behind.
	other := a.campaign(store.Campaign{Name: "winter", Template: a.template(), Patients: a.patients[:20]})
	if _, err := a.ExecuteCampaign(t.Context(), a.tenant, other.ID, hand); err != nil {
		t.Fatal(err)
	}
	a.planAll(a.DB)
	a.exec(`UPDATE campaigns SET status = 'cancelled', finished_at = now() WHERE id = $1`, other.ID)
	stopped := func(c *store.Candidate) store.Decision {
		if !c.CampaignOver {
			t.Error("a message of a cancelled campaign does not know it")
		}
		return store.Decision{}
	}
	if _, err := a.ClaimSteps(t.Context(), a.due(5), stopped); err != nil {
		t.Fatal(err)
	}
	if err := a.FinishCampaigns(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, n := a.status(other.ID); n.Messages[event.Kakao][store.StateCancelled] != 20 {
		t.Errorf("%+v", n)
	}
	a.holds()
}

func TestAPatientOfTwoRowsIsReachedOnce(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 1001)
	c := a.campaign(store.Campaign{Name: "autumn", Template: a.template(), Segment: a.segment})
	if _, err := a.ExecuteCampaign(t.Context(), a.tenant, c.ID, hand); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.PlanBatch(t.Context(), planner.Expand); err != nil {
		t.Fatal(err)
	}
	// The first, who was planned for, turns out to be the last, who was not yet.
	a.exec(`UPDATE patients SET merged_into = $2, merged_at = now() WHERE id = $1`, a.patients[0], a.patients[1000])
	if n := a.planAll(a.DB); n != 0 {
		t.Errorf("%d more were planned", n)
	}
	listed := a.campaign(store.Campaign{Name: "winter", Template: a.template(), Patients: []uuid.UUID{a.patients[0], a.patients[1000], a.patients[5]}})
	if _, err := a.ExecuteCampaign(t.Context(), a.tenant, listed.ID, hand); err != nil {
		t.Fatal(err)
	}
	if n := a.planAll(a.DB); n != 2 {
		t.Errorf("%d of two patients by three names", n)
	}
}

func TestACampaignRefersToWhatIsThere(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 2)
	for field, c := range map[string]store.Campaign{
		"template_id":     {Template: uuid.New(), Segment: a.segment},
		"workflow_id":     {Workflow: uuid.New(), Segment: a.segment},
		"segment_id":      {Workflow: a.workflow, Segment: uuid.New()},
		"target_patients": {Workflow: a.workflow, Patients: []uuid.UUID{a.patients[0], uuid.New()}},
	} {
		c.Name = field
		_, err := a.CreateCampaign(t.Context(), a.tenant, c)
		if e, ok := errors.AsType[*store.MissingError](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	c := a.campaign(store.Campaign{Name: "autumn", Workflow: a.workflow, Segment: a.segment})
	a.exec(`UPDATE workflows SET is_active = false`)
	if _, err := a.ExecuteCampaign(t.Context(), a.tenant, c.ID, hand); !errors.Is(err, store.ErrNotPublished) {
		t.Error(err)
	}
	if _, err := a.ChangeCampaign(t.Context(), a.tenant, c.ID, 7, func(*store.Campaign) {}); !errors.Is(err, store.ErrChanged) {
		t.Error(err)
	}
	if out, _, err := a.CancelCampaign(t.Context(), a.tenant, c.ID, hand); err != nil || out.Status != store.CampaignCancelled {
		t.Error(out, err)
	}
	if _, _, err := a.CampaignByID(t.Context(), a.tenant, uuid.New()); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

func BenchmarkCampaign(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		b.StopTimer()
		a := newAudience(b, n)
		c := a.campaign(store.Campaign{Name: "autumn", Template: a.template(), Segment: a.segment})
		if _, err := a.ExecuteCampaign(b.Context(), a.tenant, c.ID, hand); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if got := a.planAll(a.DB); got != n {
			b.Fatalf("%d of %d", got, n)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/100k")
}
