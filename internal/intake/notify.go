package intake

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// News keeps how far a FHIR server's subscriptions were heard.
type News interface {
	FHIRSourceByID(ctx context.Context, id tenant.ID, source uuid.UUID) (store.FHIRSource, error)
	KeepFHIRNews(ctx context.Context, id tenant.ID, source uuid.UUID, n store.FHIRNews) (todo bool, err error)
}

// Notice is what became of a notification.
type Notice struct {
	Type string `json:"type" enum:"handshake,heartbeat,event-notification,query-status,query-event"`
	FHIRReceipt
	Fetch int  `json:"fetch" doc:"Resources that it named and did not hold, or not whole: they are read from the server."`
	Todo  bool `json:"todo" doc:"Whether something is to be read, missed events among it."`
}

// ReceiveNotification keeps what a FHIR server's notification holds, and then
// how far its subscription was heard: whoever dies between the two hears it
// again, or finds the gap. What is wrong with the whole of it comes back as
// faults. Errors wrap [store.ErrNotFound] where the source is none.
func (d *Desk) ReceiveNotification(ctx context.Context, id tenant.ID, by store.Hand, news News, source uuid.UUID, raw []byte) (out Notice, wrong []Fault, err error) {
	from, err := news.FHIRSourceByID(ctx, id, source)
	if err != nil {
		return out, nil, err
	}
	n, problems := appointment.ReadNotification(raw)
	if len(problems) > 0 {
		return out, faults(problems), nil
	}
	out.Type = n.Kind
	out.FHIRReceipt, _, err = d.ReceiveFHIR(ctx, id, by, raw, appointment.FHIROptions{Source: from.Source, Identifier: from.Identifier})
	if err != nil {
		return out, nil, err
	}
	failpoint.Hit(failpoint.NoticeKept)
	kept := newsOf(n, out.FHIRReceipt)
	out.Fetch = len(kept.Fetch)
	out.Todo, err = news.KeepFHIRNews(ctx, id, source, kept)
	return out, nil, err
}

// newsOf is what a notification leaves to be kept. It is pure.
func newsOf(n *appointment.Notification, r FHIRReceipt) store.FHIRNews {
	out := store.FHIRNews{Subscription: n.Subscription, Events: n.Events, Begins: n.Kind == appointment.NotifyHandshake}
	fetch := map[string]bool{}
	for _, e := range n.Named {
		if e.Focus != "" && !slices.Contains(n.Included, e.Focus) {
			fetch[e.Focus] = true
		}
	}
	for _, one := range r.Resources {
		if one.Status == Rejected && slices.ContainsFunc(one.Problems, aboutPatient) {
			fetch[one.Reference] = true // with its patient it may say enough
		}
	}
	for ref := range fetch {
		out.Fetch = append(out.Fetch, ref)
	}
	slices.Sort(out.Fetch)
	if k := len(n.Named); k > 0 {
		out.First, out.Last, out.Unbroken = n.Named[0].Number, n.Named[k-1].Number, true
		for i, e := range n.Named {
			// Of an event that does not say what it is about the server is asked.
			out.Unbroken = out.Unbroken && !e.Silent && (i == 0 || e.Number-n.Named[i-1].Number <= 1)
		}
	}
	return out
}

func aboutPatient(f Fault) bool {
	return strings.HasPrefix(f.Pointer, "/participant") || strings.HasPrefix(f.Pointer, "/patient")
}
