package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/fhir"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// FHIRLedger is the part of the ledger that knows what FHIR servers named and
// what was missed of their events.
type FHIRLedger interface {
	LeaseFHIRGaps(ctx context.Context, limit int) ([]store.FHIRGap, error)
	CloseFHIRGap(ctx context.Context, g store.FHIRGap, refs []string, searched bool) error
	FailFHIRGap(ctx context.Context, g store.FHIRGap, why string, after time.Duration) error
	LeaseFHIRPending(ctx context.Context, limit int) ([]store.FHIRFetch, error)
	SettleFHIRPending(ctx context.Context, f store.FHIRFetch, why string, again *time.Duration) error
}

// FHIR reads from FHIR servers what their notifications left out. Any number of
// copies may run.
type FHIR struct {
	Ledger FHIRLedger
	Desk   *intake.Desk
	Client *fhir.Client
	// Every is how often it looks.
	Every  time.Duration
	Logger *slog.Logger
}

// fhirAtOnce is how many resources are read with one look.
const fhirAtOnce = 20

// fhirTries is how often a resource is asked for that the server does not give;
// with what lies between them that is about two days.
const fhirTries = 20

// Run looks until ctx is done.
func (f *FHIR) Run(ctx context.Context) error {
	ticker := time.NewTicker(f.Every)
	defer ticker.Stop()
	for {
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			f.Logger.Warn("FHIR servers wait to be asked", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (f *FHIR) look(ctx context.Context) error {
	gaps, err := f.Ledger.LeaseFHIRGaps(ctx, fhirAtOnce)
	if err != nil {
		return err
	}
	for _, g := range gaps {
		if err := f.gap(ctx, g); err != nil {
			return err
		}
	}
	for more := true; more && ctx.Err() == nil; {
		list, err := f.Ledger.LeaseFHIRPending(ctx, fhirAtOnce)
		if err != nil {
			return err
		}
		for _, one := range list {
			if err := f.fetch(ctx, one); err != nil {
				return err
			}
		}
		more = len(list) == fhirAtOnce
	}
	return nil
}

func server(s store.FHIRSource) fhir.Server { return fhir.Server{BaseURL: s.BaseURL, Token: s.Token} }

// gap finds out what the events were that were missed. A server that cannot say
// is searched for what was changed since it was heard last.
func (f *FHIR) gap(ctx context.Context, g store.FHIRGap) error {
	raw, err := f.Client.Events(ctx, server(g.Source), g.Subscription, g.Since, g.Until)
	var refs []string
	searched := false
	if err == nil {
		refs, err = eventsOf(raw, g)
	}
	if unable(err) {
		searched = true
		refs, err = f.search(ctx, g)
	}
	if err != nil {
		f.Logger.Warn("a gap in a FHIR subscription is open", "tenant", g.Tenant, "source", g.Source.ID, "events", g.Until-g.Since+1, "tries", g.Tries, "err", err)
		return f.Ledger.FailFHIRGap(ctx, g, told(err), backOff(g.Tries))
	}
	failpoint.Hit(failpoint.GapRead)
	f.Logger.Info("a gap in a FHIR subscription is closed", "tenant", g.Tenant, "source", g.Source.ID, "events", g.Until-g.Since+1, "resources", len(refs), "searched", searched)
	return f.Ledger.CloseFHIRGap(ctx, g, refs, searched)
}

// errIncomplete means that a server answered with fewer events than there were.
var errIncomplete = errors.New("ingest: the server does not tell all events")

func eventsOf(raw []byte, g store.FHIRGap) (refs []string, err error) {
	n, problems := appointment.ReadNotification(raw)
	if len(problems) > 0 {
		return nil, errIncomplete
	}
	seen := map[int64]bool{}
	for _, e := range n.Named {
		if e.Silent || e.Number < g.Since || e.Number > g.Until {
			continue
		}
		if seen[e.Number] = true; e.Focus != "" {
			refs = append(refs, e.Focus)
		}
	}
	if int64(len(seen)) != g.Until-g.Since+1 {
		return nil, errIncomplete
	}
	return refs, nil
}

// unable reports a server that will not say more when it is asked again.
func unable(err error) bool {
	if errors.Is(err, errIncomplete) {
		return true
	}
	e, ok := errors.AsType[*fhir.StatusError](err)
	return ok && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusBadRequest || e.Status == http.StatusGone || e.Status == http.StatusNotImplemented)
}

// searchMargin is how much longer ago a search begins than the server was
// heard: its clock is another one.
const searchMargin = time.Hour

func (f *FHIR) search(ctx context.Context, g store.FHIRGap) (refs []string, err error) {
	for _, kind := range []string{"Appointment", "Encounter"} {
		err := f.Client.Changed(ctx, server(g.Source), kind, g.Heard.Add(-searchMargin), func(raw []byte) (string, error) {
			page, next, err := appointment.FHIRPage(raw)
			refs = append(refs, page...)
			return next, err
		})
		// A server without Encounters has none.
		if e, ok := errors.AsType[*fhir.StatusError](err); ok && kind == "Encounter" && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
			err = nil
		}
		if err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// fetch reads a resource, and the patients that it names, and keeps what it
// says.
func (f *FHIR) fetch(ctx context.Context, one store.FHIRFetch) error {
	why, again := "", (*time.Duration)(nil)
	switch code, err := f.read(ctx, one); {
	case err == nil:
		why = code
	case gone(err):
		why = "gone"
	default:
		if errors.Is(err, store.ErrUnavailable) {
			return err
		}
		why = told(err)
		if one.Tries < fhirTries {
			again = new(backOff(one.Tries))
		}
		f.Logger.Warn("a FHIR resource could not be read", "tenant", one.Tenant, "source", one.Source.ID, "tries", one.Tries, "err", err)
	}
	failpoint.Hit(failpoint.ResourceRead)
	return f.Ledger.SettleFHIRPending(ctx, one, why, again)
}

func gone(err error) bool {
	e, ok := errors.AsType[*fhir.StatusError](err)
	return ok && (e.Status == http.StatusGone || e.Status == http.StatusNotFound)
}

// read returns a code of what was rejected, "" where all was taken.
func (f *FHIR) read(ctx context.Context, one store.FHIRFetch) (code string, err error) {
	raw, err := f.Client.Read(ctx, server(one.Source), one.Reference)
	if err != nil {
		return "", err
	}
	parts := []json.RawMessage{raw}
	for _, ref := range appointment.FHIRPatients(raw) {
		patient, err := f.Client.Read(ctx, server(one.Source), ref)
		if gone(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		parts = append(parts, patient)
	}
	bundle, err := appointment.FHIRBundle(parts...)
	if err != nil {
		return "", err
	}
	out, wrong, err := f.Desk.ReceiveFHIR(ctx, one.Tenant, store.Hand{Actor: "system:fhir"}, bundle, appointment.FHIROptions{Source: one.Source.Source, Identifier: one.Source.Identifier})
	if err != nil {
		return "", err
	}
	for _, r := range out.Resources {
		wrong = append(wrong, r.Problems...)
	}
	if len(wrong) > 0 {
		return "rejected: " + wrong[0].Pointer + " " + wrong[0].Code, nil
	}
	return "", nil
}

// told is an error as an operator reads it later: without what a server said.
func told(err error) string {
	if e, ok := errors.AsType[*fhir.StatusError](err); ok {
		return e.Error()
	}
	return "not reached, or not understood"
}

// backOff is how long a server is left alone after so many tries.
func backOff(tries int) time.Duration {
	return min(6*time.Hour, time.Second<<min(tries, 15))
}
