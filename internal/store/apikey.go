package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// APIKey is a tenant's key as it is kept: without the key.
type APIKey struct {
	Tenant tenant.ID
	ID     uuid.UUID
	Name   string
	// Prefix is the beginning of the key, to recognise it by in lists.
	Prefix string
	Role   string // owner, staff, viewer or integration
	// Scopes narrows the role: read, write, or ids of operations, separated by
	// spaces; "" is everything that the role may.
	Scopes  string
	Expires time.Time
	Created time.Time
}

// A key is keyPrefix and 32 random bytes in base 62. The prefix lets secret
// scanners find one that was published by mistake.
const (
	keyPrefix  = "dfk_"
	keyDigits  = 43 // of base 62 hold 256 bits
	keyShown   = len(keyPrefix) + 6
	keyNameMax = 100 // runes
)

// HashAPIKey returns what the ledger keeps of a key; ok is false for a text
// that no key looks like. One hash suffices: there is nothing to guess in 256
// random bits.
func HashAPIKey(plaintext string) (hash [sha256.Size]byte, ok bool) {
	digits, ok := strings.CutPrefix(plaintext, keyPrefix)
	if !ok || len(digits) != keyDigits {
		return hash, false
	}
	for _, c := range []byte(digits) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return hash, false
		}
	}
	return sha256.Sum256([]byte(plaintext)), true
}

func newAPIKey() string { return keyPrefix + randomDigits() }

// randomDigits is 32 random bytes in base 62.
func randomDigits() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; without randomness it ends the program
	digits := new(big.Int).SetBytes(b[:]).Text(62)
	return strings.Repeat("0", keyDigits-len(digits)) + digits
}

const insertAPIKey = `
INSERT INTO api_keys (tenant_id, id, name, prefix, key_hash, role, expires_at, scopes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING created_at`

// CreateAPIKey makes a key with a role. The plaintext is in no other place
// than the answer; whoever loses it makes another. The zero expires is never.
// It returns [ErrNotFound] for a tenant that does not exist.
func (db *DB) CreateAPIKey(ctx context.Context, id tenant.ID, name, role string, expires time.Time, scopes ...string) (plaintext string, k APIKey, err error) {
	if n := utf8.RuneCountInString(name); n == 0 || n > keyNameMax || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", APIKey{}, fmt.Errorf("store: create api key: name it by what it is for, in 1 to %d letters", keyNameMax)
	}
	switch role {
	case "owner", "staff", "viewer", "integration":
	default:
		return "", APIKey{}, errors.New("store: create api key: the role is owner, staff, viewer or integration")
	}
	if !expires.IsZero() && !expires.After(time.Now()) {
		return "", APIKey{}, errors.New("store: create api key: it would have expired already; give a time to come, or none")
	}
	for _, s := range scopes {
		if !scope.MatchString(s) {
			return "", APIKey{}, fmt.Errorf("store: create api key: %q is no scope; give read, write or the id of an operation", s)
		}
	}
	plaintext = newAPIKey()
	hash, _ := HashAPIKey(plaintext)
	k = APIKey{Tenant: id, ID: uuid.Must(uuid.NewV7()), Name: name, Prefix: plaintext[:keyShown], Role: role, Expires: expires, Scopes: strings.Join(scopes, " ")}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if err := notErased(ctx, tx, id); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, insertAPIKey, id, k.ID, k.Name, k.Prefix, hash[:], k.Role, nullTime(k.Expires), append([]string{}, scopes...)).Scan(&k.Created); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "key.create", Subject: "api_key", SubjectID: k.ID, Detail: map[string]any{
			"role": k.Role, "scopes": k.Scopes, "prefix": k.Prefix, "expires_at": nullTime(k.Expires),
		}})
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "23503" {
		err = ErrNotFound
	}
	if err != nil {
		return "", APIKey{}, fmt.Errorf("store: create api key: %w", err)
	}
	return plaintext, k, nil
}

