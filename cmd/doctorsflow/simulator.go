package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

type simulatorCommand struct {
	Addr        string        `help:"Where the gateway listens; port 0 is any free one." default:"127.0.0.1:8090" env:"SIMULATOR_ADDR"`
	Seed        uint64        `help:"Fixes every drawn outcome, delay and fault." default:"1"`
	Profile     string        `help:"How the gateways behave: ${enum}." default:"ideal" enum:"ideal,healthy,badday,kakao_down,sms_down,slow,flaky_net"`
	Scale       float64       `help:"How many virtual seconds pass in a real one." default:"1"`
	Manual      bool          `help:"Let time stand still; it moves by POST /__sim/clock."`
	RealStamps  bool          `help:"Put the real time on the wire, not the virtual, for a client on its own clock."`
	Latency     time.Duration `help:"Added to every answer; 0 takes what the profile draws."`
	ReportDelay time.Duration `help:"From acceptance to report; 0 takes what the number and the profile say, negative is at once."`
	Limits      bool          `help:"Limit as NHN limits a new account: 300 requests a second, 5,000 SMS a month, 1,000 Alimtalk a day."`
	Webhook     string        `help:"URL that every account's results are posted to." placeholder:"URL"`
	Signature   string        `help:"What X-Toast-Webhook-Signature says there." placeholder:"TOKEN"`
	Ledger      string        `help:"File that keeps what was accepted; a restart goes on where it ends." type:"path" placeholder:"FILE"`
	Fsync       bool          `help:"Have the ledger on disk before each answer." default:"true" negatable:""`
	Token       string        `help:"Bearer token of the control plane; without one only this machine may use it." env:"SIMULATOR_TOKEN"`
	Config      string        `help:"JSON file with apps, senders, send_nos, templates, webhooks, rules, outages and scripts." type:"path" placeholder:"FILE"`
	Numbers     bool          `help:"List what the magic numbers do, and end."`
}

// simulatorFile is what a --config file may hold. The fields of each are those
// of the control plane.
type simulatorFile struct {
	// Apps are the app keys that are let in; without any, every one is.
	Apps      map[string]simulator.App     `json:"apps"`
	Senders   []simulator.Sender           `json:"senders"`
	SendNos   []simulator.SendNo           `json:"send_nos"`
	Templates []simulator.Template         `json:"templates"`
	Webhooks  map[string]simulator.Webhook `json:"webhooks"`
	Rules     simulator.Rules              `json:"rules"`
	Outages   []simulator.Outage           `json:"outages"`
	Scripts   []simulator.Script           `json:"scripts"`
}

// newAccount is what NHN gives a new account. It documents no rate for these
// products; its Notification Hub has this one.
var newAccount = simulator.Rules{RPS: 300, Burst: 300, SMSMonthly: 5000, KakaoDaily: 1000}

// Run serves the two gateways until ctx ends.
func (c *simulatorCommand) Run(ctx context.Context, o output) (err error) {
	if c.Numbers {
		printNumbers(o.out)
		return nil
	}
	sim, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another address with --addr", c.Addr, err)
	}
	c.print(o.out, "http://"+listener.Addr().String())
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return sim.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return server.Close() // callers who wait for an answer that hangs on purpose
		}
		return nil
	})
	err = group.Wait()
	st := sim.Stats()
	fmt.Fprintf(o.out, "stopped: %s accepted, %d without a result, %d violations\n", accepts(st), st.Open, breaches(st))
	return err
}

// open makes the simulator, or says in one sentence what cannot be meant.
func (c *simulatorCommand) open() (*simulator.Simulator, error) {
	if !listenable(c.Addr) {
		return nil, fmt.Errorf("--addr %q is not host:port, such as 127.0.0.1:8090", c.Addr)
	}
	if c.Scale <= 0 {
		return nil, errors.New("--scale is how many times as fast time passes, more than 0; --manual makes it stand still")
	}
	if c.Signature != "" && c.Webhook == "" {
		return nil, errors.New("--signature belongs to a --webhook")
	}
	f, err := c.file()
	if err != nil {
		return nil, err
	}
	if c.Webhook != "" {
		if f.Webhooks == nil {
			f.Webhooks = map[string]simulator.Webhook{}
		}
		f.Webhooks[""] = simulator.Webhook{URL: c.Webhook, Signature: c.Signature}
	}
	cfg := simulator.Config{
		Seed: c.Seed, Open: len(f.Apps) == 0, Apps: f.Apps, Senders: f.Senders, SendNos: f.SendNos, Templates: f.Templates,
		Webhooks: f.Webhooks, Profile: c.Profile, Latency: c.Latency, ReportDelay: c.ReportDelay, Rules: f.Rules,
		Scale: c.Scale, Manual: c.Manual, RealStamps: c.RealStamps, SyncLedger: c.Fsync, KeepMessages: 1_000_000, ControlToken: c.Token,
	}
	if err := cfg.Check(); err != nil {
		return nil, plain(err)
	}
	var sim *simulator.Simulator
	if c.Ledger == "" {
		sim = simulator.New(cfg)
	} else if sim, err = simulator.Open(cfg, c.Ledger); err != nil {
		return nil, plain(err)
	}
	var bad []error
	for _, x := range f.Outages {
		bad = append(bad, plain(sim.AddOutage(x)))
	}
	for _, x := range f.Scripts {
		bad = append(bad, plain(sim.AddScript(x)))
	}
	if err := errors.Join(bad...); err != nil {
		return nil, errors.Join(err, sim.Close())
	}
	return sim, nil
}

// file reads the --config file over what --limits says.
func (c *simulatorCommand) file() (f simulatorFile, err error) {
	if c.Limits {
		f.Rules = newAccount
	}
	if c.Config == "" {
		return f, nil
	}
	b, err := os.ReadFile(c.Config)
	if err != nil {
		return f, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("%s: %w; the fields are those of `doctorsflow simulator --help` under --config, in JSON", c.Config, plain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return f, fmt.Errorf("%s holds more than one JSON value", c.Config)
	}
	return f, nil
}

// plain drops the package's name, which says nothing to who runs the command.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "simulator: "))
}
