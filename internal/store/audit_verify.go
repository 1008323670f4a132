package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// AuditVerdict is what became of checking one tenant's chain.
type AuditVerdict struct {
	// First and Last are the rows that were read; 0 where there are none.
	First, Last int64
	// Cut is before when the rows were that its last checkpoint says were
	// removed; zero if there is none.
	Cut time.Time
	// Head is the hash of the last row, for keeping in a safe place.
	Head []byte
	// Sends counts the attempts that were compared with the chain.
	Sends int
	// Faults are what was touched, the first one first; at most [MaxAuditFaults].
	Faults []AuditFault
}

// MaxAuditFaults bounds the faults that one check names.
const MaxAuditFaults = 20

// AuditFault is one thing that is not as it was written.
type AuditFault struct {
	Seq  int64
	What string // a sentence's end, after "row 7"
}

// minAuditAge is what the database keeps at least, see cut_audit.
const minAuditAge = 365 * 24 * time.Hour

// auditEncoding is the only one there is yet.
const auditEncoding = 1

// auditHash is what a row's hash must be. The database's audit_hash says the
// same in SQL: two programs that agree.
func auditHash(id tenant.ID, r AuditRow) []byte {
	h := sha256.New()
	field := func(s string) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	field("doctorsflow/audit")
	field(strconv.Itoa(int(r.encoding)))
	field(id.String())
	field(strconv.FormatInt(r.Seq, 10))
	field(hex.EncodeToString(r.PrevHash))
	field(r.ID.String())
	field(strconv.FormatInt(r.At.UnixMicro(), 10))
	for _, s := range []string{r.Actor, r.From, r.Action, r.Subject} {
		field(s)
	}
	if r.SubjectID == uuid.Nil {
		h.Write([]byte{0xff, 0xff, 0xff, 0xff})
	} else {
		field(r.SubjectID.String())
	}
	patients := make([]string, len(r.Patients))
	for i, p := range r.Patients {
		patients[i] = p.String()
	}
	field(strings.Join(patients, ","))
	field(r.Purpose)
	field(string(r.Detail))
	return h.Sum(nil)
}

const selectChain = `SELECT ` + auditColumns + `
FROM   audit_log
WHERE  tenant_id = $1 AND seq > $2
ORDER  BY seq
LIMIT  500`

const selectHead = `SELECT seq, hash FROM audit_heads WHERE tenant_id = $1`

const selectCheckpoint = `
SELECT seq, at, detail::text FROM audit_log
WHERE  tenant_id = $1 AND action = 'audit.checkpoint' AND actor = 'system:retention'
ORDER  BY seq DESC LIMIT 1`

const readAtOnce = `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY`

// VerifyAudit goes along a tenant's chain from row from (0 and 1: from its
// beginning) to its end: whether each row is as it was hashed and follows the
// one before, whether the chain ends where its head says, whether the attempts
// are those that were sealed, and, where expect is given, whether a row, or the
// checkpoint that stands for those before, still has that hash. It sees one
// moment, whatever goes on meanwhile.
func (db *DB) VerifyAudit(ctx context.Context, id tenant.ID, from int64, expect []byte) (AuditVerdict, error) {
	var c *chainCheck
	err := db.asWorker(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, readAtOnce); err != nil {
			return err
		}
		if err := planFreely(ctx, tx); err != nil {
			return err
		}
		c = &chainCheck{tx: tx, id: id, found: len(expect) == 0, expect: expect}
		if err := c.erasures(ctx); err != nil {
			return err
		}
		return c.run(ctx, from)
	})
	if err != nil {
		return AuditVerdict{}, fmt.Errorf("store: verify the audit log: %w", err)
	}
	return c.verdict, nil
}

type chainCheck struct {
	tx      pgx.Tx
	id      tenant.ID
	expect  []byte
	found   bool
	sealed  *sentPosition // the end of the last sealed stretch
	erased  map[uuid.UUID]bool
	verdict AuditVerdict
}

const selectErasures = `SELECT subject_id FROM audit_log WHERE tenant_id = $1 AND action = 'patient.erase' AND subject_id IS NOT NULL`

// erasures reads whose texts the chain itself says were emptied. A row of this
// kind that somebody invented is a fault of the chain.
func (c *chainCheck) erasures(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, selectErasures, c.id)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	c.erased = make(map[uuid.UUID]bool, len(list))
	for _, id := range list {
		c.erased[id] = true
	}
	return err
}

