package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Campaigns is the part of the ledger that has campaigns.
type Campaigns interface {
	Campaigns(ctx context.Context, id tenant.ID, cursor string, size int) (store.Page[store.Campaign], error)
	CampaignByID(ctx context.Context, id tenant.ID, campaign uuid.UUID) (store.Campaign, store.CampaignCounts, error)
	CreateCampaign(ctx context.Context, id tenant.ID, c store.Campaign) (store.Campaign, error)
	ChangeCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, seen int32, change func(*store.Campaign)) (store.Campaign, error)
	ExecuteCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by store.Hand) (store.Campaign, error)
	PauseCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by store.Hand) (store.Campaign, error)
	ResumeCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by store.Hand) (store.Campaign, error)
	CancelCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by store.Hand) (store.Campaign, store.Replanned, error)
}

func (a *API) registerCampaigns() {
	db := a.config.DB
	register(a, listCampaigns(db))
	register(a, createCampaign(db))
	register(a, getCampaign(db))
	register(a, updateCampaign(db))
	register(a, moveCampaign("execute", "Execute a campaign", "Begins now: what it sends is checked, and its audience is planned for, a thousand patients at a time. One that has begun stays as it is.", db.ExecuteCampaign))
	register(a, moveCampaign("pause", "Pause a campaign", "Nothing more of it is planned or sent until it is resumed, but what is with the gateway already. What waits for longer than its validity, seven days for a template's messages, is not sent any more.", db.PauseCampaign))
	register(a, moveCampaign("resume", "Resume a campaign", "Goes on where it was paused.", db.ResumeCampaign))
	register(a, cancelCampaign(db))
}

// maxCampaign bounds a campaign's body, in bytes: 10,000 patients.
const maxCampaign = 512 << 10

// CampaignRow keeps the names of the original's columns.
type CampaignRow struct {
	ID          uuid.UUID  `json:"id" format:"uuid"`
	Name        string     `json:"name"`
	TemplateID  *uuid.UUID `json:"template_id" format:"uuid" nullable:"true"`
	WorkflowID  *uuid.UUID `json:"workflow_id" format:"uuid" nullable:"true" doc:"What is started; of a template, the small workflow that it becomes when the campaign is scheduled or executed."`
	SegmentID   *uuid.UUID `json:"segment_id" format:"uuid" nullable:"true"`
	Listed      int        `json:"listed" doc:"How many patients target_patients lists."`
	Status      string     `json:"status" enum:"draft,scheduled,running,paused,completed,cancelled"`
	ScheduledAt *time.Time `json:"scheduled_at"`
	StartedAt   *time.Time `json:"started_at"`
	FinishedAt  *time.Time `json:"finished_at"`
	Progress    *fire      `json:"progress" doc:"How far planning is; null before it began."`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func showCampaign(c store.Campaign) CampaignRow {
	r := CampaignRow{
		ID: c.ID, Name: c.Name, TemplateID: orNull(c.Template), WorkflowID: orNull(c.Workflow), SegmentID: orNull(c.Segment), Listed: len(c.Patients), Status: string(c.Status),
		ScheduledAt: whenOrNull(c.At), StartedAt: whenOrNull(c.Started), FinishedAt: whenOrNull(c.Finished), CreatedAt: c.Created, UpdatedAt: c.Updated,
	}
	if c.Progress != nil {
		r.Progress = new(showFire(*c.Progress))
	}
	return r
}

func oneCampaign(c store.Campaign, err error) (*single[CampaignRow], error) {
	if err != nil {
		return nil, err
	}
	return newSingle(c.Version, showCampaign(c)), nil
}

type listCampaignsInput struct{ Paging }

func listCampaigns(db Campaigns) (op operation[listCampaignsInput, page[CampaignRow]]) {
	op.Operation = get("list-campaigns", "/api/campaigns", "List campaigns", "The clinic's campaigns, newest first, with how far each is.", "Campaigns")
	op.told = shows(func(CampaignRow) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listCampaignsInput) (*page[CampaignRow], error) {
		p, err := db.Campaigns(ctx, by.Tenant, in.Cursor, in.Limit)
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, showCampaign), nil
	}
	return op
}

// channelCount is how many messages of a channel are in a state.
type channelCount struct {
	Channel string `json:"channel" enum:"kakao,sms"`
	State   string `json:"state" enum:"planned,claimed,unknown,sent,delivered,failed,parked,cancelled,skipped,expired"`
	Count   int    `json:"count"`
}

