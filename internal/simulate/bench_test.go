package simulate_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// example is the definition of an example's first workflow.
func example(t testing.TB, path string) *workflow.Definition {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := clinic.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	templates := map[string]clinic.Template{}
	for _, tpl := range f.Templates {
		templates[tpl.Name] = tpl
	}
	d, err := f.Workflows[0].Definition(templates)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// everyThird is a day list of a message every third day for 90 days.
func everyThird() *workflow.Definition {
	d := new(workflow.Definition)
	for day := 0; day < 90; day += 3 {
		d.Steps = append(d.Steps, workflow.Step{Node: fmt.Sprint(day), Day: &day, Message: workflow.Message{
			Class: workflow.CareFollowup, KakaoCode: "K", KakaoText: "#{환자명}님, #{병원명}입니다.", SMSText: "[#{병원명}] #{환자명}님",
		}})
	}
	return d
}

func machine(d *workflow.Definition, from time.Time) simulate.Machine {
	m := simulate.Machine{Rules: rules, Definition: d, Tenant: tenant.NewID(), Timing: store.DefaultTiming, Until: from.AddDate(0, 0, 90)}
	m.Setting.Name, m.Setting.Phone, m.Setting.Zone = "미소치과", "02-555-0100", time.FixedZone("KST", 9*3600)
	m.Setting.SendAt, m.Setting.Channels = workflow.Clock{Hour: 10}, []event.Channel{event.Kakao, event.SMS}
	return m
}

func subjects(t testing.TB, n int, at time.Time) []store.Subject {
	t.Helper()
	list := make([]store.Subject, n)
	for i := range list {
		to, err := phone.Parse(fmt.Sprintf("010-00%02d-%04d", i/10000, i%10000), phone.Options{AllowTestBands: true})
		if err != nil {
			t.Fatal(err)
		}
		list[i] = store.Subject{
			Patient: uuid.New(), ExternalID: fmt.Sprint("P-", i), Name: "김하늘", To: to, Kind: event.Webhook, Event: "appointment.completed",
			At: at.Add(time.Duration(i) * time.Minute), Payload: fmt.Appendf(nil, `{"type":"appointment.completed","appointment":{"bone_graft":%t}}`, i%2 == 0),
		}
	}
	return list
}

// BenchmarkCohort is 90 days of 10,000 patients; sec/op is to be at most 2.
func BenchmarkCohort(b *testing.B) {
	at := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	list := subjects(b, 10_000, at)
	for name, d := range map[string]*workflow.Definition{"30messages": everyThird(), "drawn": example(b, "../../docs/examples/implant-drawn.yaml")} {
		b.Run(name, func(b *testing.B) {
			m := machine(d, at.AddDate(0, 0, 7))
			steps := 0
			for b.Loop() {
				runs, err := m.Cohort(b.Context(), list)
				if err != nil {
					b.Fatal(err)
				}
				steps = 0
				for _, r := range runs {
					steps += len(r.Steps)
				}
			}
			b.ReportMetric(float64(steps), "messages")
		})
	}
}
