//go:build failpoint

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
)

var writeFaults = flag.Bool("write-faults", false, "write the table of TestKillTable into docs/faults.md")

// mostLanes is how many programs are killed side by side, if -parallel lets
// so many run: they wait most of their time.
const mostLanes = 4

// faultCase is how a point is come by.
type faultCase struct {
	point failpoint.Point
	hit   int
	// setup is other traps, without which nothing would come by the point.
	setup   string
	reports bool // the gateways report by webhook
	rate    int  // requests per second of each account; 0 is more than come
	ad      bool // one step of each run is an advertisement nobody agreed to
	drawn   bool // the workflow is a drawing, whose last message comes after a question
	silent  bool // the gateway gives some of what it accepts no proper answer
}

// name is the case's tenant, too.
func (c faultCase) name() string {
	return fmt.Sprintf("%s-%d", strings.ReplaceAll(string(c.point), ".", "-"), c.hit)
}

// arranged says how a point is come by where ordinary work does not do it.
var arranged = map[failpoint.Point]faultCase{
	// No id is ever published, so that release has to find each trigger.
	failpoint.ReleaseFound:      {setup: failpoint.IngestAnswered.Paused()},
	failpoint.DeciderDeciding:   {drawn: true},
	failpoint.DeciderDecided:    {drawn: true},
	failpoint.DispatcherSlept:   {rate: 40},
	failpoint.DispatcherTold:    {ad: true},
	failpoint.ResolverAsked:     {silent: true},
	failpoint.ResolverPublished: {silent: true},
	failpoint.ReportTaken:       {reports: true},
	failpoint.ReportKept:        {reports: true},
	// The poll, which may be first, is kept from it.
	failpoint.ConfirmerAsked:     {reports: true, setup: failpoint.PollerRead.Paused()},
	failpoint.ConfirmerPublished: {reports: true, setup: failpoint.PollerRead.Paused()},
}

func caseOf(p failpoint.Point, hit int) faultCase {
	c := arranged[p]
	c.point, c.hit = p, hit
	return c
}

// TestKillTable kills the program at every hand-over of the path, the first
// and the tenth time that it comes there, starts it again and looks for what
// was lost or doubled.
func TestKillTable(t *testing.T) {
	var cases []faultCase
	for _, p := range failpoint.Points {
		if !strings.HasPrefix(string(p), "change.") { // which TestKillAtAChange comes by
			cases = append(cases, caseOf(p, 1), caseOf(p, 10))
		}
	}
	began := time.Now()
	table := faultTable(killed(t, built(t, ""), mostLanes, cases), time.Since(began))
	t.Log("\n" + table)
	if *writeFaults && !t.Failed() {
		writeTable(t, table)
	}
}

// TestKillSmoke is what of the table fits into every change: accepted and not
// published, written and not answered, answered and not recorded, recorded and
// not acknowledged.
func TestKillSmoke(t *testing.T) {
	cases := []faultCase{
		caseOf(failpoint.IngestAnswered, 1), caseOf(failpoint.DispatcherWritten, 10),
		caseOf(failpoint.DispatcherAnswered, 10), caseOf(failpoint.RecorderApplied, 1),
	}
	began := time.Now()
	t.Log("\n" + faultTable(killed(t, built(t, ""), 2, cases), time.Since(began)))
}

// killed runs the cases, some at a time, and returns their results in order.
func killed(t *testing.T, exe string, lanes int, cases []faultCase) []faultResult {
	t.Helper()
	results := make([]faultResult, len(cases))
	next := make(chan int, len(cases))
	for i := range cases {
		next <- i
	}
	close(next)
	t.Run("lanes", func(t *testing.T) {
		for n := range min(lanes, len(cases)) {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				l := newLane(t, exe)
				for i := range next {
					t.Run(cases[i].name(), func(t *testing.T) {
						r := l.run(t, cases[i], 2*time.Minute)
						for _, w := range r.wrong {
							t.Error(w)
						}
						results[i] = r
					})
					if t.Failed() {
						l.end() // what is left there would disturb the next case
					}
				}
				if l.data != "" && l.now != nil {
					command(t, "conserve", "--data", l.data)
				}
			})
		}
	})
	return results
}

