package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// number is the n-th of the numbers that nobody has.
func number(n int) string { return fmt.Sprintf("010-0%03d-%04d", n/10000, n%10000) }

// optedOut makes number one that its owner refused messages on.
func (l *ledger) optedOut(number string) {
	l.t.Helper()
	n, err := phone.Parse(number, testNumbers)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.SuppressNumber(context.Background(), l.tenant, n); err != nil {
		l.t.Fatal(err)
	}
}

// plan accepts and plans one trigger and returns its due steps.
func (l *ledger) plan(ctx context.Context, id, number, name string) ([]event.Step, error) {
	out, err := l.AcceptTriggers(ctx, []store.Accept{l.call(id, body(number, name))})
	if err != nil {
		return nil, err
	}
	return l.PlanTriggers(ctx, []event.Trigger{{Tenant: l.tenant, ID: out[0].TriggerID}}, planning())
}

func obey(c *store.Candidate) store.Decision {
	return store.Decision{Claim: !slices.Contains(c.Suppressed, "*"), Content: "text"}
}

func (l *ledger) wrapped() (b []byte) {
	l.t.Helper()
	l.scan(`SELECT data_key FROM tenants WHERE id = $1`, []any{l.tenant}, &b)
	return b
}

// TestOptOutsHoldWhileTheTenantsKeyRotates runs accept, plan and claim for
// numbers that were opted out, of patients known before and of new ones, while
// the tenant's key is rotated again and again, and opts out more.
func TestOptOutsHoldWhileTheTenantsKeyRotates(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	const known, strangers = 40, 20
	for n := range known {
		if _, err := l.plan(t.Context(), fmt.Sprint("before-", n), number(n), "김하늘"); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			l.optedOut(number(n))
		}
	}
	for n := range strangers { // opted out, and no patient yet
		l.optedOut(number(known + n))
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for worker := range 3 {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				n := (i*3 + worker) % (known + strangers)
				steps, err := l.plan(context.Background(), fmt.Sprintf("during-%d-%d", worker, i), number(n), "김하늘")
				if err != nil {
					t.Error(err)
					return
				}
				if len(steps) != 1 {
					t.Errorf("number %d: %d steps, want 1", n, len(steps))
				}
				claims, err := l.ClaimSteps(context.Background(), steps, obey)
				if err != nil {
					t.Error(err)
					return
				}
				refused := n >= known || n%2 == 0
				if len(claims) > 0 == refused {
					t.Errorf("number %d, opted out is %t: %d claims", n, refused, len(claims))
				}
			}
		})
	}
	running.Go(func() { // opted out between two messages
		for i := 0; ctx.Err() == nil; i++ {
			n := number(5000 + i)
			steps, err := l.plan(context.Background(), fmt.Sprint("fresh-", i), n, "이하늘")
			if err != nil || len(steps) != 1 {
				t.Errorf("%d steps, %v", len(steps), err)
				return
			}
			l.optedOut(n)
			if claims, err := l.ClaimSteps(context.Background(), steps, obey); err != nil || len(claims) != 0 {
				t.Errorf("opted out a moment ago: %d claims, %v", len(claims), err)
			}
		}
	})
	var last []byte
	for round := range 4 {
		if _, err := l.RotateTenantKey(t.Context(), l.tenant); err != nil {
			t.Errorf("rotation %d: %v", round, err)
		}
		if now := l.wrapped(); string(now) == string(last) {
			t.Error("the key is as before")
		} else {
			last = now
		}
	}
	stop()
	running.Wait()
	if n := l.count(`SELECT count(*) - count(DISTINCT phone_index) FROM patients`); n != 0 {
		t.Errorf("%d patients were made twice", n)
	}
	l.holds()
}

// fuse is a context that ends at the n-th time somebody asks whether it has:
// in the middle of whatever was under way.
type fuse struct {
	context.Context
	left  atomic.Int64
	blown chan struct{}
}

func (f *fuse) Done() <-chan struct{} {
	if f.left.Add(-1) == 0 {
		close(f.blown)
	}
	return f.blown
}

