package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

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

// letClinicsIn returns what vouches for clinics' connections to the broker and
// what ends those that may not go on; each runs until ctx ends.
func letClinicsIn(seed string, bus *stream.Conn, db *store.DB, log *slog.Logger) (answer, sweep func(context.Context) error, err error) {
	door, err := natsauth.New(seed, clinicLedger{db}, log)
	if err != nil {
		return nil, nil, err
	}
	look := &natsauth.Sweep{Broker: bus, Live: clinicLedger{db}.live, Every: clinicLook, PerTenant: clinicConnections, Logger: log}
	return func(ctx context.Context) error { return bus.ServeAuth(ctx, door.Answer) }, look.Run, nil
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
