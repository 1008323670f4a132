package workflow_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// drawn is a drawing as an editor exports it, with fields that are its own:
// after a surgery a note, three days later a question about the world then.
const drawn = `{
  "nodes": [
    {"id": "t", "type": "trigger", "position": {"x": 0, "y": -12.5}, "data": {"label": "수술 완료 🦷", "event": "completed", "surgery_type": "임플란트"}, "measured": {"width": 180}},
    {"id": "care", "type": "custom", "position": {"x": 0, "y": 80}, "data": {"kind": "message", "message": {"class": "care_followup", "kakao_template_code": "CARE", "kakao_text": "#{환자명}님", "sms_text": "#{환자명}님"}}, "selected": true},
    {"id": "d", "type": "delay", "position": {"x": 0, "y": 160}, "data": {"days": 3, "at": "10:00"}},
    {"id": "c", "type": "condition", "position": {"x": 0, "y": 240}, "data": {"expression": "happened.care.delivered && patient.gender == 'F'"}},
    {"id": "s", "type": "split", "position": {"x": 1, "y": 1}, "data": {"branches": [{"handle": "a", "percent": 70}, {"handle": "b", "percent": 30}]}},
    {"id": "w", "type": "wait", "position": {"x": 1, "y": 1}, "data": {"event": "delivered", "timeout": {"hours": 48}}},
    {"id": "ask", "type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}},
    {"id": "again", "type": "message", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}},
    {"id": "end", "type": "exit", "position": {"x": 1, "y": 1}, "data": {}},
    {"id": "memo", "type": "note", "position": {"x": 1, "y": 1}, "data": {"text": "원장님 확인"}}
  ],
  "edges": [
    {"id": "e1", "source": "t", "target": "care", "animated": true},
    {"id": "e2", "source": "care", "target": "d", "sourceHandle": null},
    {"id": "e3", "source": "d", "target": "c"},
    {"id": "e4", "source": "c", "target": "s", "sourceHandle": "true"},
    {"id": "e5", "source": "c", "target": "end", "sourceHandle": "false"},
    {"id": "e6", "source": "s", "target": "ask", "sourceHandle": "a"},
    {"id": "e7", "source": "s", "target": "w", "sourceHandle": "b"},
    {"id": "e8", "source": "ask", "target": "w"},
    {"id": "e9", "source": "w", "target": "again", "sourceHandle": "timeout"},
    {"id": "e10", "source": "w", "target": "end", "sourceHandle": "event"}
  ],
  "viewport": {"x": 12, "y": 3.5, "zoom": 0.75}
}`

var drawnTemplates = map[string]workflow.Message{
	"survey":   {Template: "survey", Class: workflow.CareFollowup, SMSText: "#{clinic}"},
	"unmapped": {Template: "unmapped", Class: workflow.CareFollowup, SMSText: "#{의사}"},
	"pending":  {Template: "pending", Class: workflow.CareFollowup, KakaoCode: "P", KakaoText: "#{clinic}", KakaoStatus: workflow.Pending},
	"linked":   {Template: "linked", Class: workflow.CareFollowup, SMSText: "#{링크}"},
}

