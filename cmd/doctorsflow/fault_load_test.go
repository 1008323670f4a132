//go:build failpoint

package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

const (
	callers = 4
	// leastCalls and mostCalls are what each caller posts: it goes on until
	// the process is dead, and some calls beyond.
	leastCalls, mostCalls = 5, 50
)

// patients are one who is on Kakao, one whom Kakao reports as not there, and
// one whom it refuses at once.
var patients = []string{"0000", "0019", "0128"}

// unanswered are some whose first Kakao message is accepted, and whose answer
// is a reset, cut off, empty, or without an id.
var unanswered = []string{"0000", "0506", "0000", "0507", "0000", "0508", "0000", "0509"}

// load is what the callers of one case were promised.
type load struct {
	hook     hooked
	base     string
	patients []string
	pace     time.Duration // between two calls of a caller

	mu   sync.Mutex
	kept map[string]bool // by the callers' own ids
}

// pour posts signed visits from several callers at once, each call again and
// again until it is answered 202, and returns when all are. It stops beginning
// new ones soon after dead is closed.
func (l *load) pour(ctx context.Context, dead <-chan struct{}) error {
	l.kept = map[string]bool{}
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			over := false
			for n := 0; n < mostCalls && (!over || n < leastCalls) && ctx.Err() == nil; n++ {
				id := fmt.Sprintf("visit-%d-%d", caller, n)
				body := visit(fmt.Sprintf("P-%d-%d", caller, n), fmt.Sprintf("010-%s-000%d", l.patients[n%len(l.patients)], n/len(l.patients)%10))
				for ctx.Err() == nil {
					if status, _ := l.hook.post(ctx, l.base, id, body); status == http.StatusAccepted {
						l.mu.Lock()
						l.kept[id] = true
						l.mu.Unlock()
						break
					}
					wait(ctx, 20*time.Millisecond)
				}
				wait(ctx, l.pace)
				select {
				case <-dead:
					over = true
				default:
				}
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// faultResult is a line of the table.
type faultResult struct {
	faultCase
	kept, messages         int
	lost, doubled, unknown int
	back, settled          time.Duration // from the kill: ready again, and nothing open
	wrong                  []string
}

// found asks the ledger and the gateway what became of everything that was
// promised.
func (r *faultResult) found(t testing.TB, l *lane, slug string, kept int, c store.Conservation) {
	r.kept, r.messages = kept, 3*kept
	// The gateway's word: what it accepted is what patients got.
	var entries []simulator.Entry
	if err := l.control(t.Context(), http.MethodGet, "ledger", nil, &entries); err != nil {
		t.Fatal(err)
	}
	visible := map[string]int{} // by root
	for _, e := range entries {
		if root, _, _ := strings.Cut(e.GroupingKey, ":"); strings.HasPrefix(e.AppKey, slug+"-") && e.Visible() {
			visible[root]++
		}
	}
	r.lost = max(0, r.messages-len(visible))
	for _, n := range visible {
		r.doubled += n - 1
	}
	var violations []simulator.Violation
	if err := l.control(t.Context(), http.MethodGet, "violations", nil, &violations); err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		if strings.HasPrefix(v.AppKey, slug+"-") {
			r.bad("the gateway's oracle: %+v", v)
		}
	}
	if r.doubled == 0 && len(visible) > r.messages {
		r.bad("%d messages at the gateway, %d were asked for", len(visible), r.messages)
	}
	// The ledger's.
	ended := int64(r.messages)
	if r.ad {
		if c.Skipped != int64(kept) {
			r.bad("%d steps skipped, want one of each of %d triggers", c.Skipped, kept)
		}
		ended += c.Skipped
	}
	// What fell back failed first.
	if c.Triggers != int64(kept) || c.Planned != c.Triggers || c.Delivered != int64(r.messages) || c.Steps != ended+c.Failed {
		r.bad("%d calls answered 202, and the ledger has %+v", kept, c)
	}
	if where, err := readRunning(l.data); err != nil {
		r.bad("%v", err)
	} else {
		r.unknown = asked(t, where.WorkerURL, c.Tenant)
	}
	if r.lost > 0 || r.doubled > 0 {
		r.bad("%d lost, %d doubled", r.lost, r.doubled)
	}
}

func (r *faultResult) bad(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// asked counts the requests whose outcome no answer told, so that it had to be
// found out.
func asked(t testing.TB, worker string, id tenant.ID) (n int) {
	t.Helper()
	storetest.URLs{Super: worker}.Scan(t, `
SELECT count(*) FROM attempts
WHERE  tenant_id = $1 AND attempt > 0 AND (outcome = 'unknown' OR source IN ('query', 'report', 'poll'))`, []any{id.String()}, &n)
	return n
}

// rest waits until nothing of a tenant is open any more, and returns what the
// ledger counts then.
func rest(ctx context.Context, db *store.DB, id tenant.ID) (c store.Conservation, err error) {
	for {
		list, err := db.Conserve(ctx)
		if err != nil {
			return c, err
		}
		for _, other := range list {
			if other.Diff() != 0 {
				return other, fmt.Errorf("conservation is off by %d: %+v", other.Diff(), other)
			}
			if other.Tenant == id {
				c = other
			}
		}
		if c.Triggers > 0 && c.PendingTriggers+c.Pending+c.Sent == 0 {
			return c, nil
		}
		if wait(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return c, fmt.Errorf("still open: %+v", c)
		}
	}
}

// openSteps tells how far a tenant's open steps have come.
func openSteps(t testing.TB, data string, id tenant.ID) (told string) {
	t.Helper()
	where, err := readRunning(data)
	if err != nil {
		return err.Error()
	}
	storetest.URLs{Super: where.WorkerURL}.Scan(t, `
SELECT coalesce(string_agg(concat_ws(' ', s.id, s.channel, s.state, s.reason, 'attempt', s.attempt, 'queue', s.queue, 'wakes in', s.wake_at - now(),
         'first intent', now() - s.first_intent_at, 'claimed', now() - s.claimed_at, 'code', s.code), E'\n'), 'none')
FROM (SELECT * FROM steps WHERE tenant_id = $1 AND state IN ('planned', 'claimed', 'unknown', 'sent') LIMIT 20) s`, []any{id.String()}, &told)
	return told
}
