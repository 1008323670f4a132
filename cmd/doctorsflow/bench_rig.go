package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/bench"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

// benchRig is a running path with what the bench started for it.
type benchRig struct {
	bench.Rig
	database string // the URL of app_worker
	data     string // of the worker
	temp     string // removed afterwards
	down     teardown
	worker   teardown // what can go once the loads are over
}

// start brings up what the flags do not name, and applies the clinics.
func (c *benchFlags) start(ctx context.Context, o output) (_ *benchRig, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	r := &benchRig{data: c.Data}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	if c.Data == "" {
		if r.temp, err = benchData(); err != nil {
			return nil, err
		}
		r.data = filepath.Join(r.temp, "data")
	}
	fmt.Fprintln(o.err, "starting …")
	r.Gateway.URL = c.GatewayURL
	var gateway *child
	if c.GatewayURL == "" {
		gateway, err = startChild(ctx, "gateway", "gateway", "--latency", c.GatewayLatency.String())
		if err != nil {
			return nil, err
		}
		r.down.add(func(context.Context) error { return gateway.stop() })
		r.Gateway.URL = gateway.where.Simulator
	}
	if err := r.Gateway.Probe(ctx); err != nil {
		return nil, err
	}
	where, err := c.server(ctx, r)
	if err != nil {
		return nil, err
	}
	r.Target, r.database = where.HTTP, where.WorkerURL
	if err := c.apply(ctx, r); err != nil {
		return nil, err
	}
	if r.Ledger, err = bench.OpenLedger(ctx, where.WorkerURL); err != nil {
		return nil, err
	}
	r.worker.add(r.Ledger.Close)
	processes := []bench.Process{{Name: bench.Worker, PID: where.PID}, {Name: bench.Database, PID: r.Ledger.Postmaster(), Tree: true}, {Name: bench.Driver, PID: os.Getpid()}}
	if gateway != nil {
		processes = append(processes, bench.Process{Name: bench.Simulate, PID: gateway.cmd.Process.Pid})
	}
	// One that runs elsewhere has no process here.
	r.Processes = slices.DeleteFunc(processes, func(p bench.Process) bool { return p.PID == 0 })
	return r, nil
}

// server finds the server that runs, or starts one.
func (c *benchFlags) server(ctx context.Context, r *benchRig) (running, error) {
	if c.Target != "" {
		where := running{WorkerURL: cmp.Or(c.DatabaseWorkerURL, c.DatabaseURL)}
		if c.DatabaseURL == "" {
			var err error
			if where, err = readRunning(c.Data); err != nil {
				return where, fmt.Errorf("no server runs on %s: %w", c.Data, err)
			}
		}
		where.HTTP = c.Target
		return where, nil
	}
	args := []string{
		"worker", "--data", r.data, "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		"--simulator", "127.0.0.1:0", // its presence allows numbers that do not exist
		"--log-format", "json", "--log-level", "warn", "--grace", "10s",
	}
	for flag, v := range map[string]string{
		"--postgres-bin": c.PostgresBin, "--database-url": c.DatabaseURL, "--database-worker-url": c.DatabaseWorkerURL,
		"--master-key-file": c.MasterKeyFile, "--cpuprofile": c.CPUProfile, "--memprofile": c.MemProfile,
	} {
		if v != "" {
			args = append(args, flag, v)
		}
	}
	w, err := startChild(ctx, "worker", append(args, c.Serve...)...)
	if err != nil {
		return running{}, err
	}
	r.worker.add(func(context.Context) error { return w.stop() })
	return w.where, nil
}

// apply makes the clinics and keeps their webhooks.
func (c *benchFlags) apply(ctx context.Context, r *benchRig) error {
	ledger := dataFlags{Data: r.data, DatabaseURL: c.DatabaseURL, DatabaseWorkerURL: c.DatabaseWorkerURL, MasterKeyFile: c.MasterKeyFile}
	db, _, done, err := openLedger(ctx, ledger, false, telemetry.NewLogger(io.Discard, "json", "error"))
	if err != nil {
		return err
	}
	defer done()
	for n := range c.Clinics {
		f, err := benchClinic(n, r.Gateway.URL, c.Patients)
		if err != nil {
			return err
		}
		a, err := db.ApplyClinic(ctx, f, store.ApplyOptions{Phones: phone.Options{AllowTestBands: true}, Secret: benchSecret})
		if err != nil {
			return err
		}
		for _, h := range a.Webhooks {
			r.Hooks = append(r.Hooks, bench.Hook{ID: h.ID, Secret: benchSecret})
		}
	}
	return nil
}

// benchSecret signs what only the bench's own clinics take.
var benchSecret = []byte("a secret of the bench and no one")

// benchSender is a Kakao sender key that the simulator takes.
const benchSender = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// benchFile is a clinic with a workflow of three steps, two at once and one two
// seconds later, and one with a step far ahead.
const benchFile = `
tenant: {slug: bench-%[1]d, name: 벤치치과}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %[2]q, app_key: bench-%[1]d, secret: bench, sender: %[3]s, rate_per_second: 1000000}
  - {channel: sms, vendor: nhn, base_url: %[2]q, app_key: bench-%[1]d, secret: bench, sender: "15880000", rate_per_second: 1000000}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님, 내원해 주셔서 감사합니다.", sms_text: "#{환자명}님, 내원해 주셔서 감사합니다."}
workflows:
  - name: aftercare
    steps: [{node: first, seconds: 0, template: care}, {node: second, seconds: 0, template: care}, {node: later, seconds: 2, template: care}]
  - name: timers
    steps: [{node: once, hours: 12, template: care}]
webhooks:
  - {name: visits, workflow: aftercare, routes: {timer: [timers]}, rate_per_minute: 1000000}
`

// benchClinic is clinic n with its patients, whose numbers do not exist.
func benchClinic(n int, gateway string, patients int) (*clinic.File, error) {
	f, err := clinic.Parse(fmt.Appendf(nil, benchFile, n, gateway, benchSender))
	if err != nil {
		return nil, err
	}
	for i := range patients {
		f.Patients = append(f.Patients, clinic.Patient{ExternalID: bench.PatientID(i, false), Name: "김하늘", Phone: fmt.Sprintf("010-1%03d-%04d", i/10000%1000, i%10000)})
	}
	for i := range bench.RefusedPatients {
		f.Patients = append(f.Patients, clinic.Patient{ExternalID: bench.PatientID(i, true), Name: "이슬", Phone: fmt.Sprintf("010-0108-000%d", i)})
	}
	return f, nil
}

// stop ends what was started and removes what was made.
func (r *benchRig) stop() error {
	err := errors.Join(r.worker.run(context.Background()), r.down.run(context.Background()))
	if r.temp != "" {
		err = errors.Join(err, local.Remove(r.data), os.RemoveAll(r.temp))
		r.temp = ""
	}
	return err
}