func (c *chainCheck) fault(seq int64, format string, args ...any) {
	if len(c.verdict.Faults) < MaxAuditFaults {
		c.verdict.Faults = append(c.verdict.Faults, AuditFault{seq, fmt.Sprintf(format, args...)})
	}
}

func (c *chainCheck) saw(hash []byte) { c.found = c.found || bytes.Equal(hash, c.expect) }

func (c *chainCheck) run(ctx context.Context, from int64) error {
	last, prev, err := c.start(ctx, from)
	if err != nil {
		return err
	}
	for {
		rows, err := c.tx.Query(ctx, selectChain, c.id, last)
		if err != nil {
			return err
		}
		page, err := pgx.CollectRows(rows, scanAudit)
		if err != nil {
			return err
		}
		for _, r := range page {
			if c.verdict.First == 0 {
				c.verdict.First = r.Seq
			}
			c.link(last, prev, r)
			if r.Action == "send" {
				if err := c.compare(ctx, r); err != nil {
					return err
				}
			}
			last, prev = r.Seq, r.Hash
			c.verdict.Last, c.verdict.Head = r.Seq, r.Hash
		}
		if len(page) == 0 {
			return c.end(ctx, last, prev)
		}
	}
}

// start returns the row before the first one that is read, and its hash; nil
// is taken from the first row.
func (c *chainCheck) start(ctx context.Context, from int64) (last int64, prev []byte, err error) {
	if from > 1 {
		return from - 1, nil, nil
	}
	prev = make([]byte, sha256.Size)
	var seq int64
	var at time.Time
	var detail []byte
	err = c.tx.QueryRow(ctx, selectCheckpoint, c.id).Scan(&seq, &at, &detail)
	if errors.Is(notFound(err), ErrNotFound) {
		return 0, prev, nil
	}
	if err != nil {
		return 0, nil, err
	}
	var cp struct {
		Seq    int64     `json:"seq"`
		Hash   string    `json:"hash"`
		Before time.Time `json:"before"`
	}
	if err := json.Unmarshal(detail, &cp); err != nil {
		c.fault(seq, "is a checkpoint that cannot be read")
		return 0, prev, nil
	}
	prev, err = hex.DecodeString(cp.Hash)
	if err != nil {
		c.fault(seq, "is a checkpoint without a hash")
		return 0, make([]byte, sha256.Size), nil
	}
	if cp.Before.IsZero() || cp.Before.After(at.Add(-minAuditAge)) {
		c.fault(seq, "is a checkpoint by which rows of less than a year were removed: the database's own function refuses that")
	}
	c.saw(prev)
	c.verdict.Cut = cp.Before
	return cp.Seq, prev, nil
}

// link checks that a row is as it was hashed, and follows the one before it.
func (c *chainCheck) link(last int64, prev []byte, r AuditRow) {
	switch {
	case r.Seq == last+2:
		c.fault(last+1, "is missing")
	case r.Seq > last+1:
		c.fault(last+1, "to row %d are missing", r.Seq-1)
	case prev != nil && !bytes.Equal(prev, r.PrevHash):
		c.fault(r.Seq, "does not follow row %d: its prev_hash is not that row's hash", last)
	}
	switch {
	case r.encoding != auditEncoding:
		c.fault(r.Seq, "has encoding %d, which this program does not know", r.encoding)
	case !bytes.Equal(auditHash(c.id, r), r.Hash):
		c.fault(r.Seq, "was changed: its hash is not that of its columns (at %s, actor %s, action %s, subject %s)", r.At.UTC().Format(time.RFC3339), r.Actor, r.Action, r.Subject)
	}
	c.saw(r.Hash)
}

// end compares the last row with the chain's head.
func (c *chainCheck) end(ctx context.Context, last int64, prev []byte) error {
	var seq int64
	var hash []byte
	err := notFound(c.tx.QueryRow(ctx, selectHead, c.id).Scan(&seq, &hash))
	switch {
	case errors.Is(err, ErrNotFound) && last == 0:
	case errors.Is(err, ErrNotFound):
		c.fault(last, "is the last one, but the chain has no head")
	case err != nil:
		return err
	case seq == last+1:
		c.fault(seq, "is missing at the end: the head is row %d", seq)
	case seq > last:
		c.fault(last+1, "to row %d are missing at the end: the head is row %d", seq, seq)
	case seq < last:
		c.fault(seq+1, "is beyond the head, row %d: it was not appended by the database", seq)
	case prev != nil && !bytes.Equal(hash, prev):
		c.fault(last, "has another hash than the head")
	}
	if !c.found {
		c.fault(last, "is the last one, and none has the expected hash %x: the chain was written anew, or that row was removed as too old", c.expect)
	}
	return nil
}

