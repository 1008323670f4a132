package intake

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// wordsAtOnce is how many appointments of one document are kept at a time.
const wordsAtOnce = 4

// word is what a document says of one appointment.
type word struct {
	appointment.Event
	problems []appointment.Problem
}

// counts are receipts by their statuses.
type counts struct{ Accepted, Duplicate, Rejected int }

// keepAll keeps the words of one document, each for itself; those of one
// appointment in their order. After an error the words that were kept are
// duplicates when the document comes again.
func (d *Desk) keepAll(ctx context.Context, id tenant.ID, by store.Hand, words []word) (out []Receipt, n counts, err error) {
	out = make([]Receipt, len(words))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(wordsAtOnce)
	for _, list := range byAppointment(words) {
		group.Go(func() error {
			for _, i := range list {
				r, err := d.keepWord(ctx, id, by, words[i])
				if err != nil {
					return err
				}
				out[i] = r
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, n, err
	}
	for _, r := range out {
		switch r.Status {
		case Accepted:
			n.Accepted++
		case Duplicate:
			n.Duplicate++
		default:
			n.Rejected++
		}
	}
	return out, n, nil
}

// byAppointment groups the indexes of words that must keep their order.
func byAppointment(words []word) (groups [][]int) {
	at := map[string]int{}
	for i, w := range words {
		g, ok := at[w.Appointment]
		if !ok {
			g = len(groups)
			at[w.Appointment] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

func (d *Desk) keepWord(ctx context.Context, id tenant.ID, by store.Hand, w word) (Receipt, error) {
	if len(w.problems) > 0 {
		return reject(w.ID, faults(w.problems)...), nil
	}
	r, err := d.Keep(ctx, id, by, w.Event)
	if len(r.Problems) == 1 && r.Problems[0] == (Fault{"/id", conflict}) {
		// The same word of the same moment, about a patient who is written in
		// another way.
		r.Status, r.Problems = Duplicate, nil
	}
	return r, err
}
