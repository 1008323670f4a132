package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// AuditEntry is what somebody did with a clinic's data: one row of audit_log.
type AuditEntry struct {
	// Hand is who, from where and why. What is empty of it is the context's,
	// see [ActAs].
	Hand
	// Action is what was done: read, export, send, or a change such as
	// key.create.
	Action string
	// Subject is what to, or by which operation; SubjectID which one, zero
	// where there is none.
	Subject   string
	SubjectID uuid.UUID
	// Patients are those whose data it was. A row keeps [MaxAuditPatients] of
	// them, and of more their number and digest.
	Patients []uuid.UUID
	// Detail holds ids, states, times and counts: never what a patient is
	// called, reached by or told.
	Detail map[string]any
}

// MaxAuditPatients bounds the patients that one row names.
const MaxAuditPatients = 500

type handKey struct{}

// ActAs makes h the one who acts in whatever is done under the context: the
// audit log tells it. Without it, system:unnamed acts.
func ActAs(ctx context.Context, h Hand) context.Context {
	return context.WithValue(ctx, handKey{}, h)
}

// acting is who acts by the context.
func acting(ctx context.Context) Hand {
	if h, ok := ctx.Value(handKey{}).(Hand); ok && h.Actor != "" {
		return h
	}
	return Hand{Actor: "system:unnamed"}
}

const insertAudit = `
INSERT INTO audit_log (tenant_id, id, actor, from_addr, action, subject, subject_id, patients, purpose, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb)`

// row makes the arguments of [insertAudit].
func (e AuditEntry) row(ctx context.Context, id tenant.ID) ([]any, error) {
	by := acting(ctx)
	if e.Actor != "" {
		by.Actor = e.Actor
	}
	if e.Note != "" {
		by.Note = e.Note
	}
	if e.From != "" {
		by.From = e.From
	}
	detail := map[string]any{}
	maps.Copy(detail, e.Detail)
	patients := distinct(e.Patients)
	if len(patients) > MaxAuditPatients {
		detail["patients_total"], detail["patients_digest"] = len(patients), digestIDs(patients)
		patients = patients[:MaxAuditPatients]
	}
	b, err := json.Marshal(detail)
	if err != nil {
		return nil, err
	}
	return []any{id, uuid.Must(uuid.NewV7()), by.Actor, clip(by.From, 64), e.Action, e.Subject, nullID(e.SubjectID), patients, noted(by.Note), string(b)}, nil
}

// audit appends to the tenant's chain, in the transaction of what it tells of.
// It holds the chain's head until the commit: it is the last thing that a
// transaction does, so that whoever holds a head waits for nothing else.
func audit(ctx context.Context, tx querier, id tenant.ID, e AuditEntry) error {
	args, err := e.row(ctx, id)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, insertAudit, args...)
	return err
}

const selectEveryTenant = `SELECT id FROM tenants ORDER BY id`

// auditAll appends what concerns every tenant to each one's chain.
func auditAll(ctx context.Context, tx querier, e AuditEntry) error {
	rows, err := tx.Query(ctx, selectEveryTenant)
	if err != nil {
		return err
	}
	tenants, err := pgx.CollectRows(rows, pgx.RowTo[tenant.ID])
	if err != nil {
		return err
	}
	for _, id := range tenants {
		if err := audit(ctx, tx, id, e); err != nil {
			return err
		}
	}
	return nil
}

// Audit keeps what changes nothing else, such as a read. Whoever shows data
// does so after it returned nil. Errors wrap [ErrUnavailable] where that is
// what happened.
func (db *DB) Audit(ctx context.Context, id tenant.ID, e AuditEntry) error {
	if err := db.inTenant(ctx, id, func(tx pgx.Tx) error { return audit(ctx, tx, id, e) }); err != nil {
		return fmt.Errorf("store: audit: %w", err)
	}
	return nil
}

// audit tells of what the file changed: how many rows of which kind, and which
// of their columns.
func (a *applying) audit(ctx context.Context) error {
	for _, patients := range a.optedOut {
		if err := audit(ctx, a.tx, a.id, AuditEntry{Action: "patient.opt_out", Subject: "clinic_file", Patients: patients}); err != nil {
			return err
		}
	}
	if a.out.Changed() == 0 {
		return nil
	}
	changes, fields := map[string]int{}, []string{}
	for _, c := range a.out.Changes {
		if c.Action == "unchanged" {
			continue
		}
		changes[c.Kind+"."+c.Action]++
		for _, f := range c.Fields {
			fields = append(fields, c.Kind+"."+f)
		}
	}
	slices.Sort(fields)
	return audit(ctx, a.tx, a.id, AuditEntry{
		Action: "clinic.apply", Subject: "clinic_file", Patients: a.changed, Detail: map[string]any{"changes": changes, "fields": slices.Compact(fields)},
	})
}

// distinct is each id once, in order.
func distinct(ids []uuid.UUID) []uuid.UUID {
	out := slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool { return id == uuid.Nil })
	slices.SortFunc(out, func(a, b uuid.UUID) int { return strings.Compare(string(a[:]), string(b[:])) })
	if out = slices.Compact(out); out == nil {
		return []uuid.UUID{} // and not NULL
	}
	return out
}

func digestIDs(ids []uuid.UUID) string {
	h := sha256.New()
	for _, id := range ids {
		h.Write(id[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func clip(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes])
}

// ValidNote reports whether a text may be kept as a note: one line of at most
// [MaxNote] characters without a number as long as a telephone's.
func ValidNote(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= MaxNote && !strings.ContainsFunc(s, unicode.IsControl) && !longNumber.MatchString(s)
}

// noted is the note, or that it cannot be kept: what was done is told even so.
func noted(s string) string {
	if s = strings.TrimSpace(s); ValidNote(s) {
		return s
	}
	return "(a note that may not be kept)"
}
