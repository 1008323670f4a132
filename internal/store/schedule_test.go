package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/schedule"
	"github.com/doctorsflow/doctorsflow/internal/segment"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/planner"
)

// audience is a ledger whose clinic has patients and a segment of everybody.
type audience struct {
	*ledger
	patients []uuid.UUID
	segment  uuid.UUID
}

func newAudience(t testing.TB, n int) *audience {
	t.Helper()
	a := &audience{ledger: newLedger(t)}
	var err error
	a.patients, err = a.FillPatients(t.Context(), a.tenant, n, func(i int) phone.Number {
		p, err := phone.Parse(fmt.Sprintf("010-0000-%04d", i%10000), testNumbers)
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
	if err != nil {
		t.Fatal(err)
	}
	a.segment = a.saved("everybody", segment.Filter{})
	return a
}

func (a *audience) saved(name string, f segment.Filter) uuid.UUID {
	a.t.Helper()
	s, err := a.CreateSegment(a.t.Context(), a.tenant, store.Segment{Name: name, Filter: f})
	if err != nil {
		a.t.Fatal(err)
	}
	return s.ID
}

func (a *audience) scheduled(name, pattern string, missed store.Missed) store.Schedule {
	a.t.Helper()
	s, err := a.CreateSchedule(a.t.Context(), a.tenant, store.Schedule{Name: name, Pattern: pattern, Workflow: a.workflow, Segment: a.segment, Missed: missed, Enabled: true})
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// planAll plans every batch to its end, and returns for how many patients.
func (a *audience) planAll(db *store.DB) (n int) {
	a.t.Helper()
	for more := true; more; {
		var planned int
		var err error
		if planned, more, err = db.PlanBatch(a.t.Context(), planner.Expand); err != nil {
			a.t.Fatal(err)
		}
		n += planned
	}
	return n
}

func TestAScheduleFiresOnceHoweverManyCopiesLook(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 30)
	s := a.scheduled("recall", "@daily", store.MissedOnce)
	due := s.Next.AddDate(0, 0, -1)
	a.exec(`UPDATE schedules SET next_fire_at = $1`, due)
	var copies sync.WaitGroup
	for range 10 {
		db := a.open(store.Timing{})
		copies.Go(func() {
			for range 3 {
				if _, err := db.FireSchedules(t.Context()); err != nil {
					t.Error(err)
				}
			}
			a.planAll(db)
		})
	}
	copies.Wait()
	a.planAll(a.DB)
	fires, err := a.Fires(t.Context(), a.tenant, s.ID, 10)
	if err != nil || len(fires) != 1 || fires[0].State != "done" || fires[0].Started != 30 || fires[0].Expected != 30 || !fires[0].At.Equal(due) {
		t.Errorf("%+v, %v", fires, err)
	}
	if n := a.count(`SELECT count(*) FROM workflow_executions`); n != 30 {
		t.Errorf("%d runs", n)
	}
	if n := a.count(`SELECT count(*) FROM steps WHERE lane = 'bulk' AND NOT published`); n != 60 {
		t.Errorf("%d steps in lane bulk", n)
	}
	// A restart that remembers nothing fires nothing twice.
	a.exec(`UPDATE schedules SET next_fire_at = $1`, due)
	if _, err := a.FireSchedules(t.Context()); err != nil || a.planAll(a.DB) != 0 {
		t.Error("the same fire began twice", err)
	}
	a.holds()
}

func TestMissedFiresAreMadeUpForByPolicy(t *testing.T) {
	t.Parallel()
	p, err := schedule.Parse("0 10 * * *")
	if err != nil {
		t.Fatal(err)
	}
	seoul, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		tm, err := time.ParseInLocation("01-02 15:04", s, seoul)
		if err != nil {
			t.Fatal(err)
		}
		return tm.AddDate(2026, 0, 0)
	}
	shown := func(list []time.Time) string {
		var out []string
		for _, tm := range list {
			out = append(out, tm.In(seoul).Format("01-02"))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		policy               store.Missed
		first, now           string
		fires, skipped, next string
	}{
		{store.MissedOnce, "11-20 10:00", "11-20 10:00", "11-20", "", "11-21"},
		{store.MissedSkip, "11-20 10:00", "11-20 10:01", "11-20", "", "11-21"},
		{store.MissedSkip, "11-20 10:00", "11-20 10:03", "", "11-20", "11-21"},
		{store.MissedSkip, "11-18 10:00", "11-20 10:01", "11-20", "11-18 11-19", "11-21"},
		{store.MissedOnce, "11-18 10:00", "11-20 12:00", "11-20", "11-18 11-19", "11-21"},
		{store.MissedAll, "11-18 10:00", "11-20 12:00", "11-18 11-19 11-20", "", "11-21"},
		{store.MissedSkip, "11-18 10:00", "11-20 12:00", "", "11-18 11-19 11-20", "11-21"},
		// Of a long absence the last ones are told.
		{store.MissedOnce, "03-01 10:00", "11-20 12:00", "11-20", "11-10 11-11 11-12 11-13 11-14 11-15 11-16 11-17 11-18 11-19", "11-21"},
	} {
		fires, skipped, next := store.FiresOf(p, seoul, at(c.first), at(c.now), c.policy)
		if shown(fires) != c.fires || shown(skipped) != c.skipped || shown([]time.Time{next}) != c.next {
			t.Errorf("%s from %s at %s: fires %s, leaves out %s, next %s", c.policy, c.first, c.now, shown(fires), shown(skipped), shown([]time.Time{next}))
		}
	}
	minutely, err := schedule.Parse("* * * * *")
	if err != nil {
		t.Fatal(err)
	}
	fires, _, next := store.FiresOf(minutely, seoul, at("11-20 00:00"), at("11-20 10:00"), store.MissedAll)
	if len(fires) != 100 || !next.Equal(fires[99].Add(time.Minute)) {
		t.Errorf("%d fires, then %s: one look makes up for a hundred and goes on", len(fires), next)
	}
}

func TestAScheduleGoesByItsZoneAndTellsWhatItLeftOut(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 2)
	s := a.scheduled("morning", "0 10 * * *", store.MissedSkip)
	if s.Next.Hour() != 10 || s.In.String() != "Asia/Seoul" || !s.Next.After(time.Now()) {
		t.Errorf("next at %s in %s", s.Next, s.In)
	}
	a.exec(`UPDATE schedules SET next_fire_at = $1`, s.Next.AddDate(0, 0, -2))
	if n, err := a.FireSchedules(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	fires, err := a.Fires(t.Context(), a.tenant, s.ID, 10)
	if err != nil || len(fires) == 0 || fires[0].State != "skipped" || fires[0].Reason != "missed" || a.planAll(a.DB) != 0 {
		t.Errorf("%+v, %v", fires, err)
	}
	moved, err := a.ChangeSchedule(t.Context(), a.tenant, s.ID, s.Version, func(s *store.Schedule) { s.Zone = "America/New_York" })
	if err != nil || moved.Next.Location().String() != "America/New_York" || moved.Next.Hour() != 10 {
		t.Errorf("%+v, %v", moved, err)
	}
	if _, err := a.ChangeSchedule(t.Context(), a.tenant, s.ID, s.Version, func(*store.Schedule) {}); !errors.Is(err, store.ErrChanged) {
		t.Errorf("an old version: %v", err)
	}
	for change, want := range map[string]func(*store.Schedule){
		"time_zone": func(s *store.Schedule) { s.Zone = "Mars/Olympus" }, "workflow_id": func(s *store.Schedule) { s.Workflow = uuid.New() }, "segment_id": func(s *store.Schedule) { s.Segment = uuid.New() },
	} {
		_, err := a.ChangeSchedule(t.Context(), a.tenant, s.ID, 0, want)
		if e, ok := errors.AsType[*store.MissingError](err); !ok || e.Field != change {
			t.Errorf("%s: %v", change, err)
		}
	}
	if _, err := a.CreateSchedule(t.Context(), a.tenant, store.Schedule{Name: "morning", Pattern: "@daily", Workflow: a.workflow, Segment: a.segment, Missed: store.MissedOnce}); !errors.Is(err, store.ErrTaken) {
		t.Error(err)
	}
	if _, err := a.ArchiveSegment(t.Context(), a.tenant, a.segment); !errors.Is(err, store.ErrInUse) {
		t.Error(err)
	}
	a.exec(`UPDATE workflows SET is_active = false`)
	a.exec(`UPDATE schedules SET next_fire_at = now() - interval '1 second'`)
	if _, err := a.FireSchedules(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fires, err = a.Fires(t.Context(), a.tenant, s.ID, 1); err != nil || fires[0].Reason != "workflow_inactive" {
		t.Errorf("%+v, %v", fires, err)
	}
	if _, err := a.ArchiveSchedule(t.Context(), a.tenant, s.ID); err != nil {
		t.Fatal(err)
	}
	a.exec(`UPDATE schedules SET next_fire_at = now() - interval '1 second'`)
	if n, err := a.FireSchedules(t.Context()); n != 0 || err != nil {
		t.Error("a deleted schedule fires", n, err)
	}
	if _, err := a.ArchiveSegment(t.Context(), a.tenant, a.segment); err != nil {
		t.Error(err)
	}
}

func TestASegmentMeansWhomItSays(t *testing.T) {
	t.Parallel()
	a := newAudience(t, 8)
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	set := func(patient int, sql string, args ...any) {
		a.exec(`UPDATE patients SET `+sql+` WHERE id = $1`, append([]any{a.patients[patient]}, args...)...)
	}
	set(0, `last_visit_date = '2026-05-24', gender = 'female'`)
	set(1, `last_visit_date = '2026-05-23', birthday = 1124`)
	set(2, `last_visit_date = '2026-11-01', last_surgery_date = '2026-11-17'`)
	set(3, `birthday = 1125, gender = 'male'`)
	set(4, `phone = NULL, birthday = 1124`) // nobody can write to them
	set(5, `merged_into = $2, merged_at = now(), birthday = 1124`, a.patients[0])
	a.exec(`INSERT INTO appointments (tenant_id, id, patient_id, appointment_date, status, surgery_type) VALUES ($1, gen_random_uuid(), $2, '2026-12-01', 'scheduled', '교정'),
	  ($1, gen_random_uuid(), $3, '2026-11-01', 'completed', '임플란트'), ($1, gen_random_uuid(), $3, '2026-12-01', 'cancelled', '임플란트')`, a.tenant, a.patients[0], a.patients[2])
	a.exec(`INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method, at) VALUES
	  ($1, gen_random_uuid(), $2, 'kakao', 'marketing', true, 'form', now() - interval '2 days'), ($1, gen_random_uuid(), $3, 'kakao', 'marketing', true, 'form', now() - interval '2 days'),
	  ($1, gen_random_uuid(), $3, 'kakao', 'marketing', false, 'form', now())`, a.tenant, a.patients[6], a.patients[7])
	yes, no := true, false
	six := &segment.Span{Months: 6}
	for name, c := range map[string]struct {
		filter segment.Filter
		want   []int
	}{
		"everybody":         {segment.Filter{}, []int{0, 1, 2, 3, 6, 7}},
		"six months ago":    {segment.Filter{LastVisit: &segment.Since{Ago: six}}, []int{0}},
		"or longer":         {segment.Filter{LastVisit: &segment.Since{AtLeast: six}}, []int{0, 1}},
		"or less":           {segment.Filter{LastVisit: &segment.Since{AtMost: six}}, []int{0, 2}},
		"never":             {segment.Filter{LastVisit: &segment.Since{AtLeast: six, AtMost: &segment.Span{Days: 1}}}, nil},
		"birthday today":    {segment.Filter{Birthday: &segment.Birthday{}}, []int{1}},
		"birthday tomorrow": {segment.Filter{Birthday: &segment.Birthday{InDays: 1}}, []int{3}},
		"women":             {segment.Filter{Gender: "female"}, []int{0}},
		"a week after":      {segment.Filter{LastSurgery: &segment.Since{Ago: &segment.Span{Days: 7}}}, []int{2}},
		"implants":          {segment.Filter{SurgeryTypes: []string{"임플란트", "교정"}}, []int{2}},
		"expected":          {segment.Filter{UpcomingAppointment: &yes}, []int{0}},
		"to be recalled":    {segment.Filter{UpcomingAppointment: &no, LastVisit: &segment.Since{AtLeast: six}}, []int{1}},
		"consented":         {segment.Filter{MarketingConsent: "kakao"}, []int{6}},
	} {
		n, asOf, err := a.CountSegment(t.Context(), a.tenant, c.filter, day)
		if err != nil || n != len(c.want) || !asOf.Equal(day) {
			t.Errorf("%s: %d on %s, %v; want %v", name, n, asOf, err, c.want)
		}
		a.planned8(name, c.filter, c.want)
	}
}

// planned8 plans a fire for a filter as of 24 November 2026, and compares whom
// for.
func (a *audience) planned8(name string, f segment.Filter, want []int) {
	a.t.Helper()
	raw, err := json.Marshal(f)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := a.CreateCampaign(a.t.Context(), a.tenant, store.Campaign{Name: name, Workflow: a.workflow, Segment: a.segment})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := a.ExecuteCampaign(a.t.Context(), a.tenant, c.ID, hand); err != nil {
		a.t.Fatal(err)
	}
	a.exec(`UPDATE batches SET filter = $2, as_of = '2026-11-24' WHERE campaign_id = $1`, c.ID, raw)
	a.planAll(a.DB)
	ids := []uuid.UUID{}
	for _, i := range want {
		ids = append(ids, a.patients[i])
	}
	got := column[uuid.UUID](a.ledger, `SELECT patient_id FROM workflow_executions WHERE campaign_id = $1 ORDER BY patient_id`, c.ID)
	if diff := cmp.Diff(ids, got); diff != "" {
		a.t.Errorf("%s: %s", name, diff)
	}
}
