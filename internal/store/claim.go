package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Candidate is a due step with everything that decides whether it is sent,
// read while its run's and its patient's rows are locked.
type Candidate struct {
	event.Step
	Root        uuid.UUID
	Run         uuid.UUID
	Workflow    uuid.UUID
	Patient     uuid.UUID
	Campaign    uuid.UUID // zero: none
	Node        string
	DueAt       time.Time
	Expires     time.Time
	Late        workflow.Late
	FirstIntent time.Time // zero: no request of this cycle was written

	// The world as it is now.
	Now    time.Time
	Paused bool
	// CampaignPaused and CampaignOver are of the campaign that it belongs to.
	CampaignPaused, CampaignOver bool
	RunDone                      bool
	RunEpoch                     int32
	Suppressed                   []string // classes that the patient opted out of on this channel; "*" is every one
	Consented                    bool     // to marketing on this channel; other classes need none
	Clinic                       Clinic
	Account                      uuid.UUID // zero: the tenant has none for this channel
	Erased                       bool
	Definition                   *workflow.Definition
	PatientName                  string
	To                           phone.Number
	// Payload is the trigger's, opened only where the definition maps
	// variables into it.
	Payload []byte
	// Recent is what the patient was sent lately, where the clinic caps it, and
	// Counted says that this message is among it: it is sent again, or by
	// another channel.
	Recent  []workflow.Sending
	Counted bool
	// Link is the token that stands for the message's link where that is
	// followed, "" where it is not.
	Link string

	key seal.Key
}

// Clinic is what of a tenant's settings a message depends on.
type Clinic struct {
	Name       string
	Phone      string
	Zone       *time.Location
	Quiet      bool
	QuietFrom  workflow.Clock
	QuietUntil workflow.Clock
	// Windows are when messages of a class may go; see [workflow.Hours].
	Windows map[workflow.Class][]workflow.Window
	// Caps are how many messages a patient may have; see [workflow.Caps].
	Caps workflow.Caps
}

// rules reads what a clinic's hours and caps are kept as.
func (c *Clinic) rules(windows, caps []byte) (err error) {
	if c.Windows, err = settingOf[map[workflow.Class][]workflow.Window](windows); err != nil {
		return err
	}
	c.Caps, err = settingOf[workflow.Caps](caps)
	return err
}

// Hours are the clinic's, without a workflow's part.
func (c Clinic) Hours() workflow.Hours {
	h := workflow.Hours{Zone: c.Zone, Clinic: c.Windows}
	if c.Quiet {
		h.Quiet = &workflow.Window{From: c.QuietFrom, Until: c.QuietUntil}
	}
	return h
}

// Decision is what the dispatcher makes of a [Candidate]: claim it with this
// text, or let it wait until a time. Neither leaves it alone; what became of
// it is then told by a delivery event.
type Decision struct {
	Claim   bool
	Content string
	// Wait, if set, puts the step back to sleep, and Reason says why.
	Wait   time.Time
	Reason event.Reason
}

// Claim is the proof that this caller, and nobody else, may write one request.
type Claim struct {
	Tenant  tenant.ID
	Step    uuid.UUID
	Attempt int32
}

// lockPlans takes the rows that a change of plan or an opt-out takes too: a
// claim and a change cannot pass each other. The next statement sees what they
// guard as it is once they are held. Whoever changes a patient takes the rows
// that were merged into it too: the run's own is enough.
const lockPlans = `
SELECT 1
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
JOIN   steps s ON s.tenant_id = n.tenant_id AND s.id = n.id
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
ORDER  BY e.id
FOR    SHARE OF e, p`

