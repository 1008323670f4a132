package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// odd is a drawing as no program of ours would write it.
const odd = "{ \"viewport\":{\"zoom\" : 1.50e+1,\"x\":-0,\"y\":1E40},\n\t\"nodes\":[\n{\"id\":\"t\",\"type\":\"trigger\",\"position\":{\"x\":null,\"y\":0.10},\"data\":{\"label\":\"<b>예약 &amp; 확인</b> \\u00e9\\/é 🦷 \u202e끝\u202c\",\"__proto__\":{\"a\":[]}}}," +
	"{\"id\":\"care\",\"type\":\"message\",\"measured\":{\"width\":180,\"height\":12345678901234567890},\"data\":{\"template\":\"care\",\"색\":\"#fff\",\"Zz\":1,\"my\":[{},[ ],\"\",null,true]}} ],\"edges\":[{\"id\":\"e\",\"source\":\"t\",\"target\":\"care\",\"style\":{\"strokeWidth\":2.0}}],\"내필드\":{\"b\":1,\"a\":2}}"

func TestADrawingKeepsEveryByteThroughAllOfIt(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	w := l.mine.edit(http.MethodPost, "", "", `{"name":"그림","visual_data":`+odd+`}`, 200)
	if len(w.Problems) != 0 || w.Notation != "visual" || string(w.VisualData) != odd {
		t.Fatalf("saved: %v\n%s\n%s", w.Problems, odd, w.VisualData)
	}
	same := func(what string, o *office, id string) {
		t.Helper()
		if got := o.edit(http.MethodGet, "/"+id, "", "", 200); string(got.VisualData) != odd {
			t.Errorf("%s:\n%s\nit was\n%s", what, got.VisualData, odd)
		}
	}
	same("read", l.mine, w.ID)
	l.mine.edit(http.MethodPost, "/"+w.ID+"/publish", "", `{}`, 200)
	same("published", l.mine, w.ID)
	l.mine.edit(http.MethodPatch, "/"+w.ID, "*", `{"target_surgery_type":"임플란트"}`, 200)
	same("drafted again", l.mine, w.ID)
	text, err := json.Marshal(odd)
	if err != nil {
		t.Fatal(err)
	}
	l.mine.edit(http.MethodPatch, "/"+w.ID, "*", `{"visual_data":`+string(text)+`}`, 200)
	same("saved as text", l.mine, w.ID)

	large := `{"nodes":[],"edges":[],"x":[` + strings.Repeat("0,", 50_000) + `0]}`
	if got := l.mine.edit(http.MethodPost, "", "", `{"name":"큰 그림","visual_data":`+large+`}`, 200); string(got.VisualData) != large {
		t.Error("a large drawing is not kept")
	}
	want, _ := workflow.Compact(odd)
	for i, format := range []string{"yaml", "json"} {
		file := l.do(http.MethodGet, "/api/workflows/"+w.ID+"/export?format="+format, l.mine.keys[auth.Staff]).Body.String()
		file = strings.Replace(file, "그림", fmt.Sprint("그림 ", i), 1)
		body, err := json.Marshal(map[string]any{"file": file, "publish": true})
		if err != nil {
			t.Fatal(err)
		}
		theirs := l.other.edit(http.MethodPost, "/import", "", string(body), 200)
		got, _ := workflow.Compact(string(l.other.edit(http.MethodGet, "/"+theirs.ID, "", "", 200).VisualData))
		if got != want {
			t.Errorf("by a file of %s it became\n%s\nit was\n%s", format, got, want)
		}
		again := l.do(http.MethodGet, "/api/workflows/"+theirs.ID+"/export?format="+format, l.other.keys[auth.Staff]).Body.String()
		if again != file {
			t.Errorf("exported again it is another file:\n%s\n---\n%s", file, again)
		}
	}
}

