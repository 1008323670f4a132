package store

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// collectIDs reads a result of one uuid column as a set.
func collectIDs(rows pgx.Rows, err error) (map[uuid.UUID]bool, error) {
	if err != nil {
		return nil, err
	}
	ids := map[uuid.UUID]bool{}
	var id uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		ids[id] = true
		return nil
	})
	return ids, err
}

// nullIDs makes NULL of each zero id.
func nullIDs(ids []uuid.UUID) []*uuid.UUID {
	out := make([]*uuid.UUID, len(ids))
	for i := range ids {
		if ids[i] != uuid.Nil {
			out[i] = &ids[i]
		}
	}
	return out
}

func nullText[S ~string](s S) *string {
	if s == "" {
		return nil
	}
	t := string(s)
	return &t
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
