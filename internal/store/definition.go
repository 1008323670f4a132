package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// definitionCache keeps published definitions: they never change, so nothing
// has to be invalidated. It is emptied when it is full.
type definitionCache struct {
	mu sync.RWMutex
	m  map[definitionKey]*workflow.Definition
}

type definitionKey struct {
	tenant   tenant.ID
	workflow uuid.UUID
	version  int32
}

const maxDefinitions = 10_000

const selectDefinition = `SELECT definition FROM workflow_versions WHERE tenant_id = $1 AND workflow_id = $2 AND version = $3`

func (db *DB) definition(ctx context.Context, tx querier, id tenant.ID, wf uuid.UUID, version int32) (*workflow.Definition, error) {
	c, k := &db.definitions, definitionKey{id, wf, version}
	c.mu.RLock()
	d := c.m[k]
	c.mu.RUnlock()
	if d != nil {
		return d, nil
	}
	var b []byte
	if err := tx.QueryRow(ctx, selectDefinition, id, wf, version).Scan(&b); err != nil {
		return nil, fmt.Errorf("definition: %w", notFound(err))
	}
	d, err := workflow.Decode(b)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxDefinitions {
		c.m = map[definitionKey]*workflow.Definition{}
	}
	c.m[k] = d
	return d, nil
}

// location returns the zone; names are checked when they are written, so an
// unknown one means an older zone database, and Seoul is the product's default.
func location(name string) *time.Location {
	if l, ok := zones.Load(name); ok {
		return l.(*time.Location)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return seoul
	}
	zones.Store(name, l)
	return l
}

// zones keeps what LoadLocation would read from a file each time.
var zones sync.Map // name -> *time.Location

var seoul = time.FixedZone("Asia/Seoul", 9*60*60)

func clock(t pgtype.Time) workflow.Clock {
	minutes := int(t.Microseconds / 60_000_000)
	return workflow.Clock{Hour: minutes / 60, Minute: minutes % 60}
}
