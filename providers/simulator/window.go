package simulator

import (
	"hash/maphash"
	"sync"
	"time"
)

// window remembers keys for a time. It keeps two generations and drops the
// older as a whole, so that expiry costs nothing per key.
type window struct {
	mu     sync.Mutex
	hash   maphash.Seed
	young  map[uint64]int64 // until when, virtual nanoseconds
	old    map[uint64]int64
	latest int64 // the end of the longest memory
	rotate int64
}

func newWindow() *window {
	return &window{hash: maphash.MakeSeed(), young: make(map[uint64]int64), old: make(map[uint64]int64)}
}

// take remembers key for a duration and reports whether it was free.
func (w *window) take(key string, now time.Time, d time.Duration) bool {
	return w.put(key, now.UnixNano(), now.Add(d).UnixNano())
}

func (w *window) put(key string, now, until int64) bool {
	h := maphash.String(w.hash, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if now >= w.rotate {
		// What is dropped was taken before the last rotation, and rotate was
		// then set to the end of the longest memory: all of it has expired.
		w.old, w.young = w.young, make(map[uint64]int64)
		w.rotate = max(until, w.latest)
	}
	w.latest = max(w.latest, until)
	if w.young[h] > now || w.old[h] > now {
		return false
	}
	w.young[h] = until
	return true
}

// release frees a key again.
func (w *window) release(key string) {
	h := maphash.String(w.hash, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.young, h)
	delete(w.old, h)
}

func (w *window) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.young)
	clear(w.old)
}
