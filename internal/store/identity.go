package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The kinds of an [Identity].
const (
	Organization = "organization"
	User         = "user"
)

// Identity says that tokens of an issuer for an organisation, or for a user
// without one, speak for a tenant.
type Identity struct {
	ID      uuid.UUID
	Issuer  string // its URL, as tokens name it
	Kind    string // Organization or User
	Subject string // the issuer's id of it
	Created time.Time
}

const lookupIdentity = `SELECT tenant_id, id FROM lookup_identity($1, $2, $3)`

const identityGood = `
SELECT EXISTS (SELECT FROM identities i WHERE i.tenant_id = $1 AND i.id = $2 AND i.removed_at IS NULL)
   AND EXISTS (SELECT FROM tenants t WHERE t.id = $1 AND t.data_key IS NOT NULL)`

// TenantOfIdentity finds for whom a token speaks. An identity that is not
// connected, or whose tenant was erased, is [ErrNotFound].
func (db *DB) TenantOfIdentity(ctx context.Context, issuer, kind, subject string) (id tenant.ID, err error) {
	var row uuid.UUID
	if err := db.api.QueryRow(ctx, lookupIdentity, issuer, kind, subject).Scan(&id, &row); err != nil {
		return tenant.ID{}, fmt.Errorf("store: identity: %w", unavailable(notFound(err)))
	}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var good bool
		if err := tx.QueryRow(ctx, identityGood, id, row).Scan(&good); err != nil {
			return err
		}
		if !good {
			return ErrNotFound
		}
		return nil
	})
	if err != nil {
		return tenant.ID{}, fmt.Errorf("store: identity: %w", err)
	}
	return id, nil
}

const insertIdentity = `INSERT INTO identities (tenant_id, id, issuer, kind, subject) VALUES ($1, $2, $3, $4, $5)`

// ErrConnected means that an identity belongs to a tenant already.
var ErrConnected = errors.New("store: this identity is connected to a clinic already; remove it there first")

// AddIdentity connects an identity with a tenant. One that is connected, with
// whatever tenant, is [ErrConnected].
func (db *DB) AddIdentity(ctx context.Context, id tenant.ID, i Identity) (uuid.UUID, error) {
	switch {
	case i.Kind != Organization && i.Kind != User:
		return uuid.Nil, errors.New("store: add identity: name an organisation or a user")
	case !strings.HasPrefix(i.Issuer, "https://") && !strings.HasPrefix(i.Issuer, "http://") || len(i.Issuer) > 300:
		return uuid.Nil, errors.New("store: add identity: the issuer is a URL, as the tokens' iss has it")
	case i.Subject == "" || utf8.RuneCountInString(i.Subject) > 200 || strings.ContainsRune(i.Subject, 0) || !utf8.ValidString(i.Subject):
		return uuid.Nil, errors.New("store: add identity: give the issuer's id of it, such as org_2abc")
	}
	row := uuid.Must(uuid.NewV7())
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if err := notErased(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertIdentity, id, row, i.Issuer, i.Kind, i.Subject); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "identity.add", Subject: "identity", SubjectID: row, Detail: map[string]any{
			"issuer": i.Issuer, "kind": i.Kind, "subject": i.Subject,
		}})
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23505" {
		return uuid.Nil, ErrConnected
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("store: add identity: %w", err)
	}
	return row, nil
}

const selectIdentities = `SELECT id, issuer, kind, subject, created_at FROM identities WHERE tenant_id = $1 AND removed_at IS NULL ORDER BY created_at, id`

// Identities lists those of a tenant, the oldest first.
func (db *DB) Identities(ctx context.Context, id tenant.ID) (list []Identity, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectIdentities, id)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Identity])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: identities: %w", err)
	}
	return list, nil
}

const removeIdentity = `UPDATE identities SET removed_at = (SELECT app_now()) WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL`

// RemoveIdentity disconnects an identity; its tokens are refused within
// seconds. It returns [ErrNotFound] for one that the tenant does not have.
func (db *DB) RemoveIdentity(ctx context.Context, id tenant.ID, row uuid.UUID) error {
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, removeIdentity, id, row)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "identity.remove", Subject: "identity", SubjectID: row})
	})
	if err != nil {
		return fmt.Errorf("store: remove identity: %w", err)
	}
	return nil
}
