package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/segment"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Segments is the part of the ledger that has saved questions about patients.
type Segments interface {
	Segments(ctx context.Context, id tenant.ID, cursor string, size int) (store.Page[store.Segment], error)
	SegmentByID(ctx context.Context, id tenant.ID, seg uuid.UUID) (store.Segment, error)
	CreateSegment(ctx context.Context, id tenant.ID, s store.Segment) (store.Segment, error)
	ChangeSegment(ctx context.Context, id tenant.ID, seg uuid.UUID, seen int32, name *string, filter *segment.Filter) (store.Segment, error)
	ArchiveSegment(ctx context.Context, id tenant.ID, seg uuid.UUID) (store.Segment, error)
	CountSegment(ctx context.Context, id tenant.ID, f segment.Filter, asOf time.Time) (int, time.Time, error)
}

func (a *API) registerSegments() {
	db := a.config.DB
	register(a, listSegments(db))
	register(a, createSegment(db))
	register(a, getSegment(db))
	register(a, updateSegment(db))
	register(a, deleteSegment(db))
	register(a, countSegment(db))
}

type segmentRow struct {
	ID        uuid.UUID      `json:"id" format:"uuid"`
	Name      string         `json:"name"`
	Filter    segment.Filter `json:"filter"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
}

func showSegment(s store.Segment) segmentRow {
	return segmentRow{s.ID, s.Name, s.Filter, s.Created, s.Updated}
}

func oneSegment(s store.Segment, err error) (*single[segmentRow], error) {
	if err != nil {
		return nil, err
	}
	return newSingle(s.Version, showSegment(s)), nil
}

// checkFilter says what is wrong with a filter.
func checkFilter(ctx context.Context, f segment.Filter) error {
	var fields []problem.Field
	for _, p := range f.Check() {
		fields = append(fields, problem.Field{Pointer: "/filter" + p.Pointer, Code: p.Code})
	}
	if len(fields) == 0 {
		return nil
	}
	return newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(fields...))
}

type listSegmentsInput struct{ Paging }

func listSegments(db Segments) (op operation[listSegmentsInput, page[segmentRow]]) {
	op.Operation = get("list-segments", "/api/segments", "List segments", "Saved questions about patients, newest first.", "Segments")
	op.told = shows(func(segmentRow) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listSegmentsInput) (*page[segmentRow], error) {
		p, err := db.Segments(ctx, by.Tenant, in.Cursor, in.Limit)
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, showSegment), nil
	}
	return op
}

func getSegment(db Segments) (op operation[idInput, single[segmentRow]]) {
	op.Operation = get("get-segment", "/api/segments/{id}", "Read a segment", "One segment. ETag names its version; send it back in If-Match.", "Segments")
	op.more = []problem.Slug{problem.NotFound}
	op.told = readsOne[segmentRow]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[segmentRow], error) {
		return oneSegment(db.SegmentByID(ctx, by.Tenant, uuid.UUID(in.ID)))
	}
	return op
}

type createSegmentInput struct {
	Body struct {
		Name   string         `json:"name" minLength:"1" maxLength:"100"`
		Filter segment.Filter `json:"filter" doc:"Whom every part that is given holds for; {} is everybody. Spans count from the day on which it is used."`
	}
}

func createSegment(db Segments) (op operation[createSegmentInput, single[segmentRow]]) {
	op.Operation = change("create-segment", post, "/api/segments", "Save a segment",
		"A question about patients that schedules and campaigns use: it is asked anew each time. Whoever cannot be written to, or was erased, is never meant.", "Segments")
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload}
	op.told = changes[single[segmentRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *createSegmentInput) (*single[segmentRow], error) {
		if err := checkFilter(ctx, in.Body.Filter); err != nil {
			return nil, err
		}
		return oneSegment(db.CreateSegment(ctx, by.Tenant, store.Segment{Name: in.Body.Name, Filter: in.Body.Filter}))
	}
	return op
}

type updateSegmentInput struct {
	ID queryID `path:"id"`
	Match
	Body struct {
		Name   *string         `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Filter *segment.Filter `json:"filter,omitempty"`
	}
}

func updateSegment(db Segments) (op operation[updateSegmentInput, single[segmentRow]]) {
	op.Operation = change("update-segment", patch, "/api/segments/{id}", "Change a segment",
		"What is given replaces what is there. What has begun goes on by the filter that it began with.", "Segments")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.PreconditionFailed, problem.PreconditionRequired}
	op.told = changes[single[segmentRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *updateSegmentInput) (*single[segmentRow], error) {
		seen, err := in.version(ctx)
		if err != nil {
			return nil, err
		}
		if in.Body.Filter != nil {
			if err := checkFilter(ctx, *in.Body.Filter); err != nil {
				return nil, err
			}
		}
		return oneSegment(db.ChangeSegment(ctx, by.Tenant, uuid.UUID(in.ID), seen, in.Body.Name, in.Body.Filter))
	}
	return op
}

func deleteSegment(db Segments) (op operation[idInput, single[segmentRow]]) {
	op.Operation = change("delete-segment", remove, "/api/segments/{id}", "Delete a segment", "Takes it out of use. One that a schedule or a campaign to come uses stays.", "Segments")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload}
	op.told = changes[single[segmentRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[segmentRow], error) {
		return oneSegment(db.ArchiveSegment(ctx, by.Tenant, uuid.UUID(in.ID)))
	}
	return op
}

type countSegmentInput struct {
	Body struct {
		Filter segment.Filter `json:"filter"`
		AsOf   string         `json:"as_of,omitempty" format:"date" doc:"The day that spans count from; today by default."`
	}
}

type countedSegment struct {
	Body struct {
		Patients int    `json:"patients"`
		AsOf     string `json:"as_of" format:"date"`
	}
}

func countSegment(db Segments) (op operation[countSegmentInput, countedSegment]) {
	op.Operation = change("count-segment", post, "/api/segments/count", "Count whom a filter means", "How many patients a filter means on a day, before it is saved.", "Segments")
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = telling[countedSegment]{how: toldRead, shown: func(*countedSegment) (int, []uuid.UUID) { return 1, nil }}
	op.do = func(ctx context.Context, by auth.Principal, in *countSegmentInput) (*countedSegment, error) {
		if err := checkFilter(ctx, in.Body.Filter); err != nil {
			return nil, err
		}
		var asOf time.Time
		if in.Body.AsOf != "" {
			var err error
			if asOf, err = time.Parse(time.DateOnly, in.Body.AsOf); err != nil {
				return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/as_of", Code: "not-a-date"}))
			}
		}
		n, day, err := db.CountSegment(ctx, by.Tenant, in.Body.Filter, asOf)
		if err != nil {
			return nil, err
		}
		out := new(countedSegment)
		out.Body.Patients, out.Body.AsOf = n, day.Format(time.DateOnly)
		return out, nil
	}
	return op
}