// run is one case: a process that dies at its point, and one that finds
// everything again within limit.
func (l *lane) run(t testing.TB, c faultCase, limit time.Duration) (r faultResult) {
	t.Helper()
	r = faultResult{faultCase: c}
	ctx, cancel := context.WithTimeout(t.Context(), limit+time.Minute)
	defer cancel()
	l.kill()
	traps := fmt.Sprintf("%s:%d", c.point, c.hit)
	if c.setup != "" {
		traps += "," + c.setup
	}
	v, err := l.start(traps)
	if err != nil {
		t.Fatal(err)
	}
	hook, err := l.clinic(t, c.name(), c)
	if err != nil {
		t.Fatal(err)
	}
	work := load{hook: hook, base: "http://" + l.addr, patients: patients, pace: 25 * time.Millisecond}
	if c.silent {
		work.patients, work.pace = unanswered, 100*time.Millisecond
	}
	poured := make(chan error, 1)
	go func() { poured <- work.pour(ctx, v.ended) }()
	select {
	case <-v.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s was not hit %d times within 30 s\n%s", c.point, c.hit, v.tail())
	}
	died := time.Now()
	if !v.fired(c.point, c.hit) {
		t.Fatalf("the process ended by something else than %s: %v\n%s", traps, v.cmd.ProcessState, v.tail())
	}
	if v, err = l.start(""); err != nil {
		t.Fatal(err)
	}
	r.back = time.Since(died)
	if err := <-poured; err != nil {
		t.Fatalf("the callers were not answered: %v\n%s", err, v.tail())
	}
	db := openRunning(t, l.data)
	id, err := db.TenantBySlug(ctx, c.name())
	if err != nil {
		t.Fatal(err)
	}
	until, stop := context.WithTimeout(ctx, limit)
	defer stop()
	if c.drawn {
		l.decided(until, t, id)
	}
	counted, err := rest(until, db, id)
	r.settled = time.Since(died)
	if err != nil {
		r.bad("%v after %s:\n%s", err, r.settled.Round(time.Second), openSteps(t, l.data, id))
	}
	select {
	case <-v.ended:
		r.bad("the process that was to find everything ended by itself: %s", v.tail())
	default:
	}
	r.found(t, l, c.name(), len(work.kept), counted)
	return r
}

// faultTable is the table in Markdown, with the point's own words left to the
// page.
func faultTable(results []faultResult, took time.Duration) string {
	var b strings.Builder
	b.WriteString("| killed at | hit | messages promised | lost | doubled | unknown | serving again | all settled |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	var sum faultResult
	for _, r := range results {
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %d | %d | %.1f s | %.1f s |\n",
			r.point, r.hit, r.messages, r.lost, r.doubled, r.unknown, r.back.Seconds(), r.settled.Seconds())
		sum.messages, sum.lost, sum.doubled, sum.unknown = sum.messages+r.messages, sum.lost+r.lost, sum.doubled+r.doubled, sum.unknown+r.unknown
	}
	slowest := slices.MaxFunc(results, func(a, b faultResult) int { return cmp.Compare(a.settled, b.settled) })
	fmt.Fprintf(&b, "| **%d kills** | | **%d** | **%d** | **%d** | **%d** | | at most %.1f s |\n", len(results), sum.messages, sum.lost, sum.doubled, sum.unknown, slowest.settled.Seconds())
	fmt.Fprintf(&b, "\nTaken in %s.\n", took.Round(time.Second))
	return b.String()
}

const tableBegins, tableEnds = "<!-- the table of TestKillTable -->\n", "<!-- its end -->\n"

// writeTable puts the table into the page, between its marks.
func writeTable(t testing.TB, table string) {
	t.Helper()
	page := filepath.Join("..", "..", "docs", "faults.md")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), tableBegins)
	_, tail, closed := strings.Cut(rest, tableEnds)
	if !ok || !closed {
		t.Fatal(errors.New("docs/faults.md has lost the marks between which the table stands"))
	}
	if err := os.WriteFile(page, []byte(head+tableBegins+table+tableEnds+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestKillAtAQuestion kills the program while it leads drawn workflows on.
func TestKillAtAQuestion(t *testing.T) {
	cases := []faultCase{caseOf(failpoint.DeciderDeciding, 1), caseOf(failpoint.DeciderDeciding, 10), caseOf(failpoint.DeciderDecided, 1), caseOf(failpoint.DeciderDecided, 10)}
	began := time.Now()
	t.Log("\n" + faultTable(killed(t, built(t, ""), 2, cases), time.Since(began)))
}
