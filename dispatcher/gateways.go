package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

// Accounts is where gateway accounts are kept.
type Accounts interface {
	Account(ctx context.Context, id tenant.ID, c event.Channel) (store.Account, error)
	AccountByID(ctx context.Context, id tenant.ID, account uuid.UUID) (store.Account, error)
}

// accountTTL is how long an account's settings are kept: a changed secret is
// in use within it.
const accountTTL = 5 * time.Second

// Gateways holds one gateway, one token bucket and one breaker per account in
// use. They are this process's own: several copies of a dispatcher find out
// for themselves. It is a [prometheus.Collector] of the breakers' states.
type Gateways struct {
	// Timing is the send protocol's, [store.DefaultTiming] unless set before
	// the first use.
	Timing store.Timing
	// Logger is told when a gateway is left alone, and when it answers again.
	// It tells nobody unless set before the first use.
	Logger *slog.Logger

	accounts Accounts
	open     func(vendor string, a providers.Account) (providers.Gateway, error)
	loading  singleflight.Group
	opened   *prometheus.CounterVec

	mu    sync.Mutex
	byID  map[gatewayKey]*entry
	lines map[lineKey]*line
}

type gatewayKey struct {
	tenant  tenant.ID
	channel event.Channel
	account uuid.UUID // set: this one, in use or not
}

// lineKey has the tenant and the channel too: what an id stands for is the
// ledger's word, and who shares a line shares its rate.
type lineKey struct {
	tenant  tenant.ID
	channel event.Channel
	account uuid.UUID
}

type entry struct {
	line  *line // nil: there is no account
	err   error // why there is none, or why it has no gateway
	until time.Time
}

// NewGateways returns an empty set; open makes the adapter of a vendor.
func NewGateways(accounts Accounts, open func(vendor string, a providers.Account) (providers.Gateway, error)) *Gateways {
	return &Gateways{
		Timing: store.DefaultTiming, Logger: slog.New(slog.DiscardHandler),
		accounts: accounts, open: open, opened: newOpened(), byID: map[gatewayKey]*entry{}, lines: map[lineKey]*line{},
	}
}

// of returns the gateway of one account, also of one that was replaced. While
// its queries fail they are not made.
func (g *Gateways) of(ctx context.Context, id tenant.ID, account uuid.UUID) (providers.Gateway, error) {
	e := g.entry(ctx, gatewayKey{tenant: id, account: account})
	if e.err != nil {
		return nil, e.err
	}
	return e.line.gateway, nil
}

// bare returns the same gateway, whose queries are always made.
func (g *Gateways) bare(ctx context.Context, id tenant.ID, account uuid.UUID) (providers.Gateway, error) {
	e := g.entry(ctx, gatewayKey{tenant: id, account: account})
	if e.err != nil {
		return nil, e.err
	}
	return e.line.gateway.Gateway, nil
}

// enter returns a step's ticket, or why it may not go now. A step without an
// account may: the claim says so.
func (g *Gateways) enter(ctx context.Context, id tenant.ID, c event.Channel, free int) (*ticket, delay) {
	e := g.entry(ctx, gatewayKey{tenant: id, channel: c})
	if e.line == nil {
		return nil, delay{}
	}
	return e.line.enter(time.Now(), free)
}

// entry returns the account's entry, looked up again when it is old.
func (g *Gateways) entry(ctx context.Context, k gatewayKey) *entry {
	if e := g.kept(k); e != nil && time.Now().Before(e.until) {
		return e
	}
	v, _, _ := g.loading.Do(k.tenant.String()+string(k.channel)+k.account.String(), func() (any, error) {
		// Who waits for the same must not fail because the first one left.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Timing.R)
		defer cancel()
		return g.load(ctx, k), nil
	})
	return v.(*entry)
}

func (g *Gateways) kept(k gatewayKey) *entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byID[k]
}

// load looks the account up. While the ledger is away the old entry serves on.
func (g *Gateways) load(ctx context.Context, k gatewayKey) *entry {
	old := g.kept(k)
	var a store.Account
	var err error
	if k.account != uuid.Nil {
		a, err = g.accounts.AccountByID(ctx, k.tenant, k.account)
	} else {
		a, err = g.accounts.Account(ctx, k.tenant, k.channel)
	}
	fresh := &entry{err: err, until: time.Now().Add(time.Second)}
	switch {
	case errors.Is(err, store.ErrUnavailable) && old != nil && old.err == nil:
		return old
	case err == nil:
		fresh.line, fresh.err = g.lineOf(k.tenant, a)
		fresh.until = time.Now().Add(accountTTL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.byID) >= 20_000 {
		clear(g.byID)
	}
	g.byID[k] = fresh
	return fresh
}

// lineOf returns the account's line: the one there is, however the account was
// asked for, or another once its settings changed.
func (g *Gateways) lineOf(id tenant.ID, a store.Account) (*line, error) {
	k := lineKey{id, a.Channel, a.ID}
	g.mu.Lock()
	l := g.lines[k]
	g.mu.Unlock()
	if l != nil && l.account == a {
		return l, nil
	}
	gateway, err := g.open(a.Vendor, providers.Account{
		ID: a.ID.String(), Channel: a.Channel, BaseURL: a.BaseURL, AppKey: a.Credentials.AppKey, Secret: a.Credentials.Secret, Sender: a.Sender,
	})
	if err != nil {
		// Its steps are told so one by one, at its rate.
		return g.newLine(a, nil), fmt.Errorf("dispatcher: open account: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.lines[k]; l != nil && l.account == a {
		return l, nil // another was quicker
	}
	if len(g.lines) >= 20_000 {
		for k, l := range g.lines {
			if l.idle() && l.gateway.idle() {
				delete(g.lines, k)
			}
		}
	}
	g.lines[k] = g.newLine(a, gateway)
	return g.lines[k], nil
}
