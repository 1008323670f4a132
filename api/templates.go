package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Templates is the part of the ledger that has what is sent.
type Templates interface {
	Templates(ctx context.Context, id tenant.ID, cursor string, size int) (store.Page[store.Template], error)
	TemplateByID(ctx context.Context, id tenant.ID, template uuid.UUID) (store.Template, error)
	CreateTemplate(ctx context.Context, id tenant.ID, t store.Template) (store.Template, error)
	ChangeTemplate(ctx context.Context, id tenant.ID, template uuid.UUID, seen int32, change func(*store.Template)) (store.Template, store.Replanned, error)
}

func (a *API) registerTemplates() {
	db := a.config.DB
	register(a, listTemplates(db))
	register(a, createTemplate(db))
	register(a, getTemplate(db))
	register(a, updateTemplate(db))
	register(a, deleteTemplate(db))
}

// TemplateContent is what is sent, and when. Fields of the original keep their
// names.
type TemplateContent struct {
	Class             *string                  `json:"class,omitempty" enum:"transactional,care_followup,marketing,auth" doc:"care_followup by default. marketing needs consent, and obeys the night."`
	KakaoTemplateCode *string                  `json:"kakao_template_code,omitempty" maxLength:"20"`
	KakaoStatus       *string                  `json:"kakao_status,omitempty" enum:"approved,pending,rejected" doc:"Where Kakao's approval stands; approved by default."`
	KakaoText         *string                  `json:"kakao_text,omitempty" maxLength:"1000"`
	SMSTitle          *string                  `json:"sms_title,omitempty" maxLength:"40"`
	SMSText           *string                  `json:"sms_text,omitempty" maxLength:"2000"`
	TriggerType       *string                  `json:"trigger_type,omitempty" enum:",post_surgery,appointment.requested,appointment.booked,appointment.rescheduled,appointment.checked_in,appointment.completed,appointment.no_show,appointment.cancelled" doc:"What it is sent after, by itself; empty: workflows and campaigns name it."`
	TriggerValue      *int                     `json:"trigger_value,omitempty" minimum:"0" maximum:"400" doc:"How long after that."`
	TriggerUnit       *string                  `json:"trigger_unit,omitempty" enum:"minutes,hours,days,weeks" doc:"days by default: those and weeks are sent at the clinic's time of day."`
	Messages          *[]store.TemplateMessage `json:"messages,omitempty" maxItems:"20" doc:"Several messages in place of its own texts."`
	IsActive          *bool                    `json:"is_active,omitempty" doc:"Whether its trigger starts it; true by default."`
}

func (c TemplateContent) put(t *store.Template) {
	set(&t.Class, (*workflow.Class)(c.Class))
	set(&t.KakaoTemplateCode, c.KakaoTemplateCode)
	set(&t.KakaoStatus, c.KakaoStatus)
	set(&t.KakaoText, c.KakaoText)
	set(&t.SMSTitle, c.SMSTitle)
	set(&t.SMSText, c.SMSText)
	set(&t.TriggerType, c.TriggerType)
	set(&t.Value, c.TriggerValue)
	set(&t.Unit, c.TriggerUnit)
	set(&t.Messages, c.Messages)
	set(&t.Active, c.IsActive)
	if t.TriggerType != "" && t.Unit == "" {
		t.Unit = "days"
	}
}

type templateRow struct {
	ID                uuid.UUID               `json:"id" format:"uuid"`
	Name              string                  `json:"name"`
	Class             string                  `json:"class" enum:"transactional,care_followup,marketing,auth"`
	KakaoTemplateCode string                  `json:"kakao_template_code"`
	KakaoStatus       string                  `json:"kakao_status" enum:"approved,pending,rejected"`
	KakaoText         string                  `json:"kakao_text"`
	SMSTitle          string                  `json:"sms_title"`
	SMSText           string                  `json:"sms_text"`
	TriggerType       *string                 `json:"trigger_type"`
	TriggerValue      *int                    `json:"trigger_value"`
	TriggerUnit       *string                 `json:"trigger_unit"`
	Messages          []store.TemplateMessage `json:"messages" nullable:"false"`
	IsActive          bool                    `json:"is_active"`
	CreatedAt         time.Time               `json:"created_at"`
	UpdatedAt         time.Time               `json:"updated_at"`
}

