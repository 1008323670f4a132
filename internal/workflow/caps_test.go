package workflow_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func TestACapHoldsForItsDayAndItsWeek(t *testing.T) {
	t.Parallel()
	seoul := zone(t, "Asia/Seoul")
	now := time.Date(2026, time.November, 23, 15, 0, 0, 0, seoul)
	ago := func(days int, class workflow.Class) workflow.Sending {
		return workflow.Sending{Class: class, At: now.AddDate(0, 0, -days)}
	}
	for name, tt := range map[string]struct {
		caps  workflow.Caps
		class workflow.Class
		sent  []workflow.Sending
		want  int // days to wait
	}{
		"none":                  {nil, workflow.Marketing, []workflow.Sending{ago(0, workflow.Marketing)}, 0},
		"first_of_the_day":      {workflow.Caps{workflow.Marketing: {PerDay: 1}}, workflow.Marketing, []workflow.Sending{ago(1, workflow.Marketing)}, 0},
		"second_of_the_day":     {workflow.Caps{workflow.Marketing: {PerDay: 1}}, workflow.Marketing, []workflow.Sending{ago(0, workflow.Marketing)}, 1},
		"another_class":         {workflow.Caps{workflow.Marketing: {PerDay: 1}}, workflow.Marketing, []workflow.Sending{ago(0, workflow.CareFollowup)}, 0},
		"every_class":           {workflow.Caps{workflow.AllClasses: {PerDay: 1}}, workflow.Marketing, []workflow.Sending{ago(0, workflow.CareFollowup)}, 1},
		"auth_is_not_counted":   {workflow.Caps{workflow.AllClasses: {PerDay: 1}}, workflow.Marketing, []workflow.Sending{ago(0, workflow.Auth)}, 0},
		"auth_is_not_capped":    {workflow.Caps{workflow.AllClasses: {PerDay: 1}}, workflow.Auth, []workflow.Sending{ago(0, workflow.Marketing)}, 0},
		"week_is_full":          {workflow.Caps{workflow.CareFollowup: {PerWeek: 2}}, workflow.CareFollowup, []workflow.Sending{ago(6, workflow.CareFollowup), ago(3, workflow.CareFollowup)}, 1},
		"week_is_over":          {workflow.Caps{workflow.CareFollowup: {PerWeek: 2}}, workflow.CareFollowup, []workflow.Sending{ago(7, workflow.CareFollowup), ago(3, workflow.CareFollowup)}, 0},
		"full_for_longer":       {workflow.Caps{workflow.CareFollowup: {PerWeek: 1}}, workflow.CareFollowup, []workflow.Sending{ago(2, workflow.CareFollowup)}, 5},
		"day_is_free_week_full": {workflow.Caps{workflow.AllClasses: {PerDay: 3, PerWeek: 3}}, workflow.CareFollowup, []workflow.Sending{ago(0, workflow.Marketing), ago(0, workflow.Marketing), ago(0, workflow.Marketing)}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := now
			if tt.want > 0 {
				want = time.Date(2026, time.November, 23+tt.want, 0, 0, 0, 0, seoul)
			}
			if got, capped := tt.caps.Next(now, tt.class, seoul, tt.sent); !got.Equal(want) || capped != (tt.want > 0) {
				t.Errorf("%s %t, want %s", got, capped, want)
			}
		})
	}
}

// However messages come, no local day and no seven of them have more than the
// caps say, and a message that waited is free when it is told to be.
func TestNoDayAndNoWeekHasMoreThanItsCap(t *testing.T) {
	t.Parallel()
	zones := []*time.Location{zone(t, "Asia/Seoul"), zone(t, "America/New_York"), zone(t, "Pacific/Apia")}
	classes := []workflow.Class{workflow.CareFollowup, workflow.Marketing, workflow.Transactional}
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SampledFrom(zones).Draw(t, "zone")
		caps := workflow.Caps{}
		for _, key := range []workflow.Class{workflow.AllClasses, workflow.CareFollowup} {
			caps[key] = workflow.Cap{PerDay: rapid.IntRange(0, 3).Draw(t, "day"), PerWeek: rapid.IntRange(0, 5).Draw(t, "week")}
		}
		now := time.Unix(rapid.Int64Range(1_577_836_800, 2_208_988_800).Draw(t, "now"), 0)
		var sent []workflow.Sending
		for range rapid.IntRange(1, 40).Draw(t, "messages") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20*3600).Draw(t, "pause")) * time.Second)
			class := rapid.SampledFrom(classes).Draw(t, "class")
			at, capped := caps.Next(now, class, l, sent)
			if again, still := caps.Next(at, class, l, sent); still || !again.Equal(at) || capped == at.Equal(now) {
				t.Fatalf("told to wait from %s until %s, and then until %s", now, at, again)
			}
			now = at
			sent = append(sent, workflow.Sending{Class: class, At: at})
		}
		for key, limit := range caps {
			for _, last := range sent {
				day, week := 0, 0
				end := last.At.In(l)
				for _, s := range sent {
					if key != workflow.AllClasses && s.Class != key {
						continue
					}
					a, b := time.Date(end.Year(), end.Month(), end.Day(), 0, 0, 0, 0, time.UTC), s.At.In(l)
					switch age := a.Sub(time.Date(b.Year(), b.Month(), b.Day(), 0, 0, 0, 0, time.UTC)); {
					case age == 0:
						day++
						week++
					case age > 0 && age < 7*24*time.Hour:
						week++
					}
				}
				if limit.PerDay > 0 && day > limit.PerDay || limit.PerWeek > 0 && week > limit.PerWeek {
					t.Fatalf("%s: %d on the day and %d in the week of %s, allowed are %+v", key, day, week, end, limit)
				}
			}
		}
	})
}
