package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// Claims and merges race; the message of both rows goes out once, or the answer
// names what is under way.
func TestMergesAndClaimsNeverPass(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	for range 30 {
		from, into, old, kept, due := r.twice()
		rand.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
		var claimed []uuid.UUID
		var all sync.WaitGroup
		all.Go(func() {
			for i := range due {
				claims, err := r.ClaimSteps(context.Background(), due[i:i+1], claimAll)
				if err != nil {
					t.Error(err)
				}
				for _, c := range claims {
					claimed = append(claimed, c.Step)
				}
			}
		})
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
		out := r.merge(from, into)
		all.Wait()
		if len(claimed) == 2 && len(out.InFlight) != 2 || len(claimed) == 0 {
			t.Errorf("claimed %v; %+v", claimed, out)
		}
		for _, step := range out.InFlight {
			if !slices.Contains(claimed, step) {
				t.Errorf("%s is named and was not claimed", step)
			}
		}
		if n := r.count(`SELECT count(*) FROM steps WHERE execution_id = ANY ($1) AND state = 'planned'`, []uuid.UUID{old, kept}); n != 2 {
			t.Errorf("%d messages are planned, want soon and later once", n)
		}
	}
	r.holds()
}

// TestNothingOfAMergedPlanIsClaimed has workers begin, claim, settle and release
// runs, merge, erase and opt patients out, at random and all at once. Whatever is
// claimed after a merge was acknowledged is of the new plan, nothing is claimed
// for who said no under any row, and every row leads to one that goes on.
func TestNothingOfAMergedPlanIsClaimed(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	h := &history{run: map[uuid.UUID]uuid.UUID{}, epoch: map[uuid.UUID]int32{}, stopped: map[uuid.UUID]bool{}}
	var begin sync.Mutex
	var left, merged, claimed, refused atomic.Int64
	left.Store(int64(*interleavings) / 2)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
			pick := func() uuid.UUID {
				h.mu.Lock()
				defer h.mu.Unlock()
				if len(h.runs) == 0 {
					return uuid.Nil
				}
				return h.runs[rnd.IntN(len(h.runs))]
			}
			for left.Add(-1) >= 0 && !t.Failed() {
				run := pick()
				switch n := rnd.IntN(20); {
				case run == uuid.Nil || n < 4:
					begin.Lock()
					fresh, due := r.begin()
					begin.Unlock()
					if rnd.IntN(3) == 0 {
						r.exec(`UPDATE triggers SET received_at = received_at - interval '3 days' WHERE id = (SELECT trigger_id FROM workflow_executions WHERE id = $1)`, fresh)
					}
					h.publish(fresh, due...)
				case n < 11:
					got, of := r.claimSome(h, rnd)
					claimed.Add(int64(got))
					refused.Add(int64(of - got))
				case n < 13:
					r.settleSome(h, rnd)
				case n < 15:
					for _, s := range r.lease(20) {
						h.publish(s.Run, s.Step)
					}
				case n < 16:
					if _, err := r.OptOut(context.Background(), r.tenant, r.patientOf(run), store.OptOut{Source: "api"}, hand); err != nil && !errors.Is(err, store.ErrNoNumber) {
						t.Error(err)
					}
					h.acknowledge(r, r.patientOf(run))
				case n < 17 && rnd.IntN(4) == 0:
					if _, err := r.ErasePatient(context.Background(), r.tenant, r.patientOf(run), "", hand); err != nil {
						t.Error(err)
					}
				default:
					from, into := r.patientOf(run), r.patientOf(pick())
					var before *store.MergedError
					_, err := r.MergePatients(context.Background(), r.tenant, store.Merge{From: from, Into: into, Hand: hand})
					switch {
					case err == nil:
						merged.Add(1)
						h.acknowledge(r, from)
					case !errors.As(err, &before) && !errors.Is(err, store.ErrMergeItself) && !errors.Is(err, store.ErrMergeErased) && !errors.Is(err, store.ErrNoNumber):
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d runs, %d merges, %d claims, %d messages claimed nothing", len(h.runs), merged.Load(), claimed.Load(), refused.Load())
	if merged.Load() == 0 || claimed.Load() == 0 || refused.Load() == 0 {
		t.Error("one of them never happened")
	}
	for what, sql := range map[string]string{
		"rows lead to a merged one":        `SELECT count(*) FROM patients p JOIN patients o ON o.id = p.merged_into WHERE o.merged_into IS NOT NULL`,
		"rows are left of an erased one":   `SELECT count(*) FROM patients p JOIN patients o ON o.id = p.merged_into WHERE (o.erased_at IS NULL) <> (p.erased_at IS NULL)`,
		"rows of who said no can be heard": `SELECT count(*) FROM patients p JOIN patients o ON o.id = p.merged_into JOIN suppressions x ON x.phone_index = p.phone_index WHERE NOT EXISTS (SELECT FROM suppressions y WHERE y.phone_index = o.phone_index)`,
	} {
		if n := r.count(sql); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	r.holds()
}

// acknowledge keeps at which epoch the runs of a row are, after a change.
func (h *history) acknowledge(r *replans, patient uuid.UUID) {
	rows, err := r.super.Query(context.Background(), `SELECT id, plan_epoch FROM workflow_executions WHERE patient_id = $1`, patient)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var run uuid.UUID
		var epoch int32
		if err := rows.Scan(&run, &epoch); err != nil {
			r.t.Error(fmt.Errorf("acknowledge: %w", err))
		}
		h.mu.Lock()
		h.epoch[run] = max(h.epoch[run], epoch)
		h.mu.Unlock()
	}
}

// A merge that dies before its commit was never there.
func TestAMergeIsOneTransaction(t *testing.T) {
	t.Parallel()
	r := newReplans(t)
	from, into, old, _, due := r.twice()
	before := r.shape(old)
	r.exec(`CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''stop''; END'`)
	r.exec(`CREATE TRIGGER stop BEFORE INSERT ON audit_log FOR EACH ROW WHEN (NEW.action = 'patient.merged') EXECUTE FUNCTION stop()`)
	if _, err := r.MergePatients(t.Context(), r.tenant, store.Merge{From: from, Into: into, Hand: hand}); err == nil {
		t.Fatal("it did not die")
	}
	if n := r.count(`SELECT count(*) FROM patients WHERE merged_into IS NOT NULL`); n != 0 || r.shape(old) != before {
		t.Errorf("%d rows are merged; steps %s", n, r.shape(old))
	}
	if claims, err := r.ClaimSteps(t.Context(), []event.Step{due[0]}, claimAll); err != nil || len(claims) != 1 {
		t.Errorf("%+v, %v", claims, err)
	}
}
