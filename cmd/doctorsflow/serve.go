package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/doctorsflow/doctorsflow/api"
	"github.com/doctorsflow/doctorsflow/dispatcher"
	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/fhir"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/planner"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
	"github.com/doctorsflow/doctorsflow/recorder"
)

type serveCommand struct{ serveFlags }

// Run serves until ctx ends.
func (c *serveCommand) Run(ctx context.Context, o output) error {
	if err := errors.Join(c.check(), failpoint.Arm()); err != nil {
		return err
	}
	log := telemetry.NewLogger(o.err, c.LogFormat, c.LogLevel)
	return serve(ctx, &c.serveFlags, log, func(running) {})
}

// linger is how long a busy consumer lets a batch fill: about what one
// transaction takes, so that the next one carries twice as many.
const linger = 5 * time.Millisecond

// recorderPatience is how long an outcome waits for others to be recorded with
// it. Nobody waits for it but an SMS that follows a failure.
const recorderPatience = 25 * time.Millisecond

// plannerPatience is how long a batch of triggers gives way to a flood of
// calls: even then each worker plans a batch every second.
const plannerPatience = time.Second

// replayPatience is how long whoever asks for a replay waits for what comes of
// it: less than an API request may take.
const replayPatience = 4 * time.Second

// serve is the whole wiring, in the order in which things start; they stop in
// the opposite one. ready is called once every part answers.
func serve(ctx context.Context, f *serveFlags, log *slog.Logger, ready func(running)) (err error) {
	log.Info("starting", "version", version(), "settings", f)
	down := &teardown{}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.Grace+30*time.Second)
		defer cancel()
		if derr := down.run(ctx); derr != nil {
			err = errors.Join(err, derr)
		}
		log.Info("stopped")
	}()
	where := running{PID: os.Getpid(), APIURL: f.DatabaseURL, WorkerURL: orElse(f.DatabaseWorkerURL, f.DatabaseURL)}
	broken := make(chan error, 4)

	// The ledger.
	if f.embedded() || f.NATSURL == "" {
		if err := lockData(f.dataFlags, down); err != nil {
			return err
		}
	}
	if f.embedded() {
		pg, api, worker, err := postgres(ctx, f.dataFlags, down, log)
		if err != nil {
			return err
		}
		where.APIURL, where.WorkerURL, where.PostgresBin = api, worker, pg.BinDir()
		go func() {
			if err := <-pg.Wait(); err != nil {
				broken <- fmt.Errorf("the embedded Postgres ended: %w", err)
			}
		}()
	}
	open := store.Config{Masters: f.masters, PublicURL: f.PublicURL, Timing: store.DefaultTiming.Scaled(f.TimeScale), APIConns: f.DatabaseConns, WorkerConns: f.DatabaseConns}
	if f.patience > 0 {
		open.Timing.R = f.patience
	}
	if f.runs("ingest", "api") {
		open.APIURL = where.APIURL
	}
	// The API's readiness and metrics count over all tenants.
	open.WorkerURL = where.WorkerURL
	db, err := store.Open(ctx, open)
	if err != nil {
		return err
	}
	down.add(func(ctx context.Context) error { return closeLedger(ctx, db) })
	if err := unsafeLedger(ctx, f, db); err != nil {
		return err
	}

	// The broker.
	bus, entrance, err := broker(ctx, f, &where, down, log)
	if err != nil {
		return err
	}

	// The gateways.
	registry := telemetry.NewRegistry()
	if addr := f.simulatorAddr(); addr != "" {
		if where.Simulator, err = startSimulator(addr, f, down, broken); err != nil {
			return err
		}
	}
	client := nhn.HTTPClient(nhn.HTTPOptions{Timeout: db.Timing().R, MaxIdle: f.Slots})
	gateways := dispatcher.NewGateways(db, func(vendor string, a providers.Account) (providers.Gateway, error) {
		return openGateway(vendor, a, where.Simulator, f.TimeScale, client)
	})
	gateways.Timing, gateways.Logger = db.Timing(), log.With("role", "dispatcher")

	// The roles.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, work := errgroup.WithContext(work)
	phones := phone.Options{AllowTestBands: where.Simulator != ""}
	mux := http.NewServeMux()
	door := f.edge(f.BehindTLSProxy, registry, log)
	yield := func(context.Context) {}
	if f.runs("ingest") {
		in := ingest.New(ingest.Config{Phone: phones, Edge: door}, db, db, bus, log.With("role", "ingest"), registry)
		in.Register(mux)
		yield = func(ctx context.Context) { in.Yield(ctx, plannerPatience) }
		group.Go(func() error { return in.Run(work) })
		cron := &ingest.Cron{Ledger: db, Edge: door, Secret: f.CronSecret, InQuery: f.CronKeyInQuery, Days: f.SweepDays, Hint: bus.Hint, Logger: log.With("role", "ingest")}
		cron.Register(mux)
		ingest.NewLinks(db, door, log.With("role", "ingest")).Register(mux)
		ingest.NewReports(db, reportDecoders, door, log.With("role", "ingest"), registry).Register(mux)
		desk := &intake.Desk{Ledger: db, Again: planner.Again, Phones: phones}
		reader := &ingest.FHIR{Ledger: db, Desk: desk, Client: fhir.New(), Every: time.Second, Logger: log.With("role", "ingest")}
		group.Go(func() error { return reader.Run(work) })
		if entrance.seed != "" {
			jobs, err := letClinicsIn(entrance, bus, db, desk, log.With("role", "ingest"), registry)
			if err != nil {
				stop()
				return errors.Join(err, group.Wait())
			}
			for _, job := range jobs {
				group.Go(func() error { return job(work) })
			}
		}
	}
	if f.runs("planner") {
		p := &planner.Planner{Ledger: db, Publisher: bus, Hint: bus.Hint, Yield: yield, Phones: phones, Logger: log.With("role", "planner")}
		group.Go(func() error {
			return stream.Consume(work, bus, stream.Consumer{Stream: stream.Triggers, Name: stream.PlannerConsumer, Batch: 256, Workers: 2, Linger: linger}, p.Handle)
		})
		r := &planner.Release{Clock: db, Broker: bus, Logger: log.With("role", "release")}
		group.Go(func() error { return r.Run(work) })
		decider := &planner.Decider{Ledger: db, Publisher: bus, Hint: bus.Hint, Logger: log.With("role", "planner")}
		group.Go(func() error { return decider.Run(work) })
		replayer := &planner.Replayer{Ledger: db, Every: time.Second, Days: f.SweepDays, Hint: bus.Hint, Logger: log.With("role", "planner")}
		group.Go(func() error { return replayer.Run(work) })
		batches := &planner.Batches{Ledger: db, Every: 500 * time.Millisecond, Hint: bus.Hint, Yield: yield, Logger: log.With("role", "planner")}
		group.Go(func() error { return batches.Run(work) })
	}
	if f.runs("dispatcher") {
		logger := log.With("role", "dispatcher")
		registry.MustRegister(gateways)
		d := dispatcher.New(dispatcher.Config{Ledger: db, Publisher: bus.Grouped(linger), Gateways: gateways, Timing: db.Timing(), Slots: f.Slots, Logger: logger})
		for _, lane := range event.Lanes {
			group.Go(func() error {
				err := stream.Consume(work, bus, stream.Consumer{Stream: stream.Steps, Name: stream.DispatcherConsumer(lane), Batch: 256, Workers: 1, Linger: linger}, d.Handle)
				d.Wait()
				return err
			})
		}
		resolver := &dispatcher.Resolver{Ledger: db, Backlog: bus, Publisher: bus, Gateways: gateways, Timing: db.Timing(), Logger: logger}
		group.Go(func() error { return resolver.Run(work) })
		poller := &dispatcher.Poller{Ledger: db, Backlog: bus, Publisher: bus, Gateways: gateways, Every: f.PollEvery, Logger: logger}
		group.Go(func() error { return poller.Run(work) })
		confirmer := &dispatcher.Confirmer{
			Ledger: db, Publisher: bus, Gateways: gateways, Timing: db.Timing(), Every: min(time.Second, f.PollEvery),
			Logger: logger, Metrics: dispatcher.NewConfirmMetrics(registry),
		}
		group.Go(func() error { return confirmer.Run(work) })
	}
	if f.runs("recorder") {
		r := &recorder.Recorder{Ledger: db, Hint: bus.Hint, Timing: db.Timing()}
		group.Go(func() error {
			return stream.Consume(work, bus, stream.Consumer{Stream: stream.Deliveries, Name: stream.RecorderConsumer, Batch: 512, Workers: 1, Patience: recorderPatience}, r.Handle)
		})
		parked := &recorder.ParkWatch{Ledger: db, Every: 5 * time.Second, Logger: log.With("role", "recorder"), Metrics: recorder.NewParkMetrics(registry)}
		group.Go(func() error { return parked.Run(work) })
		sealer := &recorder.Sealer{Ledger: db, Every: 3 * time.Second, Lag: time.Second, Logger: log.With("role", "recorder"), Metrics: recorder.NewAuditMetrics(registry)}
		group.Go(func() error { return sealer.Run(work) })
		retention := &recorder.Retention{Ledger: db, Every: 24 * time.Hour, Keep: f.AuditRetention, Logger: log.With("role", "recorder")}
		group.Go(func() error { return retention.Run(work) })
		counter := &recorder.Counter{Ledger: db, Every: 20 * time.Second, Logger: log.With("role", "recorder")}
		group.Go(func() error { return counter.Run(work) })
	}
	routes := api.Register(mux, api.Config{
		DB: db, Issuer: f.issuer(), Broker: bus, Registry: registry, Routes: f.runs("api"), Logger: log.With("role", "api"),
		Again: planner.Again, Phones: phones, Edge: door, Rates: api.Rates{Caller: f.RatePerCaller, Tenant: f.RatePerTenant}, Rules: rules, Settle: replayPatience,
	})
	group.Go(func() error { return routes.Run(work) })

	// The door, last.
	server := edge.Server(door.Handler(mux), log)
	listener, err := edge.Listen(f.HTTPAddr)
	if err != nil {
		stop()
		return errors.Join(fmt.Errorf("listen on %s: %w; choose another address with --http-addr", f.HTTPAddr, err), group.Wait())
	}
	where.HTTP = "http://" + listener.Addr().String()
	if where.Simulator != "" && f.runs("ingest") {
		group.Go(func() error { return simulatorReports(work, db, where.Simulator, loopback(listener.Addr()), log) })
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			broken <- fmt.Errorf("serve http: %w", err)
		}
	}()
	if f.embedded() {
		if err := where.write(f.Data); err != nil {
			log.Warn("other commands will not find this process", "err", err)
		}
		defer os.Remove(runningFile(f.Data))
	}
	log.Info("ready", "http", where.HTTP, "nats", orElse(redact(where.NATS, ""), "external"), "simulator", orElse(where.Simulator, "off"))
	ready(where)

	// Until told to stop, or something that must not end has ended.
	select {
	case <-ctx.Done():
		log.Info("stopping: taking nothing new, finishing what is under way", "grace", f.Grace.String())
	case err = <-broken:
	case <-work.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.Grace)
	defer cancel()
	if serr := server.Shutdown(grace); serr != nil {
		log.Warn("callers were cut off", "err", serr)
	}
	stop()
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	select {
	case gerr := <-done:
		return errors.Join(err, gerr)
	case <-grace.Done():
		log.Warn("work under way was given up; it is found out at the next start")
		return err
	}
}

