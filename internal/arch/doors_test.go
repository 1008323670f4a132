package arch

import (
	"go/ast"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The ledger's own life, which gives nobody a row.
var lifecycle = []string{"Open", "Close", "Ping", "Migrate"}

// doors are the exported functions of the store that reach beyond one tenant:
// they look up whose an id is, or act as app_worker. Each has its reason and
// every caller; a new caller is added by hand, with a thought about whose rows
// it may give to whom.
var doors = map[string]struct{ why, callers string }{
	// Before a tenant is known: ids in, ids out; then as that tenant.
	"APIKeyByHash":        {"whose key it is", "internal/auth.byKey"},
	"Webhook":             {"whose webhook it is", "ingest.fetch"},
	"TenantOfIdentity":    {"whose tokens an issuer's organisation or user brings", "internal/auth.byToken"},
	"CheckNATSCredential": {"whose connection to NATS it is", "cmd/doctorsflow.Identify"},
	"ReportAccount":       {"whose account a gateway reports on", "ingest.fetch"},
	"OpenLink":            {"whose link it is; then as its tenant, and its run's row in the order of the pipeline", "ingest.serve"},
	"TenantBySlug":        {"an operator names a clinic", "cmd/doctorsflow.chooseTenants"},
	"ApplyClinic":         {"an operator's file names a clinic", "cmd/doctorsflow.Run cmd/doctorsflow.apply cmd/doctorsflow.enter cmd/doctorsflow.play"},

	// The pipeline, over all tenants; every join is on (tenant_id, id).
	"AcceptTriggers":         {"each in its own tenant; how much there was decides when the tables are analyzed", "ingest.commit"},
	"PlanTriggers":           {"triggers become steps", "planner.plan"},
	"AdvanceRuns":            {"runs of drawn workflows go on", "planner.pass"},
	"Replan":                 {"a clinic's own runs; the caller names the tenant", "cmd/doctorsflow.replan"},
	"StopExecution":          {"a clinic's own run", "api.stopExecution"},
	"Holidays":               {"public holidays are everybody's", "cmd/doctorsflow.Run"},
	"TellHolidays":           {"public holidays are everybody's; an operator tells them", "cmd/doctorsflow.tell"},
	"PublishWorkflow":        {"a clinic's own workflow; its runs in flight", "api.publishWorkflow"},
	"SwitchWorkflow":         {"a clinic's own workflow; its runs in flight", "api.deleteWorkflow api.switchWorkflow"},
	"ImportWorkflow":         {"a clinic's own workflow; its runs in flight", "api.importWorkflow cmd/doctorsflow.Run"},
	"OptOut":                 {"a clinic's own patient, and whoever of the clinic has the number", "api.optOutPatient cmd/doctorsflow.Run"},
	"MergePatients":          {"a clinic's own patients, and their runs", "api.mergePatient cmd/doctorsflow.Run"},
	"Queues":                 {"who has work that is due", "api.lag dispatcher.pass planner.pass"},
	"LeaseSteps":             {"due steps go out", "planner.steps"},
	"ExpireSteps":            {"what is over ends", "planner.steps"},
	"LeaseTriggers":          {"triggers go out again", "planner.triggers"},
	"WakeAll":                {"the broker lost data", "planner.watch"},
	"MarkStream":             {"where a stream stands", "planner.watch"},
	"TickClock":              {"the clock does not step back", "planner.guard"},
	"FreeClaims":             {"claims of the dead", "planner.guard"},
	"ClaimSteps":             {"before a send", "dispatcher.claim"},
	"SleepSteps":             {"what has to wait", "dispatcher.admit"},
	"Account":                {"what a send logs in with; of the message's own tenant", "dispatcher.load"},
	"AccountByID":            {"what an attempt was sent by; of the message's own tenant", "dispatcher.load"},
	"LeasePolls":             {"gateways are asked for results", "dispatcher.Run"},
	"MarkPolled":             {"up to when they were", "dispatcher.poll"},
	"Awaited":                {"whose results those are; of the account's own tenant", "dispatcher.match"},
	"LeaseReports":           {"reports to be confirmed", "dispatcher.pass"},
	"SettleReports":          {"what the gateway said to them", "dispatcher.keep"},
	"PendingReports":         {"a count", "dispatcher.Run"},
	"LeaseUnresolved":        {"outcomes that nobody knows", "dispatcher.pass"},
	"SettleDeliveries":       {"outcomes", "recorder.Handle"},
	"TellParked":             {"ids and reasons for the operators' log", "recorder.look"},
	"CountParked":            {"a count", "recorder.look"},
	"AcceptAppointmentEvent": {"a clinic's own appointment", "internal/intake.Keep"},

	"ContinueReplay":    {"a replay's next rows are planned again, each in its clinic", "planner.look"},
	"SweepDaily":        {"visits without a run are planned, each in its clinic", "planner.look"},
	"SweepVisits":       {"the same, asked for by the platform's own cron service; a count", "ingest.sweep"},
	"LeaseFHIRGaps":     {"what was missed of FHIR servers; each is asked as its clinic's", "ingest.look"},
	"CloseFHIRGap":      {"the same", "ingest.gap"},
	"FailFHIRGap":       {"the same", "ingest.gap"},
	"LeaseFHIRPending":  {"what FHIR servers named; each is read as its clinic's", "ingest.look"},
	"SettleFHIRPending": {"the same", "ingest.fetch"},
	"FireSchedules":     {"each schedule fires in its clinic", "planner.look"},
	"StartCampaigns":    {"a count", "planner.look"},
	"PlanBatch":         {"runs of a clinic's own patients; a count", "planner.look"},
	"FinishCampaigns":   {"campaigns that are over, each in its clinic", "planner.look"},
	"CancelCampaign":    {"a clinic's own campaign; its runs", "api.cancelCampaign"},
	"ResumeCampaign":    {"a clinic's own campaign; its steps", "api.registerCampaigns"},
	"ChangeTemplate":    {"a clinic's own template; the runs of its workflow", "api.deleteTemplate api.updateTemplate"},
	"FindStatDays":      {"days that have logs", "recorder.count"},
	"CountStats":        {"counts, kept in their clinic", "recorder.count"},

	"SealSends":           {"what was sent enters each clinic's chain", "recorder.Run"},
	"CutAudit":            {"retention, clinic by clinic", "recorder.cut"},
	"LiveNATSCredentials": {"ids of connections that may stay", "cmd/doctorsflow.live"},

	// A clinic's own decision: the store takes the tenant of the caller.
	"RetryParked":  {"locks in the order of the pipeline; of the caller's own tenant", "api.retryParked cmd/doctorsflow.Run"},
	"Replay":       {"is planned by the pipeline; of the caller's own tenant", "api.replayTrigger cmd/doctorsflow.Run"},
	"ReplaySource": {"is planned by the pipeline; of the caller's own tenant", "api.startReplay cmd/doctorsflow.Run"},
	"CancelReplay": {"takes turns with the pipeline; of the caller's own tenant", "api.cancelReplay cmd/doctorsflow.Run"},
	"DropParked":   {"locks in the order of the pipeline; of the caller's own tenant", "api.dropParked cmd/doctorsflow.Run"},

	// Whoever runs the platform, on its own machine; in api, counts that only
	// operators' routes show.
	"ClockSkew":        {"two clocks", "cmd/doctorsflow.clocksAgree"},
	"EnabledAccounts":  {"addresses and credentials, judged at the start and not shown", "cmd/doctorsflow.eachAccount"},
	"ErasePatient":     {"an operator erases; locks in the order of the pipeline", "api.erasePatient cmd/doctorsflow.Run"},
	"EraseTenant":      {"an operator erases", "cmd/doctorsflow.Run"},
	"RewrapTenantKeys": {"the master key is rotated", "cmd/doctorsflow.wrapAll"},
	"VerifyAudit":      {"an operator verifies one clinic's chain", "cmd/doctorsflow.Run"},
	"Conserve":         {"the law, over everybody", "api.count cmd/doctorsflow.Run cmd/doctorsflow.finish cmd/doctorsflow.printTotals"},
	"Waiting":          {"a count", "api.count"},
	"Pause":            {"the button", "cmd/doctorsflow.pause"},
	"Tenants":          {"the list of clinics", "cmd/doctorsflow.Run cmd/doctorsflow.chooseTenants ingest.sweep recorder.cut"},
	"AllParkedSteps":   {"what waits for a human, everywhere", "cmd/doctorsflow.Run cmd/doctorsflow.choose"},
	"TenantOfStep":     {"an operator names a step", "cmd/doctorsflow.choose"},
	"ReportDoors":      {"the built-in simulator is told where to report", "cmd/doctorsflow.simulatorReports"},
	"Rehearsal":        {"the stories' look at what moves", "cmd/doctorsflow.still"},
	"PassTime":         {"the stories' clock", "cmd/doctorsflow.leap"},
}

// crossing returns the functions of the store that use the workers' pool or a
// look-up, or call one of the store that does.
func crossing(files []goFile) map[string]bool {
	bodies := map[string][]*ast.FuncDecl{}
	lookups := map[string]bool{} // constants
	for _, f := range files {
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				bodies[d.Name.Name] = append(bodies[d.Name.Name], d)
			case *ast.GenDecl:
				if d.Tok == token.CONST && mentionsLookup(d) {
					for _, spec := range d.Specs {
						if v, ok := spec.(*ast.ValueSpec); ok {
							lookups[v.Names[0].Name] = true
						}
					}
				}
			}
		}
	}
	out := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for name, list := range bodies {
			if !out[name] && slices.ContainsFunc(list, func(d *ast.FuncDecl) bool { return crosses(d, out, lookups) }) {
				out[name], grown = true, true
			}
		}
	}
	return out
}