func showTemplate(t store.Template) templateRow {
	r := templateRow{
		ID: t.ID, Name: t.Name, Class: string(t.Class), KakaoTemplateCode: t.KakaoTemplateCode, KakaoStatus: t.KakaoStatus, KakaoText: t.KakaoText, SMSTitle: t.SMSTitle, SMSText: t.SMSText,
		TriggerType: orNull(t.TriggerType), TriggerUnit: orNull(t.Unit), Messages: append([]store.TemplateMessage{}, t.Messages...), IsActive: t.Active, CreatedAt: t.Created, UpdatedAt: t.Updated,
	}
	if t.TriggerType != "" {
		r.TriggerValue = &t.Value
	}
	return r
}

func oneTemplate(t store.Template, err error) (*single[templateRow], error) {
	if err != nil {
		return nil, err
	}
	return newSingle(t.Version, showTemplate(t)), nil
}

type listTemplatesInput struct{ Paging }

func listTemplates(db Templates) (op operation[listTemplatesInput, page[templateRow]]) {
	op.Operation = get("list-templates", "/api/templates", "List templates", "What is sent, by name, newest first.", "Templates")
	op.told = shows(func(templateRow) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listTemplatesInput) (*page[templateRow], error) {
		p, err := db.Templates(ctx, by.Tenant, in.Cursor, in.Limit)
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, showTemplate), nil
	}
	return op
}

func getTemplate(db Templates) (op operation[idInput, single[templateRow]]) {
	op.Operation = get("get-template", "/api/templates/{id}", "Read a template", "One template. ETag names its version; send it back in If-Match.", "Templates")
	op.more = []problem.Slug{problem.NotFound}
	op.told = readsOne[templateRow]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[templateRow], error) {
		return oneTemplate(db.TemplateByID(ctx, by.Tenant, uuid.UUID(in.ID)))
	}
	return op
}

type createTemplateInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100" doc:"By which workflows name it: it stays."`
		TemplateContent
	}
}

// maxTemplate bounds a template's body, in bytes.
const maxTemplate = 128 << 10

func createTemplate(db Templates) (op operation[createTemplateInput, single[templateRow]]) {
	op.Operation = change("create-template", post, "/api/templates", "Create a template",
		"Texts by Kakao, by SMS or both, with #{variables}. One with trigger_type is a small workflow as well, which is published at once. One that could not be sent is refused, with every problem.", "Templates")
	op.MaxBodyBytes = maxTemplate
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload, problem.InvalidWorkflow}
	op.told = changes[single[templateRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *createTemplateInput) (*single[templateRow], error) {
		t := store.Template{Active: true}
		t.Name, t.Class = in.Body.Name, workflow.CareFollowup
		in.Body.put(&t)
		return oneTemplate(db.CreateTemplate(ctx, by.Tenant, t))
	}
	return op
}

type updateTemplateInput struct {
	ID queryID `path:"id"`
	Match
	Body TemplateContent
}

func updateTemplate(db Templates) (op operation[updateTemplateInput, single[templateRow]]) {
	op.Operation = change("update-template", patch, "/api/templates/{id}", "Change a template",
		"What is given replaces what is there. Workflows that name it go on with its old text until they are published again; where it has a trigger, the new text holds for what begins from now on. Switched off, what is planned of it is cancelled.", "Templates")
	op.MaxBodyBytes = maxTemplate
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.InvalidWorkflow, problem.PreconditionFailed, problem.PreconditionRequired}
	op.told = changes[single[templateRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *updateTemplateInput) (*single[templateRow], error) {
		seen, err := in.version(ctx)
		if err != nil {
			return nil, err
		}
		t, _, err := db.ChangeTemplate(ctx, by.Tenant, uuid.UUID(in.ID), seen, in.Body.put)
		return oneTemplate(t, err)
	}
	return op
}

func deleteTemplate(db Templates) (op operation[idInput, single[templateRow]]) {
	op.Operation = change("delete-template", remove, "/api/templates/{id}", "Switch a template off",
		"Its trigger starts it no more, and what is planned of that is cancelled. It stays to be read: workflows and logs refer to it.", "Templates")
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[single[templateRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[templateRow], error) {
		t, _, err := db.ChangeTemplate(ctx, by.Tenant, uuid.UUID(in.ID), 0, func(t *store.Template) { t.Active = false })
		return oneTemplate(t, err)
	}
	return op
}
