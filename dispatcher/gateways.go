package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

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
	account uuid.UUID // set: this one, in use or not
}

type entry struct {
	gateway providers.Gateway
	pace    *pace // nil: there is no account
	account store.Account
	err     error
	until   time.Time
}

// NewGateways returns an empty set; open makes the adapter of a vendor.
func NewGateways(accounts Accounts, open func(vendor string, a providers.Account) (providers.Gateway, error)) *Gateways {
	return &Gateways{accounts: accounts, open: open, byID: map[gatewayKey]*entry{}}
}

// of returns the gateway of one account, also of one that was replaced.
func (g *Gateways) of(ctx context.Context, id tenant.ID, account uuid.UUID) (providers.Gateway, error) {
	e := g.entry(ctx, gatewayKey{tenant: id, account: account})
	return e.gateway, e.err
}

// turn takes a token and returns the zero time, or says when to come back.
func (g *Gateways) turn(ctx context.Context, id tenant.ID, c event.Channel) time.Time {
	e := g.entry(ctx, gatewayKey{tenant: id, channel: c})
	if e.pace == nil {
		return time.Time{} // no account: the claim says so
	}
	return e.pace.turn(time.Now())
}

// pace is an account's rate: a token now, or a place in the line of those who
// come back one by one. A common delay would bring them all at once, again and
// again.
type pace struct {
	limiter *rate.Limiter
	every   time.Duration

	mu   sync.Mutex
	last time.Time // when the last in line comes back
}

func newPace(perSecond int) *pace {
	perSecond = max(1, perSecond)
	return &pace{limiter: rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond/4)), every: time.Second / time.Duration(perSecond)}
}

func (p *pace) turn(now time.Time) time.Time {
	if p.limiter.AllowN(now, 1) {
		return time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.Before(now) {
		p.last = now
	}
	p.last = p.last.Add(p.every)
	return p.last
}

// entry returns the account's entry, looked up again when it is old. While
// the ledger is away the old one serves on.
func (g *Gateways) entry(ctx context.Context, k gatewayKey) *entry {
	g.mu.Lock()
	old := g.byID[k]
	g.mu.Unlock()
	if old != nil && time.Now().Before(old.until) {
		return old
	}
	fresh := &entry{until: time.Now().Add(accountTTL)}
	if k.account != uuid.Nil {
		fresh.account, fresh.err = g.accounts.AccountByID(ctx, k.tenant, k.account)
	} else {
		fresh.account, fresh.err = g.accounts.Account(ctx, k.tenant, k.channel)
	}
	switch {
	case errors.Is(fresh.err, store.ErrUnavailable) && old != nil && old.gateway != nil:
		return old
	case fresh.err != nil:
		fresh.until = time.Now().Add(time.Second)
	case old != nil && old.account == fresh.account:
		fresh.gateway, fresh.pace = old.gateway, old.pace
	default:
		a := fresh.account
		fresh.gateway, fresh.err = g.open(a.Vendor, providers.Account{
			Channel: a.Channel, BaseURL: a.BaseURL, AppKey: a.Credentials.AppKey, Secret: a.Credentials.Secret, Sender: a.Sender,
		})
		if fresh.err != nil {
			fresh.err = fmt.Errorf("dispatcher: open account: %w", fresh.err)
		}
		fresh.pace = newPace(a.RatePerSecond)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.byID) >= 20_000 {
		clear(g.byID)
	}
	g.byID[k] = fresh
	return fresh
}