func mentionsLookup(n ast.Node) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, err := strconv.Unquote(lit.Value)
			found = found || err == nil && strings.Contains(s, "lookup_")
		}
		return true
	})
	return found
}

func crosses(d *ast.FuncDecl, known, lookups map[string]bool) (found bool) {
	if d.Body == nil {
		return false
	}
	found = mentionsLookup(d.Body)
	ast.Inspect(d.Body, func(n ast.Node) bool {
		switch e := n.(type) {
		case *ast.SelectorExpr:
			if of, ok := e.X.(*ast.Ident); ok && of.Name == "db" && (e.Sel.Name == "worker" || known[e.Sel.Name]) {
				found = true
			}
		case *ast.Ident:
			found = found || lookups[e.Name]
		}
		return true
	})
	return found
}

// callersOf returns who calls a method or function of this name, in packages
// that know the store. The name may be another's too: then a caller is listed
// that calls none of ours, which is seen when it is added.
func callersOf(files []goFile, names map[string]bool) map[string][]string {
	knows := map[string]bool{}
	for _, f := range files {
		if ours, _ := f.imports(); slices.Contains(ours, "internal/store") && !f.test {
			knows[f.pkg] = true
		}
	}
	out := map[string][]string{}
	for _, f := range files {
		if f.test || !knows[f.pkg] || f.pkg == "internal/store" || f.pkg == "internal/storetest" {
			continue
		}
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && names[s.Sel.Name] && (called(d, s) || valueOf(s)) {
					caller := f.pkg + "." + d.Name.Name
					if !slices.Contains(out[s.Sel.Name], caller) {
						out[s.Sel.Name] = append(out[s.Sel.Name], caller)
					}
				}
				return true
			})
		}
	}
	return out
}