func TestADrawingIsReadAndKeptAsItCame(t *testing.T) {
	t.Parallel()
	v, problems := workflow.ParseVisual([]byte(drawn))
	if len(problems) > 0 {
		t.Fatalf("%+v", problems)
	}
	if !bytes.Equal(v.JSON(), []byte(drawn)) {
		t.Error("the document is not what came")
	}
	var kinds []workflow.Kind
	for _, n := range v.Nodes {
		kinds = append(kinds, n.Kind)
	}
	want := []workflow.Kind{"trigger", "message", "delay", "condition", "split", "wait", "message", "message", "exit", "note"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if problems := workflow.CheckVisual(v, drawnTemplates); len(problems) > 0 {
		t.Errorf("%+v", problems)
	}
}

// change replaces one piece of the drawing.
func change(t *testing.T, old, text string) []byte {
	t.Helper()
	if strings.Count(drawn, old) != 1 {
		t.Fatalf("the drawing has %d of %s", strings.Count(drawn, old), old)
	}
	return []byte(strings.Replace(drawn, old, text, 1))
}

func TestEachProblemOfADrawingNamesItsNodeAndPlace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ old, text, node, pointer, says string }{
		"same_id":        {`"id": "end"`, `"id": "care"`, "care", "/nodes/8/id", "same id"},
		"dangling":       {`"target": "care"`, `"target": "nobody"`, "", "/edges/0", "not there"},
		"into_trigger":   {`"source": "d", "target": "c"`, `"source": "d", "target": "t"`, "t", "/edges/2", "begins a run"},
		"out_of_exit":    {`"source": "ask", "target": "w"`, `"source": "end", "target": "w"`, "end", "/edges/7", "ends the run"},
		"through_note":   {`"source": "ask", "target": "w"`, `"source": "memo", "target": "w"`, "memo", "/edges/7", "remark"},
		"circle":         {`"source": "ask", "target": "w"`, `"source": "ask", "target": "d"`, "ask", "/edges/7", "d → c → s → ask"},
		"itself":         {`"source": "ask", "target": "w"`, `"source": "ask", "target": "ask"`, "ask", "/edges/7", "circle: ask"},
		"unreachable":    {`"source": "w", "target": "again"`, `"source": "w", "target": "end"`, "again", "/nodes/7", "no trigger leads"},
		"no_trigger":     {`"type": "trigger"`, `"type": "delay"`, "", "/nodes", "needs a trigger"},
		"unknown_handle": {`"sourceHandle": "true"`, `"sourceHandle": "maybe"`, "c", "/edges/3/sourceHandle", `"maybe"`},
		"bad_expression": {`patient.gender == 'F'"`, `patient.gender = 'F'"`, "c", "/nodes/3/data/expression", "cannot be used"},
		"no_expression":  {`happened.care.delivered && patient.gender == 'F'`, ``, "c", "/nodes/3/data/expression", "empty"},
		"costly":         {`happened.care.delivered && patient.gender == 'F'`, `trigger.a.all(a, trigger.a.all(b, trigger.a.all(c, a == b)))`, "c", "/nodes/3/data/expression", "may cost 100000, and this one's cost is"},
		"not_a_question": {`happened.care.delivered && patient.gender == 'F'`, `1 + 1`, "c", "/nodes/3/data/expression", "true or false"},
		"long_question":  {`happened.care.delivered && patient.gender == 'F'`, strings.Repeat("a", 2001), "c", "/nodes/3/data/expression", "at most 2000 bytes"},
		"variable":       {`"type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}`, `"type": "sms", "data": {"template": "unmapped"}`, "ask", "/nodes/6/data/template/sms_text", "#{의사}"},
		"not_approved":   {`"type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}`, `"type": "kakao", "data": {"template": "pending"}`, "ask", "/nodes/6/data/template/kakao_template_code", "not approved"},
		"asks_nothing":   {`"type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}`, `"type": "photo", "data": {"template": "survey"}`, "ask", "/nodes/6/data/link", "#{링크}"},
		"odd_link":       {`"type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}`, `"type": "sms", "data": {"template": "linked", "link": "javascript:alert(1)"}`, "ask", "/nodes/6/data/link", "https://"},
		"idle_wait":      {`"source": "t", "target": "care"`, `"source": "t", "target": "w"`, "w", "/nodes/5", "only time out"},
		"no_way_passes":  {`"days": 3`, `"days": 3, "until": "10:00"`, "d", "/nodes/2/data", "exactly one"},
		"overflow":       {`"days": 3`, `"days": 9223372036854775807`, "d", "/nodes/2/data/days", "400 days"},
		"two_lengths":    {`"days": 3`, `"days": 3, "hours": 1`, "d", "/nodes/2/data", "exactly one"},
		"negative":       {`"days": 3`, `"days": -3`, "d", "/nodes/2/data/days", "back in time"},
		"too_far":        {`"days": 3`, `"days": 401`, "d", "/nodes/2/data/days", "400 days"},
		"adds_up":        {`"days": 3`, `"days": 400`, "t", "/nodes/0", "add up"},
		"wrong_type":     {`"days": 3`, `"days": "three"`, "d", "/nodes/2/data", "wrong type"},
		"odd_field":      {`"days": 3`, `"field": "date"`, "d", "/nodes/2/data/field", "JSON pointer"},
		"before_nothing": {`"days": 3`, `"days": 3, "before": true`, "d", "/nodes/2/data/before", "with a field"},
		"at_of_hours":    {`"days": 3`, `"hours": 3`, "d", "/nodes/2/data/at", "belongs to days"},
		"percent":        {`"percent": 70`, `"percent": 60`, "s", "/nodes/4/data/branches", "add up to 100"},
		"same_handle":    {`{"handle": "b", "percent": 30}`, `{"handle": "a", "percent": 10}, {"handle": "b", "percent": 20}`, "s", "/nodes/4/data/branches/1/handle", "of its own"},
		"odd_event":      {`"event": "delivered"`, `"event": "smiled"`, "w", "/nodes/5/data/event", "one of"},
		"no_timeout":     {`, "timeout": {"hours": 48}`, ``, "w", "/nodes/5/data/timeout", "exactly one"},
		"no_template":    {`"type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}`, `"type": "sms", "data": {"template": "gone"}`, "ask", "/nodes/6/data/template", `"gone"`},
		"no_message":     {`"type": "sms", "position": {"x": 1, "y": 1}, "data": {"template": "survey"}`, `"type": "sms"`, "ask", "/nodes/6/data/template", "choose a template"},
		"emoji_by_sms":   {`"sms_text": "#{환자명}님"`, `"sms_text": "안녕 🙂"`, "care", "/nodes/1/data/message/sms_text", "cannot be sent by SMS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, problems := workflow.ParseVisual(change(t, tt.old, tt.text))
			if len(problems) == 0 {
				problems = workflow.CheckVisual(v, drawnTemplates)
			}
			if len(problems) == 0 {
				t.Fatal("no problem is found")
			}
			for _, p := range problems {
				if p.Node == tt.node && p.Pointer == tt.pointer && strings.Contains(p.English, tt.says) && strings.ContainsFunc(p.Korean, func(r rune) bool { return unicode.Is(unicode.Hangul, r) }) {
					return
				}
			}
			t.Errorf("problems %+v, want %q at node %s, %s", problems, tt.says, tt.node, tt.pointer)
		})
	}
}

