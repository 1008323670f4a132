package seal

import (
	"bytes"
	"container/list"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Defaults of [NewRing].
const (
	// DefaultTTL bounds how long a tenant's data can still be opened after
	// its key was destroyed in the database.
	DefaultTTL = 5 * time.Second
	// DefaultTenants is how many tenants' keys are held at once.
	DefaultTenants = 1024
)

// Ring holds the master key and, for a few seconds each, the tenants' keys it
// unwrapped. It is safe for concurrent use.
type Ring struct {
	master *Cipher
	ttl    time.Duration
	limit  int

	mu      sync.Mutex
	tenants map[tenant.ID]*list.Element // of *entry
	oldest  *list.List                  // first in, first to expire: all live equally long
	armed   bool                        // a sweep is scheduled
}

// entry is one tenant's key in the cache.
type entry struct {
	id      tenant.ID
	wrapped []byte
	key     Key
	keys    *TenantKeys
	until   time.Time
}

// TenantKeys does what a tenant's key is for: its Cipher wraps the keys of
// patients and payloads and seals the tenant's own fields, its Indexer computes
// blind indexes. Hold it for one piece of work only, so that a key destroyed in
// the database is soon gone from memory too.
type TenantKeys struct {
	*Cipher
	*Indexer
}

// NewRing returns a Ring that keeps a tenant's key for ttl and at most limit of
// them; zero means [DefaultTTL] and [DefaultTenants]. It panics for the zero
// [Key].
func NewRing(master Key, ttl time.Duration, limit int) *Ring {
	if master.IsZero() {
		panic("seal: the zero key hides nothing")
	}
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	if limit <= 0 {
		limit = DefaultTenants
	}
	return &Ring{
		master: NewCipher(master), ttl: ttl, limit: limit,
		tenants: make(map[tenant.ID]*list.Element), oldest: list.New(),
	}
}

// Wrap returns a tenant's key wrapped for storage; [Ring.Tenant] opens it for
// the same tenant only.
func (r *Ring) Wrap(id tenant.ID, key Key) []byte {
	return r.master.Wrap(key, place(id))
}

// Tenant returns the tenant's key, given as stored, or [ErrOpen]. A cached key
// serves only while wrapped stays the same.
func (r *Ring) Tenant(id tenant.ID, wrapped []byte) (Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.entry(id, wrapped)
	if err != nil {
		return Key{}, err
	}
	return e.key, nil
}

// Keys is [Ring.Tenant] with the ciphers made from the key, which it spares
// making again.
func (r *Ring) Keys(id tenant.ID, wrapped []byte) (*TenantKeys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.entry(id, wrapped)
	if err != nil {
		return nil, err
	}
	if e.keys == nil {
		e.keys = &TenantKeys{NewCipher(e.key), NewIndexer(e.key)}
	}
	return e.keys, nil
}

// Forget drops the tenant's key now, for who has just destroyed it.
func (r *Ring) Forget(id tenant.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.tenants[id]; ok {
		r.drop(at)
	}
}

// entry finds the tenant's key or unwraps it. r.mu is held.
func (r *Ring) entry(id tenant.ID, wrapped []byte) (*entry, error) {
	now := time.Now()
	if at, ok := r.tenants[id]; ok {
		e := at.Value.(*entry)
		if now.Before(e.until) && bytes.Equal(e.wrapped, wrapped) {
			return e, nil
		}
		r.drop(at)
	}
	key, err := r.master.Unwrap(wrapped, place(id))
	if err != nil {
		return nil, err
	}
	if r.oldest.Len() >= r.limit {
		r.drop(r.oldest.Front())
	}
	e := &entry{id: id, wrapped: bytes.Clone(wrapped), key: key, until: now.Add(r.ttl)}
	r.tenants[id] = r.oldest.PushBack(e)
	r.arm(r.ttl)
	return e, nil
}

// arm schedules a sweep, so that keys leave an idle process too. r.mu is held.
func (r *Ring) arm(after time.Duration) {
	if !r.armed {
		r.armed = true
		time.AfterFunc(after, r.sweep)
	}
}

// sweep drops what has expired.
func (r *Ring) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = false
	for at := r.oldest.Front(); at != nil; at = r.oldest.Front() {
		if left := time.Until(at.Value.(*entry).until); left > 0 {
			r.arm(left)
			return
		}
		r.drop(at)
	}
}

// drop forgets one key and overwrites the ring's copy of it; what callers hold
// and the ciphers' own state are left to the garbage collector. r.mu is held.
func (r *Ring) drop(at *list.Element) {
	e := r.oldest.Remove(at).(*entry)
	delete(r.tenants, e.id)
	e.key.Zero()
	e.keys = nil
}

// place is where a tenant's wrapped key belongs.
func place(id tenant.ID) []byte {
	return AAD{Tenant: id, Table: "tenants", Column: "key", ID: uuid.UUID(id)}.Bytes()
}
