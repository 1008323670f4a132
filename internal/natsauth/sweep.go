package natsauth

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Connection is one of a clinic's, as a server lists it.
type Connection struct {
	Server string
	ID     uint64
	// User is [UserName].
	User string
}

// Broker lists and ends connections.
type Broker interface {
	// ClinicConnections returns every server's connections of [Account].
	ClinicConnections(ctx context.Context) ([]Connection, error)
	// Disconnect ends one; one that has ended already is no error.
	Disconnect(ctx context.Context, c Connection) error
}

// Credential is the tenant and the id of one.
type Credential struct {
	Tenant tenant.ID
	ID     uuid.UUID
}

// Sweep ends the connections whose credentials are no longer in force, and
// those beyond PerTenant. Any number of copies may run: each asks the servers
// and the ledger anew, and remembers nothing.
type Sweep struct {
	Broker Broker
	// Live returns which of the credentials are in force.
	Live func(context.Context, []Credential) (map[uuid.UUID]bool, error)
	// Every is the time between looks, within which a revocation takes effect.
	Every time.Duration
	// PerTenant is how many connections one clinic may have.
	PerTenant int
	Logger    *slog.Logger
}

// Run looks until ctx ends. A look that fails is made again at the next turn.
func (s *Sweep) Run(ctx context.Context) error {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("clinic connections could not be checked", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Sweep) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	open, err := s.Broker.ClinicConnections(ctx)
	if err != nil || len(open) == 0 {
		return err
	}
	var asked []Credential
	seen := map[uuid.UUID]bool{}
	for _, c := range open {
		if id, credential, ok := ParseUserName(c.User); ok && !seen[credential] {
			seen[credential] = true
			asked = append(asked, Credential{id, credential})
		}
	}
	live, err := s.Live(ctx, asked)
	if err != nil {
		return err
	}
	per := map[tenant.ID]int{}
	for _, c := range open {
		id, credential, ok := ParseUserName(c.User)
		reason := ""
		switch {
		case !ok:
			continue // one of ours, which no credential stands behind
		case !live[credential]:
			reason = "its credential is no longer in force"
		case per[id] >= s.PerTenant:
			reason = "its clinic has too many connections"
		}
		if reason == "" {
			per[id]++
			continue
		}
		if err := s.Broker.Disconnect(ctx, c); err != nil {
			return err
		}
		s.Logger.Info("a clinic connection was ended", "tenant", id, "credential", credential, "reason", reason)
	}
	return nil
}
