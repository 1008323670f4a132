package store

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// A token is 80 bits of a keyed hash, in 16 small letters and digits that no
// messenger cuts a link at: every character is paid for in an SMS.
const tokenBytes = 10

const tokenLetters = "abcdefghijklmnopqrstuvwxyz234567"

var tokenText = base32.NewEncoding(tokenLetters).WithPadding(base32.NoPadding)

// SampleLink is as long as a token and leads nowhere, for texts that are shown
// and not sent.
var SampleLink = strings.Repeat("a", tokenText.EncodedLen(tokenBytes))

// linkToken is the same for every attempt and channel of a message, and can be
// computed only with the patient's key.
func linkToken(c *Candidate) string {
	sum := seal.BlindIndex(c.key, "links.token", c.Root.String())
	return tokenText.EncodeToString(sum[:tokenBytes])
}

// HashLink returns what the ledger keeps of a token; ok is false for a text
// that no token looks like.
func HashLink(token string) (hash [sha256.Size]byte, ok bool) {
	// Not what base32 decodes: that takes line ends, and 0xFF for padding.
	if len(token) != tokenText.EncodedLen(tokenBytes) || strings.Trim(token, tokenLetters) != "" {
		return hash, false
	}
	return sha256.Sum256([]byte(token)), true
}

const insertLinks = `
INSERT INTO links (tenant_id, id, execution_id, node, token_hash, target)
SELECT n.tenant_id, n.id, n.execution_id, n.node, n.token_hash, n.target
FROM   unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::text[])
       AS n (tenant_id, id, execution_id, node, token_hash, target)
ON     CONFLICT (tenant_id, id) DO NOTHING`

type linkRows struct {
	tenants   []tenant.ID
	ids, runs []uuid.UUID
	nodes     []string
	hashes    [][]byte
	targets   []string
}

// add adds the link of a message that is claimed, if it is followed.
func (r *linkRows) add(c *Candidate) {
	hash, ok := HashLink(c.Link)
	if !ok {
		return
	}
	s, _ := c.Definition.Step(c.Node)
	r.tenants, r.ids, r.runs = append(r.tenants, c.Tenant), append(r.ids, c.Root), append(r.runs, c.Run)
	r.nodes, r.hashes, r.targets = append(r.nodes, c.Node), append(r.hashes, hash[:]), append(r.targets, s.Message.Values[workflow.Link])
}

func (r *linkRows) queue(batch *pgx.Batch) {
	if len(r.ids) > 0 {
		batch.Queue(insertLinks, r.tenants, r.ids, r.runs, r.nodes, r.hashes, r.targets)
	}
}

const selectClicks = `
SELECT l.tenant_id, l.execution_id, l.node
FROM   unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
JOIN   links l ON l.tenant_id = n.tenant_id AND l.execution_id = n.id AND l.clicked_at IS NOT NULL`

// clicks tells the worlds of runs that follow links what was clicked.
func clicks(ctx context.Context, tx pgx.Tx, runs runSet, resting []*Resting) error {
	if len(runs.ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectClicks, runs.tenants, runs.ids)
	if err != nil {
		return err
	}
	type message struct {
		tenant tenant.ID
		run    uuid.UUID
		node   string
	}
	clicked := map[message]bool{}
	var m message
	if _, err := pgx.ForEachRow(rows, []any{&m.tenant, &m.run, &m.node}, func() error { clicked[m] = true; return nil }); err != nil {
		return err
	}
	for _, r := range resting {
		if r.Definition == nil || !r.Definition.Follows() {
			continue
		}
		for node, said := range r.World.Happened {
			if of, ok := said.(map[string]any); ok {
				of[workflow.Clicked] = clicked[message{r.Tenant, r.Run, node}]
			}
		}
	}
	return nil
}

const (
	lookupLink = `SELECT tenant_id, id FROM lookup_link($1)`

	selectLink = `
SELECT l.target, l.clicked_at IS NULL FROM links l
WHERE  l.tenant_id = $1 AND l.id = $2 AND EXISTS (SELECT FROM tenants t WHERE t.id = $1 AND t.data_key IS NOT NULL)`

	// The run first, as everywhere: who decides about it at this moment has not
	// seen the click, and would put its wait back to sleep.
	lockRunOfLink = `
SELECT e.id, p.erased_at IS NOT NULL
FROM   links l
JOIN   workflow_executions e ON e.tenant_id = l.tenant_id AND e.id = l.execution_id
JOIN   patients p ON p.tenant_id = e.tenant_id AND p.id = e.patient_id
WHERE  l.tenant_id = $1 AND l.id = $2
FOR    UPDATE OF e`

	clickLink = `UPDATE links SET clicked_at = (SELECT app_now()) WHERE tenant_id = $1 AND id = $2 AND clicked_at IS NULL`

	wakeClicked = `
UPDATE run_rests r
SET    wake_at = (SELECT app_now()), updated_at = (SELECT app_now())
WHERE  r.tenant_id = $1 AND r.execution_id = $2 AND r.awaits = 'clicked' AND r.wake_at IS NOT NULL`
)

// OpenLink returns where a link leads, and, with count, notes that it was
// clicked: once, the first time, and never of an erased patient. Whatever of
// its run waits for that is looked at now. A token that nobody has, or that is
// of an erased tenant, is [ErrNotFound]. Where it leads is told even if it
// could not be noted: then the error is not nil, and neither is the target "".
func (db *DB) OpenLink(ctx context.Context, token string, count bool) (target string, err error) {
	hash, ok := HashLink(token)
	if !ok {
		return "", fmt.Errorf("store: link: %w", ErrNotFound)
	}
	var id tenant.ID
	var link uuid.UUID
	if err := db.api.QueryRow(ctx, lookupLink, hash[:]).Scan(&id, &link); err != nil {
		return "", fmt.Errorf("store: link: %w", unavailable(notFound(err)))
	}
	var fresh bool
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		return notFound(tx.QueryRow(ctx, selectLink, id, link).Scan(&target, &fresh))
	})
	if err != nil {
		return "", fmt.Errorf("store: link: %w", err)
	}
	if !count || !fresh {
		return target, nil
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		var run uuid.UUID
		var erased bool
		if err := tx.QueryRow(ctx, lockRunOfLink, id, link).Scan(&run, &erased); err != nil || erased {
			return notFound(err)
		}
		tag, err := tx.Exec(ctx, clickLink, id, link)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, wakeClicked, id, run)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return target, fmt.Errorf("store: link: %w", err)
	}
	return target, nil
}
