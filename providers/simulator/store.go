package simulator

import (
	"hash/maphash"
	"sort"
	"strconv"
	"strings"
)

// store keeps accepted messages in the order of acceptance, in chunks, so
// that growing copies nothing and the oldest can be dropped. A request id
// holds the number of its first message, so that none is indexed. Guarded by
// Simulator.mu.
type store struct {
	salt    uint64
	hash    maphash.Seed
	keep    int // 0 keeps all
	chunks  []slot
	kept    int    // chunks that are not dropped
	dropped uint32 // messages dropped from the front, a multiple of chunkSize
	next    uint32
	newest  map[uint64]uint32 // hash of a grouping key → its newest message + 1
	updates []update          // in the order of their stamps
	last    int64             // the latest stamp given
	pending int               // messages that are not settled
	// scheduled is set once a message was requested for later than its
	// creation; until then both times are in the same order.
	scheduled bool
}

const chunkSize = 512

// slot is the place of a chunk; the chunk is nil once dropped.
type slot struct {
	*chunk
	created int64 // of the chunk's first message
}

type chunk struct {
	m       [chunkSize]message
	pending int
}

// update says when a message's result changed.
type update struct {
	at  int64
	msg uint32
}

func newStore(seed uint64, keep int) *store {
	return &store{
		salt: mix(seed ^ 0x9E3779B97F4A7C15), hash: maphash.MakeSeed(), keep: keep,
		newest: make(map[uint64]uint32),
	}
}

// successor returns an empty store whose numbers go on after st's.
func (st *store) successor() *store {
	n := newStore(0, st.keep)
	n.salt, n.last = st.salt, st.last
	n.next = (st.next + chunkSize - 1) / chunkSize * chunkSize
	n.dropped = n.next
	return n
}

func (st *store) keyHash(key string) uint64 { return maphash.String(st.hash, key) }

// get returns message n, or nil if it never was or is dropped.
func (st *store) get(n uint32) *message {
	if n < st.dropped || n >= st.next {
		return nil
	}
	i := n - st.dropped
	c := st.chunks[i/chunkSize].chunk
	if c == nil {
		return nil
	}
	return &c.m[i%chunkSize]
}

// tick returns a stamp that is not before any other, so that messages and
// updates stay sorted even if the wall clock steps back.
func (st *store) tick(stamp int64) int64 {
	st.last = max(st.last, stamp)
	return st.last
}

// add stores m and returns its number.
func (st *store) add(m message) uint32 {
	n := st.next
	if (n-st.dropped)/chunkSize == uint32(len(st.chunks)) {
		st.chunks = append(st.chunks, slot{new(chunk), m.created})
		st.kept++
		st.drop()
	}
	st.next++
	if !m.state.settled() {
		st.chunks[(n-st.dropped)/chunkSize].pending++
		st.pending++
	}
	st.scheduled = st.scheduled || m.requested > m.created
	if m.key != "" {
		h := st.keyHash(m.key)
		m.older = st.newest[h]
		st.newest[h] = n + 1
	}
	*st.get(n) = m
	return n
}

// settle records that a message's state changed.
func (st *store) settle(n uint32, m *message, to state, stamp int64) {
	if was, is := m.state.settled(), to.settled(); was != is {
		delta := 1
		if is {
			delta = -1
		}
		st.pending += delta
		st.chunks[(n-st.dropped)/chunkSize].pending += delta
	}
	m.state = to
	m.updated = st.tick(stamp)
	st.updates = append(st.updates, update{m.updated, n})
}

// drop forgets the oldest chunks beyond the cap that have nothing pending.
func (st *store) drop() {
	if st.keep == 0 {
		return
	}
	limit := st.keep/chunkSize + 2 // the newest is being filled
	for i := 0; st.kept > limit && i < len(st.chunks)-1; i++ {
		c := st.chunks[i].chunk
		if c == nil || c.pending > 0 {
			continue
		}
		for j := range c.m {
			n := st.dropped + uint32(i)*chunkSize + uint32(j)
			if h := st.keyHash(c.m[j].key); c.m[j].key != "" && st.newest[h] == n+1 {
				delete(st.newest, h)
			}
		}
		st.chunks[i].chunk = nil
		st.kept--
	}
	for len(st.chunks) > 0 && st.chunks[0].chunk == nil {
		st.chunks = st.chunks[1:]
		st.dropped += chunkSize
	}
	for len(st.updates) > 0 && st.get(st.updates[0].msg) == nil {
		st.updates = st.updates[1:]
	}
}

// sinceCreated returns the number of the first message created at or after t.
func (st *store) sinceCreated(t int64) uint32 {
	i := sort.Search(int(st.next-st.dropped), func(i int) bool {
		if m := st.get(st.dropped + uint32(i)); m != nil {
			return m.created >= t
		}
		return st.chunks[i/chunkSize].created >= t // a hole: any of its places will do
	})
	return st.dropped + uint32(i)
}

// mix is a bijection on 64 bits (splitmix64's finaliser).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// requestID names the request whose first message is n: the time of creation
// and 11 characters that look drawn, 25 in all.
func (st *store) requestID(created int64, n uint32) string {
	var id [25]byte
	copy(id[:], at(created, formID))
	// The high half repeats the number, salted, so that a made-up id is not
	// taken for another's.
	x := uint64(n) ^ st.salt
	x = x&0xFFFFFFFF | (mix(x)&0xFFFFFFFF)<<32
	for i := 24; i >= 14; i-- {
		id[i] = alphabet[x%62]
		x /= 62
	}
	return string(id[:])
}

// lookup returns the first message of a request id.
func (st *store) lookup(id string) (n uint32, m *message) {
	if len(id) != 25 {
		return 0, nil
	}
	var x uint64
	for i := 14; i < 25; i++ {
		d := strings.IndexByte(alphabet, id[i])
		if d < 0 {
			return 0, nil
		}
		x = x*62 + uint64(d)
	}
	n = uint32(x) ^ uint32(st.salt)
	m = st.get(n)
	if m == nil || m.first != n || st.requestID(m.created, n) != id {
		return 0, nil
	}
	return n, m
}

// recipient returns recipient seq of a request, or nil.
func (st *store) recipient(id string, seq int) (uint32, *message) {
	first, m := st.lookup(id)
	if m == nil {
		return 0, nil
	}
	for n := first; ; n++ {
		m := st.get(n)
		if m == nil || m.first != first {
			return 0, nil
		}
		if int(m.seq) == seq && m.state != void {
			return n, m
		}
	}
}

// sequences reads a list of recipientSeq, separated by commas.
func sequences(s string) ([]int, bool) {
	var seqs []int
	for part := range strings.SplitSeq(s, ",") {
		n, ok := sequence(strings.TrimSpace(part))
		if !ok {
			return nil, false
		}
		seqs = append(seqs, n)
	}
	return seqs, true
}

// sequence reads a recipientSeq.
func sequence(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= 1000
}
