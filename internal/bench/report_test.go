package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run go test ./internal/bench -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

var machine = Machine{CPUs: 2, OS: "linux/amd64", Go: "go1.26"}

// report is of three runs, the second best, that lost nothing.
func report() *Report {
	var runs []*Run
	for n := range 3 {
		f := float64(n)
		at := Millis(n + 1)
		runs = append(runs, &Run{
			Calls: 5000, Accepted: 5000, Answers: map[string]int{"202": 5000}, Sends: 15750, Fallbacks: 750,
			AcceptedRate: 8000 + f, SendRate: 6000 + 100*f, BusySendRate: 7000 + f, CPUPer1000: 0.25 + f/100,
			Accept: Latency{at, 10 * at, 20 * at, 5000}, Trigger: Latency{2 * at, 20 * at, 30 * at, 9500},
			Lateness: Latency{at, 11 * at, 12 * at, 4750}, Fallback: Latency{3 * at, 30 * at, 31 * at, 500},
			Usage: Usage{
				CPU:    map[string]float64{Worker: 2 + f, Database: 1.5, Simulate: 1, Driver: 0.75},
				Memory: map[string]int64{Worker: 90e6, Database: 100e6, Simulate: 50e6, Driver: 40e6},
			},
		})
	}
	r := NewReport(Shape{Count: 5000, Callers: 64, Refusals: 0.05, Patients: 1000}, runs)
	r.Machine = machine
	r.Compare([]Ceiling{NewCeiling(JetStreamCeiling, []float64{61000, 30500, 70000}), NewCeiling(HTTPCeiling, []float64{12200})})
	return r
}

func TestReportIsAsItWas(t *testing.T) {
	t.Parallel()
	r := report()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", b)
	var table bytes.Buffer
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", table.Bytes())
}

func TestPacedAndForeignReport(t *testing.T) {
	t.Parallel()
	r := report()
	r.Shape.Rate, r.Foreign, r.GatewayLatency, r.Ceilings = 200, true, 0.05, nil
	delete(r.Median.CPU, Database)
	r.Median.CPUPer1000 = 0
	r.Median.Fallback = Latency{}
	r.Compare([]Ceiling{{Name: HTTPCeiling, PerSecond: 12200}})
	var table bytes.Buffer
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	golden(t, "paced.txt", table.Bytes())
}

func TestTimersReportIsAsItWas(t *testing.T) {
	t.Parallel()
	r := &TimersReport{}
	for _, pending := range []int{100_000, 1_000_000} {
		var runs []*Timers
		for n := range 2 {
			at := Millis(100 * (n + 1))
			runs = append(runs, &Timers{
				Pending: pending, Due: 10_000, Lateness: Latency{at, 10 * at, 12 * at, 10_000},
				Usage: Usage{CPU: map[string]float64{Worker: 1}, Memory: map[string]int64{Worker: 90e6}},
			})
		}
		r.Add(runs)
	}
	r.Machine = machine
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "timers.json", b)
	var table bytes.Buffer
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	golden(t, "timers.txt", table.Bytes())
}

func TestOneLossInOneRunIsNotExact(t *testing.T) {
	t.Parallel()
	for _, bad := range []*Run{{Lost: 1}, {Doubled: 1}} {
		if NewReport(Shape{}, []*Run{{}, bad, {}}).Exact() {
			t.Errorf("a report with %+v counts as exact", bad)
		}
	}
	for _, bad := range []*Timers{{Lost: 1}, {Doubled: 1}} {
		r := &TimersReport{}
		r.Add([]*Timers{{}, bad, {}})
		if r.Exact() {
			t.Errorf("a report with %+v counts as exact", bad)
		}
	}
}
