// Package tenant names the clinic that owns a row, a message or a request.
// It knows nothing of how a tenant is stored or authenticated.
package tenant

import (
	"fmt"

	"github.com/google/uuid"
)

// ID identifies a tenant (one clinic). It is a UUIDv7 of our own making and
// therefore safe as a token of a NATS subject. The zero ID is no tenant.
type ID uuid.UUID

// NewID returns a fresh tenant ID.
func NewID() ID { return ID(uuid.Must(uuid.NewV7())) }

// Parse reads the canonical, lower-case text form. Other spellings that UUID
// libraries accept (braces, urn:, no dashes, upper case) are refused, so that
// one tenant has one subject token.
func Parse(s string) (ID, error) {
	u, err := uuid.Parse(s)
	if err != nil || u.String() != s {
		return ID{}, fmt.Errorf("tenant: %q is not a canonical UUID", s)
	}
	return ID(u), nil
}

// String returns the canonical lower-case text form.
func (id ID) String() string { return uuid.UUID(id).String() }

// IsZero reports whether id names no tenant.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes the canonical form, for JSON and flags.
func (id ID) MarshalText() ([]byte, error) { return uuid.UUID(id).MarshalText() }

// UnmarshalText reads the canonical form only; see [Parse].
func (id *ID) UnmarshalText(b []byte) error {
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
