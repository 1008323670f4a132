package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Simulations is the part of the ledger that simulations read.
type Simulations interface {
	Definition(ctx context.Context, id tenant.ID, wf uuid.UUID, version int32) (*workflow.Definition, error)
	Cohort(ctx context.Context, id tenant.ID, q store.CohortQuery) (store.Setting, []store.Subject, bool, error)
}

// Limits of one question.
const (
	maxSimulation = 64 << 10 // bytes of a body
	maxSubjects   = 10_000
)

type simulateInput struct {
	ID      queryID `path:"id"`
	Purpose string  `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	Body    struct {
		Version        int32      `json:"version,omitempty" minimum:"1" doc:"The version to simulate; by default the one in force."`
		AgainstVersion int32      `json:"against_version,omitempty" minimum:"1" doc:"Set it beside this version."`
		PatientIDs     []queryID  `json:"patient_ids,omitempty" maxItems:"1000" doc:"Only these patients; by default all, at most 10,000."`
		ReplayDays     int        `json:"replay_days,omitempty" minimum:"1" maximum:"800" doc:"Take the runs of the last so many days, each with its own event, in place of event."`
		Event          any        `json:"event,omitempty" doc:"What happened: a JSON object, as a webhook would say it."`
		EventType      string     `json:"event_type,omitempty" maxLength:"200" doc:"Its name; by default the event's type."`
		At             *time.Time `json:"at,omitempty" doc:"When it happens; by default now."`
		SpreadDays     int        `json:"spread_days,omitempty" minimum:"0" maximum:"800" doc:"Spread the events evenly over so many days."`
		Days           int        `json:"days,omitempty" minimum:"1" maximum:"800" default:"90" doc:"How many days are simulated, from the last event on."`
		Assume         struct {
			Kakao         simulate.Outcome            `json:"kakao,omitempty" enum:"delivered,failed,unreported"`
			SMS           simulate.Outcome            `json:"sms,omitempty" enum:"delivered,failed,unreported"`
			Nodes         map[string]simulate.Outcome `json:"nodes,omitempty" doc:"What becomes of single nodes' Kakao messages: delivered, failed or unreported; clicked: delivered by either channel, and its link is opened. Nobody opens another."`
			ReportSeconds int                         `json:"report_seconds,omitempty" minimum:"1" maximum:"604800" default:"3" doc:"How long a report takes."`
		} `json:"assume,omitzero" doc:"What gateways make of messages; by default they deliver them."`
		Show int `json:"show,omitempty" minimum:"0" maximum:"200" default:"20" doc:"How many runs, and changes, are shown one by one."`
	}
}

// simulateWorkflow lets time pass for a workflow. One question is worked on at a
// time: it takes every processor.
func simulateWorkflow(db Simulations, rules simulate.Rules) (op operation[simulateInput, simulated]) {
	op.Operation = huma.Operation{
		OperationID: "simulate-workflow", Method: http.MethodPost, Path: "/api/workflows/{id}/simulate", Summary: "Simulate a workflow",
		Description: "Runs the planner, the guards and the recorder of the running path over patients, with the clock wherever you like, and sends nothing. It says who would be sent what, when, by which channel and why not, and, beside another version, who would get what more, less, later.",
		Tags:        []string{"Workflows"}, MaxBodyBytes: maxSimulation,
	}
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = telling[simulated]{how: toldRead, shown: func(s *simulated) (int, []uuid.UUID) { return s.Body.Runs, s.patients }}
	turn := make(chan struct{}, 1)
	op.do = func(ctx context.Context, by auth.Principal, in *simulateInput) (*simulated, error) {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return nil, store.ErrUnavailable
		}
		now, err := db.Definition(ctx, by.Tenant, uuid.UUID(in.ID), in.Body.Version)
		if err != nil {
			return nil, err
		}
		var was *workflow.Definition
		if in.Body.AgainstVersion != 0 {
			if was, err = db.Definition(ctx, by.Tenant, uuid.UUID(in.ID), in.Body.AgainstVersion); err != nil {
				return nil, err
			}
		}
		q := store.CohortQuery{Limit: maxSubjects}
		for _, id := range in.Body.PatientIDs {
			q.Patients = append(q.Patients, uuid.UUID(id))
		}
		if in.Body.ReplayDays > 0 {
			q.Workflow, q.Since = uuid.UUID(in.ID), time.Now().AddDate(0, 0, -in.Body.ReplayDays)
		}
		setting, subjects, more, err := db.Cohort(ctx, by.Tenant, q)
		if err != nil {
			return nil, err
		}
		if in.Body.ReplayDays == 0 {
			if err := in.happen(ctx, subjects); err != nil {
				return nil, err
			}
		}
		m, err := in.machine(ctx)
		if err != nil {
			return nil, err
		}
		m.Rules, m.Definition, m.Tenant, m.Setting, m.Until = rules, now, by.Tenant, setting, in.last(subjects).AddDate(0, 0, in.Body.Days)
		runs, err := m.Cohort(ctx, subjects)
		if err != nil {
			return nil, store.ErrUnavailable
		}
		out := showSimulation(m, runs, more, in.Body.Show)
		if was == nil {
			return out, nil
		}
		m.Definition = was
		before, err := m.Cohort(ctx, subjects)
		if err != nil {
			return nil, store.ErrUnavailable
		}
		out.Body.Difference = showDifference(simulate.Compare(before, runs), setting.Zone, in.Body.Show)
		return out, nil
	}
	return op
}

func (in *simulateInput) machine(ctx context.Context) (m simulate.Machine, err error) {
	a := in.Body.Assume
	for _, o := range a.Nodes {
		if !slices.Contains([]simulate.Outcome{simulate.Delivered, simulate.Failed, simulate.Unreported, simulate.Clicked}, o) {
			return m, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/assume/nodes", Code: "not-in-list"}))
		}
	}
	m.Assume = simulate.Assume{Kakao: a.Kakao, SMS: a.SMS, Nodes: a.Nodes, After: time.Duration(a.ReportSeconds) * time.Second}
	m.Timing = store.DefaultTiming
	return m, nil
}

// happen gives every subject the event of the question.
func (in *simulateInput) happen(ctx context.Context, subjects []store.Subject) error {
	object, ok := in.Body.Event.(map[string]any)
	if !ok && in.Body.Event != nil {
		return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/event", Code: "not-an-object"}))
	}
	if object == nil {
		object = map[string]any{}
	}
	payload, err := json.Marshal(object)
	if err != nil {
		return err
	}
	kind, at := in.Body.EventType, in.at()
	if kind == "" {
		kind, _ = object["type"].(string)
	}
	for i := range subjects {
		s := &subjects[i]
		s.Kind, s.Event, s.Payload, s.At = event.Webhook, kind, payload, at
		if in.Body.SpreadDays > 0 {
			s.At = at.Add(time.Duration(i) * (time.Duration(in.Body.SpreadDays) * 24 * time.Hour) / time.Duration(len(subjects))).Truncate(time.Second)
		}
	}
	return nil
}

// at is when the event happens.
func (in *simulateInput) at() time.Time {
	if in.Body.At != nil {
		return *in.Body.At
	}
	return time.Now().Truncate(time.Second)
}

// last is when the last event happens.
func (in *simulateInput) last(subjects []store.Subject) time.Time {
	if len(subjects) == 0 {
		return in.at()
	}
	return slices.MaxFunc(subjects, func(a, b store.Subject) int { return a.At.Compare(b.At) }).At
}
