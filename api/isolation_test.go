package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
)

// place is where an operation takes an id or a cursor.
type place struct{ operation, in, name string }

func (p place) String() string { return p.operation + " " + p.in + " " + p.name }

// idTable says of each place what a clinic of the seed has to put there; each
// call gives one that was not used up.
var idTable = map[place]func(c *seeded) string{
	{"list-message-logs", "query", "patient_id"}:    func(c *seeded) string { return c.patient },
	{"list-message-logs", "query", "workflow_id"}:   func(c *seeded) string { return c.workflow.String() },
	{"list-message-logs", "query", "execution_id"}:  func(c *seeded) string { return c.execution },
	{"replay-trigger", "path", "id"}:                func(c *seeded) string { return c.trigger() },
	{"replay-trigger", "body", "/workflow_id"}:      func(c *seeded) string { return c.workflow.String() },
	{"get-replay", "path", "id"}:                    func(c *seeded) string { return c.replay() },
	{"cancel-replay", "path", "id"}:                 func(c *seeded) string { return c.replay() },
	{"list-replays", "query", "cursor"}:             func(c *seeded) string { return c.cursor("/api/replays") },
	{"get-message-stats", "query", "workflow_id"}:   func(c *seeded) string { return c.workflow.String() },
	{"list-segments", "query", "cursor"}:            func(c *seeded) string { return c.cursor("/api/segments") },
	{"get-segment", "path", "id"}:                   func(c *seeded) string { return c.saved("segments", 0) },
	{"update-segment", "path", "id"}:                func(c *seeded) string { return c.saved("segments", 0) },
	{"delete-segment", "path", "id"}:                func(c *seeded) string { return c.newSegment() },
	{"list-schedules", "query", "cursor"}:           func(c *seeded) string { return c.cursor("/api/schedules") },
	{"get-schedule", "path", "id"}:                  func(c *seeded) string { return c.saved("schedules", 0) },
	{"update-schedule", "path", "id"}:               func(c *seeded) string { return c.saved("schedules", 0) },
	{"delete-schedule", "path", "id"}:               func(c *seeded) string { return c.newSchedule() },
	{"list-campaigns", "query", "cursor"}:           func(c *seeded) string { return c.cursor("/api/campaigns") },
	{"get-campaign", "path", "id"}:                  func(c *seeded) string { return c.saved("campaigns", 0) },
	{"update-campaign", "path", "id"}:               func(c *seeded) string { return c.newCampaign("update") },
	{"list-templates", "query", "cursor"}:           func(c *seeded) string { return c.cursor("/api/templates") },
	{"get-template", "path", "id"}:                  func(c *seeded) string { return c.saved("templates", 0) },
	{"update-template", "path", "id"}:               func(c *seeded) string { return c.saved("templates", 0) },
	{"delete-template", "path", "id"}:               func(c *seeded) string { return c.newTemplate() },
	{"create-schedule", "body", "/workflow_id"}:     func(c *seeded) string { return c.workflow.String() },
	{"create-schedule", "body", "/segment_id"}:      func(c *seeded) string { return c.saved("segments", 0) },
	{"update-schedule", "body", "/workflow_id"}:     func(c *seeded) string { return c.workflow.String() },
	{"update-schedule", "body", "/segment_id"}:      func(c *seeded) string { return c.saved("segments", 0) },
	{"execute-campaign", "path", "id"}:              func(c *seeded) string { return c.newCampaign("execute") },
	{"pause-campaign", "path", "id"}:                func(c *seeded) string { return c.newCampaign("pause") },
	{"resume-campaign", "path", "id"}:               func(c *seeded) string { return c.newCampaign("resume") },
	{"cancel-campaign", "path", "id"}:               func(c *seeded) string { return c.newCampaign("cancel") },
	{"create-campaign", "body", "/template_id"}:     func(c *seeded) string { return c.saved("templates", 0) },
	{"create-campaign", "body", "/workflow_id"}:     func(c *seeded) string { return c.workflow.String() },
	{"create-campaign", "body", "/segment_id"}:      func(c *seeded) string { return c.saved("segments", 0) },
	{"create-campaign", "body", "/target_patients"}: func(c *seeded) string { return c.patient },
	{"update-campaign", "body", "/template_id"}:     func(c *seeded) string { return c.saved("templates", 0) },
	{"update-campaign", "body", "/workflow_id"}:     func(c *seeded) string { return c.workflow.String() },
	{"update-campaign", "body", "/segment_id"}:      func(c *seeded) string { return c.saved("segments", 0) },
	{"update-campaign", "body", "/target_patients"}: func(c *seeded) string { return c.patient },
	{"receive-fhir-notification", "path", "id"}:     func(c *seeded) string { return c.fhirServer() },
	{"list-patients", "query", "cursor"}:            func(c *seeded) string { return c.cursor("/api/patients") },
	{"get-patient", "path", "id"}:                   func(c *seeded) string { return c.patient },
	{"update-patient", "path", "id"}:                func(c *seeded) string { return c.patient },
	{"list-consents", "path", "id"}:                 func(c *seeded) string { return c.patient },
	{"say-consent", "path", "id"}:                   func(c *seeded) string { return c.patient },
	{"erase-patient", "path", "id"}:                 func(c *seeded) string { return c.newPatient() },
	{"list-message-logs", "query", "cursor"}:        func(c *seeded) string { return c.cursor("/api/message-logs") },
	{"list-executions", "query", "workflow_id"}:     func(c *seeded) string { return c.workflow.String() },
	{"list-executions", "query", "patient_id"}:      func(c *seeded) string { return c.patient },
	{"list-executions", "query", "cursor"}:          func(c *seeded) string { return c.cursor("/api/workflows/executions") },
	{"list-workflows", "query", "cursor"}:           func(c *seeded) string { return c.cursor("/api/workflows") },
	{"get-workflow", "path", "id"}:                  func(c *seeded) string { return c.workflow.String() },
	{"update-workflow", "path", "id"}:               func(c *seeded) string { return c.newWorkflow() },
	{"delete-workflow", "path", "id"}:               func(c *seeded) string { return c.newWorkflow() },
	{"publish-workflow", "path", "id"}:              func(c *seeded) string { return c.newWorkflow() },
	{"activate-workflow", "path", "id"}:             func(c *seeded) string { return c.newWorkflow() },
	{"deactivate-workflow", "path", "id"}:           func(c *seeded) string { return c.newWorkflow() },
	{"export-workflow", "path", "id"}:               func(c *seeded) string { return c.workflow.String() },
	{"list-workflow-versions", "path", "id"}:        func(c *seeded) string { return c.twoVersions() },
	{"list-workflow-versions", "query", "cursor"}:   func(c *seeded) string { return c.cursor("/api/workflows/" + c.twoVersions() + "/versions") },
	{"list-appointments", "query", "patient_id"}:    func(c *seeded) string { return c.appointment().PatientID.String() },
	{"list-appointments", "query", "cursor"}:        func(c *seeded) string { return c.cursor("/api/appointments") },
	{"get-appointment", "path", "id"}:               func(c *seeded) string { return c.appointment().ID.String() },
	{"list-parked-steps", "query", "workflow_id"}:   func(c *seeded) string { return c.workflow.String() },
	{"list-parked-steps", "query", "cursor"}:        func(c *seeded) string { return c.cursor("/api/parked-steps") },
	{"list-audit-log", "query", "patient_id"}:       func(c *seeded) string { return c.patient },
	{"list-audit-log", "query", "cursor"}:           func(c *seeded) string { return c.cursor("/api/audit-log") },
	{"get-execution-plan", "path", "id"}:            func(c *seeded) string { return c.execution },
	{"stop-execution", "path", "id"}:                func(c *seeded) string { return c.execution },
	{"simulate-workflow", "path", "id"}:             func(c *seeded) string { return c.workflow.String() },
	{"simulate-workflow", "body", "/patient_ids"}:   func(c *seeded) string { return c.patient },
	{"list-opt-outs", "path", "id"}:                 func(c *seeded) string { return c.patient },
	{"opt-out-patient", "path", "id"}:               func(c *seeded) string { return c.patient },
	{"merge-patient", "path", "id"}:                 func(c *seeded) string { return c.patient },
	{"merge-patient", "body", "/into"}:              func(c *seeded) string { return c.second },
	{"lift-opt-out", "path", "id"}:                  func(c *seeded) string { return c.patient },
	{"lift-opt-out", "path", "opt_out_id"}:          func(c *seeded) string { return c.optOut() },
	{"retry-parked-step", "path", "id"}:             func(c *seeded) string { return c.takeParked() },
	{"drop-parked-step", "path", "id"}:              func(c *seeded) string { return c.takeParked() },
}

// bodies are what the operations with a body are sent; every field that is an
// id is replaced.
var bodies = map[string]string{
	"retry-parked-step":          `{"mode":"ask"}`,
	"stop-execution":             `{"reason":"moved away"}`,
	"create-workflow":            `{"name":"x"}`,
	"update-workflow":            `{"send_at":"11:00"}`,
	"publish-workflow":           `{}`,
	"activate-workflow":          `{"reason":"x"}`,
	"deactivate-workflow":        `{"reason":"x"}`,
	"import-workflow":            `{"file":"workflow: {name: x}"}`,
	"drop-parked-step":           `{"reason":"not needed any more"}`,
	"simulate-workflow":          `{"at":"2030-01-01T10:00:00+09:00","patient_ids":[]}`,
	"opt-out-patient":            `{"channel":"sms","class":"marketing"}`,
	"merge-patient":              `{"into":"","dry_run":true}`,
	"lift-opt-out":               `{"reason":"asked at the desk"}`,
	"create-segment":             `{"name":"x","filter":{}}`,
	"update-segment":             `{"filter":{"gender":"female"}}`,
	"count-segment":              `{"filter":{}}`,
	"create-schedule":            `{"name":"unique","pattern":"@daily","workflow_id":"","segment_id":""}`,
	"update-schedule":            `{"workflow_id":"","segment_id":""}`,
	"preview-schedule":           `{"pattern":"@daily"}`,
	"create-campaign":            `{"name":"x","template_id":"","workflow_id":"","segment_id":"","target_patients":[]}`,
	"update-campaign":            `{"template_id":"","workflow_id":"","segment_id":"","target_patients":[]}`,
	"execute-campaign":           `{"reason":"x"}`,
	"pause-campaign":             `{"reason":"x"}`,
	"resume-campaign":            `{"reason":"x"}`,
	"cancel-campaign":            `{"reason":"x"}`,
	"create-template":            `{"name":"x","sms_text":"x"}`,
	"update-template":            `{"sms_text":"x"}`,
	"create-patient":             `{"name":"김하늘"}`,
	"search-patients":            `{"last4":"0001","cursor":""}`,
	"update-patient":             `{"name":"이바다"}`,
	"import-patients":            "차트번호,환자명,휴대폰\nP-1,김하늘,010-0000-0001\n",
	"say-consent":                `{"channel":"sms","purpose":"marketing","granted":true,"method":"form"}`,
	"replay-trigger":             `{"reason":"lost","name":"again","workflow_id":""}`,
	"start-replay":               `{"since":"2026-11-01T00:00:00+09:00","reason":"lost"}`,
	"cancel-replay":              `{"reason":"wrong source"}`,
	"receive-appointment-events": bookedEvent("e1", "A-1"),
	"receive-appointment-fhir":   `{"resourceType":"Appointment","id":"A-9","status":"booked","start":"2026-12-01T14:30:00+09:00","participant":[{"actor":{"reference":"Patient/P-9"},"status":"accepted"}]}`,
	"receive-fhir-notification":  `{"resourceType":"Bundle","type":"subscription-notification","entry":[{"resource":{"resourceType":"SubscriptionStatus","type":"heartbeat","eventsSinceSubscriptionStart":"0","subscription":{"reference":"Subscription/1"}}}]}`,
	"receive-appointment-table":  "예약번호,차트번호,예약일,상태\nA-1,P-1,2026-12-01,예약완료\n",
}

