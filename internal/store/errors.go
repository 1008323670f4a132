package store

import (
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrNotFound means that no such row exists for this caller; not yours and
// not there are the same.
var ErrNotFound = errors.New("store: not found")

// ErrUnavailable means that Postgres could not be reached or did not answer in
// time. Nothing may be concluded about the statement that met it.
var ErrUnavailable = errors.New("store: Postgres is not available")

// ErrErased means that the key of this data was destroyed.
var ErrErased = errors.New("store: erased")

// ErrNoNumber means that a patient has no number, so that nothing is sent.
var ErrNoNumber = errors.New("store: the patient has no number")

// notFound turns an empty result into [ErrNotFound].
func notFound(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