const selectCandidates = `
SELECT s.tenant_id, s.id, s.lane, s.attempt, s.plan_epoch, s.root_id, s.execution_id, s.node, s.channel,
       s.due_at, s.expires_at, s.late, s.first_intent_at,
       (SELECT app_now()), t.paused_at IS NOT NULL OR f.paused_at IS NOT NULL,
       e.status IN ('completed', 'failed'), e.plan_epoch, e.workflow_id, e.version, e.patient_id, e.trigger_id, e.campaign_id,
       coalesce((SELECT k.status FROM campaigns k WHERE k.tenant_id = e.tenant_id AND k.id = e.campaign_id), ''),
       ARRAY(SELECT coalesce(x.class, '*') FROM suppressions x WHERE x.tenant_id = s.tenant_id AND x.phone_index = CASE WHEN p.merged_into IS NULL THEN p.phone_index ELSE o.phone_index END
             AND x.lifted_at IS NULL AND (x.channel IS NULL OR x.channel = s.channel)),
       coalesce((SELECT c.granted FROM consents c WHERE c.tenant_id = s.tenant_id AND c.patient_id = coalesce(p.merged_into, p.id)
                 AND c.purpose = 'marketing' AND c.channel = s.channel ORDER BY c.at DESC LIMIT 1), false),
       t.name, coalesce(t.phone, ''), t.time_zone, t.quiet_from, t.quiet_until, t.send_windows, t.frequency_caps, t.data_key,
       a.id, p.data_key, p.name, p.phone, o.id, o.data_key, o.name, o.phone
FROM   unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) AS n (tenant_id, id, attempt, plan_epoch)
JOIN   steps s ON s.tenant_id = n.tenant_id AND s.id = n.id
JOIN   workflow_executions e ON e.tenant_id = s.tenant_id AND e.id = s.execution_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
JOIN   tenants t ON t.id = s.tenant_id
JOIN   platform f ON f.singleton
LEFT   JOIN patients o ON o.tenant_id = p.tenant_id AND o.id = p.merged_into
LEFT   JOIN provider_accounts a ON a.tenant_id = s.tenant_id AND a.channel = s.channel AND a.enabled
WHERE  s.state = 'planned' AND s.attempt = n.attempt AND s.plan_epoch = n.plan_epoch`

const selectPayload = `SELECT payload, payload_key FROM triggers WHERE tenant_id = $1 AND id = $2`

// A text of an appointment says what the appointment is now.
const selectSendingPayload = `
SELECT t.payload, t.payload_key, CASE WHEN t.kind = 'appointment' THEN (
         SELECT ` + currentAppointment + ` FROM appointment_events v JOIN appointments ap ON ap.tenant_id = v.tenant_id AND ap.id = v.appointment_id
         WHERE  v.tenant_id = t.tenant_id AND v.trigger_id = t.id) END
FROM   triggers t
WHERE  t.tenant_id = $1 AND t.id = $2`

const claimSteps = `
WITH claimed AS (
  UPDATE steps s
  SET    state = 'claimed', reason = NULL, attempt = s.attempt + 1, claimed_at = (SELECT app_now()),
         first_intent_at = coalesce(s.first_intent_at, (SELECT app_now())), updated_at = (SELECT app_now())
  FROM   unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::bytea[])
         AS n (tenant_id, id, attempt, account_id, content)
  WHERE  s.tenant_id = n.tenant_id AND s.id = n.id AND s.state = 'planned' AND s.attempt = n.attempt
  RETURNING s.tenant_id, s.id, s.attempt, s.channel, s.plan_epoch, s.claimed_at, n.account_id, n.content
), written AS (
  INSERT INTO attempts (tenant_id, step_id, attempt, channel, account_id, plan_epoch, claimed_at, content, logged)
  SELECT tenant_id, id, attempt, channel, account_id, plan_epoch, claimed_at, content, attempt = 1 FROM claimed
)
SELECT tenant_id, id, attempt FROM claimed`

const sleepSteps = `
UPDATE steps s SET wake_at = n.wake_at, reason = n.reason, published = false
FROM   unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[]) AS n (tenant_id, id, wake_at, reason)
WHERE  s.tenant_id = n.tenant_id AND s.id = n.id AND s.state = 'planned'`

