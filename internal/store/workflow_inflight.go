package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// InFlight is what becomes of runs that began with an earlier version.
type InFlight string

// The policies.
const (
	KeepRuns    InFlight = "keep"    // they go on with their own
	MigrateRuns InFlight = "migrate" // they go over to the new one, if it is of their notation
	StopRuns    InFlight = "stop"    // what is planned of them is cancelled
)

// Publish says what is published and what becomes of runs in flight.
type Publish struct {
	Workflow uuid.UUID
	// Seen is the draft version that the caller means; 0: whatever there is.
	Seen     int32
	InFlight InFlight
	// DryRun says what would happen, and changes nothing.
	DryRun bool
	Hand
}

// Published is what publishing did, or would do.
type Published struct {
	Workflow uuid.UUID
	Version  int32
	// Fresh says that it is a new version; what is published already is not
	// published again.
	Fresh bool
	Replanned
}

const clearDraft = `UPDATE workflows SET draft = NULL WHERE tenant_id = $1 AND id = $2`

// PublishWorkflow makes a workflow's draft its next version, templates' texts
// included, and applies the policy to runs in flight; again makes their plans
// anew. Without a draft it pins the templates' texts as they are now. Broken off
// after the first, the same call goes on. Errors wrap
// [clinic.InvalidWorkflowError], [ErrDraftMoved], [ErrArchived], [ErrNotFound],
// [ErrNote] or [ErrUnavailable].
func (db *DB) PublishWorkflow(ctx context.Context, id tenant.ID, p Publish, again func(*Replanning) NewPlan) (out Published, err error) {
	if err := p.check(false); err != nil {
		return out, err
	}
	var next publication
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		f, err := oneFlow(ctx, tx, lockPublished, id, p.Workflow)
		if err != nil {
			return err
		}
		switch {
		case p.Seen != 0 && f.draftNumber != p.Seen:
			return ErrDraftMoved
		case f.archived:
			return ErrArchived
		}
		w, err := f.content()
		if err != nil {
			return err
		}
		templates, err := templatesOf(ctx, tx, id)
		if err != nil {
			return err
		}
		w.PublicURL = db.publicURL
		if next, err = publishing(f, w, templates); err != nil || p.DryRun {
			return err
		}
		return publishDraft(ctx, tx, id, &next, p)
	})
	if err == nil {
		out, err = db.inFlight(ctx, id, &next, p, again)
	}
	if err != nil {
		return Published{}, fmt.Errorf("store: publish: %w", err)
	}
	return out, nil
}

// publishing checks a workflow and says what publishing it would do.
func publishing(f *flow, w clinic.Workflow, templates map[string]clinic.Template) (publication, error) {
	d, problems := w.Build(templates)
	if len(problems) > 0 {
		return publication{}, &clinic.InvalidWorkflowError{Name: w.Name, Problems: problems}
	}
	return prepare(f, w, d)
}

func publishDraft(ctx context.Context, tx pgx.Tx, id tenant.ID, next *publication, p Publish) error {
	if err := next.write(ctx, tx, id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, clearDraft, id, next.id); err != nil {
		return err
	}
	return audit(ctx, tx, id, AuditEntry{Hand: p.Hand, Action: "workflow.publish", Subject: "workflow", SubjectID: next.id, Detail: map[string]any{
		"version": next.version, "fresh": next.fresh, "in_flight": string(p.InFlight),
	}})
}

const countEarlier = `
SELECT count(*), coalesce(sum((SELECT count(*) FROM steps s WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id AND s.state = 'planned')), 0)::bigint
FROM   workflow_executions e
WHERE  e.tenant_id = $1 AND e.workflow_id = $2 AND e.version <> $3 AND e.status IN ('pending', 'running')`

// inFlight applies the policy to the runs of earlier versions.
func (db *DB) inFlight(ctx context.Context, id tenant.ID, next *publication, p Publish, again func(*Replanning) NewPlan) (out Published, err error) {
	out = Published{Workflow: next.id, Version: next.version, Fresh: next.fresh}
	off := !*next.w.IsActive
	if off {
		p.InFlight = StopRuns // whatever was asked: nothing of it is sent any more
	}
	if p.InFlight == KeepRuns || p.InFlight == "" {
		err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, countEarlier, id, next.id, next.version).Scan(&out.Runs, &out.Kept)
		})
		return out, err
	}
	if !p.DryRun {
		if err := db.settleEarlier(ctx); err != nil {
			return out, err
		}
	}
	r := Replan{Workflow: next.id, Version: next.version, Hand: p.Hand, Action: "workflow.migrate", DryRun: p.DryRun}
	if p.DryRun {
		r.Next = next.definition
	}
	if p.InFlight == StopRuns {
		r.Version, r.Except, r.Action, again = 0, next.version, "workflow.stop", Stop(event.WorkflowStopped)
	}
	if off {
		r.Except = 0
	}
	out.Replanned, err = db.Replan(ctx, id, r, again)
	return out, err
}

// earlierWait bounds how long a change waits for transactions that may not have
// seen it.
const earlierWait = 3 * time.Second

const selectSnapshot = `SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint`

// settleEarlier waits until every writing transaction that is under way now has
// ended: one that plans runs may have read a workflow as it was before it was
// switched off, and its runs are seen only once it has committed. A transaction
// that lasts longer than [earlierWait], such as a migration's, is not waited
// for; those that plan last milliseconds.
func (db *DB) settleEarlier(ctx context.Context) error {
	var until int64
	ctx, stop := context.WithTimeout(ctx, earlierWait)
	defer stop()
	for {
		var oldest, newest int64
		if err := db.api.QueryRow(ctx, selectSnapshot).Scan(&oldest, &newest); err != nil {
			return unavailable(err)
		}
		if until == 0 {
			until = newest
		}
		if oldest >= until {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
}
