package dispatcher

import (
	"fmt"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

var (
	timing   = store.DefaultTiming
	seoul    = time.FixedZone("KST", 9*60*60)
	noon     = time.Date(2026, 3, 2, 12, 0, 0, 0, seoul)
	patient  = mustPhone("010-2345-6789")
	nowhere  = phone.Number{}
	aClinic  = tenant.NewID()
	aRoot    = uuid.Must(uuid.NewV7())
	aTour    = uuid.Must(uuid.NewV7())
	anAnswer = []byte(`{"appointment":{"surgery":"임플란트","count":3,"none":null,"yes":true,"list":[1]},"empty":""}`)
)

func mustPhone(s string) phone.Number {
	n, err := phone.Parse(s, phone.Options{AllowTestBands: true})
	if err != nil {
		panic(err)
	}
	return n
}

// candidate is a step that every guard lets pass.
func candidate() *store.Candidate {
	return &store.Candidate{
		Step: event.Step{Tenant: aClinic, ID: aRoot, Lane: event.Care, Channel: event.Kakao, Attempt: 0, PlanEpoch: 1},
		Root: aRoot, Workflow: aTour, Node: "care", RunEpoch: 1,
		DueAt: noon.Add(-time.Minute), Expires: noon.Add(24 * time.Hour), Late: workflow.LateSend, Now: noon,
		Clinic:  store.Clinic{Name: "미소치과", Phone: "02-555-0100", Zone: seoul},
		Account: uuid.Must(uuid.NewV7()), PatientName: "김하늘", To: patient, Payload: anAnswer,
		Definition: &workflow.Definition{Steps: []workflow.Step{{Node: "care", Day: new(0), Message: workflow.Message{
			Template: "care", Class: workflow.CareFollowup, KakaoCode: "CARE",
			KakaoText: "#{환자명}님, #{시술명} 안내", SMSTitle: "안내", SMSText: "[#{병원명}] #{환자명}님 #{시술명} #{병원전화}",
			Variables: map[string]string{"시술명": "/appointment/surgery"},
		}}}},
	}
}

func textOf(c *store.Candidate) *workflow.Message { return &c.Definition.Steps[0].Message }

// guards are what may keep a step from being sent, the first to say so first:
// each with a change that trips it alone.
var guards = []struct {
	name string
	trip func(*store.Candidate)
	want verdict
}{
	{"plan_changed", func(c *store.Candidate) { c.RunEpoch = 2 }, end(event.Cancelled, event.Superseded)},
	{"run_over", func(c *store.Candidate) { c.RunDone = true }, end(event.Cancelled, event.Superseded)},
	{"paused", func(c *store.Candidate) { c.Paused = true }, verdict{wait: noon, reason: event.Paused}},
	{"expired", func(c *store.Candidate) { c.Expires = noon }, end(event.Expired, event.TimePassed)},
	{"late_skip", func(c *store.Candidate) { c.Late, c.DueAt = workflow.LateSkip, noon.Add(-15*time.Minute-1) }, end(event.Skipped, event.Late)},
	{"late_expire", func(c *store.Candidate) { c.Late, c.DueAt = workflow.LateExpire, noon.Add(-15*time.Minute-1) }, end(event.Expired, event.Late)},
	{"past_cut_off", func(c *store.Candidate) { c.FirstIntent = noon.Add(-timing.W) }, verdict{outcome: event.Unknown}},
	{"erased", func(c *store.Candidate) { c.Erased = true }, end(event.Skipped, event.PatientErased)},
	{"opted_out", func(c *store.Candidate) { c.Suppressed = []string{"*"} }, end(event.Skipped, event.OptedOut)},
	{"no_consent", func(c *store.Candidate) { textOf(c).Class = workflow.Marketing }, end(event.Skipped, event.NoConsent)},
	{"quiet_hours", quietUntilOne, verdict{wait: noon.Add(time.Hour), reason: event.QuietHours}},
	{"no_phone", func(c *store.Candidate) { c.To = nowhere }, end(event.Failed, event.NoPhone)},
	{"node_gone", func(c *store.Candidate) { c.Node = "gone" }, end(event.Failed, event.Unrenderable)},
	{"no_account", func(c *store.Candidate) { c.Account = uuid.Nil }, end(event.Failed, event.NoAccount)},
	{"unrenderable", func(c *store.Candidate) { c.Payload = nil }, end(event.Failed, event.Unrenderable)},
}

func quietUntilOne(c *store.Candidate) {
	c.Clinic.Quiet, c.Clinic.QuietFrom, c.Clinic.QuietUntil = true, workflow.Clock{Hour: 11}, workflow.Clock{Hour: 13}
}

func diff(want, got verdict) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(verdict{}), cmp.Comparer(func(a, b *message) bool { return (a == nil) == (b == nil) }))
}

func TestNothingKeepsASoundStep(t *testing.T) {
	t.Parallel()
	for _, channel := range []event.Channel{event.Kakao, event.SMS} {
		c := candidate()
		c.Channel = channel
		if v := judge(c, timing); v.message == nil || v.outcome != "" || !v.wait.IsZero() {
			t.Errorf("by %s: %+v, want a message", channel, v)
		}
	}
}

