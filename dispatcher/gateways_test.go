package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

var anAccount = uuid.Must(uuid.NewV7())

// desk is an office whose account a test changes as it goes.
type desk struct {
	account store.Account
	err     error
	asked   int
	slow    time.Duration // how long a look-up takes
}

func (d *desk) Account(ctx context.Context, id tenant.ID, c event.Channel) (store.Account, error) {
	d.asked++
	time.Sleep(d.slow)
	a := d.account
	a.Tenant, a.Channel, a.ID = id, c, accountOf(id, c)
	return a, cmp.Or(d.err, ctx.Err())
}

func (d *desk) AccountByID(ctx context.Context, id tenant.ID, account uuid.UUID) (store.Account, error) {
	if account == accountOf(id, event.SMS) {
		return d.Account(ctx, id, event.SMS)
	}
	return d.Account(ctx, id, event.Kakao)
}

// inFakeTime runs f with gateways over a desk; opened lists the secrets of the
// accounts that were opened.
func inFakeTime(t *testing.T, f func(t *testing.T, d *desk, g *Gateways, opened *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, list := &desk{account: store.Account{Vendor: "nhn", RatePerSecond: 4, Credentials: store.Credentials{Secret: "one"}}}, new([]string)
		f(t, d, NewGateways(d, func(vendor string, a providers.Account) (providers.Gateway, error) {
			*list = append(*list, a.Secret)
			if vendor == "" {
				return nil, errors.New("no such vendor")
			}
			return new(gate), nil
		}), list)
	})
}

// turn asks for leave to send, as if it was sent at once; it returns the time
// to come back.
func turn(t *testing.T, g *Gateways, id tenant.ID, c event.Channel) time.Time {
	ticket, wait := g.enter(t.Context(), id, c, 256)
	ticket.report(untried, 0)
	return wait.until
}

func TestAccountIsLookedUpEveryFewSecondsAndOpenedWhenItChanged(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, d *desk, g *Gateways, opened *[]string) {
		for range 3 {
			if _, err := g.of(t.Context(), aClinic, anAccount); err != nil {
				t.Fatal(err)
			}
			time.Sleep(accountTTL - time.Millisecond)
			if _, err := g.of(t.Context(), aClinic, anAccount); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if d.asked != 3 || len(*opened) != 1 {
			t.Errorf("looked up %d times, opened %v; want 3 times, once", d.asked, *opened)
		}
		d.account.Credentials.Secret = "two"
		if _, err := g.of(t.Context(), aClinic, anAccount); err != nil || len(*opened) != 2 || (*opened)[1] != "two" {
			t.Errorf("after its secret changed: opened %v, %v", *opened, err)
		}
	})
}

func TestAccountServesOnWhileTheLedgerIsAway(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, d *desk, g *Gateways, _ *[]string) {
		first, err := g.of(t.Context(), aClinic, anAccount)
		if err != nil {
			t.Fatal(err)
		}
		d.err = fmt.Errorf("store: account: %w", store.ErrUnavailable)
		time.Sleep(time.Hour)
		if got, err := g.of(t.Context(), aClinic, anAccount); err != nil || got != first {
			t.Errorf("while the ledger is away: %v, %v", got, err)
		}
		// But an account that is gone is gone.
		d.err = fmt.Errorf("store: account: %w", store.ErrNotFound)
		if _, err := g.of(t.Context(), aClinic, anAccount); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after it was removed: %v", err)
		}
	})
}

func TestMissingAccountIsAskedForAgainSoonAndDelaysNobody(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, d *desk, g *Gateways, _ *[]string) {
		d.err = store.ErrNotFound
		for range 10 {
			if until := turn(t, g, aClinic, event.SMS); !until.IsZero() {
				t.Fatalf("a step without an account waits until %v; the claim must tell", until)
			}
		}
		if d.asked != 1 {
			t.Errorf("looked up %d times at once", d.asked)
		}
		d.err = nil
		time.Sleep(time.Second)
		if _, err := g.of(t.Context(), aClinic, anAccount); err != nil {
			t.Errorf("a second later: %v", err)
		}
	})
}

func TestAccountOfAnUnknownVendorIsAnError(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, d *desk, g *Gateways, _ *[]string) {
		d.account.Vendor = ""
		if got, err := g.of(t.Context(), aClinic, anAccount); err == nil || got != nil {
			t.Errorf("get = %v, %v", got, err)
		}
	})
}

