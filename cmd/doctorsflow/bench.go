package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/bench"
)

type benchCommand struct {
	Load    benchLoadCommand    `cmd:"" default:"withargs" help:"Load the running path and measure it (the default)."`
	Timers  benchTimersCommand  `cmd:"" help:"Measure how late many steps are that fall due together while many more wait."`
	Hold    benchHoldCommand    `cmd:"" help:"Start everything for another load driver, and say on Ctrl-C what it took."`
	Worker  benchWorkerCommand  `cmd:"" hidden:"" help:"Serve as a child of the bench."`
	Gateway benchGatewayCommand `cmd:"" hidden:"" help:"Simulate the gateway as a child of the bench."`
}

// benchFlags are what every kind of measurement needs.
type benchFlags struct {
	Runs           int           `help:"How often to measure; the median is printed." default:"3"`
	Callers        int           `help:"Callers at a time when flat out." default:"64"`
	Clinics        int           `help:"Clinics among which the load is spread." default:"1"`
	Patients       int           `help:"Patients of each clinic." default:"1000"`
	GatewayLatency time.Duration `help:"How long the gateway takes to answer."`
	JSON           bool          `name:"json" help:"Print JSON instead of a table."`

	Data              string   `help:"Folder for the database and the broker; by default a temporary one. With --target, the data folder of the server that runs." type:"path"`
	PostgresBin       string   `help:"Folder with postgres and initdb." type:"path" env:"POSTGRES_BIN"`
	Target            string   `help:"Address of a server that runs already, instead of starting one; needs --data or --database-url, and its --gateway-url." placeholder:"URL"`
	DatabaseURL       string   `name:"database-url" help:"External Postgres instead of a child." placeholder:"URL"`
	DatabaseWorkerURL string   `name:"database-worker-url" help:"Login for app_worker, if it is not that of --database-url." placeholder:"URL"`
	MasterKeyFile     string   `help:"Master key that belongs to --database-url." type:"path"`
	GatewayURL        string   `name:"gateway-url" help:"A gateway simulator that runs already, instead of starting one." placeholder:"URL"`
	CPUProfile        string   `name:"cpuprofile" help:"Write the worker's CPU profile here." type:"path"`
	MemProfile        string   `name:"memprofile" help:"Write the worker's heap profile here, as it stops." type:"path"`
	Serve             []string `help:"A further flag for the worker, such as --serve=--slots=512." sep:"none" placeholder:"FLAG"`
}

type benchLoadCommand struct {
	benchFlags
	Count    int     `help:"Webhook calls in each run; by default 5000, or 20 seconds of --rate."`
	Rate     float64 `help:"Webhook calls per second; 0 is flat out."`
	Refusals string  `help:"Share of triggers whose Kakao messages the gateway refuses." default:"5%"`
	Warmup   int     `help:"Calls before the first run, that are not measured." default:"200"`
	Ceilings bool    `help:"Measure what JetStream, Postgres and HTTP alone can do, too." default:"true" negatable:""`
}

// Run measures and fails if anything was lost or doubled.
func (c *benchLoadCommand) Run(ctx context.Context, o output) error {
	shape, err := c.shape()
	if err != nil {
		return err
	}
	rig, err := c.start(ctx, o)
	if err != nil {
		return err
	}
	report, err := c.measure(ctx, o, rig, shape)
	if err := errors.Join(err, rig.stop()); err != nil {
		return err
	}
	return c.finish(o, report, report.Exact())
}

