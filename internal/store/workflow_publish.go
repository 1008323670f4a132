package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

const selectPublished = `
SELECT w.id, w.name, w.trigger_type, coalesce(w.target_surgery_type, ''), w.is_active, w.archived_at IS NOT NULL, w.version, w.draft_version,
       coalesce(w.draft::text, ''), coalesce(v.definition, 'null')
FROM   workflows w
LEFT   JOIN workflow_versions v ON v.tenant_id = w.tenant_id AND v.workflow_id = w.id AND v.version = w.version
WHERE  w.tenant_id = $1 AND ($2::uuid IS NULL OR w.id = $2) AND ($3::text IS NULL OR w.name = $3)
ORDER  BY w.id`

const lockPublished = selectPublished + `
FOR    UPDATE OF w`

// flow is a workflow as the ledger has it.
type flow struct {
	id                   uuid.UUID
	name, kind, target   string
	active, archived     bool
	version, draftNumber int32
	draft                string // a JSON document; "": none
	definition           []byte // of the published version; null: none
}

// flowsOf reads one workflow by id or by name, or all of a tenant's: by
// [selectPublished], or [lockPublished] before a change.
func flowsOf(ctx context.Context, tx querier, sql string, id tenant.ID, wf uuid.UUID, name string) ([]flow, error) {
	rows, err := tx.Query(ctx, sql, id, nullID(wf), nullText(name))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s flow, err error) {
		return s, row.Scan(&s.id, &s.name, &s.kind, &s.target, &s.active, &s.archived, &s.version, &s.draftNumber, &s.draft, &s.definition)
	})
}

// fields are what [applying.compare] tells differences of.
func (s *flow) fields() map[string]string {
	if s == nil {
		return nil
	}
	return map[string]string{"trigger_type": s.kind, "target_surgery_type": s.target, "is_active": fmt.Sprint(s.active && !s.archived), "definition": canonical(s.definition)}
}

const upsertWorkflow = `
INSERT INTO workflows (tenant_id, id, name, trigger_type, target_surgery_type, is_active, steps, visual_data, version, draft_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)
ON CONFLICT (tenant_id, name) DO UPDATE SET trigger_type = EXCLUDED.trigger_type, target_surgery_type = EXCLUDED.target_surgery_type,
  is_active = EXCLUDED.is_active, steps = EXCLUDED.steps, visual_data = EXCLUDED.visual_data, version = EXCLUDED.version,
  draft_version = workflows.draft_version + 1, archived_at = NULL, updated_at = (SELECT app_now())`

const insertVersion = `INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition) VALUES ($1, $2, $3, $4)`

// publication is a workflow that was checked, and what it is to the ledger.
type publication struct {
	id      uuid.UUID
	version int32
	// fresh: the definition, a template's text included, is not the published one.
	fresh      bool
	fields     map[string]string
	w          clinic.Workflow
	definition *workflow.Definition
	json       []byte
}

// prepare says what publishing w would do; old is nil for a new workflow.
func prepare(old *flow, w clinic.Workflow, d *workflow.Definition) (p publication, err error) {
	p = publication{w: w, definition: d}
	if p.json, err = json.Marshal(d); err != nil {
		return p, err
	}
	p.fields = map[string]string{"trigger_type": w.TriggerType, "target_surgery_type": w.TargetSurgeryType, "is_active": fmt.Sprint(*w.IsActive), "definition": canonical(p.json)}
	if old == nil {
		p.id, p.version, p.fresh = uuid.Must(uuid.NewV7()), 1, true
		return p, nil
	}
	p.id, p.version = old.id, old.version
	if p.fresh = canonical(old.definition) != p.fields["definition"]; p.fresh {
		p.version++
	}
	return p, nil
}

// write makes it the published one. Whoever publishes, by a file or by the API,
// does it here: runs in flight stay on their version.
func (p *publication) write(ctx context.Context, tx querier, id tenant.ID) error {
	steps, err := json.Marshal(append([]workflow.Step{}, p.definition.Steps...)) // [] and not null
	if err != nil {
		return err
	}
	var visual *string
	if p.definition.Drawing != nil {
		visual = &p.definition.Drawing.VisualData
	}
	if _, err := tx.Exec(ctx, upsertWorkflow, id, p.id, p.w.Name, p.w.TriggerType, nullText(p.w.TargetSurgeryType), *p.w.IsActive, steps, visual, p.version); err != nil {
		return err
	}
	if !p.fresh {
		return nil
	}
	_, err = tx.Exec(ctx, insertVersion, id, p.id, p.version, p.json)
	return err
}

// publish writes the workflows of a file.
func (a *applying) publish(ctx context.Context) error {
	list, err := flowsOf(ctx, a.tx, lockPublished, a.id, uuid.Nil, "")
	if err != nil {
		return err
	}
	have := map[string]*flow{}
	for i := range list {
		have[list[i].name] = &list[i]
	}
	templates := map[string]clinic.Template{}
	for _, t := range a.f.Templates {
		templates[t.Name] = t
	}
	for _, w := range a.f.Workflows {
		d, err := w.Definition(templates)
		if err != nil {
			return err
		}
		p, err := prepare(have[w.Name], w, d)
		if err != nil {
			return err
		}
		if !a.compare("workflow", w.Name, have[w.Name].fields(), p.fields) {
			continue
		}
		a.workflows[w.Name] = p.id
		if err := p.write(ctx, a.tx, a.id); err != nil {
			return err
		}
	}
	return nil
}

// canonical is the same text for the same JSON, whatever jsonb made of it, and
// for the same drawing, whatever white space its editor writes.
func canonical(b []byte) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return string(b)
	}
	if whole, ok := v.(map[string]any); ok {
		if drawing, ok := whole["drawing"].(map[string]any); ok {
			if text, ok := drawing["visual_data"].(string); ok {
				drawing["visual_data"], _ = workflow.Compact(text)
			}
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(b)
	}
	return string(out)
}
