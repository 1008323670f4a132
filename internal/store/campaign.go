package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Campaign starts a workflow once for an audience.
type Campaign struct {
	ID   uuid.UUID
	Name string
	// Template or Workflow is what is sent: a template is a workflow of one
	// message.
	Template, Workflow uuid.UUID
	// Segment or Patients is to whom.
	Segment  uuid.UUID
	Patients []uuid.UUID
	Status   CampaignStatus
	At       time.Time // when it is meant to begin; zero: when it is executed
	Started  time.Time
	Finished time.Time
	Created  time.Time
	Updated  time.Time
	Version  int32
	// Progress is how far its planning is; nil before it began.
	Progress *Fire
}

// CampaignStatus is where a campaign stands.
type CampaignStatus string

// The statuses.
const (
	CampaignDraft     CampaignStatus = "draft"
	CampaignScheduled CampaignStatus = "scheduled"
	CampaignRunning   CampaignStatus = "running"
	CampaignPaused    CampaignStatus = "paused"
	CampaignCompleted CampaignStatus = "completed" // nothing of it is open
	CampaignCancelled CampaignStatus = "cancelled"
)

// MaxListed bounds the patients that a campaign lists.
const MaxListed = 10_000

// StatusError means that a campaign's status does not allow what was asked.
type StatusError struct{ Status CampaignStatus }

// Error implements error.
func (e *StatusError) Error() string { return "store: the campaign is " + string(e.Status) }

const campaignColumns = `
       c.id, c.name, c.template_id, c.workflow_id, c.segment_id, c.target_patients, c.status, c.scheduled_at, c.started_at, c.finished_at, c.created_at, c.updated_at, c.version,
       b.id, b.fire_at, b.as_of, coalesce(b.state, ''), coalesce(b.reason, ''), coalesce(b.expected, -1), coalesce(b.started, 0), b.finished_at
FROM   campaigns c
LEFT   JOIN batches b ON b.tenant_id = c.tenant_id AND b.campaign_id = c.id`

const selectCampaigns = `
SELECT ` + campaignColumns + `
WHERE  c.tenant_id = $1 AND ($2::uuid IS NULL OR c.id < $2)
ORDER  BY c.id DESC LIMIT $3`

const selectCampaign = `SELECT ` + campaignColumns + ` WHERE c.tenant_id = $1 AND c.id = $2`

const insertCampaign = `
INSERT INTO campaigns (tenant_id, id, name, template_id, workflow_id, segment_id, target_patients, status, scheduled_at, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, (SELECT app_now()), (SELECT app_now()))`

