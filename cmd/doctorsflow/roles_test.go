package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

// TestRolesRunApart runs the roles in processes of their own over an external
// Postgres and an external NATS, two of each worker: the same code as the
// all-in-one, only started differently.
func TestRolesRunApart(t *testing.T) {
	t.Parallel()
	sim, url := gateway(t)
	urls := storetest.Database(t)
	const password = "a-password-of-this-test-only"
	nats, err := local.StartNATS(local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0", AppPassword: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Shutdown)
	master := filepath.Join(t.TempDir(), "master.key")
	random := make([]byte, 32)
	rand.Read(random)
	if err := os.WriteFile(master, []byte(base64.StdEncoding.EncodeToString(random)), 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := []string{"--database-url", urls.API, "--database-worker-url", urls.Worker, "--master-key-file", master}
	serve := func(roles string) *process {
		return start(t, filepath.Join(t.TempDir(), "data"), append(ledger, "--roles", roles, "--nats-url", nats.URL(), "--nats-user", local.AppUser, "--nats-password", password,
			"--time-scale", fmt.Sprint(scale), "--poll-every", "200ms", "--database-conns", "4")...)
	}
	door := serve("ingest,api")
	hook := applied(t, fmt.Sprintf(killClinic, url), ledger...)
	processes := []*process{door, serve("planner"), serve("planner,recorder"), serve("dispatcher"), serve("dispatcher,recorder")}
	kept := map[uuid.UUID]bool{}
	for n := range 60 {
		status, a := hook.post(t.Context(), door.http, fmt.Sprint("visit-", n), visit(fmt.Sprint("P-", n), fmt.Sprintf("010-2345-%04d", n)))
		if status != 202 {
			t.Fatalf("call %d: %d", n, status)
		}
		kept[a.TriggerID] = true
	}
	key, err := seal.LoadMaster(master)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{APIURL: urls.API, WorkerURL: urls.Worker, Master: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	settled(t, db)
	list, err := db.Conserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := list[0]; c.Triggers != 60 || c.Delivered != 180 || len(kept) != 60 {
		t.Errorf("%d triggers, %d delivered; want 60 and 180", c.Triggers, c.Delivered)
	}
	if v := sim.Violations(); len(v) > 0 {
		t.Errorf("the gateway's oracle counts %d violations, the first %+v", len(v), v[0])
	}
	for _, p := range processes {
		p.stop()
	}
}
