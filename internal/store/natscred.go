package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
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

// NATSCredential is what a clinic system connects to NATS with, as it is kept:
// without its secret. A zero time is never.
type NATSCredential struct {
	Tenant tenant.ID
	// ID is the user name of the connection.
	ID      uuid.UUID
	Name    string
	Expires time.Time
	// LastUsed is when a connection was last let in, to the minute.
	LastUsed time.Time
	Revoked  time.Time
	Created  time.Time
}

// A secret is natsSecretPrefix and 32 random bytes in base 62.
const natsSecretPrefix = "dfn_"

// maxNATSCredentials is how many credentials one tenant may have in force.
const maxNATSCredentials = 50

const insertNATSCredential = `
INSERT INTO nats_credentials (tenant_id, id, name, secret_hash, expires_at)
SELECT $1, $2, $3, $4, $5
WHERE  (SELECT count(*) FROM nats_credentials WHERE tenant_id = $1 AND revoked_at IS NULL) < $6
RETURNING created_at`

// CreateNATSCredential makes a credential. The secret is in no other place than
// the answer; whoever loses it makes another. The zero expires is never. It
// returns [ErrNotFound] for a tenant that does not exist.
func (db *DB) CreateNATSCredential(ctx context.Context, id tenant.ID, name string, expires time.Time) (secret string, c NATSCredential, err error) {
	if n := utf8.RuneCountInString(name); n == 0 || n > keyNameMax || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", c, fmt.Errorf("store: create nats credential: name it by what it is for, in 1 to %d letters", keyNameMax)
	}
	if !expires.IsZero() && !expires.After(time.Now()) {
		return "", c, errors.New("store: create nats credential: it would have expired already; give a time to come, or none")
	}
	secret = natsSecretPrefix + randomDigits()
	hash := sha256.Sum256([]byte(secret))
	c = NATSCredential{Tenant: id, ID: uuid.Must(uuid.NewV7()), Name: name, Expires: expires}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if err := notErased(ctx, tx, id); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, insertNATSCredential, id, c.ID, name, hash[:], nullTime(expires), maxNATSCredentials).Scan(&c.Created); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "nats_credential.create", Subject: "nats_credential", SubjectID: c.ID, Detail: map[string]any{
			"expires_at": nullTime(expires),
		}})
	})
	switch e, ok := errors.AsType[*pgconn.PgError](err); {
	case ok && e.Code == "23503":
		err = ErrNotFound
	case errors.Is(err, pgx.ErrNoRows):
		err = fmt.Errorf("%d are in force already; revoke one first", maxNATSCredentials)
	}
	if err != nil {
		return "", NATSCredential{}, fmt.Errorf("store: create nats credential: %w", err)
	}
	return secret, c, nil
}

const selectNATSCredentials = `
SELECT id, name, expires_at, last_used_at, revoked_at, created_at
FROM   nats_credentials
WHERE  tenant_id = $1
ORDER  BY id DESC
LIMIT  200`

// NATSCredentials returns a tenant's credentials, the newest first, at most 200.
func (db *DB) NATSCredentials(ctx context.Context, id tenant.ID) (list []NATSCredential, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectNATSCredentials, id)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (NATSCredential, error) {
			c := NATSCredential{Tenant: id}
			var expires, used, revoked *time.Time
			err := r.Scan(&c.ID, &c.Name, &expires, &used, &revoked, &c.Created)
			c.Expires, c.LastUsed, c.Revoked = orZero(expires), orZero(used), orZero(revoked)
			return c, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: nats credentials: %w", err)
	}
	return list, nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

const revokeNATSCredential = `UPDATE nats_credentials SET revoked_at = coalesce(revoked_at, (SELECT app_now())) WHERE tenant_id = $1 AND id = $2`

// RevokeNATSCredential ends a credential for good; once more changes nothing.
// No new connection gets in with it; [DB.LiveNATSCredentials] tells which old
// ones must end. It returns [ErrNotFound] for one that the tenant does not have.
func (db *DB) RevokeNATSCredential(ctx context.Context, id tenant.ID, credential uuid.UUID) error {
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, revokeNATSCredential, id, credential)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "nats_credential.revoke", Subject: "nats_credential", SubjectID: credential})
	})
	if err != nil {
		return fmt.Errorf("store: revoke nats credential: %w", err)
	}
	return nil
}

const lookupNATSCredential = `SELECT tenant_id, id FROM lookup_nats_credential($1)`

const selectNATSCredential = `
SELECT secret_hash, name, expires_at, created_at, coalesce(last_used_at < (SELECT app_now()) - interval '1 minute', true)
FROM   nats_credentials
WHERE  tenant_id = $1 AND id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > (SELECT app_now()))
AND    EXISTS (SELECT FROM tenants t WHERE t.id = $1 AND t.data_key IS NOT NULL)`

const touchNATSCredential = `
UPDATE nats_credentials
SET    last_used_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < (SELECT app_now()) - interval '1 minute')`

// CheckNATSCredential finds a credential in force by its id and secret, and
// notes, to the minute, that it was used. One that does not exist, has another
// secret, was revoked, has expired or belongs to an erased tenant is
// [ErrNotFound].
func (db *DB) CheckNATSCredential(ctx context.Context, id uuid.UUID, secret string) (c NATSCredential, err error) {
	if err := db.api.QueryRow(ctx, lookupNATSCredential, id).Scan(&c.Tenant, &c.ID); err != nil {
		return NATSCredential{}, fmt.Errorf("store: nats credential: %w", unavailable(notFound(err)))
	}
	given := sha256.Sum256([]byte(secret))
	err = db.inTenant(ctx, c.Tenant, func(tx pgx.Tx) error {
		var hash []byte
		var expires *time.Time
		var idle bool
		if err := tx.QueryRow(ctx, selectNATSCredential, c.Tenant, id).Scan(&hash, &c.Name, &expires, &c.Created, &idle); err != nil {
			return notFound(err)
		}
		c.Expires = orZero(expires)
		if subtle.ConstantTimeCompare(hash, given[:]) != 1 {
			return ErrNotFound
		}
		if !idle {
			return nil
		}
		_, err := tx.Exec(ctx, touchNATSCredential, c.Tenant, id)
		return err
	})
	if err != nil {
		return NATSCredential{}, fmt.Errorf("store: nats credential: %w", err)
	}
	return c, nil
}

const liveNATSCredentials = `
SELECT c.id
FROM   unnest($1::uuid[], $2::uuid[]) AS asked (tenant_id, id)
JOIN   nats_credentials c ON c.tenant_id = asked.tenant_id AND c.id = asked.id
JOIN   tenants t ON t.id = c.tenant_id
WHERE  c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > (SELECT app_now())) AND t.data_key IS NOT NULL`

// LiveNATSCredentials returns which of the credentials (by their tenant and id)
// are in force.
func (db *DB) LiveNATSCredentials(ctx context.Context, asked []NATSCredential) (live map[uuid.UUID]bool, err error) {
	tenants, ids := make([]uuid.UUID, len(asked)), make([]uuid.UUID, len(asked))
	for i, c := range asked {
		tenants[i], ids[i] = uuid.UUID(c.Tenant), c.ID
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		live = map[uuid.UUID]bool{}
		rows, err := tx.Query(ctx, liveNATSCredentials, tenants, ids)
		if err != nil {
			return err
		}
		var id uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
			live[id] = true
			return nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: live nats credentials: %w", err)
	}
	return live, nil
}