const updateCampaign = `
UPDATE campaigns
SET    name = $3, template_id = $4, workflow_id = $5, segment_id = $6, target_patients = $7, status = $8, scheduled_at = $9,
       version = version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

const selectCampaignReferences = `
SELECT ($2::uuid IS NULL OR EXISTS (SELECT FROM templates t WHERE t.tenant_id = $1 AND t.id = $2)),
       ($3::uuid IS NULL OR EXISTS (SELECT FROM workflows w WHERE w.tenant_id = $1 AND w.id = $3 AND w.archived_at IS NULL)),
       ($4::uuid IS NULL OR EXISTS (SELECT FROM segments g WHERE g.tenant_id = $1 AND g.id = $4 AND g.archived_at IS NULL)),
       (SELECT count(*) FROM patients p WHERE p.tenant_id = $1 AND p.id = ANY ($5))`

const campaignCursor = "cursor.campaigns"

// Campaigns returns one page of a clinic's campaigns, newest first, without the
// patients that they list. Errors wrap [ErrCursor] or [ErrUnavailable].
func (db *DB) Campaigns(ctx context.Context, id tenant.ID, cursor string, size int) (page Page[Campaign], err error) {
	page, err = pageByID(ctx, db, id, campaignCursor, cursor, size, selectCampaigns, scanCampaign, func(c Campaign) uuid.UUID { return c.ID })
	return page, wrapped("store: campaigns", err)
}

func scanCampaign(row pgx.CollectableRow, v viewer) (c Campaign, err error) {
	var template, wf, seg, batch *uuid.UUID
	var at, started, finished, fireAt, asOf, done *time.Time
	var f Fire
	err = row.Scan(&c.ID, &c.Name, &template, &wf, &seg, &c.Patients, &c.Status, &at, &started, &finished, &c.Created, &c.Updated, &c.Version,
		&batch, &fireAt, &asOf, &f.State, &f.Reason, &f.Expected, &f.Started, &done)
	c.Template, c.Workflow, c.Segment = orNil(template), orNil(wf), orNil(seg)
	c.At, c.Started, c.Finished = v.local(at), v.local(started), v.local(finished)
	c.Created, c.Updated = c.Created.In(v.zone), c.Updated.In(v.zone)
	if batch != nil {
		f.ID, f.At, f.AsOf, f.Finished = *batch, v.local(fireAt), *asOf, v.local(done)
		c.Progress = &f
	}
	return c, err
}

const countCampaignRuns = `
SELECT e.status, count(*) FROM workflow_executions e WHERE e.tenant_id = $1 AND e.campaign_id = $2 GROUP BY e.status`

const countCampaignSteps = `
SELECT s.channel, s.state, count(*) FROM workflow_executions e
JOIN   steps s ON s.tenant_id = e.tenant_id AND s.execution_id = e.id
WHERE  e.tenant_id = $1 AND e.campaign_id = $2
GROUP  BY s.channel, s.state`

// CampaignCounts are a campaign's runs by status and messages by channel and
// state, as the ledger has them now.
type CampaignCounts struct {
	Runs     map[string]int
	Messages map[event.Channel]map[State]int
}

// CampaignByID returns one campaign and what became of it so far, or
// [ErrNotFound].
func (db *DB) CampaignByID(ctx context.Context, id tenant.ID, campaign uuid.UUID) (c Campaign, n CampaignCounts, err error) {
	n = CampaignCounts{Runs: map[string]int{}, Messages: map[event.Channel]map[State]int{}}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if c, err = oneByID(ctx, db, tx, id, campaign, selectCampaign, scanCampaign); err != nil || c.Progress == nil {
			return err
		}
		rows, err := tx.Query(ctx, countCampaignRuns, id, campaign)
		if err != nil {
			return err
		}
		var status string
		var count int
		if _, err = pgx.ForEachRow(rows, []any{&status, &count}, func() error {
			n.Runs[status] = count
			return nil
		}); err != nil {
			return err
		}
		if rows, err = tx.Query(ctx, countCampaignSteps, id, campaign); err != nil {
			return err
		}
		var channel event.Channel
		var state State
		_, err = pgx.ForEachRow(rows, []any{&channel, &state, &count}, func() error {
			if n.Messages[channel] == nil {
				n.Messages[channel] = map[State]int{}
			}
			n.Messages[channel][state] = count
			return nil
		})
		return err
	})
	return c, n, wrapped("store: campaign", err)
}

// CreateCampaign saves a campaign, which begins at its time where it has one.
// Errors are [MissingError], [clinic.InvalidWorkflowError] or wrap
// [ErrUnavailable].
func (db *DB) CreateCampaign(ctx context.Context, id tenant.ID, c Campaign) (Campaign, error) {
	c.ID = uuid.Must(uuid.NewV7())
	return db.saveCampaign(ctx, id, c.ID, 0, "campaign.create", func(old *Campaign) error {
		*old = c
		return nil
	})
}

// ChangeCampaign changes one that has not begun; seen is the version that the
// change was made from, 0 whichever there is. Errors are those of
// [DB.CreateCampaign], [StatusError], [ErrChanged] or wrap [ErrNotFound].
func (db *DB) ChangeCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, seen int32, change func(*Campaign)) (Campaign, error) {
	return db.saveCampaign(ctx, id, campaign, seen, "campaign.change", func(c *Campaign) error {
		if c.Status != CampaignDraft && c.Status != CampaignScheduled {
			return &StatusError{c.Status}
		}
		change(c)
		return nil
	})
}

func (db *DB) saveCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, seen int32, action string, change func(*Campaign) error) (out Campaign, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var c Campaign
		sql := insertCampaign
		if action != "campaign.create" {
			if c, err = oneByID(ctx, db, tx, id, campaign, selectCampaign+" FOR UPDATE OF c", scanCampaign); err != nil {
				return err
			}
			if sql = updateCampaign; seen != 0 && c.Version != seen {
				return ErrChanged
			}
		}
		if err := change(&c); err != nil {
			return err
		}
		if err := c.check(ctx, tx, id); err != nil {
			return err
		}
		if c.Status = CampaignDraft; !c.At.IsZero() {
			c.Status = CampaignScheduled
			if err := db.settleContent(ctx, tx, id, &c); err != nil {
				return err
			}
		}
		listed, err := json.Marshal(append([]uuid.UUID{}, c.Patients...))
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sql, id, campaign, c.Name, nullID(c.Template), nullID(c.Workflow), nullID(c.Segment), listed, string(c.Status), nullTime(c.At)); err != nil {
			return err
		}
		return db.tellCampaign(ctx, tx, id, campaign, action, &out)
	})
	return out, wrapped("store: save a campaign", err)
}

// check says what a campaign refers to that is not there.
func (c *Campaign) check(ctx context.Context, tx pgx.Tx, id tenant.ID) error {
	var template, wf, seg bool
	var listed int
	if err := tx.QueryRow(ctx, selectCampaignReferences, id, nullID(c.Template), nullID(c.Workflow), nullID(c.Segment), c.Patients).Scan(&template, &wf, &seg, &listed); err != nil {
		return err
	}
	switch {
	case !template:
		return &MissingError{"template_id"}
	case !wf:
		return &MissingError{"workflow_id"}
	case !seg:
		return &MissingError{"segment_id"}
	case listed != len(c.Patients):
		return &MissingError{"target_patients"}
	}
	return nil
}

func (db *DB) tellCampaign(ctx context.Context, tx pgx.Tx, id tenant.ID, campaign uuid.UUID, action string, out *Campaign) (err error) {
	if *out, err = oneByID(ctx, db, tx, id, campaign, selectCampaign, scanCampaign); err != nil {
		return err
	}
	return audit(ctx, tx, id, AuditEntry{Action: action, Subject: "campaign", SubjectID: campaign, Detail: map[string]any{
		"status": string(out.Status), "workflow": nullID(out.Workflow), "segment": nullID(out.Segment), "listed": len(out.Patients),
	}})
}

const selectInForceName = `SELECT w.is_active AND w.version > 0 FROM workflows w WHERE w.tenant_id = $1 AND w.id = $2`

// campaignValidity is how long a campaign's message may be held up, by a pause
// or by hours, before nobody wants it any more.
const campaignValidity = workflow.Duration(7 * 24 * time.Hour)

// settleContent makes sure that what a campaign sends can be sent: a template
// becomes a workflow of one message, published as every workflow is. Whoever
// changes the template later changes what later campaigns send.
func (db *DB) settleContent(ctx context.Context, tx pgx.Tx, id tenant.ID, c *Campaign) error {
	if c.Template == uuid.Nil {
		var inForce bool
		if err := tx.QueryRow(ctx, selectInForceName, id, c.Workflow).Scan(&inForce); err != nil {
			return notFound(err)
		}
		if !inForce {
			return ErrNotPublished
		}
		return nil
	}
	t, err := oneByID(ctx, db, tx, id, c.Template, selectTemplate, scanTemplate)
	if err != nil {
		return err
	}
	w, more := t.atOnce(campaignPrefix)
	p, err := db.publishSmall(ctx, tx, id, w, more)
	if err == nil {
		c.Workflow = p.id
	}
	return err
}

// publishSmall publishes a workflow that the product makes itself, whose
// templates may be ones that nobody sees.
func (db *DB) publishSmall(ctx context.Context, tx pgx.Tx, id tenant.ID, w clinic.Workflow, templates map[string]clinic.Template) (p publication, err error) {
	w.PublicURL = db.publicURL
	list, err := flowsOf(ctx, tx, lockPublished, id, uuid.Nil, w.Name)
	if err != nil {
		return p, err
	}
	var old *flow
	if len(list) > 0 {
		old = &list[0]
	}
	if p, err = publishing(old, w, templates); err != nil {
		return p, err
	}
	if old != nil && !p.fresh && old.active && !old.archived {
		return p, nil
	}
	return p, p.write(ctx, tx, id)
}
