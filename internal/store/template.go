package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Template is what is sent, under a name. One with a trigger is a small workflow
// as well: its messages go so long after what it names.
type Template struct {
	ID uuid.UUID
	clinic.Template
	// TriggerType is a workflow's, or "": then nothing starts it but workflows
	// and campaigns that name it.
	TriggerType string
	Value       int
	Unit        string // minutes, hours, days, weeks
	// Messages are sent in place of its own texts, where there are some.
	Messages []TemplateMessage
	Active   bool
	Version  int32
	Created  time.Time
	Updated  time.Time
}

// TemplateMessage is one of several messages of a template.
type TemplateMessage struct {
	KakaoTemplateCode string `json:"kakao_template_code,omitempty" maxLength:"20"`
	KakaoText         string `json:"kakao_text,omitempty" maxLength:"1000"`
	SMSTitle          string `json:"sms_title,omitempty" maxLength:"40"`
	SMSText           string `json:"sms_text,omitempty" maxLength:"2000"`
	Delay             int    `json:"delay,omitempty" minimum:"0" maximum:"400" doc:"After the template's own time, in its trigger_unit; days where it has none."`
}

const templateColumns = `
       t.id, t.name, t.class, coalesce(t.kakao_template_code, ''), t.kakao_status, coalesce(t.kakao_text, ''), coalesce(t.sms_title, ''), coalesce(t.sms_text, ''),
       coalesce(t.trigger_type, ''), coalesce(t.trigger_value, 0), coalesce(t.trigger_unit, ''), coalesce(t.messages, '[]'), t.is_active, t.version, t.created_at, t.updated_at
FROM   templates t`

const selectTemplatePage = `
SELECT ` + templateColumns + `
WHERE  t.tenant_id = $1 AND ($2::uuid IS NULL OR t.id < $2)
ORDER  BY t.id DESC LIMIT $3`

const selectTemplate = `SELECT ` + templateColumns + ` WHERE t.tenant_id = $1 AND t.id = $2`

const insertTemplate = `
INSERT INTO templates (tenant_id, id, name, class, kakao_template_code, kakao_status, kakao_text, sms_title, sms_text, trigger_type, trigger_value, trigger_unit, messages, is_active, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, (SELECT app_now()), (SELECT app_now()))`

