package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/bench"
)

type benchHoldCommand struct{ benchFlags }

// held is what a foreign load driver needs.
type held struct {
	Webhooks []heldWebhook `json:"webhooks"`
	// Patients are the external ids that exist, Refused those whose Kakao
	// messages the simulator refuses, as first and last.
	Patients [2]string `json:"patients"`
	Refused  [2]string `json:"refused_patients"`
	Gateway  string    `json:"gateway"`
	Database string    `json:"database_url"`
}

type heldWebhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// Run starts everything, says where it is, and says what it took when told to
// stop.
func (c *benchHoldCommand) Run(ctx context.Context, o output) error {
	rig, err := c.start(ctx, o)
	if err != nil {
		return err
	}
	h := held{
		Patients: [2]string{bench.PatientID(0, false), bench.PatientID(c.Patients-1, false)},
		Refused:  [2]string{bench.PatientID(0, true), bench.PatientID(bench.RefusedPatients-1, true)},
		Gateway:  rig.Gateway.URL, Database: rig.database,
	}
	for _, k := range rig.Hooks {
		h.Webhooks = append(h.Webhooks, heldWebhook{rig.Target + "/api/webhooks/" + k.ID.String(), ingest.EncodeSecret(k.Secret)})
	}
	out := json.NewEncoder(o.out)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false) // its URLs are copied from here
	stop := rig.Watch()
	if err := out.Encode(h); err != nil {
		return errors.Join(err, rig.stop())
	}
	fmt.Fprintln(o.err, "ready; Ctrl-C stops it and prints what it took")
	<-ctx.Done()
	usage := stop()
	return errors.Join(out.Encode(usage), rig.stop())
}
