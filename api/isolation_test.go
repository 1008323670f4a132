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
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// place is where an operation takes an id or a cursor.
type place struct{ operation, in, name string }

func (p place) String() string { return p.operation + " " + p.in + " " + p.name }

// idTable says of each place what a clinic of the seed has to put there; each
// call gives one that was not used up.
var idTable = map[place]func(c *seeded) string{
	{"list-message-logs", "query", "patient_id"}:   func(c *seeded) string { return c.patient },
	{"list-message-logs", "query", "workflow_id"}:  func(c *seeded) string { return c.workflow.String() },
	{"list-message-logs", "query", "execution_id"}: func(c *seeded) string { return c.execution },
	{"replay-trigger", "path", "id"}:               func(c *seeded) string { return c.trigger() },
	{"replay-trigger", "body", "/workflow_id"}:     func(c *seeded) string { return c.workflow.String() },
	{"get-replay", "path", "id"}:                   func(c *seeded) string { return c.replay() },
	{"cancel-replay", "path", "id"}:                func(c *seeded) string { return c.replay() },
	{"list-replays", "query", "cursor"}:            func(c *seeded) string { return c.cursor("/api/replays") },
	{"get-message-stats", "query", "workflow_id"}:  func(c *seeded) string { return c.workflow.String() },
	{"list-message-logs", "query", "cursor"}:       func(c *seeded) string { return c.cursor("/api/message-logs") },
	{"list-executions", "query", "workflow_id"}:    func(c *seeded) string { return c.workflow.String() },
	{"list-executions", "query", "patient_id"}:     func(c *seeded) string { return c.patient },
	{"list-executions", "query", "cursor"}:         func(c *seeded) string { return c.cursor("/api/workflows/executions") },
	{"list-workflows", "query", "cursor"}:          func(c *seeded) string { return c.cursor("/api/workflows") },
	{"get-workflow", "path", "id"}:                 func(c *seeded) string { return c.workflow.String() },
	{"update-workflow", "path", "id"}:              func(c *seeded) string { return c.newWorkflow() },
	{"delete-workflow", "path", "id"}:              func(c *seeded) string { return c.newWorkflow() },
	{"publish-workflow", "path", "id"}:             func(c *seeded) string { return c.newWorkflow() },
	{"activate-workflow", "path", "id"}:            func(c *seeded) string { return c.newWorkflow() },
	{"deactivate-workflow", "path", "id"}:          func(c *seeded) string { return c.newWorkflow() },
	{"export-workflow", "path", "id"}:              func(c *seeded) string { return c.workflow.String() },
	{"list-workflow-versions", "path", "id"}:       func(c *seeded) string { return c.twoVersions() },
	{"list-workflow-versions", "query", "cursor"}:  func(c *seeded) string { return c.cursor("/api/workflows/" + c.twoVersions() + "/versions") },
	{"list-appointments", "query", "patient_id"}:   func(c *seeded) string { return c.appointment().PatientID.String() },
	{"list-appointments", "query", "cursor"}:       func(c *seeded) string { return c.cursor("/api/appointments") },
	{"get-appointment", "path", "id"}:              func(c *seeded) string { return c.appointment().ID.String() },
	{"list-parked-steps", "query", "workflow_id"}:  func(c *seeded) string { return c.workflow.String() },
	{"list-parked-steps", "query", "cursor"}:       func(c *seeded) string { return c.cursor("/api/parked-steps") },
	{"list-audit-log", "query", "patient_id"}:      func(c *seeded) string { return c.patient },
	{"list-audit-log", "query", "cursor"}:          func(c *seeded) string { return c.cursor("/api/audit-log") },
	{"get-execution-plan", "path", "id"}:           func(c *seeded) string { return c.execution },
	{"stop-execution", "path", "id"}:               func(c *seeded) string { return c.execution },
	{"simulate-workflow", "path", "id"}:            func(c *seeded) string { return c.workflow.String() },
	{"simulate-workflow", "body", "/patient_ids"}:  func(c *seeded) string { return c.patient },
	{"list-opt-outs", "path", "id"}:                func(c *seeded) string { return c.patient },
	{"opt-out-patient", "path", "id"}:              func(c *seeded) string { return c.patient },
	{"merge-patient", "path", "id"}:                func(c *seeded) string { return c.patient },
	{"merge-patient", "body", "/into"}:             func(c *seeded) string { return c.second },
	{"lift-opt-out", "path", "id"}:                 func(c *seeded) string { return c.patient },
	{"lift-opt-out", "path", "opt_out_id"}:         func(c *seeded) string { return c.optOut() },
	{"retry-parked-step", "path", "id"}:            func(c *seeded) string { return c.takeParked() },
	{"drop-parked-step", "path", "id"}:             func(c *seeded) string { return c.takeParked() },
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
	"replay-trigger":             `{"reason":"lost","name":"again","workflow_id":""}`,
	"start-replay":               `{"since":"2026-11-01T00:00:00+09:00","reason":"lost"}`,
	"cancel-replay":              `{"reason":"wrong source"}`,
	"receive-appointment-events": bookedEvent("e1", "A-1"),
	"receive-appointment-fhir":   `{"resourceType":"Appointment","id":"A-9","status":"booked","start":"2026-12-01T14:30:00+09:00","participant":[{"actor":{"reference":"Patient/P-9"},"status":"accepted"}]}`,
	"receive-appointment-table":  "예약번호,차트번호,예약일,상태\nA-1,P-1,2026-12-01,예약완료\n",
}