// Whatever lies in the stretch, and whatever was listed, wherever it lies now.
const selectSealed = `
SELECT a.step_id, a.attempt, coalesce(e.patient_id, '00000000-0000-0000-0000-000000000000'), a.channel, a.claimed_at, sha256(coalesce(a.content, ''))
FROM (
  SELECT a.step_id, a.attempt FROM attempts a
  WHERE  a.tenant_id = $1 AND a.logged AND a.claimed_at >= $2 AND a.claimed_at <= $5
  AND    (a.claimed_at, a.step_id, a.attempt) > ($2, $3, $4) AND (a.claimed_at, a.step_id, a.attempt) <= ($5, $6, $7)
  UNION
  SELECT a.step_id, a.attempt FROM attempts a
  WHERE  a.tenant_id = $1 AND NOT a.logged AND a.claimed_at >= $2 AND a.claimed_at <= $5
  AND    (a.claimed_at, a.step_id, a.attempt) > ($2, $3, $4) AND (a.claimed_at, a.step_id, a.attempt) <= ($5, $6, $7)
  UNION
  SELECT n.step_id, n.attempt FROM unnest($8::uuid[], $9::int[]) AS n (step_id, attempt)
) k
JOIN attempts a ON a.tenant_id = $1 AND a.step_id = k.step_id AND a.attempt = k.attempt
LEFT JOIN steps s ON s.tenant_id = $1 AND s.id = a.step_id
LEFT JOIN workflow_executions e ON e.tenant_id = $1 AND e.id = s.execution_id
ORDER BY a.claimed_at, a.step_id, a.attempt`

// compare holds a row of sends against the attempts as they are now.
func (c *chainCheck) compare(ctx context.Context, r AuditRow) error {
	var kept sends
	if err := json.Unmarshal(r.Detail, &kept); err != nil {
		c.fault(r.Seq, "lists sends that cannot be read")
		return nil
	}
	if c.sealed != nil && (!c.sealed.At.Equal(kept.From.At) || c.sealed.Step != kept.From.Step || c.sealed.Attempt != kept.From.Attempt) {
		c.fault(r.Seq, "lists sends from %s on, but the row of sends before ends at %s", kept.From.At.Format(time.RFC3339Nano), c.sealed.At.Format(time.RFC3339Nano))
	}
	c.sealed = &kept.To
	steps, attempts := make([]uuid.UUID, len(kept.Sends)), make([]int32, len(kept.Sends))
	for i, s := range kept.Sends {
		steps[i], attempts[i] = s.Step, s.Attempt
	}
	rows, err := c.tx.Query(ctx, selectSealed, c.id, kept.From.At, kept.From.Step, kept.From.Attempt, kept.To.At, kept.To.Step, kept.To.Attempt, steps, attempts)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, scanSent)
	if err != nil {
		return err
	}
	type key struct {
		step    uuid.UUID
		attempt int32
	}
	now := map[key]sentAttempt{}
	for _, s := range list {
		now[key{s.Step, s.Attempt}] = s
	}
	for _, was := range kept.Sends {
		c.verdict.Sends++
		k := key{was.Step, was.Attempt}
		is, there := now[k]
		delete(now, k)
		if !there {
			c.fault(r.Seq, "tells of attempt %d of step %s, which was removed from attempts", was.Attempt, was.Step)
			continue
		}
		if is.Content == noContent && c.erased[was.Patient] {
			was.Content = noContent
		}
		if what := differs(was, is); what != "" {
			c.fault(r.Seq, "tells of attempt %d of step %s, whose %s was changed", was.Attempt, was.Step, what)
		}
	}
	for _, s := range list {
		if _, left := now[key{s.Step, s.Attempt}]; left {
			c.fault(r.Seq, "does not tell of attempt %d of step %s: it was added to attempts later", s.Attempt, s.Step)
		}
	}
	return nil
}

// differs names the columns in which an attempt is not as it was sealed.
func differs(was, is sentAttempt) string {
	var what []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"content", was.Content == is.Content},
		{"channel", was.Channel == is.Channel},
		{"claimed_at", was.At.Equal(is.At)},
		{"patient", was.Patient == is.Patient},
	} {
		if !f.same {
			what = append(what, f.name)
		}
	}
	return strings.Join(what, " and ")
}

// noContent is the digest of a text that was emptied.
var noContent = func() string {
	sum := sha256.Sum256(nil)
	return hex.EncodeToString(sum[:])
}()