const updateTemplate = `
UPDATE templates
SET    name = $3, class = $4, kakao_template_code = $5, kakao_status = $6, kakao_text = $7, sms_title = $8, sms_text = $9,
       trigger_type = $10, trigger_value = $11, trigger_unit = $12, messages = $13, is_active = $14, version = version + 1, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

const templateCursor = "cursor.templates"

// Templates returns one page of a clinic's templates, newest first. Errors wrap
// [ErrCursor] or [ErrUnavailable].
func (db *DB) Templates(ctx context.Context, id tenant.ID, cursor string, size int) (page Page[Template], err error) {
	page, err = pageByID(ctx, db, id, templateCursor, cursor, size, selectTemplatePage, scanTemplate, func(t Template) uuid.UUID { return t.ID })
	return page, wrapped("store: templates", err)
}

func scanTemplate(row pgx.CollectableRow, v viewer) (t Template, err error) {
	err = row.Scan(&t.ID, &t.Name, &t.Class, &t.KakaoTemplateCode, &t.KakaoStatus, &t.KakaoText, &t.SMSTitle, &t.SMSText,
		&t.TriggerType, &t.Value, &t.Unit, &t.Messages, &t.Active, &t.Version, &t.Created, &t.Updated)
	t.Created, t.Updated = t.Created.In(v.zone), t.Updated.In(v.zone)
	return t, err
}

// TemplateByID returns one, or [ErrNotFound].
func (db *DB) TemplateByID(ctx context.Context, id tenant.ID, template uuid.UUID) (t Template, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) (err error) {
		t, err = oneByID(ctx, db, tx, id, template, selectTemplate, scanTemplate)
		return err
	})
	return t, wrapped("store: template", err)
}

// CreateTemplate saves a template and, where it has a trigger, publishes the
// workflow that it is. Errors are [ErrTaken], [clinic.InvalidWorkflowError] or
// wrap [ErrUnavailable].
func (db *DB) CreateTemplate(ctx context.Context, id tenant.ID, t Template) (out Template, err error) {
	t.ID = uuid.Must(uuid.NewV7())
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		return db.saveTemplate(ctx, tx, id, insertTemplate, "template.create", t, &out)
	})
	return out, wrapped("store: create a template", err)
}

// ChangeTemplate changes one; seen is the version that the change was made from,
// 0 whichever there is. Workflows that name it go on with its old text until
// they are published again; one that has a trigger is published at once, and its
// runs under way go on by what they began with. One that is switched off, or
// loses its trigger, starts no more and stops what is planned: nothing of it is
// sent then but what stopped names. Errors are those of [DB.CreateTemplate],
// [ErrChanged] or wrap [ErrNotFound].
func (db *DB) ChangeTemplate(ctx context.Context, id tenant.ID, template uuid.UUID, seen int32, change func(*Template)) (out Template, stopped Replanned, err error) {
	var retired uuid.UUID
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		t, err := oneByID(ctx, db, tx, id, template, selectTemplate+" FOR UPDATE", scanTemplate)
		if err != nil {
			return err
		}
		if seen != 0 && seen != t.Version {
			return ErrChanged
		}
		name, timed := t.Name, t.TriggerType != ""
		change(&t)
		t.Name = name // workflows name it
		if err := db.saveTemplate(ctx, tx, id, updateTemplate, "template.change", t, &out); err != nil {
			return err
		}
		if !timed || t.Active && t.TriggerType != "" {
			return nil
		}
		err = tx.QueryRow(ctx, retireWorkflow, id, smallName(timedPrefix, name)).Scan(&retired)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // whoever deleted it has stopped it
		}
		return err
	})
	if err == nil && retired != uuid.Nil {
		stopped, err = db.Replan(ctx, id, Replan{Workflow: retired, Hand: acting(ctx), Action: "workflow.stop"}, Stop(event.WorkflowStopped))
	}
	return out, stopped, wrapped("store: change a template", err)
}

const retireWorkflow = `UPDATE workflows SET is_active = false, updated_at = (SELECT app_now()) WHERE tenant_id = $1 AND name = $2 RETURNING id`

func (db *DB) saveTemplate(ctx context.Context, tx pgx.Tx, id tenant.ID, sql, action string, t Template, out *Template) error {
	status := t.KakaoStatus
	if status == "" {
		status = workflow.Approved
	}
	if _, err := tx.Exec(ctx, sql, id, t.ID, t.Name, string(t.Class), nullText(t.KakaoTemplateCode), status, nullText(t.KakaoText), nullText(t.SMSTitle), nullText(t.SMSText),
		nullText(t.TriggerType), t.Value, nullText(t.Unit), t.Messages, t.Active); err != nil {
		return taken(err)
	}
	// What cannot be sent at once cannot be sent ever: it is told now.
	w, more := t.atOnce(campaignPrefix)
	if t.TriggerType != "" {
		w, more = t.timed()
	}
	if _, problems := w.Build(more); len(problems) > 0 {
		return &clinic.InvalidWorkflowError{Name: t.Name, Problems: problems}
	}
	if t.TriggerType != "" {
		if _, err := db.publishSmall(ctx, tx, id, w, more); err != nil {
			return err
		}
	}
	var err error
	if *out, err = oneByID(ctx, db, tx, id, t.ID, selectTemplate, scanTemplate); err != nil {
		return err
	}
	return audit(ctx, tx, id, AuditEntry{Action: action, Subject: "template", SubjectID: t.ID, Detail: map[string]any{"version": out.Version, "active": out.Active, "trigger_type": out.TriggerType}})
}

// What the names of the workflows begin with that templates are: by a trigger of
// their own, and of a campaign.
const (
	timedPrefix    = "템플릿: "
	campaignPrefix = "캠페인: "
)

// timed is the template as the workflow that its trigger makes it.
func (t *Template) timed() (clinic.Workflow, map[string]clinic.Template) {
	return t.workflow(timedPrefix, t.TriggerType, func(delay int) (s clinic.Step) {
		n := new(t.Value + delay)
		switch t.Unit {
		case "minutes":
			s.Minutes = n
		case "hours":
			s.Hours = n
		case "weeks":
			s.Day = new(7 * *n)
		default:
			s.Day = n
		}
		return s
	})
}

// atOnce is the template as a campaign sends it: its first message now, and the
// others as long after it as they say.
func (t *Template) atOnce(prefix string) (clinic.Workflow, map[string]clinic.Template) {
	w, templates := t.workflow(prefix, "schedule", func(delay int) clinic.Step {
		s := clinic.Step{ExpiresAfter: campaignValidity}
		switch {
		case delay == 0:
			s.Seconds = new(0)
		case t.Unit == "minutes":
			s.Minutes = new(delay)
		case t.Unit == "hours":
			s.Hours = new(delay)
		case t.Unit == "weeks":
			s.Hours = new(7 * 24 * delay)
		default:
			s.Hours = new(24 * delay)
		}
		return s
	})
	w.IsActive = new(true) // whether it has a trigger of its own is another matter
	return w, templates
}

// workflow is the template as a workflow of its messages, each a step of its
// delay, and the templates that this names.
func (t *Template) workflow(prefix, trigger string, step func(delay int) clinic.Step) (w clinic.Workflow, templates map[string]clinic.Template) {
	w = clinic.Workflow{Name: smallName(prefix, t.Name), TriggerType: trigger, IsActive: new(t.Active)}
	templates = map[string]clinic.Template{t.Name: t.Template}
	add := func(s clinic.Step, template string) {
		s.Node, s.Type, s.Template = strconv.Itoa(len(w.Steps)+1), "message", template
		w.Steps = append(w.Steps, s)
	}
	if len(t.Messages) == 0 {
		add(step(0), t.Name)
	}
	for i, m := range t.Messages {
		name := fmt.Sprintf("%s#%d", t.Name, i+1)
		templates[name] = clinic.Template{
			Name: name, Class: t.Class, KakaoTemplateCode: m.KakaoTemplateCode, KakaoStatus: t.KakaoStatus, KakaoText: m.KakaoText, SMSTitle: m.SMSTitle, SMSText: m.SMSText,
		}
		add(step(m.Delay), name)
	}
	return w, templates
}

// smallName is what the workflow of a template is called: a workflow's name has
// at most 100 bytes, and must not end within a letter.
func smallName(prefix, template string) string {
	name := prefix + template
	if len(name) <= 100 {
		return name
	}
	sum := sha256.Sum256([]byte(template))
	name = name[:100-9]
	for !utf8.ValidString(name) {
		name = name[:len(name)-1]
	}
	return name + "~" + hex.EncodeToString(sum[:4])
}
