package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// replay is a replay of a source.
type replay struct {
	ID        uuid.UUID `json:"id" format:"uuid"`
	Source    string    `json:"source" doc:"webhook:<id>, or appointment; empty for every source."`
	Since     time.Time `json:"since"`
	Until     time.Time `json:"until" doc:"When it was asked for: what came later is not meant."`
	Reason    string    `json:"reason"`
	Actor     string    `json:"actor"`
	State     string    `json:"state" enum:"running,done,cancelled"`
	Seen      int       `json:"seen" doc:"Triggers that it has come to so far."`
	Reopened  int       `json:"reopened" doc:"Of them, those that are planned again."`
	Gone      int       `json:"gone" doc:"Of them, those of which nothing can be read any more."`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func showReplay(j store.ReplayJob) replay {
	return replay{j.ID, j.Source, j.Since, j.Until, j.Reason, j.Actor, j.State, j.Seen, j.Reopened, j.Gone, j.Created, j.Updated}
}

type startReplayInput struct {
	Body struct {
		Source string    `json:"source,omitempty" pattern:"^(|appointment|webhook:[0-9a-f-]{36})$" doc:"webhook:<id>, or appointment; by default every source."`
		Since  time.Time `json:"since" doc:"What was received at this time or later (RFC 3339)."`
		Reason string    `json:"reason,omitempty" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers. Required unless it is a dry run."`
		DryRun bool      `json:"dry_run,omitempty" doc:"Counts, and changes nothing."`
	}
}

type startedReplay struct {
	Body struct {
		Replay *replay `json:"replay" doc:"null of a dry run."`
		Seen   int     `json:"seen" doc:"What it will come to."`
		Gone   int     `json:"gone" doc:"Of that, what cannot be read any more."`
	}
}

// startReplay has everything looked at again that a source said.
func startReplay(db Replays) (op operation[startReplayInput, startedReplay]) {
	op.Operation = huma.Operation{
		OperationID: "start-replay", Method: http.MethodPost, Path: "/api/replays", Summary: "Look at a source again",
		Description: "Everything that a source said since a time is planned again, as replay of a trigger does: nothing runs twice. It goes on from behind, gives way to what comes in, and survives a restart.",
		Tags:        []string{"Replays"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = changes[startedReplay]()
	op.do = func(ctx context.Context, by auth.Principal, in *startReplayInput) (*startedReplay, error) {
		r := store.SourceReplay{Source: in.Body.Source, Since: in.Body.Since, Hand: acting(ctx, by, in.Body.Reason)}
		if !in.Body.DryRun && in.Body.Reason == "" {
			return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/reason", Code: "missing"}))
		}
		out := new(startedReplay)
		var err error
		if out.Body.Seen, out.Body.Gone, err = db.CountSource(ctx, by.Tenant, r); err != nil || in.Body.DryRun {
			return out, err
		}
		job, err := db.ReplaySource(ctx, by.Tenant, r)
		if err != nil {
			return nil, err
		}
		out.Body.Replay = new(showReplay(job))
		return out, nil
	}
	return op
}

type listReplaysInput struct{ Paging }

// listReplays serves replays of sources, newest first.
func listReplays(db Replays) (op operation[listReplaysInput, page[replay]]) {
	op.Operation = get("list-replays", "/api/replays", "List replays", "Replays of sources, and how far they are.", "Replays")
	op.told = shows(func(replay) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listReplaysInput) (*page[replay], error) {
		list, err := db.Replays(ctx, by.Tenant, in.Cursor, in.Limit)
		if err != nil {
			return nil, err
		}
		return newPage(list.Rows, list.Next, showReplay), nil
	}
	return op
}

type oneReplay struct{ Body replay }

type replayInput struct {
	ID queryID `path:"id"`
	// Purpose is why the caller looks.
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

// getReplay serves one.
func getReplay(db Replays) (op operation[replayInput, oneReplay]) {
	op.Operation = get("get-replay", "/api/replays/{id}", "Read a replay", "How far it is.", "Replays")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[oneReplay]{how: toldRead, shown: func(*oneReplay) (int, []uuid.UUID) { return 1, nil }}
	op.do = func(ctx context.Context, by auth.Principal, in *replayInput) (*oneReplay, error) {
		j, err := db.ReplayByID(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		return &oneReplay{showReplay(j)}, nil
	}
	return op
}

type cancelReplayInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
	}
}

// cancelReplay stops one.
func cancelReplay(db Replays) (op operation[cancelReplayInput, oneReplay]) {
	op.Operation = huma.Operation{
		OperationID: "cancel-replay", Method: http.MethodPost, Path: "/api/replays/{id}/cancel", Summary: "Stop a replay",
		Description: "What it has opened is planned; it opens nothing more. One that is over stays as it is.", Tags: []string{"Replays"}, MaxBodyBytes: maxDecision,
	}
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[oneReplay]()
	op.do = func(ctx context.Context, by auth.Principal, in *cancelReplayInput) (*oneReplay, error) {
		j, err := db.CancelReplay(ctx, by.Tenant, uuid.UUID(in.ID), acting(ctx, by, in.Body.Reason))
		if err != nil {
			return nil, err
		}
		return &oneReplay{showReplay(j)}, nil
	}
	return op
}