func TestEveryGuardKeepsItsStep(t *testing.T) {
	t.Parallel()
	for _, g := range guards {
		c := candidate()
		g.trip(c)
		if d := diff(g.want, judge(c, timing)); d != "" {
			t.Errorf("%s (-want +got):\n%s", g.name, d)
		}
	}
}

// Where several guards object, the reason is the one that a clinic expects:
// first the plan, then time, then the patient's will, then what is possible.
func TestReasonIsThatOfTheFirstGuard(t *testing.T) {
	t.Parallel()
	for i, first := range guards {
		for _, second := range guards[i+1:] {
			if first.name == "no_consent" && second.name == "node_gone" || first.name == "late_skip" && second.name == "late_expire" {
				continue // one undoes the other
			}
			c := candidate()
			second.trip(c)
			first.trip(c)
			if d := diff(first.want, judge(c, timing)); d != "" {
				t.Errorf("%s before %s (-want +got):\n%s", first.name, second.name, d)
			}
		}
	}
}

func TestGuardsEndWhereTheyShould(t *testing.T) {
	t.Parallel()
	send := verdict{message: new(message)}
	class := func(w workflow.Class) func(*store.Candidate) { return func(c *store.Candidate) { textOf(c).Class = w } }
	both := func(list ...func(*store.Candidate)) func(*store.Candidate) {
		return func(c *store.Candidate) {
			for _, f := range list {
				f(c)
			}
		}
	}
	suppressed := func(s ...string) func(*store.Candidate) { return func(c *store.Candidate) { c.Suppressed = s } }
	late := func(l workflow.Late, by time.Duration) func(*store.Candidate) {
		return func(c *store.Candidate) { c.Late, c.DueAt = l, noon.Add(-by) }
	}
	expires := func(d time.Duration) func(*store.Candidate) {
		return func(c *store.Candidate) { c.Expires = noon.Add(d) }
	}
	consent := func(c *store.Candidate) { c.Consented = true }
	anyHour := func(c *store.Candidate) { c.Definition.IgnoreQuietHours = true }
	tests := []struct {
		name string
		trip func(*store.Candidate)
		want verdict
	}{
		{"expires_in_a_moment", expires(1), send},
		{"late_and_sent_all_the_same", late(workflow.LateSend, 20*time.Hour), send},
		{"no_policy_sends", late("", 20*time.Hour), send},
		{"just_in_time_for_skip", late(workflow.LateSkip, 15*time.Minute), send},
		{"just_in_time_for_expire", late(workflow.LateExpire, 15*time.Minute), send},
		{"opted_out_of_this_class", suppressed("care_followup"), end(event.Skipped, event.OptedOut)},
		{"opted_out_of_another_class", suppressed("marketing", "auth"), send},
		{"marketing_with_consent", both(class(workflow.Marketing), consent), send},
		{"auth_in_quiet_hours", both(quietUntilOne, class(workflow.Auth)), send},
		{"transactional_in_quiet_hours", both(quietUntilOne, class(workflow.Transactional)), verdict{wait: noon.Add(time.Hour), reason: event.QuietHours}},
		{"workflow_of_any_hour", both(quietUntilOne, anyHour), send},
		{"marketing_never_of_any_hour", both(quietUntilOne, anyHour, class(workflow.Marketing), consent), verdict{wait: noon.Add(time.Hour), reason: event.QuietHours}},
		{"expires_with_quiet_hours", both(quietUntilOne, expires(time.Hour)), end(event.Expired, event.QuietHoursExpired)},
		{"expires_behind_quiet_hours", both(quietUntilOne, expires(time.Hour+1)), verdict{wait: noon.Add(time.Hour), reason: event.QuietHours}},
	}
	for _, tt := range tests {
		c := candidate()
		tt.trip(c)
		if d := diff(tt.want, judge(c, timing)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestKakaoIsRetriedOnlyWhileItsKeyIsSurelyRemembered(t *testing.T) {
	t.Parallel()
	last := timing.W - timing.G - timing.D - timing.Slack // after the first request
	tests := []struct {
		channel event.Channel
		after   time.Duration
		want    bool
	}{
		{event.Kakao, 0, false},
		{event.Kakao, last - 1, false},
		{event.Kakao, last, true},
		{event.Kakao, timing.W, true},
		{event.Kakao, 24 * time.Hour, true},
		// Nothing makes a gateway know the same SMS again.
		{event.SMS, 0, true},
		{event.SMS, time.Second, true},
		{event.SMS, 24 * time.Hour, true},
	}
	for _, tt := range tests {
		c := candidate()
		c.Channel, c.FirstIntent = tt.channel, noon.Add(-tt.after)
		if got := pastCutOff(c, timing); got != tt.want {
			t.Errorf("%s %v after its first request: past the cut-off %v, want %v", tt.channel, tt.after, got, tt.want)
		}
	}
	for _, channel := range []event.Channel{event.Kakao, event.SMS} {
		c := candidate()
		c.Channel = channel
		if pastCutOff(c, timing) {
			t.Errorf("a first %s is past its cut-off", channel)
		}
	}
	if fmt.Sprint(last) != "9m20s" {
		t.Errorf("the last retry by default is after %v, want 560 s", last)
	}
}
