package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/schedule"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Schedules is the part of the ledger that fires.
type Schedules interface {
	Schedules(ctx context.Context, id tenant.ID, cursor string, size int) (store.Page[store.Schedule], error)
	ScheduleByID(ctx context.Context, id tenant.ID, sched uuid.UUID) (store.Schedule, error)
	CreateSchedule(ctx context.Context, id tenant.ID, s store.Schedule) (store.Schedule, error)
	ChangeSchedule(ctx context.Context, id tenant.ID, sched uuid.UUID, seen int32, change func(*store.Schedule)) (store.Schedule, error)
	ArchiveSchedule(ctx context.Context, id tenant.ID, sched uuid.UUID) (store.Schedule, error)
	Fires(ctx context.Context, id tenant.ID, sched uuid.UUID, n int) ([]store.Fire, error)
	ClinicTime(ctx context.Context, id tenant.ID) (time.Time, error)
}

func (a *API) registerSchedules() {
	db := a.config.DB
	register(a, listSchedules(db))
	register(a, createSchedule(db))
	register(a, getSchedule(db))
	register(a, updateSchedule(db))
	register(a, deleteSchedule(db))
	register(a, previewSchedule(db))
}

// shownFires is how many fires are shown, those that were and those to come.
const shownFires = 10

// ScheduleRow is a schedule in a list.
type ScheduleRow struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	Name       string     `json:"name"`
	Pattern    string     `json:"pattern"`
	TimeZone   string     `json:"time_zone" doc:"Whose clocks it goes by."`
	WorkflowID uuid.UUID  `json:"workflow_id" format:"uuid"`
	SegmentID  uuid.UUID  `json:"segment_id" format:"uuid"`
	Missed     string     `json:"missed" enum:"skip,once,all"`
	Enabled    bool       `json:"enabled"`
	NextFireAt *time.Time `json:"next_fire_at"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
}

func showSchedule(s store.Schedule) ScheduleRow {
	return ScheduleRow{s.ID, s.Name, s.Pattern, s.In.String(), s.Workflow, s.Segment, string(s.Missed), s.Enabled, whenOrNull(s.Next), s.Created, s.Updated}
}

func oneSchedule(s store.Schedule, err error) (*single[ScheduleRow], error) {
	if err != nil {
		return nil, err
	}
	return newSingle(s.Version, showSchedule(s)), nil
}

// fire is how far one fire's planning is.
type fire struct {
	FireAt     time.Time  `json:"fire_at"`
	AsOf       string     `json:"as_of" format:"date" doc:"The day that the segment's spans count from."`
	State      string     `json:"state" enum:"running,paused,done,cancelled,skipped"`
	Reason     *string    `json:"reason" doc:"Of one that was skipped or cancelled: missed, workflow_inactive."`
	Patients   *int       `json:"patients" doc:"Whom it means; null until it is counted."`
	Started    int        `json:"started" doc:"Of them, for whom a run began."`
	FinishedAt *time.Time `json:"finished_at"`
}

func showFire(f store.Fire) fire {
	out := fire{f.At, f.AsOf.Format(time.DateOnly), f.State, orNull(f.Reason), nil, f.Started, whenOrNull(f.Finished)}
	if f.Expected >= 0 {
		out.Patients = &f.Expected
	}
	return out
}

type listSchedulesInput struct{ Paging }

func listSchedules(db Schedules) (op operation[listSchedulesInput, page[ScheduleRow]]) {
	op.Operation = get("list-schedules", "/api/schedules", "List schedules", "What starts workflows by the clock, newest first.", "Schedules")
	op.told = shows(func(ScheduleRow) uuid.UUID { return uuid.Nil })
	op.do = func(ctx context.Context, by auth.Principal, in *listSchedulesInput) (*page[ScheduleRow], error) {
		p, err := db.Schedules(ctx, by.Tenant, in.Cursor, in.Limit)
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, showSchedule), nil
	}
	return op
}

type scheduleDetail struct {
	ScheduleRow
	NextFires []time.Time `json:"next_fires" nullable:"false" doc:"The next ten."`
	LastFires []fire      `json:"last_fires" nullable:"false" doc:"The last ten, newest first."`
}

func getSchedule(db Schedules) (op operation[idInput, single[scheduleDetail]]) {
	op.Operation = get("get-schedule", "/api/schedules/{id}", "Read a schedule", "One schedule, with its last ten fires and the next ten. ETag names its version; send it back in If-Match.", "Schedules")
	op.more = []problem.Slug{problem.NotFound}
	op.told = readsOne[scheduleDetail]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[scheduleDetail], error) {
		s, err := db.ScheduleByID(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		list, err := db.Fires(ctx, by.Tenant, s.ID, shownFires)
		if err != nil {
			return nil, err
		}
		d := scheduleDetail{ScheduleRow: showSchedule(s), NextFires: []time.Time{}, LastFires: make([]fire, len(list))}
		for i, f := range list {
			d.LastFires[i] = showFire(f)
		}
		if p, err := schedule.Parse(s.Pattern); err == nil && !s.Next.IsZero() {
			d.NextFires = append([]time.Time{s.Next}, p.Fires(s.Next, s.In, shownFires-1)...)
		}
		return newSingle(s.Version, d), nil
	}
	return op
}

type createScheduleInput struct {
	Body struct {
		Name       string  `json:"name" minLength:"1" maxLength:"100"`
		Pattern    string  `json:"pattern" minLength:"1" maxLength:"100" doc:"Cron's five fields, or six that begin with a second, at most once a minute; or @hourly, @daily, @weekly, @monthly, @yearly. L, 15W and FRI#L are understood."`
		TimeZone   string  `json:"time_zone,omitempty" maxLength:"64" doc:"An IANA zone; the clinic's by default."`
		WorkflowID queryID `json:"workflow_id"`
		SegmentID  queryID `json:"segment_id"`
		Missed     string  `json:"missed,omitempty" enum:"skip,once,all" default:"once" doc:"What becomes of fires that nobody was there for: skip leaves them out, once makes up for the last, all for each, as of its own day."`
		Enabled    *bool   `json:"enabled,omitempty" doc:"true by default."`
	}
}

func createSchedule(db Schedules) (op operation[createScheduleInput, single[ScheduleRow]]) {
	op.Operation = change("create-schedule", post, "/api/schedules", "Create a schedule",
		"Starts a workflow for everybody of a segment whenever the pattern fires, by the clocks of its zone. A fire happens once, however many copies run.", "Schedules")
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload}
	op.told = changes[single[ScheduleRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *createScheduleInput) (*single[ScheduleRow], error) {
		b := in.Body
		return oneSchedule(db.CreateSchedule(ctx, by.Tenant, store.Schedule{
			Name: b.Name, Pattern: b.Pattern, Zone: b.TimeZone, Workflow: uuid.UUID(b.WorkflowID), Segment: uuid.UUID(b.SegmentID),
			Missed: store.Missed(b.Missed), Enabled: b.Enabled == nil || *b.Enabled,
		}))
	}
	return op
}

type updateScheduleInput struct {
	ID queryID `path:"id"`
	Match
	Body struct {
		Name       *string  `json:"name,omitempty" minLength:"1" maxLength:"100"`
		Pattern    *string  `json:"pattern,omitempty" minLength:"1" maxLength:"100"`
		TimeZone   *string  `json:"time_zone,omitempty" maxLength:"64" doc:"Empty: the clinic's."`
		WorkflowID *queryID `json:"workflow_id,omitempty"`
		SegmentID  *queryID `json:"segment_id,omitempty"`
		Missed     *string  `json:"missed,omitempty" enum:"skip,once,all"`
		Enabled    *bool    `json:"enabled,omitempty"`
	}
}

func updateSchedule(db Schedules) (op operation[updateScheduleInput, single[ScheduleRow]]) {
	op.Operation = change("update-schedule", patch, "/api/schedules/{id}", "Change a schedule",
		"What is given replaces what is there; it fires next at the first time from now. What has begun goes on.", "Schedules")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.PreconditionFailed, problem.PreconditionRequired}
	op.told = changes[single[ScheduleRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *updateScheduleInput) (*single[ScheduleRow], error) {
		seen, err := in.version(ctx)
		if err != nil {
			return nil, err
		}
		b := in.Body
		return oneSchedule(db.ChangeSchedule(ctx, by.Tenant, uuid.UUID(in.ID), seen, func(s *store.Schedule) {
			set(&s.Name, b.Name)
			set(&s.Pattern, b.Pattern)
			set(&s.Zone, b.TimeZone)
			set(&s.Workflow, (*uuid.UUID)(b.WorkflowID))
			set(&s.Segment, (*uuid.UUID)(b.SegmentID))
			set(&s.Missed, (*store.Missed)(b.Missed))
			set(&s.Enabled, b.Enabled)
		}))
	}
	return op
}

// set puts what is given in the place of what is there.
func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func deleteSchedule(db Schedules) (op operation[idInput, single[ScheduleRow]]) {
	op.Operation = change("delete-schedule", remove, "/api/schedules/{id}", "Delete a schedule", "It fires no more. What it has started goes on.", "Schedules")
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[single[ScheduleRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[ScheduleRow], error) {
		return oneSchedule(db.ArchiveSchedule(ctx, by.Tenant, uuid.UUID(in.ID)))
	}
	return op
}

type previewScheduleInput struct {
	Body struct {
		Pattern  string     `json:"pattern" minLength:"1" maxLength:"100"`
		TimeZone string     `json:"time_zone,omitempty" maxLength:"64" doc:"An IANA zone; the clinic's by default."`
		After    *time.Time `json:"after,omitempty" doc:"Now by default."`
	}
}

type previewedSchedule struct {
	Body struct {
		TimeZone string      `json:"time_zone"`
		Fires    []time.Time `json:"fires" nullable:"false" doc:"The next ten."`
	}
}

func previewSchedule(db Schedules) (op operation[previewScheduleInput, previewedSchedule]) {
	op.Operation = change("preview-schedule", post, "/api/schedules/preview", "Preview a pattern", "When a pattern fires next, ten times, by the clocks of a zone.", "Schedules")
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = telling[previewedSchedule]{how: toldRead, shown: func(*previewedSchedule) (int, []uuid.UUID) { return 0, nil }}
	op.do = func(ctx context.Context, by auth.Principal, in *previewScheduleInput) (*previewedSchedule, error) {
		p, err := schedule.Parse(in.Body.Pattern)
		if err != nil {
			return nil, err
		}
		now, err := db.ClinicTime(ctx, by.Tenant)
		if err != nil {
			return nil, err
		}
		zone := now.Location()
		if in.Body.TimeZone != "" {
			if zone, err = schedule.Zone(in.Body.TimeZone); err != nil {
				return nil, &store.MissingError{Field: "time_zone"}
			}
		}
		if in.Body.After != nil {
			now = *in.Body.After
		}
		out := new(previewedSchedule)
		out.Body.TimeZone, out.Body.Fires = zone.String(), append([]time.Time{}, p.Fires(now, zone, shownFires)...)
		return out, nil
	}
	return op
}