func (c *benchLoadCommand) measure(ctx context.Context, o output, rig *benchRig, shape bench.Shape) (*bench.Report, error) {
	if c.Warmup > 0 {
		warm := bench.Shape{Count: c.Warmup, Callers: c.Callers, Refusals: shape.Refusals, Patients: c.Patients}
		if _, err := rig.Measure(ctx, warm); err != nil {
			return nil, err
		}
	}
	var runs []*bench.Run
	for n := range c.Runs {
		run, err := rig.Measure(ctx, shape)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(o.err, "run %d of %d: %.0f sends/s, %.0f accepted/s, trigger to gateway p99 %.1f ms, %.3f CPU s per 1,000 sends\n",
			n+1, c.Runs, run.SendRate, run.AcceptedRate, float64(run.Trigger.P99), run.CPUPer1000)
		runs = append(runs, run)
	}
	report := bench.NewReport(shape, runs)
	report.Foreign = rig.Gateway.Foreign
	report.GatewayLatency = bench.Seconds(c.GatewayLatency.Seconds())
	if !c.Ceilings {
		return report, nil
	}
	// The worker is gone by then, so that each has the machine to itself.
	if err := rig.worker.run(ctx); err != nil {
		return nil, err
	}
	ceilings, err := c.ceilings(ctx, o, rig)
	report.Compare(ceilings)
	return report, err
}

// report is what a measurement comes to.
type report interface{ Print(io.Writer) error }

// finish prints a report, and fails where it is not exact.
func (c *benchFlags) finish(o output, r report, exact bool) error {
	write := r.Print
	if c.JSON {
		write = func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(r)
		}
	}
	if err := write(o.out); err != nil {
		return err
	}
	if !exact {
		fmt.Fprintln(o.err, "doctorsflow: messages were lost or doubled: this is a bug in Doctor's Flow")
		return failed{1}
	}
	return nil
}

func (c *benchLoadCommand) shape() (s bench.Shape, err error) {
	s = bench.Shape{Count: c.Count, Rate: c.Rate, Callers: c.Callers, Patients: c.Patients}
	if s.Refusals, err = share(c.Refusals); err != nil {
		return s, err
	}
	if c.Rate < 0 || c.Count < 0 || c.Warmup < 0 {
		return s, errors.New("--rate, --count and --warmup cannot be negative")
	}
	if s.Count == 0 {
		s.Count = 5000
		if c.Rate > 0 {
			s.Count = max(1, int(math.Round(c.Rate*20)))
		}
	}
	return s, nil
}

// check refuses what cannot be measured.
func (c *benchFlags) check() error {
	switch {
	case c.Runs < 1 || c.Callers < 1 || c.Clinics < 1 || c.Patients < 1:
		return errors.New("--runs, --callers, --clinics and --patients are at least 1")
	case c.Patients > 1_000_000 || c.Callers > 10_000 || c.Clinics > 1000:
		return errors.New("at most 1,000,000 --patients, 10,000 --callers and 1,000 --clinics can be measured")
	case c.GatewayLatency < 0:
		return errors.New("--gateway-latency cannot be negative")
	case c.GatewayLatency > 0 && c.GatewayURL != "":
		return errors.New("--gateway-latency is for the bench's own gateway; set that of --gateway-url with PUT /__sim/config")
	case c.Target != "" && c.GatewayURL == "":
		return errors.New("--target needs --gateway-url: the simulator that the clinics' messages go to")
	case c.Target != "" && c.Data == "" && c.DatabaseURL == "":
		return errors.New("--target needs --data (the server's folder), or --database-url and --master-key-file")
	case c.Target != "" && (c.CPUProfile != "" || c.MemProfile != "" || len(c.Serve) > 0):
		return errors.New("--cpuprofile, --memprofile and --serve are for a worker that the bench starts; leave --target out")
	case c.DatabaseURL != "" && c.MasterKeyFile == "":
		return errors.New("--database-url needs --master-key-file (make one with `openssl rand -base64 32`, mode 0600)")
	}
	return nil
}

// share reads "5%" or "0.05".
func share(s string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || v < 0 || v > 1 || math.IsNaN(v) {
		return 0, fmt.Errorf("--refusals: %q is not a share; write it like 5%%", s)
	}
	return v, nil
}

// benchData makes a folder that an unprivileged Postgres can reach.
func benchData() (string, error) {
	dir, err := os.MkdirTemp("", "doctorsflow-bench-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}
