package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

const startCampaign = `
UPDATE campaigns c SET status = 'running', workflow_id = $3, started_at = (SELECT app_now()), version = version + 1, updated_at = (SELECT app_now())
WHERE  c.tenant_id = $1 AND c.id = $2`

const insertCampaignBatch = `
INSERT INTO batches (tenant_id, id, campaign_id, fire_at, as_of, workflow_id, version, filter, created_at, updated_at)
SELECT c.tenant_id, $3, c.id, (SELECT app_now()), ((SELECT app_now()) AT TIME ZONE t.time_zone)::date, w.id, w.version, g.filter, (SELECT app_now()), (SELECT app_now())
FROM   campaigns c
JOIN   tenants t ON t.id = c.tenant_id
JOIN   workflows w ON w.tenant_id = c.tenant_id AND w.id = c.workflow_id
LEFT   JOIN segments g ON g.tenant_id = c.tenant_id AND g.id = c.segment_id
WHERE  c.tenant_id = $1 AND c.id = $2
ON CONFLICT DO NOTHING`

const setCampaignStatus = `
UPDATE campaigns SET status = $3, finished_at = CASE WHEN $3 = 'cancelled' THEN (SELECT app_now()) END, version = version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

const setBatchState = `
UPDATE batches SET state = $4, updated_at = (SELECT app_now()), finished_at = CASE WHEN $4 = 'cancelled' THEN (SELECT app_now()) END
WHERE  tenant_id = $1 AND campaign_id = $2 AND state = ANY ($3)`

// ExecuteCampaign begins a campaign now. One that has begun stays as it is. What
// it sends is checked first: errors are [clinic.InvalidWorkflowError],
// [ErrNotPublished], [StatusError], [ErrNote] or wrap [ErrNotFound] or
// [ErrUnavailable].
func (db *DB) ExecuteCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by Hand) (Campaign, error) {
	return db.moveCampaign(ctx, id, campaign, by, "campaign.execute", func(tx pgx.Tx, c *Campaign) (bool, error) {
		switch c.Status {
		case CampaignRunning:
			return false, nil
		case CampaignDraft, CampaignScheduled:
		case CampaignPaused, CampaignCompleted, CampaignCancelled:
			return false, &StatusError{c.Status}
		}
		if err := db.settleContent(ctx, tx, id, c); err != nil {
			return false, err
		}
		if _, err := tx.Exec(ctx, startCampaign, id, campaign, c.Workflow); err != nil {
			return false, err
		}
		_, err := tx.Exec(ctx, insertCampaignBatch, id, campaign, uuid.Must(uuid.NewV7()))
		return true, err
	})
}

// PauseCampaign holds a campaign up: nothing more of it is planned, and nothing
// that is planned is claimed. What was claimed goes out. Errors are
// [StatusError], [ErrNote] or wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) PauseCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by Hand) (Campaign, error) {
	return db.moveCampaign(ctx, id, campaign, by, "campaign.pause", func(tx pgx.Tx, c *Campaign) (bool, error) {
		if c.Status == CampaignPaused || c.Status != CampaignRunning {
			return false, unless(c.Status == CampaignPaused, c.Status)
		}
		if _, err := tx.Exec(ctx, setCampaignStatus, id, campaign, string(CampaignPaused)); err != nil {
			return false, err
		}
		_, err := tx.Exec(ctx, setBatchState, id, campaign, []string{"running"}, "paused")
		return true, err
	})
}

func unless(ok bool, s CampaignStatus) error {
	if ok {
		return nil
	}
	return &StatusError{s}
}

const wakeCampaign = `
WITH runs AS (
  SELECT e.id FROM workflow_executions e WHERE e.tenant_id = $1 AND e.campaign_id = $2 AND e.id > $3 ORDER BY e.id LIMIT $4
), woken AS (
  UPDATE steps s SET wake_at = (SELECT app_now()), published = false, reason = NULL
  FROM   runs r
  WHERE  s.tenant_id = $1 AND s.execution_id = r.id AND s.state = 'planned' AND s.reason = 'campaign_paused'
)
SELECT id FROM runs ORDER BY id DESC LIMIT 1`

// ResumeCampaign goes on with a paused one. Errors are as those of
// [DB.PauseCampaign].
func (db *DB) ResumeCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by Hand) (Campaign, error) {
	c, err := db.moveCampaign(ctx, id, campaign, by, "campaign.resume", func(tx pgx.Tx, c *Campaign) (bool, error) {
		if c.Status == CampaignRunning || c.Status != CampaignPaused {
			return false, unless(c.Status == CampaignRunning, c.Status)
		}
		if _, err := tx.Exec(ctx, setCampaignStatus, id, campaign, string(CampaignRunning)); err != nil {
			return false, err
		}
		_, err := tx.Exec(ctx, setBatchState, id, campaign, []string{"paused"}, "running")
		return true, err
	})
	if err != nil {
		return c, err
	}
	// What sleeps wakes by itself in a while: this only makes it sooner.
	for after, more := uuid.Nil, true; more; {
		err := db.asWorker(ctx, func(tx pgx.Tx) error {
			if err := planFreely(ctx, tx); err != nil {
				return err
			}
			err := tx.QueryRow(ctx, wakeCampaign, id, campaign, after, wakeBatch).Scan(&after)
			if more = err == nil; errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		})
		if err != nil {
			return c, wrapped("store: resume a campaign", err)
		}
	}
	return c, nil
}

// wakeBatch is how many runs one transaction wakes.
const wakeBatch = 2000

// CancelCampaign ends a campaign for good. When it returns, nothing of it is
// sent but what [Replanned.InFlight] names; broken off, the same call goes on,
// and so does the planner by itself. Errors are [StatusError], [ErrNote] or wrap
// [ErrNotFound] or [ErrUnavailable].
func (db *DB) CancelCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by Hand) (c Campaign, out Replanned, err error) {
	c, err = db.moveCampaign(ctx, id, campaign, by, "campaign.cancel", func(tx pgx.Tx, c *Campaign) (bool, error) {
		switch c.Status {
		case CampaignCancelled:
			return false, nil
		case CampaignCompleted:
			return false, &StatusError{c.Status}
		case CampaignDraft, CampaignScheduled, CampaignRunning, CampaignPaused:
		}
		if _, err := tx.Exec(ctx, setCampaignStatus, id, campaign, string(CampaignCancelled)); err != nil {
			return false, err
		}
		_, err := tx.Exec(ctx, setBatchState, id, campaign, []string{"running", "paused"}, "cancelled")
		return true, err
	})
	if err != nil {
		return c, out, err
	}
	out, err = db.stopCampaign(ctx, id, campaign, by)
	return c, out, err
}

func (db *DB) stopCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by Hand) (Replanned, error) {
	return db.Replan(ctx, id, Replan{Campaign: campaign, Hand: by, Action: "campaign.stop"}, Stop(event.CampaignCancelled))
}

// moveCampaign changes where a campaign stands, under its row; move reports
// whether it changed anything.
func (db *DB) moveCampaign(ctx context.Context, id tenant.ID, campaign uuid.UUID, by Hand, action string, move func(pgx.Tx, *Campaign) (bool, error)) (out Campaign, err error) {
	if err := by.check(false); err != nil {
		return out, err
	}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		c, err := oneByID(ctx, db, tx, id, campaign, selectCampaign+" FOR UPDATE OF c", scanCampaign)
		if err != nil {
			return err
		}
		changed, err := move(tx, &c)
		if err != nil {
			return err
		}
		if out, err = oneByID(ctx, db, tx, id, campaign, selectCampaign, scanCampaign); err != nil || !changed {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Hand: by, Action: action, Subject: "campaign", SubjectID: campaign, Detail: map[string]any{"status": string(out.Status)}})
	})
	return out, wrapped("store: campaign", err)
}

const startDueCampaigns = `
WITH due AS (
  SELECT c.tenant_id, c.id FROM campaigns c JOIN tenants t ON t.id = c.tenant_id AND t.data_key IS NOT NULL
  WHERE  c.status = 'scheduled' AND c.scheduled_at <= (SELECT app_now())
  ORDER  BY c.scheduled_at LIMIT 20 FOR UPDATE OF c SKIP LOCKED
), made AS (
  INSERT INTO batches (tenant_id, id, campaign_id, fire_at, as_of, workflow_id, version, filter, created_at, updated_at)
  SELECT c.tenant_id, gen_random_uuid(), c.id, c.scheduled_at, (c.scheduled_at AT TIME ZONE t.time_zone)::date, w.id, nullif(w.version, 0), g.filter, (SELECT app_now()), (SELECT app_now())
  FROM   due d
  JOIN   campaigns c ON c.tenant_id = d.tenant_id AND c.id = d.id
  JOIN   tenants t ON t.id = c.tenant_id
  JOIN   workflows w ON w.tenant_id = c.tenant_id AND w.id = c.workflow_id
  LEFT   JOIN segments g ON g.tenant_id = c.tenant_id AND g.id = c.segment_id
  ON CONFLICT DO NOTHING
)
UPDATE campaigns c SET status = 'running', started_at = (SELECT app_now()), updated_at = (SELECT app_now())
FROM   due d WHERE c.tenant_id = d.tenant_id AND c.id = d.id`

// A campaign is over when all of its audience was planned for and none of its
// runs is open; one whose workflow was switched off is cancelled.
const finishCampaigns = `
UPDATE campaigns c
SET    status = CASE b.state WHEN 'done' THEN 'completed' ELSE 'cancelled' END, finished_at = (SELECT app_now()), updated_at = (SELECT app_now())
FROM   batches b
WHERE  c.status = 'running' AND b.tenant_id = c.tenant_id AND b.campaign_id = c.id AND b.state IN ('done', 'cancelled')
AND    NOT EXISTS (SELECT FROM workflow_executions e WHERE e.tenant_id = c.tenant_id AND e.campaign_id = c.id AND e.status IN ('pending', 'running'))`

const selectUnstopped = `
SELECT c.tenant_id, c.id FROM campaigns c
WHERE  c.status = 'cancelled' AND c.finished_at > (SELECT app_now()) - interval '7 days'
AND    EXISTS (SELECT FROM workflow_executions e WHERE e.tenant_id = c.tenant_id AND e.campaign_id = c.id AND e.status IN ('pending', 'running') AND e.reason IS NULL)
LIMIT  1`

// StartCampaigns begins every scheduled campaign whose time has come, and
// returns how many.
func (db *DB) StartCampaigns(ctx context.Context) (n int, err error) {
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, startDueCampaigns)
		n = int(tag.RowsAffected())
		return err
	})
	return n, wrapped("store: start campaigns", err)
}

// stopPatience bounds one go at stopping a cancelled campaign's runs.
const stopPatience = 30 * time.Second

// FinishCampaigns ends the campaigns that are over, and goes on with stopping
// what was cancelled and is open still.
func (db *DB) FinishCampaigns(ctx context.Context) error {
	var id tenant.ID
	var left uuid.UUID
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, finishCampaigns); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, selectUnstopped).Scan(&id, &left)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil || left == uuid.Nil {
		return wrapped("store: finish campaigns", err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	_, err = db.stopCampaign(ctx, id, left, Hand{Actor: "system:campaigns"})
	return err
}
