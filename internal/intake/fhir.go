package intake

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ResourceReceipt is what became of what one resource said of an appointment.
type ResourceReceipt struct {
	Reference string `json:"reference" doc:"The resource: Appointment/123."`
	Receipt
}

// IgnoredResources are resources that say nothing of where an appointment
// stands.
type IgnoredResources struct {
	ResourceType string `json:"resource_type"`
	Count        int    `json:"count"`
}

// FHIRReceipt is what became of a FHIR document.
type FHIRReceipt struct {
	Accepted  int                `json:"accepted"`
	Duplicate int                `json:"duplicate" doc:"Resources that say nothing new."`
	Rejected  int                `json:"rejected"`
	Resources []ResourceReceipt  `json:"resources" nullable:"false" doc:"In the order of the document; an Encounter of several appointments has one for each."`
	Ignored   []IgnoredResources `json:"ignored" nullable:"false" doc:"Resources that say nothing of where an appointment stands."`
}

// ReceiveFHIR keeps what a FHIR document says; see [appointment.ReadFHIR]. What
// is wrong with the whole of it comes back as faults. After an error what was
// kept is a duplicate when the document comes again.
func (d *Desk) ReceiveFHIR(ctx context.Context, id tenant.ID, by store.Hand, raw []byte, opt appointment.FHIROptions) (out FHIRReceipt, wrong []Fault, err error) {
	opt.Upload = uuid.Must(uuid.NewV7()).String()
	doc, problems := appointment.ReadFHIR(raw, opt)
	if len(problems) > 0 {
		return out, faults(problems), nil
	}
	out.Resources = make([]ResourceReceipt, len(doc.Resources))
	out.Ignored = make([]IgnoredResources, 0, len(doc.Ignored))
	for kind, n := range doc.Ignored {
		out.Ignored = append(out.Ignored, IgnoredResources{kind, n})
	}
	slices.SortFunc(out.Ignored, func(a, b IgnoredResources) int { return cmp.Compare(a.ResourceType, b.ResourceType) })
	words := make([]word, len(doc.Resources))
	for i, r := range doc.Resources {
		words[i] = word{r.Event, r.Problems}
	}
	list, count, err := d.keepAll(ctx, id, by, words)
	if err != nil {
		return out, nil, err
	}
	out.Accepted, out.Duplicate, out.Rejected = count.Accepted, count.Duplicate, count.Rejected
	for i, r := range list {
		out.Resources[i] = ResourceReceipt{doc.Resources[i].Reference, r}
	}
	return out, nil, nil
}
