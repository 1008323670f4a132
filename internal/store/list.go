package store

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The bounds of one page of a list, in rows.
const (
	DefaultPage = 50
	MaxPage     = 200
)

// ErrCursor means that a cursor was not made by this list for this tenant.
var ErrCursor = errors.New("store: not a cursor of this list")

// Page is one page of a list, and the cursor of the next: "" at the end.
type Page[T any] struct {
	Rows []T
	Next string
}

// pageSize brings a wish within the bounds; 0 is the default.
func pageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// cut makes a page of the rows that were read, one more than it may hold.
func cut[T any](rows []T, limit int, cursor func(T) string) Page[T] {
	if len(rows) <= limit {
		return Page[T]{Rows: rows}
	}
	return Page[T]{Rows: rows[:limit], Next: cursor(rows[limit-1])}
}

// viewer is what a list of one tenant needs: its keys, and the zone that it
// reads times in.
type viewer struct {
	keys *seal.TenantKeys
	zone *time.Location
}

const selectViewer = `SELECT data_key, time_zone FROM tenants WHERE id = $1`

func (db *DB) viewer(ctx context.Context, tx pgx.Tx, id tenant.ID) (v viewer, err error) {
	var wrapped []byte
	var zone string
	if err := tx.QueryRow(ctx, selectViewer, id).Scan(&wrapped, &zone); err != nil {
		return v, notFound(err)
	}
	v.zone = location(zone)
	v.keys, err = db.unwrap(id, wrapped)
	return v, err
}

// local is t in the tenant's zone; the zero time where the column was NULL.
func (v viewer) local(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.In(v.zone)
}

// position is a row's place in a list. A list in the order of ids has no use
// for the time.
type position struct {
	at time.Time
	id uuid.UUID
}

// A cursor is the position and a code over it under the tenant's own key, so
// that nobody can make one, and one tenant's is nothing to another.
const (
	positionSize = 8 + 16
	cursorSize   = positionSize + seal.IndexSize
)

// cursor writes a position for callers. list is a constant.
func (v viewer) cursor(list string, p position) string {
	b := make([]byte, 0, cursorSize)
	b = binary.BigEndian.AppendUint64(b, uint64(p.at.UnixMicro())) // what timestamptz resolves
	b = append(b, p.id[:]...)
	return base64.RawURLEncoding.EncodeToString(append(b, blind(v.keys, list, string(b))...))
}

// position reads a cursor, or returns [ErrCursor]; "" is before the first row.
func (v viewer) position(list, cursor string) (p position, err error) {
	if cursor == "" {
		return p, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) != cursorSize {
		return p, ErrCursor
	}
	if !slices.ContainsFunc(blinds(v.keys, list, string(b[:positionSize])), func(code []byte) bool { return hmac.Equal(b[positionSize:], code) }) {
		return p, ErrCursor
	}
	p.at = time.UnixMicro(int64(binary.BigEndian.Uint64(b)))
	p.id = uuid.UUID(b[8:positionSize])
	return p, nil
}