// called reports whether s is what a call in d calls.
func called(d *ast.FuncDecl, s *ast.SelectorExpr) (yes bool) {
	ast.Inspect(d, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		yes = yes || ok && c.Fun == s
		return !yes
	})
	return yes
}

// valueOf reports a method that is handed on by way of the ledger's usual name.
func valueOf(s *ast.SelectorExpr) bool {
	switch x := s.X.(type) {
	case *ast.Ident:
		return x.Name == "db" || x.Name == "ledger"
	case *ast.SelectorExpr:
		return x.Sel.Name == "db" || x.Sel.Name == "ledger"
	}
	return false
}

func TestTheCallersOfTheDoorsBetweenTenantsAreListed(t *testing.T) {
	t.Parallel()
	files := allGoFiles(t)
	var own []goFile
	for _, f := range files {
		if f.pkg == "internal/store" && !f.test {
			own = append(own, f)
		}
	}
	exported := map[string]bool{}
	for name := range crossing(own) {
		if ast.IsExported(name) && !slices.Contains(lifecycle, name) {
			exported[name] = true
		}
	}
	if len(exported) < 30 {
		t.Fatalf("only %d doors were found: the search is broken", len(exported))
	}
	callers := callersOf(files, exported)
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		want := strings.Fields(doors[name].callers)
		slices.Sort(want)
		got := slices.Sorted(slices.Values(callers[name]))
		switch {
		case doors[name].why == "":
			t.Errorf("store.%s reaches beyond one tenant: have it act in the caller's tenant, or add a row to doors with the reason and its callers: %s", name, strings.Join(got, " "))
		case !slices.Equal(got, want):
			t.Errorf("store.%s is called by %v, doors lists %v: add each by hand, with a thought about whose rows it gives to whom", name, got, want)
		}
	}
	for name := range doors {
		if !exported[name] {
			t.Errorf("doors has a row for store.%s, which does not reach beyond one tenant", name)
		}
	}
}

