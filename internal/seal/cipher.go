package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ErrOpen means that sealed bytes do not open: they were changed, cut, moved
// from another row, or belong to another key, which may have been destroyed.
var ErrOpen = errors.New("seal: cannot open: wrong key, wrong place or changed bytes")

// The layout of what [Cipher.Seal] and [Cipher.Wrap] return:
//
//	version (1) | nonce (12) | ciphertext | tag (16)
//
// The version is authenticated with the rest.
const (
	version = 1
	// Overhead is how many bytes longer sealed is than plain.
	Overhead = 1 + 12 + 16
	// WrappedSize is the length of a wrapped key.
	WrappedSize = KeySize + Overhead
)

// A purpose begins the additional data, so that a wrapped key never opens as a
// field, nor a field as a key.
type purpose byte

const (
	forField purpose = 'f'
	forKey   purpose = 'k'
)

// AAD names the place of a sealed value. Opening it anywhere else fails.
type AAD struct {
	Tenant tenant.ID
	Table  string
	Column string
	ID     uuid.UUID // of the row
}

// Bytes returns an unambiguous encoding, for [Cipher.Wrap].
func (a AAD) Bytes() []byte { return a.append(nil) }

func (a AAD) append(b []byte) []byte {
	b = append(b, a.Tenant[:]...)
	b = binary.AppendUvarint(b, uint64(len(a.Table)))
	b = append(b, a.Table...)
	b = binary.AppendUvarint(b, uint64(len(a.Column)))
	b = append(b, a.Column...)
	return append(b, a.ID[:]...)
}

// Cipher seals with one key. Making one costs more than using it, so keep it
// when a key seals several values. It is safe for concurrent use.
type Cipher struct {
	aead cipher.AEAD // nil for the zero key
}

// NewCipher prepares k.
func NewCipher(k Key) *Cipher {
	if k.IsZero() {
		return new(Cipher)
	}
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // only for a wrong key size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for another cipher than AES
	}
	return &Cipher{aead}
}

// Seal returns plain sealed for the place aad, [Overhead] bytes longer. It
// panics for the zero [Key], which would hide nothing.
func (c *Cipher) Seal(plain []byte, aad AAD) []byte {
	var buf [aadSize]byte
	return c.seal(plain, aad.append(begin(buf[:0], forField)))
}

// Open returns what was sealed for the place aad, or [ErrOpen].
func (c *Cipher) Open(sealed []byte, aad AAD) ([]byte, error) {
	var buf [aadSize]byte
	return c.open(sealed, aad.append(begin(buf[:0], forField)))
}

// Wrap returns child sealed under the cipher's key, [WrappedSize] bytes long.
// aad binds it to its place; see [AAD.Bytes]. It panics when either key is
// zero.
func (c *Cipher) Wrap(child Key, aad []byte) []byte {
	if child.IsZero() {
		panic("seal: wrap: the zero key is no key")
	}
	var buf [aadSize]byte
	return c.seal(child[:], append(begin(buf[:0], forKey), aad...))
}

// Unwrap returns the key that was wrapped with aad, or [ErrOpen].
func (c *Cipher) Unwrap(wrapped, aad []byte) (Key, error) {
	if len(wrapped) != WrappedSize {
		return Key{}, ErrOpen
	}
	var buf [aadSize]byte
	b, err := c.open(wrapped, append(begin(buf[:0], forKey), aad...))
	if err != nil {
		return Key{}, err
	}
	k := Key(b)
	clear(b)
	return k, nil
}

// aadSize is room for the additional data of our own tables and columns; more
// is allocated.
const aadSize = 96

func begin(b []byte, p purpose) []byte { return append(b, version, byte(p)) }

func (c *Cipher) seal(plain, aad []byte) []byte {
	if c.aead == nil {
		panic("seal: the zero key hides nothing")
	}
	out := make([]byte, 1, Overhead+len(plain))
	out[0] = version
	return c.aead.Seal(out, nil, plain, aad)
}

func (c *Cipher) open(sealed, aad []byte) ([]byte, error) {
	if c.aead == nil || len(sealed) < Overhead || sealed[0] != version {
		return nil, ErrOpen
	}
	plain, err := c.aead.Open(nil, nil, sealed[1:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Seal is [Cipher.Seal] for a key used once.
func (k Key) Seal(plain []byte, aad AAD) []byte { return NewCipher(k).Seal(plain, aad) }

// Open is [Cipher.Open] for a key used once.
func (k Key) Open(sealed []byte, aad AAD) ([]byte, error) { return NewCipher(k).Open(sealed, aad) }

// Wrap is [Cipher.Wrap] for a parent used once.
func Wrap(parent, child Key, aad []byte) []byte { return NewCipher(parent).Wrap(child, aad) }

// Unwrap is [Cipher.Unwrap] for a parent used once.
func Unwrap(parent Key, wrapped, aad []byte) (Key, error) {
	return NewCipher(parent).Unwrap(wrapped, aad)
}