// instead are fields of a body of which there may be one only: where an id is
// put into the first, the others are left out.
var instead = map[string][]string{
	"/template_id": {"workflow_id"}, "/workflow_id": {"template_id"}, "/segment_id": {"target_patients"}, "/target_patients": {"segment_id"},
}

// public are the paths without an operation, which tell nothing of any tenant.
var public = []string{"/api/docs", "/api/openapi.yaml"}

var anID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// shownBy are the queries of operations that are no lists.
var shownBy = map[string]string{"get-message-stats": "group_by=workflow"}

// queryOf is a query that an operation understands.
func queryOf(op *huma.Operation, ofList string) string {
	return cmp.Or(shownBy[op.OperationID], ofList)
}

// everything lists every id that the clinic's own lists show it, and its
// tenant's and webhook's.
func (c *seeded) everything(doc *huma.OpenAPI) map[string]bool {
	c.l.t.Helper()
	ids := map[string]bool{c.tenant.String(): true, c.webhook.String(): true}
	for path, op := range routes(doc) {
		if op.Method != http.MethodGet || strings.Contains(path, "{") {
			continue
		}
		w := c.l.do(http.MethodGet, path+"?"+queryOf(op, "limit=200"), c.keys[auth.Owner])
		found := anID.FindAllString(w.Body.String(), -1)
		if w.Code != http.StatusOK || len(found) == 0 {
			c.l.t.Errorf("%s shows its own clinic nothing (%d): the test would pass whatever it showed to others; seed a row", path, w.Code)
		}
		for _, id := range found {
			ids[id] = true
		}
	}
	return ids
}

