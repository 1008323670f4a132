package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// IndexSize is the length of a blind index in bytes.
const IndexSize = 16

// indexLabel separates index keys from whatever else is derived from a key.
const indexLabel = "doctorsflow/seal/v1/blind-index\x00"

// Indexer computes blind indexes under one tenant's key, deriving the key of
// each field once. It is safe for concurrent use.
type Indexer struct {
	tenant Key
	fields sync.Map // field name to *sync.Pool of keyed hash.Hash
}

// NewIndexer returns an Indexer for a tenant's key. It panics for the zero
// [Key], under which anybody could compute the indexes.
func NewIndexer(tenantKey Key) *Indexer {
	if tenantKey.IsZero() {
		panic("seal: the zero key hides nothing")
	}
	return &Indexer{tenant: tenantKey}
}

// Index returns the blind index of value in field: HMAC-SHA-256, cut to 128
// bits, under a key that HKDF derives from the tenant's for that field. Equal
// values of one tenant and field have equal indexes, which say nothing to who
// lacks the key. Normalise value first (E.164, lower case …). Field names are
// constants of the program, never input: each is kept.
func (x *Indexer) Index(field, value string) [IndexSize]byte {
	p, ok := x.fields.Load(field)
	if !ok {
		p, _ = x.fields.LoadOrStore(field, x.pool(field))
	}
	pool := p.(*sync.Pool)
	h := pool.Get().(*keyed)
	defer pool.Put(h)
	h.Reset()
	h.in = append(h.in[:0], value...)
	h.Write(h.in) // a hash's Write never fails
	clear(h.in)
	h.out = h.Sum(h.out[:0])
	return [IndexSize]byte(h.out[:IndexSize])
}

// keyed is an HMAC with its key set and room to work in.
type keyed struct {
	hash.Hash
	in, out []byte
}

func (x *Indexer) pool(field string) *sync.Pool {
	key := x.fieldKey(field)
	return &sync.Pool{New: func() any { return &keyed{Hash: hmac.New(sha256.New, key[:])} }}
}

func (x *Indexer) fieldKey(field string) Key {
	key, err := hkdf.Key(sha256.New, x.tenant[:], nil, indexLabel+field, KeySize)
	if err != nil {
		panic(err) // only for a length that HKDF cannot give
	}
	return Key(key)
}

// BlindIndex is [Indexer.Index] for a key used once.
func BlindIndex(tenantKey Key, field, value string) [IndexSize]byte {
	return NewIndexer(tenantKey).Index(field, value)
}
