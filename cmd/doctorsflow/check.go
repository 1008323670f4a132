package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

type checkCommand struct{ serveFlags }

// Run says of every safeguard whether a start with these settings would be
// refused, and starts nothing. It asks an external Postgres and an external
// NATS; what concerns embedded ones shows when they start.
func (c *checkCommand) Run(ctx context.Context, o output) error {
	refused := printSafeguards(o.out, c.verdicts(ctx))
	if err := c.fits(); err != nil {
		fmt.Fprintf(o.out, "refused   %-19s %s\n", "settings", oneLine(err))
		refused++
	}
	if refused > 0 {
		return failed{1}
	}
	return nil
}

// verdict is what is known of a safeguard: an error is a refusal.
type verdict struct {
	safeguard
	known bool
	err   error
}

// verdicts looks at everything that can be seen without a start.
func (f *serveFlags) verdicts(ctx context.Context) []verdict {
	list := make([]verdict, len(safeguards))
	settle := func(err error, ids ...string) {
		for i, g := range list {
			for _, id := range ids {
				if g.id == id {
					list[i].known = true
					if g.told == nil || g.told(err) {
						list[i].err = err
					}
				}
			}
		}
	}
	for i, g := range safeguards {
		list[i].safeguard = g
		if g.settings != nil {
			list[i].known, list[i].err = true, g.settings(f)
		}
	}
	settle(folderInUse(f), "data-in-use")
	if !f.embedded() {
		f.askLedger(ctx, settle)
	}
	if f.NATSURL == "" { // the embedded server is of this program's version
		settle(nil, "nats-version")
	} else {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		bus, err := stream.Connect(ctx, stream.Config{URL: f.NATSURL, User: f.NATSUser, Password: f.NATSPass, Name: "doctorsflow check", Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			bus.Close()
		}
		if err == nil || errors.Is(err, stream.ErrServerTooOld) {
			settle(err, "nats-version")
		}
	}
	return list
}

// askLedger opens an external ledger as serve does. What comes after the first
// refusal is not known.
func (f *serveFlags) askLedger(ctx context.Context, settle func(error, ...string)) {
	ids := []string{"postgres-login", "schema", "row-security", "master-key-wrong"}
	masters, err := f.masters()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	open := store.Config{WorkerURL: orElse(f.DatabaseWorkerURL, f.DatabaseURL), Master: masters[0], APIConns: 1, WorkerConns: 1}
	if f.runs("ingest", "api") {
		open.APIURL = f.DatabaseURL
	}
	db, err := store.Open(ctx, open)
	if err != nil {
		for _, g := range safeguards {
			if g.told != nil && g.told(err) {
				settle(err, g.id)
			}
		}
		return
	}
	defer db.Close()
	settle(nil, ids...)
	for _, g := range safeguards {
		if g.ledger != nil {
			settle(g.ledger(ctx, f, db), g.id)
		}
	}
}

// folderInUse takes the data folder for a moment, if it is there and needed.
func folderInUse(f *serveFlags) error {
	if !f.embedded() && f.NATSURL != "" || !exists(f.Data) {
		return nil
	}
	lock, err := local.Lock(f.Data)
	if err != nil {
		return err
	}
	return lock.Release()
}

// printSafeguards prints a line for each and returns how many are refused.
func printSafeguards(w io.Writer, list []verdict) (refused int) {
	for _, v := range list {
		switch {
		case v.err != nil:
			refused++
			fmt.Fprintf(w, "refused   %-19s %s\n", v.id, oneLine(v.err))
		case v.known:
			fmt.Fprintf(w, "ok        %-19s refuses %s\n", v.id, v.what)
		default:
			fmt.Fprintf(w, "at start  %-19s refuses %s\n", v.id, v.what)
		}
	}
	return refused
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