// routes goes through the document's operations, whatever their method.
func routes(doc *huma.OpenAPI) func(yield func(string, *huma.Operation) bool) {
	return func(yield func(string, *huma.Operation) bool) {
		for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
			i := doc.Paths[path]
			for _, op := range []*huma.Operation{i.Get, i.Put, i.Post, i.Delete, i.Options, i.Head, i.Patch, i.Trace} {
				if op != nil && !yield(path, op) {
					return
				}
			}
		}
	}
}

// places are where an operation takes ids: its parameters and the fields of
// its body that are ids, and cursors.
func places(doc *huma.OpenAPI, op *huma.Operation) (list []place) {
	for _, p := range op.Parameters {
		if p.Name == "cursor" || isID(doc, p.Schema) {
			list = append(list, place{op.OperationID, p.In, p.Name})
		}
	}
	if op.RequestBody != nil {
		for _, media := range op.RequestBody.Content {
			for _, pointer := range idFields(doc, media.Schema, "", 0) {
				list = append(list, place{op.OperationID, "body", pointer})
			}
		}
	}
	return list
}

func resolve(doc *huma.OpenAPI, s *huma.Schema) *huma.Schema {
	if s != nil && s.Ref != "" {
		return doc.Components.Schemas.SchemaFromRef(s.Ref)
	}
	return s
}

// isID holds for an id and for a list of ids.
func isID(doc *huma.OpenAPI, s *huma.Schema) bool {
	s = resolve(doc, s)
	return s != nil && (s.Format == "uuid" || s.Items != nil && isID(doc, s.Items))
}

func idFields(doc *huma.OpenAPI, s *huma.Schema, at string, depth int) (list []string) {
	if s = resolve(doc, s); s == nil || depth > 8 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if isID(doc, s.Properties[name]) {
			list = append(list, at+"/"+name)
		} else {
			list = append(list, idFields(doc, s.Properties[name], at+"/"+name, depth+1)...)
		}
	}
	if s.Items != nil {
		list = append(list, idFields(doc, s.Items, at+"/0", depth+1)...)
	}
	return list
}

// ask sends a good request but for the value in this place; everything else
// that the request needs is the asker's own.
func (c *seeded) ask(path string, op *huma.Operation, at place, value string, all []place, role auth.Role) *httptest.ResponseRecorder {
	target, body := path, bodies[op.OperationID]
	put := func(p place, v string) {
		switch p.in {
		case "path":
			target = strings.ReplaceAll(target, "{"+p.name+"}", v)
		case "query":
			target += "?" + p.name + "=" + v
		case "body":
			body = setField(c.l.t, body, p.name, v)
		default:
			c.l.t.Fatalf("%s: ask cannot put an id there: teach it", p)
		}
	}
	out := map[string]bool{}
	for _, p := range append([]place{at}, all...) {
		if p.in == "body" && !out[p.name[1:]] {
			for _, name := range instead[p.name] {
				out[name] = true
			}
		}
	}
	for _, p := range all {
		if p != at && p.in != "query" && !(p.in == "body" && out[p.name[1:]]) {
			put(p, idTable[p](c))
		}
	}
	put(at, value)
	if body = strings.Replace(body, `"unique"`, `"`+uuid.NewString()+`"`, 1); len(out) > 0 {
		body = without(c.l.t, body, out)
	}
	return c.l.send(op.Method, target, c.keys[role], body)
}

func without(t testing.TB, body string, names map[string]bool) string {
	t.Helper()
	var whole map[string]any
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		t.Fatalf("bodies: %v", err)
	}
	maps.DeleteFunc(whole, func(name string, _ any) bool { return names[name] })
	b, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// setField replaces the id, or the ids, at a pointer.