type runCount struct {
	Status string `json:"status" enum:"pending,running,completed,failed"`
	Count  int    `json:"count"`
}

type campaignDetail struct {
	CampaignRow
	TargetPatients []uuid.UUID    `json:"target_patients" nullable:"false" doc:"As they were listed; empty where it has a segment."`
	Runs           []runCount     `json:"runs" nullable:"false" doc:"As the ledger has them now."`
	Messages       []channelCount `json:"messages" nullable:"false" doc:"As the ledger has them now."`
}

func getCampaign(db Campaigns) (op operation[idInput, single[campaignDetail]]) {
	op.Operation = get("get-campaign", "/api/campaigns/{id}", "Read a campaign", "One campaign, and what became of it so far, counted in the ledger. ETag names its version; send it back in If-Match.", "Campaigns")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[single[campaignDetail]]{how: toldRead, shown: func(out *single[campaignDetail]) (int, []uuid.UUID) { return 1, out.Body.TargetPatients }}
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[campaignDetail], error) {
		c, n, err := db.CampaignByID(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		d := campaignDetail{CampaignRow: showCampaign(c), TargetPatients: append([]uuid.UUID{}, c.Patients...), Runs: []runCount{}, Messages: []channelCount{}}
		for _, status := range []string{"pending", "running", "completed", "failed"} {
			if count := n.Runs[status]; count > 0 {
				d.Runs = append(d.Runs, runCount{status, count})
			}
		}
		for _, channel := range channels {
			for _, state := range states {
				if count := n.Messages[channel][state]; count > 0 {
					d.Messages = append(d.Messages, channelCount{string(channel), string(state), count})
				}
			}
		}
		return newSingle(c.Version, d), nil
	}
	return op
}

// The order in which messages are counted.
var (
	channels = []event.Channel{event.Kakao, event.SMS}
	states   = []store.State{
		store.StatePlanned, store.StateClaimed, store.StateUnknown, store.StateSent, store.StateDelivered, store.StateFailed, store.StateParked,
		store.StateCancelled, store.StateSkipped, store.StateExpired,
	}
)

// AudienceFields are content and audience: one of two each.
type AudienceFields struct {
	TemplateID     *queryID  `json:"template_id,omitempty" doc:"What is sent; or workflow_id."`
	WorkflowID     *queryID  `json:"workflow_id,omitempty" doc:"A published workflow, begun for everybody of the audience; or template_id."`
	TargetPatients []queryID `json:"target_patients,omitempty" maxItems:"10000" doc:"Patients by id; or segment_id, for more of them."`
	SegmentID      *queryID  `json:"segment_id,omitempty" doc:"Asked when the campaign begins; or target_patients."`
}

func (f AudienceFields) put(c *store.Campaign) {
	if f.TemplateID != nil || f.WorkflowID != nil {
		c.Template, c.Workflow = uuid.Nil, uuid.Nil
		set(&c.Template, (*uuid.UUID)(f.TemplateID))
		set(&c.Workflow, (*uuid.UUID)(f.WorkflowID))
	}
	if f.TargetPatients != nil || f.SegmentID != nil {
		c.Patients, c.Segment = nil, uuid.Nil
		set(&c.Segment, (*uuid.UUID)(f.SegmentID))
		seen := map[uuid.UUID]bool{}
		for _, id := range f.TargetPatients {
			if id := uuid.UUID(id); !seen[id] {
				seen[id] = true
				c.Patients = append(c.Patients, id)
			}
		}
	}
}

// check says what is wrong with what is given; whole wants all of it.
func (f AudienceFields) check(ctx context.Context, whole bool) error {
	var fields []problem.Field
	both := func(a, b bool, pointer, other string) {
		switch {
		case a && b:
			fields = append(fields, problem.Field{Pointer: pointer, Code: "with-" + other})
		case !a && !b && whole:
			fields = append(fields, problem.Field{Pointer: pointer, Code: "missing"})
		}
	}
	both(f.TemplateID != nil, f.WorkflowID != nil, "/template_id", "workflow-id")
	both(f.TargetPatients != nil, f.SegmentID != nil, "/target_patients", "segment-id")
	if f.TargetPatients != nil && len(f.TargetPatients) == 0 {
		fields = append(fields, problem.Field{Pointer: "/target_patients", Code: "too-few"})
	}
	if len(fields) == 0 {
		return nil
	}
	return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(fields...))
}