// broker connects to NATS, embedded or not, and declares the streams.
func broker(ctx context.Context, f *serveFlags, where *running, down *teardown, log *slog.Logger) (bus *stream.Conn, to lobby, err error) {
	to.seed = f.NATSCalloutSeed
	cfg := stream.Config{URL: f.NATSURL, User: f.NATSUser, Password: f.NATSPass, Replicas: f.Replicas, Name: "doctorsflow", Logger: log}
	if f.NATSURL == "" {
		var issuer string
		if to.seed, issuer, err = natsauth.NewSeed(); err != nil {
			return nil, to, err
		}
		app, ops := rand.Text(), rand.Text()
		n, err := local.StartNATS(local.NATSConfig{
			Dir: filepath.Join(f.Data, "nats"), Listen: f.NATSListen, AppPassword: app, OpsPassword: ops, ClinicIssuer: issuer,
			TLSCert: f.NATSTLSCert, TLSKey: f.NATSTLSKey, Logger: log,
		})
		if err != nil {
			return nil, to, err
		}
		down.add(func(context.Context) error { n.Shutdown(); return nil })
		where.NATS, where.OpsNATS = n.URL(), n.UserURL(local.OpsUser, ops)
		cfg.InProcess, cfg.User, cfg.Password, cfg.Replicas = n.InProcess(), local.AppUser, app, 1
	}
	connect, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	bus, err = stream.Connect(connect, cfg)
	if err != nil {
		return nil, to, err
	}
	down.add(func(context.Context) error { bus.Close(); return nil })
	to.way = cfg
	return bus, to, bus.Ensure(connect)
}

// startSimulator serves the built-in gateway and returns its address.
func startSimulator(addr string, f *serveFlags, down *teardown, broken chan<- error) (string, error) {
	sim := simulator.New(simulator.Config{Seed: 1, Open: true, ReportDelay: f.reportDelay, KeepMessages: 100_000, Scale: f.TimeScale, RealStamps: f.TimeScale > 1})
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w; choose another address with --simulator", addr, err)
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 5 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := sim.Run(ctx); err != nil {
			broken <- fmt.Errorf("gateway simulator: %w", err)
		}
	}()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			broken <- fmt.Errorf("gateway simulator: %w", err)
		}
	}()
	down.add(func(context.Context) error {
		cancel()
		<-ended
		return server.Close()
	})
	return "http://" + listener.Addr().String(), nil
}