var scope = regexp.MustCompile(`^[a-z][a-z-]{1,63}$`)

// KeyUse is an API key with when it was used last, zero for never, and when it
// was revoked, zero if it was not.
type KeyUse struct {
	APIKey
	Used, Revoked time.Time
}

const selectAPIKeys = `
SELECT id, name, prefix, role, array_to_string(scopes, ' '), expires_at, created_at, last_used_at, revoked_at
FROM   api_keys WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1000`

// APIKeys lists a tenant's keys, the newest first, at most 1,000.
func (db *DB) APIKeys(ctx context.Context, id tenant.ID) (list []KeyUse, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectAPIKeys, id)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (k KeyUse, err error) {
			var expires, used, revoked *time.Time
			k.Tenant = id
			err = row.Scan(&k.ID, &k.Name, &k.Prefix, &k.Role, &k.Scopes, &expires, &k.Created, &used, &revoked)
			for to, from := range map[*time.Time]*time.Time{&k.Expires: expires, &k.Used: used, &k.Revoked: revoked} {
				if from != nil {
					*to = *from
				}
			}
			return k, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store: api keys: %w", err)
	}
	return list, nil
}

const lookupAPIKey = `SELECT tenant_id, id FROM lookup_api_key($1)`

const selectAPIKey = `
SELECT name, prefix, role, array_to_string(scopes, ' '), expires_at, created_at, coalesce(last_used_at < (SELECT app_now()) - interval '1 minute', true)
FROM   api_keys
WHERE  tenant_id = $1 AND id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > (SELECT app_now()))
AND    EXISTS (SELECT FROM tenants t WHERE t.id = $1 AND t.data_key IS NOT NULL)`

// The condition stands here too: of many requests at once only one writes.
const touchAPIKey = `
UPDATE api_keys
SET    last_used_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < (SELECT app_now()) - interval '1 minute')`

// APIKeyByHash finds the key with this hash and notes, to the minute, that it
// was used. A key that does not exist, was revoked, has expired or belongs to
// an erased tenant is [ErrNotFound].
func (db *DB) APIKeyByHash(ctx context.Context, hash [sha256.Size]byte) (k APIKey, err error) {
	if err := db.api.QueryRow(ctx, lookupAPIKey, hash[:]).Scan(&k.Tenant, &k.ID); err != nil {
		return APIKey{}, fmt.Errorf("store: api key: %w", unavailable(notFound(err)))
	}
	err = db.inTenant(ctx, k.Tenant, func(tx pgx.Tx) error {
		var expires *time.Time
		var idle bool
		if err := tx.QueryRow(ctx, selectAPIKey, k.Tenant, k.ID).Scan(&k.Name, &k.Prefix, &k.Role, &k.Scopes, &expires, &k.Created, &idle); err != nil {
			return notFound(err)
		}
		if expires != nil {
			k.Expires = *expires
		}
		if !idle {
			return nil
		}
		_, err := tx.Exec(ctx, touchAPIKey, k.Tenant, k.ID)
		return err
	})
	if err != nil {
		return APIKey{}, fmt.Errorf("store: api key: %w", err)
	}
	return k, nil
}

const revokeAPIKey = `UPDATE api_keys SET revoked_at = coalesce(revoked_at, (SELECT app_now())) WHERE tenant_id = $1 AND id = $2`

// RevokeAPIKey ends a key for good; once more changes nothing. Whoever has
// verified it within the last seconds may still take it as good. It returns
// [ErrNotFound] for a key that the tenant does not have.
func (db *DB) RevokeAPIKey(ctx context.Context, id tenant.ID, key uuid.UUID) error {
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, revokeAPIKey, id, key)
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "key.revoke", Subject: "api_key", SubjectID: key})
	})
	if err != nil {
		return fmt.Errorf("store: revoke api key: %w", err)
	}
	return nil
}
