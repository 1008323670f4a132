package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

type applyCommand struct {
	dataFlags
	File        string `short:"f" help:"The clinic's file; - reads standard input." required:"" placeholder:"FILE"`
	DryRun      bool   `help:"Show the difference and change nothing."`
	SecretFile  string `help:"Give the webhooks of the file this secret (whsec_…), mode 0600, instead of a random one." type:"path"`
	TestNumbers *bool  `help:"Allow numbers that do not exist in Korea (010-0…, 010-1…), for the simulator. Allowed by default where Postgres is the embedded one." negatable:""`
	InFlight    string `name:"in-flight" help:"What becomes of runs under way where a workflow changes: keep their version, migrate to the new one, or stop. Those of a workflow that is switched off are stopped in any case." default:"keep" enum:"keep,migrate,stop"`
}

// Run shows the difference, then makes it so.
func (c *applyCommand) Run(ctx context.Context, o output) error {
	b, err := readInput(c.File)
	if err != nil {
		return err
	}
	f, err := clinic.Parse(b)
	if err != nil {
		return err
	}
	if err := noSamples(f); err != nil {
		return err
	}
	opts := store.ApplyOptions{DryRun: true, Phones: phone.Options{AllowTestBands: c.embedded()}}
	if c.TestNumbers != nil {
		opts.Phones.AllowTestBands = *c.TestNumbers
	}
	if c.SecretFile != "" {
		if opts.Secret, err = readSecret(c.SecretFile); err != nil {
			return err
		}
	}
	db, where, closeLedger, err := openLedger(ctx, c.dataFlags, true, telemetry.NewLogger(o.err, c.LogFormat, c.LogLevel))
	if err != nil {
		return err
	}
	defer closeLedger()
	plan, err := db.ApplyClinic(ctx, f, opts)
	if err != nil {
		return err
	}
	printChanges(o.out, plan)
	if c.DryRun {
		return c.underway(ctx, o, db, plan)
	}
	opts.DryRun = false
	done, err := db.ApplyClinic(ctx, f, opts)
	if err != nil {
		return err
	}
	if err := c.underway(ctx, o, db, done); err != nil {
		return err
	}
	if done.OptedOut.Runs > 0 {
		fmt.Fprint(o.out, "\nof patients who are opted out now: ")
		printReplanned(o, done.OptedOut)
	}
	base := orElse(c.PublicURL, orElse(where.HTTP, "http://127.0.0.1:8080"))
	fmt.Fprintf(o.out, "\napplied: %d changes, tenant %s\n", done.Changed(), done.Tenant)
	printWebhooks(o.out, done, strings.TrimRight(base, "/"))
	printReports(o.out, done, strings.TrimRight(base, "/"))
	return nil
}

// noSamples refuses a file with which no process would start any more.
func noSamples(f *clinic.File) error {
	for i, a := range f.Accounts {
		if a.Vendor == "simulator" {
			continue
		}
		if err := sampleGateway(store.Account{BaseURL: a.BaseURL, Credentials: store.Credentials{AppKey: a.AppKey, Secret: a.Secret}}); err != nil {
			return fmt.Errorf("accounts[%d]: the %s account %w", i, a.Channel, err)
		}
	}
	return nil
}

func printChanges(w io.Writer, a store.Applied) {
	unchanged := map[string]int{}
	for _, c := range a.Changes {
		switch c.Action {
		case "unchanged":
			unchanged[c.Kind]++
		case "create":
			fmt.Fprintf(w, "+ %-9s %s\n", c.Kind, c.Name)
		case "update":
			fmt.Fprintf(w, "~ %-9s %s: %s\n", c.Kind, c.Name, strings.Join(c.Fields, ", "))
		}
	}
	for _, kind := range []string{"tenant", "account", "template", "workflow", "draft", "webhook", "patient"} {
		if n := unchanged[kind]; n > 0 {
			fmt.Fprintf(w, "= %-9s %d unchanged\n", kind, n)
		}
	}
}

func printWebhooks(w io.Writer, a store.Applied, base string) {
	for _, h := range a.Webhooks {
		fmt.Fprintf(w, "webhook %s: POST %s/api/webhooks/%s\n", h.Name, base, h.ID)
		if h.Secret != nil {
			fmt.Fprintf(w, "        secret (shown once): %s\n", ingest.EncodeSecret(h.Secret))
		}
	}
}

func readInput(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, 4<<20+1))
	}
	return os.ReadFile(path)
}

// readSecret reads a webhook secret that only its owner can read.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others; run chmod 600 on it", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	secret, err := ingest.DecodeSecret(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s holds no webhook secret; make one with: echo whsec_$(openssl rand -base64 32)", path), err)
	}
	return secret, nil
}