// ClaimSteps reads the candidates among due, asks decide about each, and in
// the same transaction claims those it chose: state and attempt, with
// the text, before any byte goes out. Steps that moved on meanwhile are not candidates.
// decide must be pure.
func (db *DB) ClaimSteps(ctx context.Context, due []event.Step, decide func(*Candidate) Decision) (claims []Claim, err error) {
	db.handle(len(due))
	err = db.asPipeline(ctx, func(tx *pipeline) error {
		claims = nil
		candidates, err := db.candidates(ctx, tx, due)
		if err != nil {
			return err
		}
		sent, err := frequencyOf(ctx, tx, candidates)
		if err != nil {
			return err
		}
		var claim claimRows
		var links linkRows
		var sleep sleepRows
		for _, c := range candidates {
			sent.tell(c)
			switch d := decide(c); {
			case d.Claim:
				claim.add(c, d.Content)
				links.add(c)
				sent.count(c)
			case !d.Wait.IsZero():
				sleep.tenants, sleep.ids = append(sleep.tenants, c.Tenant), append(sleep.ids, c.ID)
				sleep.until, sleep.reasons = append(sleep.until, d.Wait), append(sleep.reasons, nullText(d.Reason))
			}
		}
		var batch pgx.Batch
		if len(sleep.ids) > 0 {
			batch.Queue(sleepSteps, sleep.tenants, sleep.ids, sleep.until, sleep.reasons)
		}
		if len(claim.ids) > 0 {
			batch.Queue(claimSteps, claim.args()...).Query(func(rows pgx.Rows) (err error) {
				claims, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Claim, err error) {
					return c, row.Scan(&c.Tenant, &c.Step, &c.Attempt)
				})
				return err
			})
		}
		links.queue(&batch)
		if err := sent.queue(&batch); err != nil {
			return err
		}
		return tx.finish(ctx, &batch)
	})
	if err != nil {
		return nil, fmt.Errorf("store: claim steps: %w", err)
	}
	return claims, nil
}

func (db *DB) candidates(ctx context.Context, tx querier, due []event.Step) (out []*Candidate, err error) {
	tenants, ids := make([]tenant.ID, len(due)), make([]uuid.UUID, len(due))
	attempts, epochs := make([]int32, len(due)), make([]int32, len(due))
	for i, s := range due {
		tenants[i], ids[i], attempts[i], epochs[i] = s.Tenant, s.ID, s.Attempt, s.PlanEpoch
	}
	type row struct {
		*Candidate
		version                            int32
		trigger                            uuid.UUID
		tenantKey, patientKey, name, phone []byte
		into                               *uuid.UUID // the patient's row was merged into this one
		intoKey, intoName, intoPhone       []byte
	}
	var rows []row
	var batch pgx.Batch
	batch.Queue(lockPlans, tenants, ids)
	batch.Queue(selectCandidates, tenants, ids, attempts, epochs).Query(func(res pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(res, func(r pgx.CollectableRow) (row, error) {
			c := new(Candidate)
			w := row{Candidate: c}
			var zone string
			var from, until pgtype.Time
			var windows, caps []byte
			var account, campaign *uuid.UUID
			var status CampaignStatus
			var intent *time.Time
			err := r.Scan(&c.Tenant, &c.ID, &c.Lane, &c.Attempt, &c.PlanEpoch, &c.Root, &c.Run, &c.Node, &c.Channel,
				&c.DueAt, &c.Expires, &c.Late, &intent,
				&c.Now, &c.Paused, &c.RunDone, &c.RunEpoch, &c.Workflow, &w.version, &c.Patient, &w.trigger, &campaign, &status,
				&c.Suppressed, &c.Consented,
				&c.Clinic.Name, &c.Clinic.Phone, &zone, &from, &until, &windows, &caps, &w.tenantKey,
				&account, &w.patientKey, &w.name, &w.phone, &w.into, &w.intoKey, &w.intoName, &w.intoPhone)
			c.Clinic.Zone, c.Clinic.Quiet = location(zone), from.Valid
			c.Clinic.QuietFrom, c.Clinic.QuietUntil = clock(from), clock(until)
			if account != nil {
				c.Account = *account
			}
			if campaign != nil {
				c.Campaign, c.CampaignPaused, c.CampaignOver = *campaign, status == CampaignPaused, status == CampaignCancelled
			}
			if intent != nil {
				c.FirstIntent = *intent
			}
			if err == nil {
				err = c.Clinic.rules(windows, caps)
			}
			return w, err
		})
		return err
	})
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return nil, err
	}
	for _, w := range rows {
		if w.Definition, err = db.definition(ctx, tx, w.Tenant, w.Workflow, w.version); err != nil {
			return nil, err
		}
		// Only a destroyed key means erased. Any other failure to open, such as a
		// wrong master key, must leave the step where it is.
		if w.Erased = w.tenantKey == nil || w.patientKey == nil || w.into != nil && w.intoKey == nil; w.Erased {
			out = append(out, w.Candidate)
			continue
		}
		if err := db.openPatient(w.Candidate, w.tenantKey, w.patientKey, w.name, w.phone); err != nil {
			return nil, err
		}
		if w.into != nil {
			// Sent to whom it is now; the run keeps its own key.
			own := w.key
			w.Patient, w.To = *w.into, phone.Number{}
			if err := db.openPatient(w.Candidate, w.tenantKey, w.intoKey, w.intoName, w.intoPhone); err != nil {
				return nil, err
			}
			w.key = own
		}
		s, ok := w.Definition.Step(w.Node)
		if ok && s.Message.Follow != "" {
			w.Link = linkToken(w.Candidate)
		}
		if ok && len(s.Message.Variables) > 0 {
			if w.Payload, err = openPayload(ctx, tx, w.Candidate, w.trigger); err != nil {
				return nil, err
			}
		}
		out = append(out, w.Candidate)
	}
	return out, nil
}

