package clinic_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// anyText has what breaks files: quotes, breaks, directions, and characters that
// look like something else.
var anyText = rapid.Custom(func(t *rapid.T) string {
	pieces := rapid.SliceOfN(rapid.OneOf(
		rapid.SampledFrom([]string{"#{환자명}", "님", "\n", "\r", "\t", " ", "  ", ": ", " #", "- ", "'", `"`, `\`, "🙂", "\u202e", "\u200b", "\u2028", "\u0085", "\ufeff", "true", "null", "0x1f", "010", "1_000", "|", ">", "&a", "*a", "!!", "%", "@", "{", "}", "[", "]", ",", "?", "---", "...", "~", "é", "e\u0301", "\U0001f9b7"}),
		rapid.StringN(0, 6, 40),
	), 0, 8).Draw(t, "pieces")
	return strings.ReplaceAll(strings.ToValidUTF8(strings.Join(pieces, ""), ""), "\x00", "")
})

var anyFile = rapid.Custom(func(t *rapid.T) clinic.WorkflowFile {
	name := rapid.StringMatching(`[가-힣A-Za-z0-9]([가-힣A-Za-z0-9 :#()'"-]{0,10}[가-힣)])?`)
	number := func(label string) *int {
		if !rapid.Bool().Draw(t, label+"?") {
			return nil
		}
		return new(rapid.IntRange(0, 9999).Draw(t, label))
	}
	clock := func(label string) *workflow.Clock {
		if !rapid.Bool().Draw(t, label+"?") {
			return nil
		}
		return &workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, label), Minute: rapid.IntRange(0, 59).Draw(t, label)}
	}
	length := rapid.Map(rapid.IntRange(0, 100_000), func(n int) workflow.Duration { return workflow.Duration(time.Duration(n) * time.Second) })
	f := clinic.WorkflowFile{Workflow: clinic.Workflow{
		Name: name.Draw(t, "name"), TriggerType: rapid.SampledFrom(clinic.TriggerTypes).Draw(t, "trigger"), TargetSurgeryType: anyText.Draw(t, "target"),
		IsActive: new(rapid.Bool().Draw(t, "active")), DayLength: length.Draw(t, "day"), SendAt: clock("at"), IgnoreQuietHours: rapid.Bool().Draw(t, "quiet"),
	}}
	if rapid.Bool().Draw(t, "drawn") {
		f.Workflow.VisualData = rapid.OneOf(anyText, rapid.Map(anyText, func(s string) string {
			b, _ := json.Marshal(s)
			return `{"edges": [ ], "nodes":[{"id":` + string(b) + `, "x":1.50e+1},{}],` + "\n" + `"my":[1,[2]],"a":{}}`
		})).Draw(t, "visual")
	}
	for range rapid.IntRange(0, 3).Draw(t, "steps") {
		f.Workflow.Steps = append(f.Workflow.Steps, clinic.Step{
			Node: name.Draw(t, "node"), Type: name.Draw(t, "type"), Day: number("day"), Hours: number("hours"), Minutes: number("minutes"), Seconds: number("seconds"),
			SendAt: clock("step at"), ExpiresAfter: length.Draw(t, "expires"), Late: "skip", OnUnknown: "park", Template: anyText.Draw(t, "template"), Link: anyText.Draw(t, "link"),
			Variables: rapid.MapOfN(rapid.StringMatching(`[가-힣a-z][가-힣a-z0-9_ :#-]{0,8}`), anyText, 0, 2).Draw(t, "variables"),
		})
	}
	for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "templates") {
		f.Templates = append(f.Templates, clinic.Template{Name: n, Class: workflow.CareFollowup, KakaoStatus: "pending", KakaoText: anyText.Draw(t, "kakao"), SMSTitle: anyText.Draw(t, "title"), SMSText: anyText.Draw(t, "sms")})
	}
	return f
})

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := anyFile.Draw(t, "file")
		first, err := f.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := clinic.ParseWorkflowFile(first)
		if err != nil {
			t.Fatalf("%v in\n%s", err, first)
		}
		second, err := again.YAML()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("export, import, export differ (%v):\n%s\n---\n%s", err, first, second)
		}
		was, _ := workflow.Compact(f.Workflow.VisualData)
		is, _ := workflow.Compact(again.Workflow.VisualData)
		if was != is {
			t.Fatalf("the drawing was %q and is %q", was, is)
		}
		asJSON, err := f.JSON()
		if err != nil {
			t.Fatal(err)
		}
		byJSON, err := clinic.ParseWorkflowFile(asJSON)
		if err != nil {
			t.Fatalf("%v in\n%s", err, asJSON)
		}
		if third, err := byJSON.YAML(); err != nil || !bytes.Equal(first, third) {
			t.Fatalf("by JSON it differs (%v):\n%s\n---\n%s", err, first, third)
		}
	})
}

// fill gives every field a value, so that a field which is added and not
// carried is found.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(time.Hour))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"y": "z"}))
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	}
}

