package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// KeySet is what a tenant has for a key. While the key is rotated it is two:
// first the next one is made known, then it takes over and the old one only
// opens, then the old one is gone.
type KeySet struct {
	// Key seals, wraps and indexes.
	Key Key
	// Next is known and not in use yet; zero: none.
	Next Key
	// Old still opens and is searched by; zero: none.
	Old Key
	// Retired are keys of one field's index ([TenantKeys.FieldKey]) under
	// which rows are left that nobody can index anew.
	Retired []Key
}

// The layout of a tenant's key as stored: the key in use, wrapped; then for
// each further key a kind and the key, wrapped.
const (
	kindNext    = 'n'
	kindOld     = 'o'
	kindRetired = 'i'

	entrySize = 1 + WrappedSize
)

// places name what an entry is in its additional data, so that no entry opens
// as another kind.
var places = map[byte]string{kindNext: "next_key", kindOld: "old_key", kindRetired: "index_key"}

// place is where a tenant's wrapped key belongs.
func place(id tenant.ID) []byte { return placeOf(id, "key") }

func placeOf(id tenant.ID, column string) []byte {
	return AAD{Tenant: id, Table: "tenants", Column: column, ID: uuid.UUID(id)}.Bytes()
}

func (s KeySet) wrap(master *Cipher, id tenant.ID) []byte {
	out := master.Wrap(s.Key, place(id))
	add := func(kind byte, k Key) {
		if !k.IsZero() {
			out = append(append(out, kind), master.Wrap(k, placeOf(id, places[kind]))...)
		}
	}
	add(kindNext, s.Next)
	add(kindOld, s.Old)
	for _, k := range s.Retired {
		add(kindRetired, k)
	}
	return out
}

func openSet(master *Cipher, id tenant.ID, wrapped []byte) (s KeySet, err error) {
	if len(wrapped) < WrappedSize || (len(wrapped)-WrappedSize)%entrySize != 0 {
		return KeySet{}, ErrOpen
	}
	if s.Key, err = master.Unwrap(wrapped[:WrappedSize], place(id)); err != nil {
		return KeySet{}, err
	}
	for e := range slices.Chunk(wrapped[WrappedSize:], entrySize) {
		column, ok := places[e[0]]
		if !ok {
			return KeySet{}, ErrOpen
		}
		k, err := master.Unwrap(e[1:], placeOf(id, column))
		if err != nil {
			return KeySet{}, err
		}
		switch e[0] {
		case kindNext:
			s.Next = k
		case kindOld:
			s.Old = k
		default:
			s.Retired = append(s.Retired, k)
		}
	}
	return s, nil
}

// zero overwrites the keys.
func (s *KeySet) zero() {
	s.Key.Zero()
	s.Next.Zero()
	s.Old.Zero()
	for i := range s.Retired {
		s.Retired[i].Zero()
	}
}

// TenantKeys does what a tenant's key is for: its Cipher wraps the keys of
// patients and payloads and seals the tenant's own fields, its Indexer computes
// blind indexes. While the key is rotated it opens with both keys. Hold it for
// one piece of work only, so that a key destroyed in the database is soon gone
// from memory too.
type TenantKeys struct {
	*Cipher
	*Indexer
	other   *TenantKeys
	retired []Key
}

// NewTenantKeys prepares the keys of a set.
func NewTenantKeys(s KeySet) *TenantKeys {
	k := &TenantKeys{Cipher: NewCipher(s.Key), Indexer: NewIndexer(s.Key), retired: slices.Clone(s.Retired)}
	for _, other := range []Key{s.Next, s.Old} {
		if !other.IsZero() {
			k.other = NewTenantKeys(KeySet{Key: other})
		}
	}
	return k
}

// Open is [Cipher.Open] with whichever key it was sealed under.
func (k *TenantKeys) Open(sealed []byte, aad AAD) ([]byte, error) {
	plain, err := k.Cipher.Open(sealed, aad)
	if err != nil && k.other != nil {
		return k.other.Open(sealed, aad)
	}
	return plain, err
}

// Unwrap is [Cipher.Unwrap] with whichever key it was wrapped under.
func (k *TenantKeys) Unwrap(wrapped, aad []byte) (Key, error) {
	key, err := k.Cipher.Unwrap(wrapped, aad)
	if err != nil && k.other != nil {
		return k.other.Unwrap(wrapped, aad)
	}
	return key, err
}

// Indexes returns every index that a row with this value may have: one, and
// while the key is rotated a second. The first is the one to write.
func (k *TenantKeys) Indexes(field, value string) [][IndexSize]byte {
	all := [][IndexSize]byte{k.Index(field, value)}
	if k.other != nil {
		all = append(all, k.other.Index(field, value))
	}
	return all
}

// Past returns the indexes of value that may still be on rows which nobody
// could index anew: those under the keys before the one in use.
func (k *TenantKeys) Past(field, value string) (past [][IndexSize]byte) {
	past = k.Indexes(field, value)[1:]
	for _, key := range k.retired {
		h := hmac.New(sha256.New, key[:])
		h.Write([]byte(value)) // a hash's Write never fails
		past = append(past, [IndexSize]byte(h.Sum(nil)[:IndexSize]))
	}
	return past
}

// FieldKey returns the key of one field's index, for [KeySet.Retired]. The
// tenant's key cannot be found from it.
func (x *Indexer) FieldKey(field string) Key { return x.fieldKey(field) }
