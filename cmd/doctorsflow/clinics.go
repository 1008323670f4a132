package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

// Clinics' connections are looked at this often, so that a revocation takes
// effect within about as long; one clinic may have this many.
const (
	clinicLook        = 2 * time.Second
	clinicConnections = 16
)

// lobby is where clinics' systems come in: the seed by which the broker
// believes us who they are, "" if it is not to ask, and the way to the broker.
type lobby struct {
	seed string
	way  stream.Config
}

// letClinicsIn returns what vouches for clinics' connections to the broker, what
// ends those that may not go on, and what takes their events; each runs until
// its context ends.
func letClinicsIn(l lobby, bus *stream.Conn, db *store.DB, desk *intake.Desk, log *slog.Logger, reg prometheus.Registerer) ([]func(context.Context) error, error) {
	door, err := natsauth.New(l.seed, clinicLedger{db}, log)
	if err != nil {
		return nil, err
	}
	way := l.way
	way.User, way.Name, way.Logger = natsauth.ReceptionUser, "doctorsflow reception", log
	if way.Password, err = natsauth.ReceptionPassword(l.seed); err != nil {
		return nil, err
	}
	reception := ingest.NewReception(desk, log, reg)
	look := &natsauth.Sweep{Broker: bus, Live: clinicLedger{db}.live, Every: clinicLook, PerTenant: clinicConnections, Logger: log}
	// Before the reception comes: the server asks about it, too.
	questions, err := bus.AuthQuestions()
	if err != nil {
		return nil, err
	}
	return []func(context.Context) error{
		func(ctx context.Context) error { return questions.Serve(ctx, door.Answer) },
		look.Run,
		func(ctx context.Context) error { return stream.Reception(ctx, way, reception.Take) },
	}, nil
}

// clinicLedger is the ledger in the words of natsauth.
type clinicLedger struct{ db *store.DB }

// Identify returns whom a credential in force stands for.
func (l clinicLedger) Identify(ctx context.Context, credential uuid.UUID, secret string) (natsauth.Identity, error) {
	c, err := l.db.CheckNATSCredential(ctx, credential, secret)
	if errors.Is(err, store.ErrNotFound) {
		return natsauth.Identity{}, natsauth.ErrUnknown
	}
	return natsauth.Identity{Tenant: c.Tenant, Credential: c.ID, Expires: c.Expires}, err
}

func (l clinicLedger) live(ctx context.Context, asked []natsauth.Credential) (map[uuid.UUID]bool, error) {
	list := make([]store.NATSCredential, len(asked))
	for i, c := range asked {
		list[i] = store.NATSCredential{Tenant: c.Tenant, ID: c.ID}
	}
	return l.db.LiveNATSCredentials(ctx, list)
}