type createCampaignInput struct {
	Body struct {
		Name        string     `json:"name" minLength:"1" maxLength:"100"`
		ScheduledAt *time.Time `json:"scheduled_at,omitempty" doc:"When it begins by itself (RFC 3339); without it, when it is executed."`
		AudienceFields
	}
}

func createCampaign(db Campaigns) (op operation[createCampaignInput, single[CampaignRow]]) {
	op.Operation = change("create-campaign", post, "/api/campaigns", "Create a campaign",
		"A template or a published workflow, once, for patients that are listed or a segment. Its messages go in lane bulk, which does not delay anybody's care. With scheduled_at it is scheduled, and what it sends is checked now.", "Campaigns")
	op.MaxBodyBytes = maxCampaign
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload, problem.InvalidWorkflow}
	op.told = changes[single[CampaignRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *createCampaignInput) (*single[CampaignRow], error) {
		if err := in.Body.check(ctx, true); err != nil {
			return nil, err
		}
		c := store.Campaign{Name: in.Body.Name}
		in.Body.put(&c)
		set(&c.At, in.Body.ScheduledAt)
		return oneCampaign(db.CreateCampaign(ctx, by.Tenant, c))
	}
	return op
}

type updateCampaignInput struct {
	ID queryID `path:"id"`
	Match
	Body struct {
		Name        *string    `json:"name,omitempty" minLength:"1" maxLength:"100"`
		ScheduledAt *time.Time `json:"scheduled_at,omitempty"`
		Unschedule  bool       `json:"unschedule,omitempty" doc:"Makes it a draft again."`
		AudienceFields
	}
}

func updateCampaign(db Campaigns) (op operation[updateCampaignInput, single[CampaignRow]]) {
	op.Operation = change("update-campaign", patch, "/api/campaigns/{id}", "Change a campaign", "What is given replaces what is there, until it begins.", "Campaigns")
	op.MaxBodyBytes = maxCampaign
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.InvalidWorkflow, problem.PreconditionFailed, problem.PreconditionRequired}
	op.told = changes[single[CampaignRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *updateCampaignInput) (*single[CampaignRow], error) {
		seen, err := in.version(ctx)
		if err != nil {
			return nil, err
		}
		if err := in.Body.check(ctx, false); err != nil {
			return nil, err
		}
		return oneCampaign(db.ChangeCampaign(ctx, by.Tenant, uuid.UUID(in.ID), seen, func(c *store.Campaign) {
			set(&c.Name, in.Body.Name)
			set(&c.At, in.Body.ScheduledAt)
			if in.Body.Unschedule {
				c.At = time.Time{}
			}
			in.Body.put(c)
		}))
	}
	return op
}

type moveCampaignInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

func moveCampaign(verb, summary, description string, move func(context.Context, tenant.ID, uuid.UUID, store.Hand) (store.Campaign, error)) (op operation[moveCampaignInput, single[CampaignRow]]) {
	op.Operation = change(verb+"-campaign", post, "/api/campaigns/{id}/"+verb, summary, description, "Campaigns")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.InvalidWorkflow}
	op.told = changes[single[CampaignRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *moveCampaignInput) (*single[CampaignRow], error) {
		return oneCampaign(move(ctx, by.Tenant, uuid.UUID(in.ID), acting(ctx, by, in.Body.Reason)))
	}
	return op
}

type cancelledCampaign struct {
	Body struct {
		CampaignRow
		Underway
	}
}

func cancelCampaign(db Campaigns) (op operation[moveCampaignInput, cancelledCampaign]) {
	op.Operation = change("cancel-campaign", post, "/api/campaigns/{id}/cancel", "Cancel a campaign",
		"Ends it for good. Once this is answered nothing of it is sent but what in_flight names. Of a large one that may take several calls; it goes on by itself meanwhile, and sends nothing.", "Campaigns")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}
	op.told = changes[cancelledCampaign]()
	op.do = func(ctx context.Context, by auth.Principal, in *moveCampaignInput) (*cancelledCampaign, error) {
		c, r, err := db.CancelCampaign(ctx, by.Tenant, uuid.UUID(in.ID), acting(ctx, by, in.Body.Reason))
		if err != nil {
			return nil, err
		}
		out := new(cancelledCampaign)
		out.Body.CampaignRow, out.Body.Underway = showCampaign(c), underway(r, false)
		return out, nil
	}
	return op
}