func setField(t testing.TB, body, pointer, value string) string {
	t.Helper()
	var whole any
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		t.Fatalf("bodies: %v", err)
	}
	names, v := strings.Split(pointer, "/")[1:], whole
	for len(names) > 1 {
		switch x := v.(type) {
		case map[string]any:
			v, names = x[names[0]], names[1:]
		case []any:
			if len(x) > 0 {
				v, names = x[0], names[1:]
				continue
			}
			t.Fatalf("bodies: nothing at %s to put an id into", pointer)
		default:
			t.Fatalf("bodies: nothing at %s to put an id into", pointer)
		}
	}
	last, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("bodies: nothing at %s to put an id into", pointer)
	}
	if _, list := last[names[0]].([]any); list {
		last[names[0]] = []any{value}
	} else {
		last[names[0]] = value
	}
	out, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// shown is an answer, apart from the request's id and the value asked for.
func shown(w *httptest.ResponseRecorder, value string) string {
	h := w.Header().Clone()
	request := h.Get("X-Request-Id")
	h.Del("X-Request-Id")
	h.Del("Date")
	return strings.NewReplacer(request, "<request>", value, "<asked>").Replace(fmt.Sprint(w.Code, " ", h, " ", w.Body))
}

// TestEveryRouteHidesWhatIsAnothers asks every operation of the document for
// every id that it takes, as every role that may: another clinic's is answered
// byte for byte like one that nobody has, and its own otherwise; and no list
// shows one clinic what another has.
func TestEveryRouteHidesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	mine, other := l.seed(l.mine), l.seed(l.other)
	doc := l.api.huma.OpenAPI()
	theirs := other.everything(doc)
	for id := range mine.everything(doc) {
		if theirs[id] {
			t.Errorf("%s is shown to two clinics", id)
		}
	}
	known := map[place]bool{}
	for path, op := range routes(doc) {
		all := places(doc, op)
		if op.RequestBody != nil && bodies[op.OperationID] == "" {
			t.Fatalf("%s %s takes a body: add one that it accepts to bodies in isolation_test.go", op.Method, path)
		}
		for _, at := range all {
			known[at] = true
			give := idTable[at]
			if give == nil {
				t.Errorf("%s %s takes an id at %q: add a row to idTable in isolation_test.go that gives one which a clinic of the seed has", op.Method, path, at)
				continue
			}
			nobodys := uuid.Must(uuid.NewV7()).String()
			strange := []string{give(other)}
			if at.name == "cursor" {
				nobodys = strings.Repeat("A", len(strange[0]))
			} else {
				strange = append(strange, slices.Sorted(maps.Keys(theirs))...) // of whatever kind
			}
			for i, role := range permissions[op.OperationID] {
				random := mine.ask(path, op, at, nobodys, all, role)
				if i > 0 {
					strange = strange[:1]
				}
				for _, id := range strange {
					if got, want := shown(mine.ask(path, op, at, id, all, role), id), shown(random, nobodys); got != want {
						t.Errorf("%s as %s: another clinic's is answered\n%s\nand one that nobody has\n%s", at, role, got, want)
					}
				}
			}
			own := give(mine)
			role := permissions[op.OperationID][0]
			w, random := mine.ask(path, op, at, own, all, role), mine.ask(path, op, at, nobodys, all, role)
			if w.Code != http.StatusOK || shown(w, own) == shown(random, nobodys) {
				t.Errorf("%s: its own clinic's is answered like one that nobody has: %s", at, shown(w, own))
			}
		}
	}
	for at := range idTable {
		if !known[at] {
			t.Errorf("idTable has a row for %q, where no operation takes an id", at)
		}
	}
	// Nothing of the other clinic was decided by all that.
	var left parkedPage
	l.fetch("/api/parked-steps?limit=200", other.keys[auth.Owner], &left)
	if len(left.Data) != parkedSeeds {
		t.Errorf("the other clinic has %d parked steps, had %d", len(left.Data), parkedSeeds)
	}
}

// A path that is no operation has no row in permissions, and the matrix does
// not see it.
func TestEveryPathIsAnOperationOrTellsOfNobody(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	r, ok := s.api.huma.Adapter().(*router)
	if !ok {
		t.Fatalf("the adapter is %T", s.api.huma.Adapter())
	}
	operations := map[string][]string{}
	for path, op := range routes(s.api.huma.OpenAPI()) {
		operations[path] = append(operations[path], op.Method)
	}
	for path, methods := range r.methods {
		if slices.Contains(public, path) {
			continue
		}
		for _, m := range methods {
			if m != http.MethodHead && !slices.Contains(operations[path], m) {
				t.Errorf("%s %s is no operation of the document: make it one, or, if it tells nothing of any tenant, add it to public", m, path)
			}
		}
	}
}