// The rate is the account's, of each tenant and channel its own. Who comes too
// early gets a time of its own, so that a backlog comes back one by one.
func TestRateIsKeptPerAccount(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, _ *desk, g *Gateways, _ *[]string) {
		sent := 0
		for range 1000 { // ten seconds
			if turn(t, g, aClinic, event.SMS).IsZero() {
				sent++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if sent < 40 || sent > 41 {
			t.Errorf("%d sends in 10 s at 4/s", sent)
		}
		for who, until := range map[string]time.Time{
			"another channel": turn(t, g, aClinic, event.Kakao), "another tenant": turn(t, g, tenant.NewID(), event.SMS),
		} {
			if !until.IsZero() {
				t.Errorf("%s waits until %v", who, until)
			}
		}
	})
}

func TestABacklogComesBackOneByOne(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, _ *desk, g *Gateways, _ *[]string) {
		for turn(t, g, aClinic, event.SMS).IsZero() {
		}
		last := turn(t, g, aClinic, event.SMS)
		for range 20 {
			next := turn(t, g, aClinic, event.SMS)
			if next.Sub(last) != 250*time.Millisecond {
				t.Fatalf("the next comes %v after the last, want 250ms at 4/s", next.Sub(last))
			}
			last = next
		}
		time.Sleep(time.Until(last))
		if until := turn(t, g, aClinic, event.SMS); !until.IsZero() {
			t.Errorf("when the line is over, it still waits until %v", until)
		}
	})
}

// Two that need an account at once, by whatever name, must not have a bucket
// each.
func TestAccountHasOneBucketHoweverManyOpenIt(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, d *desk, g *Gateways, opened *[]string) {
		d.account.RatePerSecond, d.slow = 400, time.Second
		var all sync.WaitGroup
		var sent atomic.Int32
		for range 300 {
			all.Go(func() {
				if turn(t, g, aClinic, event.SMS).IsZero() {
					sent.Add(1)
				}
			})
		}
		all.Wait()
		if sent.Load() != 100 || d.asked != 1 || len(*opened) != 1 {
			t.Errorf("%d tokens of one bucket of 100; looked up %d times, opened %d times", sent.Load(), d.asked, len(*opened))
		}
		if _, err := g.of(t.Context(), aClinic, accountOf(aClinic, event.SMS)); err != nil {
			t.Fatal(err)
		}
		if len(*opened) != 1 {
			t.Error("the same account by its id was opened again")
		}
	})
}

func TestLookUpSurvivesWhoeverAskedFirst(t *testing.T) {
	t.Parallel()
	inFakeTime(t, func(t *testing.T, d *desk, g *Gateways, _ *[]string) {
		d.slow = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = g.of(ctx, aClinic, accountOf(aClinic, event.SMS)) }()
		synctest.Wait()
		go cancel()
		if _, err := g.of(t.Context(), aClinic, accountOf(aClinic, event.SMS)); err != nil {
			t.Errorf("the first one left, and the second got %v", err)
		}
	})
}

func TestBreakersAreExported(t *testing.T) {
	t.Parallel()
	onStreet(t, 100, simulator.Rules{}, func(t *testing.T, s *street) {
		s.outage(simulator.Alimtalk, "http503")
		s.due(100, aClinic, event.Kakao, time.Hour)
		s.due(1, aClinic, event.SMS, time.Hour)
		time.Sleep(3 * time.Second)
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(s.Gateways)
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := strings.TrimPrefix(f.GetName(), "doctorsflow_gateway_")
				for _, l := range m.GetLabel() {
					name += "," + l.GetValue()
				}
				if v := m.GetGauge().GetValue() + m.GetCounter().GetValue(); v > 0 {
					got[name] = v
				}
			}
		}
		want := map[string]float64{
			"breaker_state," + accountOf(aClinic, event.Kakao).String() + ",kakao,send": 2,
			"breaker_opened_total,kakao,gateway_down,send":                              1,
			"breakers,kakao,send,open":                                                  1,
			"breakers,kakao,query,closed":                                               1,
			"breakers,sms,send,closed":                                                  1,
			"breakers,sms,query,closed":                                                 1,
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("exported (-want +got):\n%s", diff)
		}
	})
}