// drawings are what editors, or somebody who means no good, may send.
func drawings() map[string]string {
	nodes := func(n int, node func(int) string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = node(i)
		}
		return strings.Join(list, ",")
	}
	doc := func(nodes, edges string) string { return `{"nodes":[` + nodes + `],"edges":[` + edges + `]}` }
	message := func(i int) string {
		return fmt.Sprintf(`{"id":"n%d","type":"message","data":{"template":"care"}}`, i)
	}
	const trigger = `{"id":"t","type":"trigger","data":{}},`
	edge := func(from, to any) string { return fmt.Sprintf(`{"source":"%v","target":"%v"}`, from, to) }
	return map[string]string{
		"v9":             `{"elements":[{"id":"1","type":"input","data":{"label":"a"},"position":{"x":0,"y":0}},{"id":"e1-2","source":"1","target":"2"}],"position":[0,0],"zoom":1}`,
		"v10":            `{"nodes":[{"width":150,"height":40,"id":"1","type":"input","data":{"label":"a"},"position":{"x":0,"y":0},"positionAbsolute":{"x":0,"y":0},"z":0,"handleBounds":{"source":[{"id":null,"position":"bottom","x":72,"y":37}]}},{"id":"2","type":"default","data":{"label":"b"},"position":{"x":1,"y":1}}],"edges":[{"id":"e1-2","source":"1","target":"2","sourceHandle":null,"targetHandle":null,"animated":true}],"viewport":{"x":0,"y":0,"zoom":1}}`,
		"v11":            `{"nodes":[{"id":"t","type":"triggerNode","dragging":false,"selected":true,"position":{"x":1.5,"y":-2},"data":{"label":"시작","onChange":null}},{"id":"m","type":"custom","data":{"nodeType":"message","template":"care"},"position":{"x":0,"y":0},"parentNode":"g","extent":"parent"},{"id":"g","type":"group","position":{"x":0,"y":0},"style":{"width":1}}],"edges":[{"source":"t","sourceHandle":null,"target":"m","targetHandle":null,"id":"reactflow__edge-t-m","markerEnd":{"type":"arrowclosed"}}],"viewport":{"x":0,"y":0,"zoom":2}}`,
		"v12":            `{"nodes":[{"id":"t","type":"trigger","position":{"x":0,"y":0},"data":{},"measured":{"width":1,"height":1}},{"id":"m","type":"message","position":{"x":0,"y":0},"data":{"template":"care"},"parentId":"g","origin":[0.5,0.5]}],"edges":[{"id":"xy-edge__t-m","source":"t","target":"m","reconnectable":"source"}],"viewport":{"x":0,"y":0,"zoom":1}}`,
		"empty":          `{}`,
		"nothing_in_it":  doc("", ""),
		"a_list":         `[]`,
		"a_number":       `7`,
		"lists_of_junk":  doc(`1,null,"a",[],{}`, `1,null,"a",[],{}`),
		"null_lists":     `{"nodes":null,"edges":null}`,
		"nan":            `{"nodes":[{"id":"a","type":"trigger","position":{"x":NaN,"y":0}}],"edges":[]}`,
		"nan_as_text":    `{"nodes":[{"id":"a","type":"trigger","position":{"x":"NaN","y":"Infinity"}}],"edges":[]}`,
		"nan_as_null":    `{"nodes":[{"id":"a","type":"trigger","position":{"x":null,"y":null}}],"edges":[]}`,
		"huge_numbers":   `{"nodes":[{"id":"a","type":"delay","position":{"x":1e999999,"y":-1e-999999},"data":{"days":1e99}}],"edges":[]}`,
		"negative":       doc(trigger+`{"id":"d","type":"delay","data":{"days":-9223372036854775808}}`, edge("t", "d")),
		"overflow":       doc(trigger+`{"id":"d","type":"delay","data":{"business_days":9223372036854775807}}`, edge("t", "d")),
		"doubled_ids":    doc(trigger+message(1)+","+message(1), edge("t", "n1")+","+edge("t", "n1")),
		"bidi":           doc(`{"id":"\u202e가🦷\u200b","type":"trigger","data":{"event":"\u2066x\u2069"}},{"id":"e\u0301","type":"message","data":{"template":"\u202ecare"}}`, edge("\u202e가🦷\u200b", "é")),
		"control":        doc(`{"id":"a\u0001\u0007","type":"trigger"}`, ""),
		"nul":            doc(`{"id":"a\u0000","type":"trigger"}`, ""),
		"lone_surrogate": doc(`{"id":"\ud800","type":"trigger"}`, ""),
		"long_id":        doc(`{"id":"`+strings.Repeat("가", 5000)+`","type":"trigger"}`, ""),
		"itself":         doc(trigger+message(1), edge("t", "n1")+","+edge("n1", "n1")),
		"circle":         doc(trigger+nodes(400, message), edge("t", "n0")+","+nodes(400, func(i int) string { return edge(fmt.Sprint("n", i), fmt.Sprint("n", (i+1)%400)) })),
		"everything_to_everything": doc(trigger+nodes(44, message), nodes(44*44, func(i int) string {
			return edge(fmt.Sprint("n", i/44), fmt.Sprint("n", i%44))
		})),
		// 2^98 ways lead through it.
		"diamonds": doc(trigger+nodes(197, func(i int) string { return fmt.Sprintf(`{"id":"n%d","type":"delay","data":{"seconds":1}}`, i) }),
			edge("t", "n0")+","+nodes(98, func(i int) string {
				a, b := 2*i, 2*i+1
				return edge(fmt.Sprint("n", a), fmt.Sprint("n", b)) + "," + edge(fmt.Sprint("n", a), fmt.Sprint("n", b+1)) + "," + edge(fmt.Sprint("n", b), fmt.Sprint("n", b+1))
			})),
		"a_long_line":     doc(trigger+nodes(499, message), edge("t", "n0")+","+nodes(498, func(i int) string { return edge(fmt.Sprint("n", i), fmt.Sprint("n", i+1)) })),
		"too_many_nodes":  doc(nodes(3000, message), ""),
		"too_many_edges":  doc(trigger+message(1), nodes(5000, func(int) string { return edge("t", "n1") })),
		"too_many_values": `{"nodes":[],"edges":[],"x":[` + strings.Repeat("0,", 120_000) + `0]}`,
		"deep":            `{"nodes":[],"edges":[],"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		"ten_megabytes":   `{"nodes":[],"edges":[],"x":"` + strings.Repeat("x", 10<<20) + `"}`,
		"over_a_megabyte": `{"nodes":[],"edges":[],"x":"` + strings.Repeat("x", 1<<20) + `"}`,
		"costly_questions": doc(trigger+nodes(30, func(i int) string {
			return fmt.Sprintf(`{"id":"c%d","type":"condition","data":{"expression":%q}}`, i, "trigger.a.all(a, trigger.a.all(b, trigger.a.all(c, a+b+c == 1)))")
		}), ""),
		"many_questions": doc(trigger+nodes(480, func(i int) string {
			return fmt.Sprintf(`{"id":"c%d","type":"condition","data":{"branches":[%s]}}`, i, nodes(20, func(j int) string { return fmt.Sprintf(`{"handle":"h%d","expression":"trigger.a == %d"}`, j, j) }))
		}), ""),
		"long_questions": doc(trigger+nodes(400, func(i int) string {
			return fmt.Sprintf(`{"id":"c%d","type":"condition","data":{"expression":"%s1"}}`, i, strings.Repeat("1+", 900))
		}), ""),
		"nested_question": doc(trigger+`{"id":"c","type":"condition","data":{"expression":"`+strings.Repeat("(", 900)+"1"+strings.Repeat(")", 900)+`"}}`, edge("t", "c")),
		"wrong_types":     doc(trigger+`{"id":"m","type":"message","data":{"template":7,"variables":[]}},{"id":"d","type":"delay","data":{"days":"three"}},{"id":"s","type":"split","data":{"branches":{}}},{"id":"w","type":"wait","data":{"timeout":[]}},{"id":"c","type":"condition","data":{"expression":{}}}`, ""),
		"cut":             `{"nodes":[{"id":"t"`,
		"two":             `{"nodes":[],"edges":[]}{}`,
	}
}

// TestNoDrawingIsTooBadToBeAnswered saves each by every way in: as an object,
// as a text, and in a file. It is saved, with a list of its problems where it has
// some, or refused; what is saved comes back as it was.
func TestNoDrawingIsTooBadToBeAnswered(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	n := 0
	save := func(name, body string) workflowAnswer {
		t.Helper()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/workflows"+map[bool]string{true: "/import"}[strings.HasPrefix(body, `{"file"`)], strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+l.mine.keys[auth.Staff])
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		l.mux.ServeHTTP(w, r)
		var a workflowAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || !slices.Contains([]int{200, 400, 413, 422}, w.Code) {
			t.Errorf("%s: %d %.300s", name, w.Code, w.Body)
		}
		if w.Code != http.StatusOK {
			problemOf(t, w)
			a.ID = ""
		}
		for _, p := range a.Problems {
			if p.English == "" || p.Korean == "" {
				t.Errorf("%s: a problem that says nothing: %+v", name, p)
			}
		}
		return a
	}
	for name, drawing := range drawings() {
		n++
		a := save(name, fmt.Sprintf(`{"name":"%d","visual_data":%s}`, n, drawing))
		if a.ID != "" {
			if got := l.mine.edit(http.MethodGet, "/"+a.ID, "", "", 200).VisualData; string(got) != drawing && strings.HasPrefix(drawing, "{") {
				t.Errorf("%s came back as %.200s", name, got)
			}
			if status := map[bool]int{true: 200, false: 422}[len(a.Problems) == 0]; true {
				l.mine.edit(http.MethodPost, "/"+a.ID+"/publish", "", `{}`, status)
			}
		}
		text, err := json.Marshal(drawing)
		if err != nil {
			t.Fatal(err)
		}
		b := save(name+" as text", fmt.Sprintf(`{"name":"%d text","visual_data":%s}`, n, text))
		if a.ID != "" && b.ID != "" && len(a.Problems) != len(b.Problems) {
			t.Errorf("%s has %d problems as an object and %d as text", name, len(a.Problems), len(b.Problems))
		}
		for _, file := range []string{
			`{"workflow":{"name":"f` + fmt.Sprint(n) + `","visual_data":` + drawing + `}}`,
			"workflow:\n  name: y" + fmt.Sprint(n) + "\n  visual_data: " + string(text),
		} {
			body, err := json.Marshal(map[string]any{"file": file})
			if err != nil {
				t.Fatal(err)
			}
			save(name+" in a file", string(body))
		}
	}
	var list struct{ Data []WorkflowRow }
	l.fetch("/api/workflows?limit=200", l.mine.keys[auth.Viewer], &list)
	if len(list.Data) < n {
		t.Errorf("%d workflows are listed after %d were tried in four ways", len(list.Data), n)
	}
	if log := l.log.String(); log != "" {
		t.Errorf("logged: %.2000s", log)
	}
}