func TestAVersionGivesBackEveryFieldOfItsWorkflow(t *testing.T) {
	t.Parallel()
	var w clinic.Workflow
	fill(reflect.ValueOf(&w).Elem())
	w.VisualData, w.PublicURL = "", "" // the one is tried below, the other is where it is checked
	w.SendAt, w.Steps[0].SendAt = &workflow.Clock{Hour: 9}, &workflow.Clock{Hour: 8}
	w.SendWindows = []workflow.Window{{Days: []string{"mon"}, From: workflow.Clock{Hour: 9}, Until: workflow.Clock{Hour: 18, Minute: 30}}}
	template := clinic.Template{Name: "x", Class: workflow.Marketing, KakaoTemplateCode: "c", KakaoText: "k", SMSTitle: "t", SMSText: "s"}
	d, err := w.Definition(map[string]clinic.Template{"x": template})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = workflow.Decode(b); err != nil {
		t.Fatal(err)
	}
	got, templates := clinic.FromDefinition(d)
	// These are the workflow's own and no version's.
	got.Name, got.TriggerType, got.TargetSurgeryType, got.IsActive = w.Name, w.TriggerType, w.TargetSurgeryType, w.IsActive
	if diff := cmp.Diff(w, got); diff != "" {
		t.Errorf("a field of clinic.Workflow or Step is lost; carry it in FromDefinition (-was +is):\n%s", diff)
	}
	if diff := cmp.Diff([]clinic.Template{template}, templates); diff != "" {
		t.Errorf("(-was +is):\n%s", diff)
	}
	file := clinic.WorkflowFile{Workflow: w, Templates: []clinic.Template{template}}
	out, err := file.YAML()
	if err == nil {
		file, err = clinic.ParseWorkflowFile(out)
	}
	if diff := cmp.Diff(w, file.Workflow); err == nil && diff != "" {
		t.Errorf("(-was +is):\n%s", diff)
	}
}

func TestAFileThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ file, says string }{
		"empty":        {"", "needs a name"},
		"no_name":      {"workflow: {trigger_type: webhook}", "needs a name"},
		"unknown":      {"workflow: {name: a, colour: red}", "colour"},
		"clinic":       {"tenant: {slug: a}", "tenant"},
		"trigger":      {"workflow: {name: a, trigger_type: moon}", "trigger_type is"},
		"class":        {"workflow: {name: a}\ntemplates: [{name: t, class: nice}]", "class is"},
		"approval":     {"workflow: {name: a}\ntemplates: [{name: t, kakao_status: maybe}]", "kakao_status is"},
		"twice":        {"workflow: {name: a}\ntemplates: [{name: t}, {name: t}]", "there twice"},
		"large":        {"workflow: {name: a}\n#" + strings.Repeat("x", 3<<20), "larger than"},
		"drawing":      {"workflow: {name: a, visual_data: '" + strings.Repeat("x", 1<<20+1) + "'}", "at most 1024 KiB"},
		"json_unknown": {`{"workflow":{"name":"a","colour":1}}`, "colour"},
		"json_twice":   {`{"workflow":{"name":"a","name":"b"}}`, "duplicate"},
		"json_cut":     {`{"workflow":{"name":"a"`, "clinic:"},
		"deep":         {"workflow: " + strings.Repeat("[", 1<<20), "too deep"},
		"deep_dashes":  {strings.Repeat("- ", 1<<19) + "a", "too deep"},
		"no_yaml":      {"workflow:\n  name: a\n  steps:\n   ! #\n0:\n  0: !", "not YAML"},
		"nul":          {"workflow: {name: a, target_surgery_type: \"\\0\"}", "cannot be kept"},
		"documents":    {"workflow: {name: a}\n---\nworkflow: {name: b}", "several documents"},
	} {
		if _, err := clinic.ParseWorkflowFile([]byte(tt.file)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestTheEditorsObjectMayStandInAJSONFile(t *testing.T) {
	t.Parallel()
	f, err := clinic.ParseWorkflowFile([]byte(`{"workflow":{"name":"a","visual_data":{ "nodes":[],"edges":[],"zoom":1.50 }}}`))
	if err != nil || f.Workflow.VisualData != `{ "nodes":[],"edges":[],"zoom":1.50 }` {
		t.Errorf("%v: %q", err, f.Workflow.VisualData)
	}
}

func TestAProblemPointsIntoTheFile(t *testing.T) {
	t.Parallel()
	f, err := clinic.ParseWorkflowFile([]byte("workflow: {name: a, trigger_type: webhook, steps: [{node: first, day: 1, template: t}, {day: 1, template: none}]}\ntemplates: [{name: t, sms_text: 🙂}]"))
	if err != nil {
		t.Fatal(err)
	}
	_, missing := f.Workflow.Build(f.ByName())
	f.Workflow.Steps = f.Workflow.Steps[:1]
	_, emoji := f.Workflow.Build(f.ByName())
	f.Workflow.Steps, f.Workflow.VisualData = nil, `{"nodes":[{"id":"a","type":"exit"}],"edges":[]}`
	_, drawn := f.Workflow.Build(f.ByName())
	var got []string
	for _, p := range append(append(missing, emoji...), drawn...) {
		got = append(got, p.Node+" "+p.Pointer)
	}
	want := []string{"2 /steps/1/template", "first /steps/0/template/sms_text", " /visual_data/nodes"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
