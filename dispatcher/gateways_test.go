package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

var anAccount = uuid.Must(uuid.NewV7())

// desk is an office whose account a test changes as it goes.
type desk struct {
	account store.Account
	err     error
	asked   int
}

func (d *desk) Account(_ context.Context, id tenant.ID, c event.Channel) (store.Account, error) {
	d.asked++
	a := d.account
	a.Tenant, a.Channel, a.ID = id, c, uuid.NewSHA1(uuid.UUID(id), []byte(c))
	return a, d.err
}

func (d *desk) AccountByID(ctx context.Context, id tenant.ID, _ uuid.UUID) (store.Account, error) {
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
