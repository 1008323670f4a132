package simulator

import (
	"sort"
	"strconv"
	"time"
)

// view is a message as a query shows it: a copy, without what is not visible
// yet.
type view struct {
	message
	id string
	// resend is what the message's provider resend looked like.
	resend resending
}

// look copies a message for a query; ok is false while it is not visible. mu
// is held.
func (s *Simulator) look(m *message, now int64, lag time.Duration) (v view, ok bool) {
	if m == nil || m.state == void || m.created+int64(lag) > now {
		return v, false
	}
	v = view{message: *m, id: s.store.requestID(m.created, m.first)}
	if m.resend != nil {
		v.resend = *m.resend
	}
	v.message.resend = nil
	if m.updated != 0 && m.updated+int64(lag) > now {
		v.state, v.code, v.updated = open, "", 0
	}
	return v, true
}

// filter is what a list is asked for; zero fields ask for nothing.
type filter struct {
	app                        string
	kind                       kind
	id, recipient, sender      string
	template, senderGroup, key string
	user                       string
	createdFrom, createdTo     int64 // stamps, inclusive by the second
	requestedFrom, requestedTo int64
	updatedFrom, updatedTo     int64
	keep                       func(*view) bool
	page, size                 int
}

const second = int64(time.Second)

// within compares as a database column without fractions does.
func within(t, from, to int64) bool {
	t -= t % second
	return (from == 0 || t >= from) && (to == 0 || t <= to)
}

func (f *filter) matches(v *view) bool {
	return v.app == f.app && v.kind == f.kind &&
		(f.recipient == "" || v.recipient == f.recipient) &&
		(f.sender == "" || v.sender == f.sender) &&
		(f.template == "" || v.template == f.template) &&
		(f.senderGroup == "" || v.senderGroup == f.senderGroup) &&
		(f.key == "" || v.key == f.key) &&
		(f.user == "" || v.user == f.user) &&
		within(v.created, f.createdFrom, f.createdTo) &&
		within(v.requested, f.requestedFrom, f.requestedTo) &&
		(f.updatedFrom == 0 && f.updatedTo == 0 || v.updated != 0 && within(v.updated, f.updatedFrom, f.updatedTo)) &&
		(f.keep == nil || f.keep(v))
}

// list returns a page of the messages that match, newest first, and how many
// there are.
func (s *Simulator) list(c *call, f *filter) (page []view, total int) {
	now, lag := s.clock.stampNow(), time.Duration(c.set.rules.QueryLag)
	s.mu.Lock()
	defer s.mu.Unlock()
	take := func(m *message) {
		v, ok := s.look(m, now, lag)
		if !ok || !f.matches(&v) {
			return
		}
		if total++; total > (f.page-1)*f.size && total <= f.page*f.size {
			page = append(page, v)
		}
	}
	st := s.store
	switch {
	case f.id != "":
		first, m := st.lookup(f.id)
		if m == nil {
			return nil, 0
		}
		last := first
		for m := st.get(last); m != nil && m.first == first; m = st.get(last) {
			last++
		}
		for n := last; n > first; n-- {
			take(st.get(n - 1))
		}
	case f.key != "":
		for n := st.newestOf(f.key); n > 0; {
			m := st.get(n - 1)
			if m == nil {
				break
			}
			take(m)
			n = m.older
		}
	default:
		from, to := st.dropped, st.next
		if f.createdFrom != 0 {
			from = st.sinceCreated(f.createdFrom)
		}
		if f.createdTo != 0 {
			to = st.sinceCreated(f.createdTo + second)
		}
		if f.requestedFrom != 0 && !st.scheduled {
			from = max(from, st.sinceCreated(f.requestedFrom))
		}
		if f.requestedTo != 0 { // nothing is requested for a time before it was created
			to = min(to, st.sinceCreated(f.requestedTo+second))
		}
		for n := to; n > from; n-- {
			take(st.get(n - 1))
		}
	}
	return page, total
}

// updated returns a page of the messages of a product whose result changed in
// a range of stamps, oldest change first, and how many there are.
func (s *Simulator) updated(c *call, from, to int64, want func(*view) bool, pageNo, size int) (page []view, total int) {
	now, lag := s.clock.stampNow(), time.Duration(c.set.rules.QueryLag)
	s.mu.Lock()
	defer s.mu.Unlock()
	us := s.store.updates
	i := sort.Search(len(us), func(i int) bool { return us[i].at >= from })
	for ; i < len(us) && us[i].at-us[i].at%second <= to; i++ {
		m := s.store.get(us[i].msg)
		// A message that changed again is shown at its latest change only.
		if m == nil || m.updated != us[i].at || m.app != c.app || m.kind.product() != c.product || m.updated+int64(lag) > now {
			continue
		}
		v, ok := s.look(m, now, lag)
		if !ok || !want(&v) {
			continue
		}
		if total++; total > (pageNo-1)*size && total <= pageNo*size {
			page = append(page, v)
		}
	}
	return page, total
}

// one returns a recipient of a request of the call's app.
func (s *Simulator) one(c *call, k kind, id string, seq int) (view, bool) {
	now, lag := s.clock.stampNow(), time.Duration(c.set.rules.QueryLag)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, m := s.store.recipient(id, seq)
	if m == nil || m.app != c.app || m.kind != k {
		return view{}, false
	}
	return s.look(m, now, lag)
}

// newestOf returns the newest message under a grouping key + 1, or 0.
func (st *store) newestOf(key string) uint32 { return st.newest[st.keyHash(key)] }

// stampOf reads a time of the wire in Korea.
func stampOf(s, form string) (int64, bool) {
	t, err := time.ParseInLocation(form, s, kst)
	return t.UnixNano(), err == nil
}

// page reads pageNum and pageSize, 1 and 15 where absent.
func (c *call) page() (no, size int, ok bool) {
	no, size = 1, 15
	var err error
	if v := c.arg("pageNum"); v != "" {
		if no, err = strconv.Atoi(v); err != nil || no < 1 {
			return 0, 0, false
		}
	}
	if v := c.arg("pageSize"); v != "" {
		if size, err = strconv.Atoi(v); err != nil || size < 1 || size > 1000 {
			return 0, 0, false
		}
	}
	return no, size, true
}

// span reads a pair of times; both or neither must be there. The zero pair is
// absent.
func (c *call) span(fromName, toName, form string) (from, to int64, ok bool) {
	a, b := c.arg(fromName), c.arg(toName)
	if a == "" && b == "" {
		return 0, 0, true
	}
	from, okFrom := stampOf(a, form)
	to, okTo := stampOf(b, form)
	return from, to, okFrom && okTo && from <= to
}

// month is the longest range of a list.
const month = 31 * 24 * time.Hour

func decimal(n uint16) string { return strconv.Itoa(int(n)) }

// orNull writes an empty string as null.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// stampOrNull writes an absent time as null.
func stampOrNull(t int64, form string) any {
	if t == 0 {
		return nil
	}
	return at(t, form)
}
