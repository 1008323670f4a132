package seal

import (
	"bytes"
	"container/list"
	"slices"
	"sync"
	"time"

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

// Ring holds the master keys and, for a few seconds each, the tenants' keys it
// unwrapped. It is safe for concurrent use.
type Ring struct {
	ttl    time.Duration
	limit  int
	reload func() ([]Key, error)

	mu      sync.Mutex
	masters []*Cipher                   // the first wraps, every one opens
	known   []Key                       // theirs
	asked   time.Time                   // when reload was called last
	tenants map[tenant.ID]*list.Element // of *entry
	oldest  *list.List                  // first in, first to expire: all live equally long
	armed   bool                        // a sweep is scheduled
}

// entry is one tenant's key in the cache.
type entry struct {
	id      tenant.ID
	wrapped []byte
	set     KeySet
	keys    *TenantKeys
	until   time.Time
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
	r := &Ring{ttl: ttl, limit: limit, tenants: make(map[tenant.ID]*list.Element), oldest: list.New()}
	r.setMasters([]Key{master})
	return r
}

// Reload makes the ring ask for the master keys again, at most once a second,
// when a tenant's key does not open: they may have been rotated. The first of
// the answer wraps, every one opens. It is called before the ring is used by
// several goroutines, and asks once at once.
func (r *Ring) Reload(masters func() ([]Key, error)) error {
	keys, err := masters()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reload = masters
	r.setMasters(keys)
	return nil
}

// setMasters takes the keys, unless there is none. r.mu is held.
func (r *Ring) setMasters(keys []Key) (changed bool) {
	if len(keys) == 0 || slices.ContainsFunc(keys, Key.IsZero) || slices.Equal(keys, r.known) {
		return false
	}
	r.known, r.masters = slices.Clone(keys), nil
	for _, k := range keys {
		r.masters = append(r.masters, NewCipher(k))
	}
	return true
}

// retry is the least time between two reloads.
const retry = time.Second

// Wrap returns a tenant's key wrapped for storage; [Ring.Tenant] opens it for
// the same tenant only.
func (r *Ring) Wrap(id tenant.ID, key Key) []byte {
	return r.WrapSet(id, KeySet{Key: key})
}

// WrapSet is [Ring.Wrap] for all that a tenant has.
func (r *Ring) WrapSet(id tenant.ID, s KeySet) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.wrap(r.masters[0], id)
}

// Set returns all that a tenant has, given as stored, or [ErrOpen], and
// whether it is wrapped by the first of the master keys. Nothing of it is
// cached.
func (r *Ring) Set(id tenant.ID, wrapped []byte) (s KeySet, current bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, err = openSet(r.masters[0], id, wrapped); err == nil {
		return s, true, nil
	}
	s, err = r.open(id, wrapped)
	return s, false, err
}

// open unwraps a tenant's keys with whichever master key fits. r.mu is held.
func (r *Ring) open(id tenant.ID, wrapped []byte) (s KeySet, err error) {
	try := func() {
		for _, m := range r.masters {
			if s, err = openSet(m, id, wrapped); err == nil {
				return
			}
		}
	}
	if try(); err == nil || r.reload == nil || time.Since(r.asked) < retry {
		return s, err
	}
	r.asked = time.Now()
	if keys, rerr := r.reload(); rerr == nil && r.setMasters(keys) {
		try()
	}
	return s, err
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
	return e.set.Key, nil
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
		e.keys = NewTenantKeys(e.set)
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
	set, err := r.open(id, wrapped)
	if err != nil {
		return nil, err
	}
	if r.oldest.Len() >= r.limit {
		r.drop(r.oldest.Front())
	}
	e := &entry{id: id, wrapped: bytes.Clone(wrapped), set: set, until: now.Add(r.ttl)}
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
	e.set.zero()
	e.keys = nil
}
