package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

// Accounts is where gateway accounts are kept.
type Accounts interface {
	Account(ctx context.Context, id tenant.ID, c event.Channel) (store.Account, error)
}

// accountTTL is how long an account's settings are kept: a changed secret is
// in use within it.
const accountTTL = 5 * time.Second

// Gateways holds one gateway and one token bucket per account in use.
type Gateways struct {
	accounts Accounts
	open     func(vendor string, a providers.Account) (providers.Gateway, error)

	mu   sync.Mutex
	byID map[gatewayKey]*entry
}

type gatewayKey struct {
	tenant  tenant.ID
	channel event.Channel
}

type entry struct {
	gateway providers.Gateway
	limiter *rate.Limiter
	account store.Account
	err     error
	until   time.Time
}

// NewGateways returns an empty set; open makes the adapter of a vendor.
func NewGateways(accounts Accounts, open func(vendor string, a providers.Account) (providers.Gateway, error)) *Gateways {
	return &Gateways{accounts: accounts, open: open, byID: map[gatewayKey]*entry{}}
}

func (g *Gateways) get(ctx context.Context, id tenant.ID, c event.Channel) (providers.Gateway, error) {
	e := g.entry(ctx, id, c)
	return e.gateway, e.err
}

// delay takes a token and returns 0, or says how long until there is one.
func (g *Gateways) delay(ctx context.Context, id tenant.ID, c event.Channel) time.Duration {
	e := g.entry(ctx, id, c)
	if e.limiter == nil {
		return 0 // no account: the claim says so
	}
	r := e.limiter.Reserve()
	d := r.Delay()
	if d > 0 {
		r.Cancel()
	}
	return d
}

// entry returns the account's entry, looked up again when it is old. While
// the ledger is away the old one serves on.
func (g *Gateways) entry(ctx context.Context, id tenant.ID, c event.Channel) *entry {
	k := gatewayKey{id, c}
	g.mu.Lock()
	old := g.byID[k]
	g.mu.Unlock()
	if old != nil && time.Now().Before(old.until) {
		return old
	}
	fresh := &entry{until: time.Now().Add(accountTTL)}
	fresh.account, fresh.err = g.accounts.Account(ctx, id, c)
	switch {
	case errors.Is(fresh.err, store.ErrUnavailable) && old != nil && old.gateway != nil:
		return old
	case fresh.err != nil:
		fresh.until = time.Now().Add(time.Second)
	case old != nil && old.account == fresh.account:
		fresh.gateway, fresh.limiter = old.gateway, old.limiter
	default:
		a := fresh.account
		fresh.gateway, fresh.err = g.open(a.Vendor, providers.Account{
			Channel: a.Channel, BaseURL: a.BaseURL, AppKey: a.Credentials.AppKey, Secret: a.Credentials.Secret, Sender: a.Sender,
		})
		if fresh.err != nil {
			fresh.err = fmt.Errorf("dispatcher: open account: %w", fresh.err)
		}
		fresh.limiter = rate.NewLimiter(rate.Limit(a.RatePerSecond), max(1, a.RatePerSecond/4))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.byID) >= 20_000 {
		clear(g.byID)
	}
	g.byID[k] = fresh
	return fresh
}
