package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/exports"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

// appointmentsCommand runs on the clinic's own computer: it knows the API, and
// no ledger.
type appointmentsCommand struct {
	Import appointmentsImportCommand `cmd:"" help:"Send an export of practice software (CSV, UTF-8 or CP949); prints every row that is not taken."`
	Watch  appointmentsWatchCommand  `cmd:"" help:"Send every export that is put into a folder, until stopped."`
}

type exportFlags struct {
	URL      string `default:"http://localhost:8080" env:"DOCTORSFLOW_URL" help:"Where the API is."`
	Key      string `env:"DOCTORSFLOW_KEY" help:"An API key of the clinic, role integration; better in the environment or in --key-file."`
	KeyFile  string `type:"path" help:"A file with the key."`
	Source   string `help:"The system that numbers appointments, where there are several."`
	Identify string `enum:"number,visit" default:"number" help:"visit: the export has no appointment numbers; a patient's appointment of a day is one."`
}

func (f *exportFlags) client() (*exports.Client, error) {
	key := f.Key
	if f.KeyFile != "" {
		b, err := os.ReadFile(f.KeyFile)
		if err != nil {
			return nil, err
		}
		key = strings.TrimSpace(string(b))
	}
	if key == "" {
		return nil, errors.New("no API key: make one with `doctorsflow tenant key CLINIC --name desk --role integration`, and give it as DOCTORSFLOW_KEY or --key-file")
	}
	origin := strings.TrimRight(f.URL, "/")
	if !edge.ValidOrigin(origin) {
		return nil, errors.New("--url must be https://…, or http:// on this computer: appointments are patients' data")
	}
	return &exports.Client{URL: origin, Key: key, TableOptions: appointment.TableOptions{Source: f.Source, Identify: f.Identify}, HTTP: exports.NewHTTP()}, nil
}

type appointmentsImportCommand struct {
	exportFlags
	File   string `arg:"" type:"existingfile" help:"The export."`
	DryRun bool   `help:"Read it and say what is wrong; send nothing."`
}

// Run sends a file. It fails where a row was not taken.
func (c *appointmentsImportCommand) Run(ctx context.Context, o output) error {
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	if len(raw) > exports.MaxFile {
		return errors.New("the file is larger than 64 MiB; cut it in parts")
	}
	var client *exports.Client
	send := func() (exports.Report, error) { return client.Send(ctx, raw) }
	if c.DryRun {
		client = &exports.Client{TableOptions: appointment.TableOptions{Source: c.Source, Identify: c.Identify}}
		send = func() (exports.Report, error) { return client.Read(raw) }
	} else if client, err = c.client(); err != nil {
		return err
	}
	report, err := send()
	if err != nil {
		return err
	}
	for _, h := range report.Ignored {
		fmt.Fprintf(o.err, "column %q means nothing here\n", h)
	}
	for _, r := range report.Rejected {
		fmt.Fprintf(o.out, "line %d: %s\n", r.Line, r.Why())
	}
	if c.DryRun {
		fmt.Fprintf(o.out, "%s, %d rows would be rejected; nothing was sent\n", report.Encoding, len(report.Rejected))
	} else {
		fmt.Fprintf(o.out, "%s: %d accepted, %d with nothing new, %d rejected\n", report.Encoding, report.Accepted, report.Duplicate, len(report.Rejected))
	}
	if len(report.Rejected) > 0 {
		return failed{1}
	}
	return nil
}

type appointmentsWatchCommand struct {
	exportFlags
	Folder string `arg:"" type:"existingdir" help:"Where exports are put. What was sent goes to done/, rows that were not taken to rejected/."`
}

// Run watches a folder.
func (c *appointmentsWatchCommand) Run(ctx context.Context, o output) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	folder := exports.Folder{Path: c.Folder, Client: client, Log: telemetry.NewLogger(o.err, "text", "info")}
	fmt.Fprintf(o.out, "watching %s; stop with Ctrl-C\n", c.Folder)
	return folder.Watch(ctx)
}
