package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// scale makes the send protocol's minutes seconds.
const scale = 10

const killClinic = `
tenant: {slug: kill, name: 미소치과}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %[1]q, app_key: k, secret: s, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, rate_per_second: 5000}
  - {channel: sms, vendor: nhn, base_url: %[1]q, app_key: k, secret: s, sender: "15880000", rate_per_second: 5000}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - name: aftercare
    steps: [{seconds: 0, template: care}, {seconds: 0, template: care}, {seconds: 2, template: care}]
webhooks:
  - {name: visits, workflow: aftercare}
`

// gateway is a simulator in this process, which nobody kills: what it
// accepted is what patients got.
func gateway(t testing.TB) (*simulator.Simulator, string) {
	t.Helper()
	sim := simulator.New(simulator.Config{Seed: 1, Open: true, Scale: scale, RealStamps: true})
	server := httptest.NewServer(sim.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = sim.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		server.Close()
	})
	return sim, server.URL
}

// TestKill9LosesNothingAndSendsNothingTwice kills the process again and again
// while triggers pour in and requests go out, and once deletes everything that
// JetStream stored.
func TestKill9LosesNothingAndSendsNothingTwice(t *testing.T) {
	sim, url := gateway(t)
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	args := []string{"--time-scale", fmt.Sprint(scale), "--simulator", "127.0.0.1:0", "--poll-every", "200ms"}
	p := start(t, data, args...)
	hook := applied(t, fmt.Sprintf(killClinic, url), "--data", data)

	var base atomic.Value
	base.Store(p.http)
	pouring, stopPouring := context.WithCancel(t.Context())
	var mu sync.Mutex
	kept := map[uuid.UUID]bool{} // answered 202
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for n := 0; pouring.Err() == nil; n++ {
				id := fmt.Sprintf("visit-%d-%d", caller, n)
				// Two thirds reach Kakao users; the others fall back to SMS.
				number := fmt.Sprintf("010-00%s-000%d", []string{"00", "00", "19"}[n%3], n%10)
				body := visit(fmt.Sprintf("P-%d-%d", caller, n%50), number)
				for pouring.Err() == nil {
					status, a := hook.post(pouring, base.Load().(string), id, body)
					if status == 202 {
						mu.Lock()
						kept[a.TriggerID] = true
						mu.Unlock()
						break
					}
					wait(pouring, 20*time.Millisecond)
				}
			}
		})
	}
	const kills = 4
	for n := range kills {
		wait(t.Context(), time.Duration(300+rand.IntN(900))*time.Millisecond)
		p.kill()
		if n == kills/2 {
			// The whole broker is lost with it: the ledger publishes again.
			if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
				t.Fatal(err)
			}
		}
		p = start(t, data, args...)
		base.Store(p.http)
	}
	wait(t.Context(), 500*time.Millisecond)
	stopPouring()
	callers.Wait()

	db := openRunning(t, data)
	settled(t, db)
	for id := range kept {
		if !hasTrigger(t, db, id) {
			t.Errorf("trigger %s was answered 202 and is not in the ledger", id)
		}
	}
	if v := sim.Violations(); len(v) > 0 {
		b, _ := json.Marshal(v[:min(len(v), 5)])
		t.Errorf("the gateway's oracle counts %d violations: %s", len(v), b)
	}
	t.Logf("%d kills, %d triggers kept", kills, len(kept))
	command(t, "conserve", "--data", data)

	p.stop()
	noProcessOf(t, data)
	if _, err := os.Stat(runningFile(data)); err == nil {
		t.Error("running.json is left behind")
	}
	// And what was stopped in order starts in order.
	p = start(t, data, args...)
	command(t, "conserve", "--data", data)
	p.stop()
}

// settled waits until nothing is pending any more.
func settled(t testing.TB, db *store.DB) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		list, err := db.Conserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open := int64(0)
		for _, c := range list {
			if c.Diff() != 0 {
				t.Fatalf("conservation is off by %d: %+v", c.Diff(), c)
			}
			open += c.PendingTriggers + c.Pending + c.Sent
		}
		if open == 0 && len(list) > 0 && list[0].Triggers > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("work is still open after 3 min: %+v", list)
		}
		wait(t.Context(), 250*time.Millisecond)
	}
}

func hasTrigger(t testing.TB, db *store.DB, id uuid.UUID) bool {
	t.Helper()
	tenant, err := db.TenantBySlug(t.Context(), "kill")
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Why(t.Context(), tenant, id)
	return err == nil
}

func openRunning(t testing.TB, data string) *store.DB {
	t.Helper()
	where, err := readRunning(data)
	if err != nil {
		t.Fatal(err)
	}
	master, err := seal.LoadMaster(filepath.Join(data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{APIURL: where.APIURL, WorkerURL: where.WorkerURL, Master: master})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// wait waits on the real clock, which the processes under test run on.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func removeData(t testing.TB, data string) {
	if err := local.Remove(data); err != nil {
		t.Errorf("remove the data folder: %v", err)
	}
	_ = os.Remove(filepath.Dir(data))
}