func (f *fuse) Err() error {
	select {
	case <-f.blown:
		return context.Canceled
	default:
		return nil
	}
}

// broken ends a rotation at its n-th step, as a killed process would.
func (l *ledger) broken(n int) (finished bool) {
	l.t.Helper()
	ctx := &fuse{Context: context.Background(), blown: make(chan struct{})}
	ctx.left.Store(int64(n))
	_, err := l.RotateTenantKey(ctx, l.tenant)
	if err != nil && ctx.Err() == nil {
		l.t.Fatal(err)
	}
	return err == nil
}

// TestRotationGoesOnWhereItWasBrokenOff breaks it off before each of its
// transactions; in between, everything opens and is found.
func TestRotationGoesOnWhereItWasBrokenOff(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for n := range 5 {
		if _, err := l.plan(t.Context(), fmt.Sprint("e", n), number(n), "김하늘"); err != nil {
			t.Fatal(err)
		}
	}
	l.optedOut(number(0))
	l.optedOut(number(77)) // of nobody
	pending := l.accept(l.call("pending", body(number(9), "김하늘")))[0].TriggerID
	nameless := l.call("", body(number(3), "이름"))
	first := l.accept(nameless)[0]
	if err := l.RecordRefused(t.Context(), []store.RefusedCall{{Tenant: l.tenant, WebhookID: l.webhook, ResponseStatus: 422, Problem: "x", Body: []byte("{}"), Received: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	before := l.wrapped()
	steps := 0
	for n := 2; !l.broken(n); n += 5 {
		steps++
		l.everythingOpens(first, n)
	}
	if steps < 8 {
		t.Errorf("it was broken off %d times only", steps)
	}
	l.everythingOpens(first, -1)
	switch now, entry := l.wrapped(), len(before)+1; {
	case (len(now)+1)%entry != 0 || len(now)+1 < 2*entry || len(now)+1 > 5*entry:
		// One more entry: the index key that the opt-out of nobody needs; and one
		// more for each break between the last commit and its answer: the key was
		// changed once again then.
		t.Errorf("the tenant's keys take %d bytes, at first %d; want the key and few retired index keys", len(now), len(before))
	case string(now[:len(before)]) == string(before):
		t.Error("the key is as before")
	}
	l.nothingOpensWith(before)
	if due, err := l.PlanTriggers(t.Context(), []event.Trigger{{Tenant: l.tenant, ID: pending}}, planning()); err != nil || len(due) != 1 {
		t.Errorf("a trigger that was pending: %d steps, %v", len(due), err)
	}
	// The opt-out of a number that nobody had holds for who gets it.
	due, err := l.plan(t.Context(), "late", number(77), "박하늘")
	if err != nil || len(due) != 1 {
		t.Fatal(due, err)
	}
	if claims, err := l.ClaimSteps(t.Context(), due, obey); err != nil || len(claims) != 0 {
		t.Errorf("an opt-out was forgotten: %v, %v", claims, err)
	}
	l.holds()
}

func (l *ledger) everythingOpens(nameless store.AcceptResult, at int) {
	l.t.Helper()
	for n := range 5 {
		num, _ := phone.Parse(number(n), testNumbers)
		page, err := l.FindPatients(context.Background(), l.tenant, store.PatientQuery{Phone: num})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].Name != "김하늘" || page.Rows[0].Phone != num {
			l.t.Errorf("broken at %d: number %d is found as %d rows, %v", at, n, len(page.Rows), err)
		}
	}
	if w, err := l.Webhook(context.Background(), l.webhook); err != nil || len(w.Secrets) != 1 || len(w.Secrets[0]) != 32 {
		l.t.Errorf("broken at %d: webhook: %v", at, err)
	}
	for _, c := range []event.Channel{event.Kakao, event.SMS} {
		if _, err := l.Account(context.Background(), l.tenant, c); err != nil {
			l.t.Errorf("broken at %d: account: %v", at, err)
		}
	}
	again := l.accept(l.call("e1", body(number(1), "김하늘")), l.call("e1", body(number(2), "김하늘")), l.call("", body(number(3), "이름")))
	if again[0].Status != store.Duplicate || again[1].Status != store.Conflict || again[2].Status != store.Duplicate || again[2].TriggerID != nameless.TriggerID {
		l.t.Errorf("broken at %d: repeats are %+v", at, again)
	}
}

// nothingOpensWith tries a tenant's key of before on every row.
func (l *ledger) nothingOpensWith(before []byte) {
	l.t.Helper()
	ring := seal.NewRing(l.master, 0, 0)
	keys, err := ring.Keys(l.tenant, before)
	if err != nil {
		l.t.Fatal(err)
	}
	for table, columns := range map[string]string{
		"patients": "data_key", "triggers": "payload_key", "webhook_executions": "payload_key",
		"webhooks": "secret", "provider_accounts": "credentials report_token",
	} {
		for col := range strings.FieldsSeq(columns) {
			rows, err := l.super.Query(context.Background(), fmt.Sprintf(`SELECT id, %s FROM %s WHERE %s IS NOT NULL`, col, table, col))
			if err != nil {
				l.t.Fatal(err)
			}
			n := 0
			var id uuid.UUID
			var b []byte
			_, err = pgx.ForEachRow(rows, []any{&id, &b}, func() error {
				n++
				aad := seal.AAD{Tenant: l.tenant, Table: table, Column: col, ID: id}
				_, kerr := keys.Unwrap(b, aad.Bytes())
				_, ferr := keys.Open(b, aad)
				if !errors.Is(kerr, seal.ErrOpen) || !errors.Is(ferr, seal.ErrOpen) {
					l.t.Errorf("%s.%s still opens with the key of before", table, col)
				}
				return nil
			})
			if err != nil || n == 0 {
				l.t.Errorf("%s.%s: %d rows, %v", table, col, n, err)
			}
		}
	}
}

func TestMasterKeyRotatesUnderRunningProcesses(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	other, _ := l.clinic("other")
	l.planned("e1", number(1))
	fresh, old := seal.NewKey(), l.master
	masters := func() ([]seal.Key, error) { return []seal.Key{fresh, old}, nil }
	open := func(masters func() ([]seal.Key, error)) (*store.DB, error) {
		return store.Open(t.Context(), store.Config{APIURL: l.urls.API, WorkerURL: l.urls.Worker, Masters: masters})
	}
	// What runs has the old key alone, until its file says otherwise.
	var mu sync.Mutex
	now := []seal.Key{old}
	running, err := open(func() ([]seal.Key, error) { mu.Lock(); defer mu.Unlock(); return now, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	if _, err := running.Webhook(t.Context(), l.webhook); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	now = []seal.Key{fresh, old}
	mu.Unlock()
	rotating, err := open(masters)
	if err != nil {
		t.Fatal(err)
	}
	defer rotating.Close()
	if n, err := rotating.RewrapTenantKeys(t.Context()); err != nil || n != 2 {
		t.Fatalf("rewrapped %d, %v; want 2", n, err)
	}
	if n, err := rotating.RewrapTenantKeys(t.Context()); err != nil || n != 0 {
		t.Errorf("rewrapped %d more, %v", n, err)
	}
	if _, err := running.Webhook(t.Context(), l.webhook); err != nil {
		t.Errorf("a running process: %v", err)
	}
	if _, err := running.Account(t.Context(), other, event.SMS); err != nil {
		t.Errorf("a running process: %v", err)
	}
	if _, err := open(func() ([]seal.Key, error) { return []seal.Key{old}, nil }); !errors.Is(err, store.ErrWrongMaster) {
		t.Errorf("the old key alone: %v, want ErrWrongMaster", err)
	}
	l.nothingUnder(old)
}

func (l *ledger) nothingUnder(master seal.Key) {
	l.t.Helper()
	if _, _, err := seal.NewRing(master, 0, 0).Set(l.tenant, l.wrapped()); !errors.Is(err, seal.ErrOpen) {
		l.t.Errorf("the tenant's key opens with the old master key: %v", err)
	}
}