// manyOf is a drawing whose trigger leads to n nodes of a kind, one after the
// other.
func manyOf(n int, kind, data string) []byte {
	nodes, edges := []string{`{"id":"0","type":"trigger"}`}, []string{}
	for i := range n {
		nodes = append(nodes, fmt.Sprintf(`{"id":"%d","type":%q,"data":%s}`, i+1, kind, data))
		edges = append(edges, fmt.Sprintf(`{"source":"%d","target":"%d","sourceHandle":"true"}`, i, i+1))
	}
	return []byte(`{"nodes":[` + strings.Join(nodes, ",") + `],"edges":[` + strings.Join(edges, ",") + `]}`)
}

func TestADrawingHasLimitsThatAreTold(t *testing.T) {
	t.Parallel()
	question := func(s string) string { return `{"branches":[` + s + `]}` }
	asked := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"handle":"%d","expression":"true"}`, i)
		}
		return question(strings.Join(list, ","))
	}
	for name, tt := range map[string]struct {
		drawing       []byte
		pointer, says string
	}{
		"messages":        {manyOf(201, "message", `{"template":"survey"}`), "/nodes", "at most 200 messages"},
		"branches":        {manyOf(1, "condition", asked(21)), "/nodes/1/data/branches", "at most 20 branches"},
		"questions":       {manyOf(26, "condition", asked(20)), "/nodes", "asks at most 200 questions"},
		"long_questions":  {manyOf(40, "condition", `{"expression":"`+strings.Repeat(" ", 1990)+`true"}`), "/nodes", "of 32 KiB together"},
		"delays_together": {manyOf(401, "delay", `{"days":1}`), "/nodes/0", "add up to more than 400 days"},
	} {
		v, problems := workflow.ParseVisual(tt.drawing)
		if v == nil {
			t.Fatal(problems)
		}
		problems = workflow.CheckVisual(v, drawnTemplates)
		if !slices.ContainsFunc(problems, func(p workflow.Problem) bool {
			return p.Pointer == tt.pointer && strings.Contains(p.English, tt.says) && p.Korean != ""
		}) {
			t.Errorf("%s: %+v", name, problems)
		}
	}
	bad, _ := workflow.ParseVisual(manyOf(26, "condition", strings.ReplaceAll(asked(20), `"true"`, `"("`)))
	read := 0
	for _, p := range workflow.CheckVisual(bad, drawnTemplates) {
		if strings.Contains(p.English, "cannot be used") {
			read++
		}
	}
	if read != workflow.MaxExpressions {
		t.Errorf("%d expressions were read", read)
	}
	for name, drawing := range map[string][]byte{"200 messages": manyOf(200, "message", `{"template":"survey"}`), "400 days": append(manyOf(400, "delay", `{"days":1}`), ' ')} {
		v, _ := workflow.ParseVisual(drawing)
		for _, p := range workflow.CheckVisual(v, drawnTemplates) {
			if !strings.Contains(p.English, "no message is reached") {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}

func TestWhatIsNoDrawingIsRefusedWhole(t *testing.T) {
	t.Parallel()
	nodes := func(n int) string {
		return `{"nodes": [` + strings.TrimSuffix(strings.Repeat(`{"id":"a","type":"exit"},`, n), ",") + `], "edges": []}`
	}
	for name, tt := range map[string]struct{ doc, pointer string }{
		"empty": {"", ""}, "text": {"hello", ""}, "array": {"[]", ""}, "null": {"null", ""}, "no_edges": {`{"nodes": []}`, ""},
		"nan":          {`{"nodes": [{"id": "a", "type": "exit", "position": {"x": NaN}}], "edges": []}`, "/nodes/0/position/x"},
		"doubled_key":  {`{"nodes": [], "nodes": [], "edges": []}`, "/nodes"},
		"deep":         {strings.Repeat("[", 10_000), ""},
		"node_number":  {`{"nodes": [7], "edges": []}`, "/nodes/0"},
		"no_id":        {`{"nodes": [{"type": "exit"}], "edges": []}`, "/nodes/0/id"},
		"number_as_id": {`{"nodes": [{"id": 7, "type": "exit"}], "edges": []}`, "/nodes/0/id"},
		"no_kind":      {`{"nodes": [{"id": "a", "type": "robot"}], "edges": []}`, "/nodes/0/type"},
		"data_list":    {`{"nodes": [{"id": "a", "type": "exit", "data": []}], "edges": []}`, "/nodes/0/data"},
		"edge_text":    {`{"nodes": [], "edges": ["a"]}`, "/edges/0"},
		"edge_nowhere": {`{"nodes": [], "edges": [{"source": "a"}]}`, "/edges/0"},
		"too_many":     {nodes(501), "/nodes"},
		"too_large":    {`{"nodes": [], "edges": [], "x": "` + strings.Repeat("a", 10<<20) + `"}`, ""},
	} {
		v, problems := workflow.ParseVisual([]byte(tt.doc))
		if v != nil || len(problems) == 0 {
			t.Errorf("%s: %v, %+v", name, v, problems)
			continue
		}
		if !strings.HasPrefix(problems[0].Pointer, tt.pointer) || len(fmt.Sprint(problems)) > 4000 {
			t.Errorf("%s: %+v, want one at %s", name, problems, tt.pointer)
		}
	}
}

func FuzzDrawingsEndInProblemsOrASave(f *testing.F) {
	f.Add([]byte(drawn))
	f.Add([]byte(`{"nodes":[{"id":"\u202e","type":"TRIGGER","data":{"kind":1}}],"edges":[{"source":"\u202e","target":"\u202e"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, problems := workflow.ParseVisual(b)
		if v == nil {
			if len(problems) == 0 {
				t.Fatal("refused without a problem")
			}
			return
		}
		if !bytes.Equal(v.JSON(), b) {
			t.Fatal("the document is not what came")
		}
		for _, p := range workflow.CheckVisual(v, drawnTemplates) {
			if p.English == "" || p.Korean == "" {
				t.Fatalf("%+v says nothing", p)
			}
			if _, err := json.Marshal(p); err != nil {
				t.Fatal(err)
			}
		}
	})
}
