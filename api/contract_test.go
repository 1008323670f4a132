package api

import (
	"encoding/json"
	"iter"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestTheDocumentIsTheCommittedOne(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	w := s.do(http.MethodGet, "/api/openapi.yaml", "")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/yaml; charset=utf-8" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if *update {
		if err := os.WriteFile("openapi.yaml", w.Body.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), w.Body.String()); diff != "" {
		t.Errorf("api/openapi.yaml is not what is served; if the change is meant, run `go test ./api -update` (-file +served):\n%s", diff)
	}
}

// operations goes through the document's operations by path.
func operations(doc *huma.OpenAPI) iter.Seq2[string, *huma.Operation] {
	return func(yield func(string, *huma.Operation) bool) {
		for path, item := range doc.Paths {
			for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
				if op != nil && !yield(path, op) {
					return
				}
			}
		}
	}
}

func TestTheDocumentSaysEverythingOfEachOperation(t *testing.T) {
	t.Parallel()
	doc := serve(t, &fakeLedger{}, &fakeBroker{}).api.huma.OpenAPI()
	if doc.OpenAPI != "3.1.0" || doc.Info.License == nil || len(doc.Servers) == 0 {
		t.Errorf("version %q, info %+v", doc.OpenAPI, doc.Info)
	}
	for path, op := range operations(doc) {
		if op.Summary == "" || op.Description == "" || len(op.Tags) != 1 || len(op.Security) != 2 {
			t.Errorf("%s: %+v", path, op)
		}
		for _, status := range []string{"200", "400", "401", "403", "429", "500", "503"} {
			if r := op.Responses[status]; r == nil || r.Description == "" || len(r.Content) != 1 {
				t.Errorf("%s: answer %s is not described", path, status)
			}
		}
		wanted := []string{}
		if strings.Contains(path, "{") {
			wanted = append(wanted, "404")
		}
		if op.Method != http.MethodGet {
			wanted = append(wanted, "408", "413", "415", "422")
		}
		for _, status := range wanted {
			if r := op.Responses[status]; r == nil || r.Description == "" {
				t.Errorf("%s: answer %s is not described", path, status)
			}
		}
		want := 7 + len(wanted)
		for _, status := range []string{"409", "412", "428"} {
			if op.Responses[status] != nil {
				want++
			}
		}
		if len(op.Responses) != want {
			t.Errorf("%s: %d answers are described, want %d", path, len(op.Responses), want)
		}
		for _, p := range op.Parameters {
			if p.Name == "limit" && op.OperationID != "export-patients" && *p.Schema.Maximum != store.MaxPage {
				t.Errorf("%s: limit is documented up to %v, the store gives %d", path, *p.Schema.Maximum, store.MaxPage)
			}
		}
	}
}

// valid says what of a body is not as the document describes it.
func valid(t *testing.T, doc *huma.OpenAPI, path, status string, body []byte) {
	t.Helper()
	validFor(t, doc, doc.Paths[path].Get, path, status, body)
}

func validFor(t testing.TB, doc *huma.OpenAPI, op *huma.Operation, path, status string, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%s %s: %v", path, status, err)
	}
	var schema *huma.Schema
	for _, media := range op.Responses[status].Content {
		schema = media.Schema
	}
	res := new(huma.ValidateResult)
	huma.Validate(doc.Components.Schemas, schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, res)
	for _, err := range res.Errors {
		t.Errorf("%s %s: %v", path, status, err)
	}
}

func TestAnswersAreAsTheDocumentDescribesThem(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for _, s := range []store.State{store.StateClaimed, store.StateSent, store.StateFailed, store.StateDelivered} {
		l.mine.message("010-0000-0001", s)
	}
	doc := l.api.huma.OpenAPI()
	for path, op := range operations(doc) {
		if op.Method != http.MethodGet || strings.Contains(path, "{") {
			continue
		}
		for _, query := range []string{"", "?" + queryOf(op, "limit=1")} {
			if op.Responses["200"].Content["text/csv"] != nil {
				continue // a table has no schema
			}
			w := l.do(http.MethodGet, path+query, l.mine.keys[auth.Owner])
			valid(t, doc, path, "200", w.Body.Bytes())
		}
		for status, w := range map[string][]byte{
			"400": l.do(http.MethodGet, path+"?limit=0&x=1", l.mine.keys[auth.Owner]).Body.Bytes(),
			"401": l.do(http.MethodGet, path, "").Body.Bytes(),
		} {
			valid(t, doc, path, status, w)
		}
	}
	valid(t, doc, "/api/message-logs", "403", l.do(http.MethodGet, "/api/message-logs", l.mine.keys[auth.Integration]).Body.Bytes())
	l.db.Close()
	valid(t, doc, "/api/message-logs", "500", l.do(http.MethodGet, "/api/message-logs", l.mine.keys[auth.Owner]).Body.Bytes())
}

func TestTheReferenceNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	w := s.do(http.MethodGet, "/api/docs", "")
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, bad := range []string{"<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "ZgotmplZ", "https://"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, href := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		id, local := strings.CutPrefix(href[1], "#")
		if href[1] != "openapi.yaml" && (!local || !strings.Contains(page, `id="`+id+`"`)) {
			t.Errorf("the page links to %q, which is not on it", href[1])
		}
	}
	if style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page); style == nil || style[1] != docsCSS {
		t.Error("the style is not the one that the policy's hash allows")
	}
	if policy := w.Header().Get("Content-Security-Policy"); policy != pagePolicy || !strings.Contains(policy, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("policy %q", policy)
	}
	wanted := []string{"/api/message-logs", "/api/workflows/executions", "patient_id", "next_cursor", "owner, staff, viewer"}
	for _, slug := range problem.Slugs() {
		wanted = append(wanted, "/problems/"+string(slug))
	}
	for _, want := range wanted {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not tell of %s", want)
		}
	}
}