func (db *DB) openPatient(c *Candidate, tenantKey, patientKey, name, number []byte) error {
	tk, err := db.unwrap(c.Tenant, tenantKey)
	if err != nil {
		return err
	}
	if c.key, err = tk.Unwrap(patientKey, patientKeyAAD(c.Tenant, c.Patient)); err != nil {
		return err
	}
	if c.PatientName, err = openText(c.key, name, column(c.Tenant, "patients", "name", c.Patient)); err != nil {
		return err
	}
	e164, err := openText(c.key, number, column(c.Tenant, "patients", "phone", c.Patient))
	if err != nil || e164 == "" {
		return err
	}
	c.To, err = phone.FromE164(e164)
	return err
}

// openPayload returns nil where the payload can no longer be opened: its
// variables are then missing, and the step fails for that.
func openPayload(ctx context.Context, tx querier, c *Candidate, trigger uuid.UUID) ([]byte, error) {
	var sealed, wrapped []byte
	var about *Appointment
	if err := tx.QueryRow(ctx, selectSendingPayload, c.Tenant, trigger).Scan(&sealed, &wrapped, &about); err != nil {
		return nil, err
	}
	key, err := seal.Unwrap(c.key, wrapped, payloadKeyAAD(c.Tenant, "triggers", trigger))
	if err != nil {
		return nil, nil
	}
	payload, err := key.Open(sealed, column(c.Tenant, "triggers", "payload", trigger))
	if err != nil {
		return nil, nil
	}
	return about.over(payload, c.Clinic.Zone), nil
}

type claimRows struct {
	tenants       []tenant.ID
	ids, accounts []uuid.UUID
	attempts      []int32
	contents      [][]byte
}

func (r *claimRows) add(c *Candidate, content string) {
	r.tenants, r.ids = append(r.tenants, c.Tenant), append(r.ids, c.ID)
	r.accounts, r.attempts = append(r.accounts, c.Account), append(r.attempts, c.Attempt)
	r.contents = append(r.contents, sealText(c.key, content, column(c.Tenant, "message_logs", "content", c.ID)))
}

func (r *claimRows) args() []any {
	return []any{r.tenants, r.ids, r.attempts, r.accounts, r.contents}
}

type sleepRows struct {
	tenants []tenant.ID
	ids     []uuid.UUID
	until   []time.Time
	reasons []*string
}