// public are the paths without an operation, which tell nothing of any tenant.
var public = []string{"/api/docs", "/api/openapi.yaml"}

// parkedSeeds is how many parked messages a clinic has: two that stay, so that
// their list has pages, and one for each operation that decides one.
const parkedSeeds = 4

// seeded is a clinic that has something of everything.
type seeded struct {
	*office
	patient, execution string
	second             string // another patient
	parkedSteps        []string
	versions           string // a workflow that was published twice
}

func (l *ledger) seed(o *office) *seeded {
	l.t.Helper()
	c := &seeded{office: o}
	c.newWorkflow() // so that the list of workflows has two pages
	for i, s := range []store.State{store.StateClaimed, store.StateSent, store.StateFailed, store.StateDelivered} {
		o.message(fmt.Sprintf("010-0000-000%d", i), s)
	}
	for i := range parkedSeeds {
		c.parkedSteps = append(c.parkedSteps, o.parked(fmt.Sprintf("010-0000-01%02d", i)).String())
	}
	l.count()
	for range 2 {
		if _, err := l.db.ReplaySource(l.t.Context(), o.tenant, store.SourceReplay{Source: "appointment", Since: time.Now(), Hand: store.Hand{Actor: "cli:test", Note: "seed"}}); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, number := range []string{"A-1", "A-2"} {
		if w := l.send(http.MethodPost, "/api/appointments/events", o.keys[auth.Integration], bookedEvent("seed-"+number, number)); w.Code != http.StatusOK {
			l.t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	var logs logPage
	l.fetch("/api/message-logs", o.keys[auth.Owner], &logs)
	c.patient, c.execution = logs.Data[0].PatientID.String(), logs.Data[0].Metadata.ExecutionID.String()
	c.second = logs.Data[1].PatientID.String()
	return c
}

// takeParked gives a parked step that nobody has decided.
func (c *seeded) takeParked() string {
	c.l.t.Helper()
	if len(c.parkedSteps) == 0 {
		c.l.t.Fatal("no parked message is left: raise parkedSeeds")
	}
	step := c.parkedSteps[0]
	c.parkedSteps = c.parkedSteps[1:]
	return step
}

// newWorkflow makes a draft that can be published.
func (c *seeded) newWorkflow() string {
	c.l.t.Helper()
	w, err := c.l.db.CreateWorkflow(c.l.t.Context(), c.tenant, clinic.Workflow{
		Name: uuid.NewString(), TriggerType: "webhook", Steps: []clinic.Step{{Node: "1", Type: "message", Day: new(1), Template: "care"}},
	})
	if err != nil {
		c.l.t.Fatal(err)
	}
	return w.ID.String()
}

// twoVersions is a workflow that was published twice.
func (c *seeded) twoVersions() string {
	c.l.t.Helper()
	if c.versions != "" {
		return c.versions
	}
	c.versions = c.newWorkflow()
	for _, day := range []string{"1", "2"} {
		for _, r := range [][3]string{{http.MethodPatch, "", `{"steps":[{"day":` + day + `,"template":"care"}]}`}, {http.MethodPost, "/publish", `{}`}} {
			if w := c.l.send(r[0], "/api/workflows/"+c.versions+r[1], c.keys[auth.Owner], r[2]); w.Code != http.StatusOK {
				c.l.t.Fatal(w.Code, w.Body)
			}
		}
	}
	return c.versions
}

// trigger is that of one of the clinic's appointments.
func (c *seeded) trigger() string {
	c.l.t.Helper()
	_, heard, err := c.l.db.AppointmentByID(c.l.t.Context(), c.tenant, c.appointment().ID)
	if err != nil || len(heard) == 0 {
		c.l.t.Fatal(heard, err)
	}
	return heard[0].Trigger.String()
}

// replay is one of the clinic's.
func (c *seeded) replay() string {
	c.l.t.Helper()
	p, err := c.l.db.Replays(c.l.t.Context(), c.tenant, "", 1)
	if err != nil || len(p.Rows) == 0 {
		c.l.t.Fatal(p, err)
	}
	return p.Rows[0].ID.String()
}

// optOut gives an opt-out of the clinic's patient that stands.
func (c *seeded) optOut() string {
	c.l.t.Helper()
	patient := uuid.MustParse(c.patient)
	if _, err := c.l.db.OptOut(c.l.t.Context(), c.tenant, patient, store.OptOut{Class: workflow.Auth, Source: "api"}, store.Hand{Actor: "cli:test"}); err != nil {
		c.l.t.Fatal(err)
	}
	list, err := c.l.db.OptOuts(c.l.t.Context(), c.tenant, patient)
	if err != nil || len(list) == 0 {
		c.l.t.Fatal(list, err)
	}
	return list[0].ID.String()
}

func (c *seeded) cursor(list string) string {
	c.l.t.Helper()
	var p struct {
		NextCursor string `json:"next_cursor"`
	}
	c.l.fetch(list+"?limit=1", c.keys[auth.Owner], &p)
	if p.NextCursor == "" {
		c.l.t.Fatalf("%s has no second page: seed more", list)
	}
	return p.NextCursor
}

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
	for _, p := range all {
		if p != at && p.in != "query" {
			put(p, idTable[p](c))
		}
	}
	put(at, value)
	return c.l.send(op.Method, target, c.keys[role], body)
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
