// Package seal keeps patient data unreadable at rest: keys wrapped by keys
// (master, tenant, patient or payload), fields sealed under the innermost one,
// and keyed blind indexes to look them up by. It must not know what a field
// means, nor where sealed bytes and wrapped keys are stored.
//
// # Guarantees
//
//   - Everything sealed opens only under the same key and the same [AAD]: a
//     value copied to another row, column or tenant does not open.
//   - Equal values sealed twice look different; only a blind index, under its
//     tenant's own key, tells that they are equal.
//   - Destroying a key makes all it sealed or wrapped unreadable.
//   - No error, log line or fmt verb shows a key or a plaintext.
//
// One key seals at most 2^32 values, the bound for AES-GCM with random nonces
// (NIST SP 800-38D, 8.3).
package seal

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

// KeySize is the length of a [Key] in bytes.
const KeySize = 32

// Key is an AES-256 key. The zero Key is none: it opens nothing, and sealing
// or wrapping with it is a bug that panics. fmt and slog show it redacted, but
// cannot where it is an unexported field: do not print a struct that hides one.
type Key [KeySize]byte

// NewKey returns a fresh random key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k[:]) // never fails; without randomness it ends the program
	return k
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k == Key{} }

// Zero overwrites k. Copies that Go made of it may live on in memory.
func (k *Key) Zero() { clear(k[:]) }

const redacted = "[key]"

// String returns a constant, never the key.
func (k Key) String() string { return redacted }

// Format writes a constant whatever the verb, never the key.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue gives slog a constant, never the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives encoding/json and its like a constant, never the key.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }
