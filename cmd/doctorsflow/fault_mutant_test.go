//go:build failpoint

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
)

// mutant is the program with one mistake in it.
type mutant struct {
	name          string
	file, is, was string // is stands in the file where was did
	killed        faultCase
	lost, doubled bool // what is to be found
}

var mutants = []mutant{
	{
		name: "release_looks_for_no_lost_trigger",
		file: "planner/release.go", was: "if time.Since(r.soughtTriggers) >= enough {", is: "if false {",
		killed: caseOf(failpoint.IngestAnswered, 1), lost: true,
	},
	{
		name: "resolver_takes_silence_for_absence",
		file: "dispatcher/resolve.go", was: "\t\td.Status = event.Unknown\n", is: "\t\td.Status, d.Source, d.RetryAt = event.Released, event.Answer, u.Now\n",
		// Nothing that was accepted before is recorded.
		killed:  faultCase{point: failpoint.DispatcherWritten, hit: 10, setup: failpoint.DispatcherAnswered.Paused()},
		doubled: true,
	},
}

// TestKillSeesMutants: what finds nothing must be able to find something. Each
// mutant is built beside the tree, killed at a point and has to be caught.
func TestKillSeesMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			l := newLane(t, built(t, m.overlay(t)))
			r := l.run(t, m.killed, 30*time.Second)
			t.Logf("%d lost, %d doubled: %s", r.lost, r.doubled, strings.Join(r.wrong, "\n"))
			if (r.lost > 0) != m.lost || (r.doubled > 0) != m.doubled || len(r.wrong) == 0 {
				t.Errorf("%d lost, %d doubled, %d complaints; the mutant was to be caught (lost %t, doubled %t)", r.lost, r.doubled, len(r.wrong), m.lost, m.doubled)
			}
		})
	}
}

// overlay writes the mutated file and what tells the compiler to read it in
// place of the tree's.
func (m mutant) overlay(t testing.TB) string {
	t.Helper()
	original, err := filepath.Abs(filepath.Join("..", "..", filepath.FromSlash(m.file)))
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(src), m.was) != 1 {
		t.Fatalf("%s holds %q %d times, want once: the mutant has to follow the code", m.file, m.was, strings.Count(string(src), m.was))
	}
	dir := t.TempDir()
	mutated := filepath.Join(dir, "mutated.go")
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(src), m.was, m.is, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}