func TestEveryWayAcrossIsSeen(t *testing.T) {
	t.Parallel()
	f, err := parse("internal/store/x.go", []byte(`package store
const look = "SELECT tenant_id FROM lookup_x($1)"
func (db *DB) One() { db.worker.Exec() }
func (db *DB) Two() { db.inTenant(func() { db.three() }) }
func (db *DB) three() { db.api.QueryRow(look) }
func (db *DB) Four() { db.api.QueryRow("SELECT lookup_y()") }
func (db *DB) Five() { db.inTenant() }
`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(crossing([]goFile{f}))), []string{"Four", "One", "Two", "three"}; !slices.Equal(got, want) {
		t.Errorf("crossing = %v, want %v", got, want)
	}
	c, err := parse("ingest/x.go", []byte("package ingest\n"+`import "`+module+`/internal/store"
func f(db *store.DB) { db.One() }
func g(l ledger) { run(l.db.One) }
func h(x thing) { _ = x.One }
`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := callersOf([]goFile{c}, map[string]bool{"One": true})["One"], []string{"ingest.f", "ingest.g"}; !slices.Equal(got, want) {
		t.Errorf("callersOf = %v, want %v", got, want)
	}
}

// routes are the paths that are registered by hand, and what keeps each from
// telling one tenant of another. Operations of the API are found by its own
// tests, in its document.
var routes = map[string]string{
	"POST /api/webhooks/{id}":     "ingest/isolation_test.go",
	"POST /api/reports/{account}": "ingest/isolation_test.go",
	"GET /api/cron/trigger":       "the platform's own; counts over all clinics",
	"POST /api/cron/trigger":      "the platform's own; counts over all clinics",
	"GET /l/{token}":              "internal/store/links_test.go, ingest/link_test.go",
	"GET /token":                  "cmd/doctorsflow/demo_test.go", // the demo's issuer, on loopback: one clinic, that is nobody's
	"GET /healthz":                "tells of the process",
	"GET /readyz":                 "tells of the process",
	"GET /metrics":                "counts; no label is a tenant's",
	"GET /problems/{slug}":        "a redirect to the documents",
	"/":                           "there is nothing",
}

func TestEveryRouteIsListedWithWhatKeepsTheTenantsApart(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, f := range allGoFiles(t) {
		if f.test || strings.HasPrefix(f.pkg, "providers/") || f.pkg == "internal/auth/oidctest" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok || len(c.Args) != 2 {
				return true
			}
			s, ok := c.Fun.(*ast.SelectorExpr)
			lit, literal := c.Args[0].(*ast.BasicLit)
			if !ok || !literal || s.Sel.Name != "Handle" && s.Sel.Name != "HandleFunc" {
				return true
			}
			pattern, err := strconv.Unquote(lit.Value)
			if err != nil {
				return true
			}
			found[pattern] = true
			if routes[pattern] == "" {
				t.Errorf("%s:%d: %s is a new route: make it an operation of the API, or test as ingest/isolation_test.go does that another tenant's id is answered like nobody's, and add a row to routes", f.path, f.line(c.Pos()), pattern)
			}
			return true
		})
	}
	for pattern := range routes {
		if !found[pattern] {
			t.Errorf("routes has a row for %s, which nobody registers", pattern)
		}
	}
}
