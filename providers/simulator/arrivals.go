package simulator

import (
	"errors"
	"net/url"
	"strconv"
)

// Arrivals are accepted messages as columns: what a load test reads by the
// hundred thousand. Row i is Key[i], Channel[i] and At[i].
type Arrivals struct {
	// Next is the since of the call that goes on where this one ends.
	Next uint32 `json:"next"`
	// Key is recipientGroupingKey; Channel is "kakao" or "sms".
	Key     []string `json:"key"`
	Channel []string `json:"channel"`
	// At is when the request was there, in nanoseconds since 1970.
	At []int64 `json:"at"`
}

// Arrivals returns the accepted messages that are kept, oldest first, from
// the one that an earlier call's Next names; 0 is the first.
func (s *Simulator) Arrivals(since uint32) Arrivals {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := max(since, s.store.dropped)
	size := max(s.store.next, n) - n
	a := Arrivals{Next: s.store.next, Key: make([]string, 0, size), Channel: make([]string, 0, size), At: make([]int64, 0, size)}
	for ; n < s.store.next; n++ {
		m := s.store.get(n)
		if m == nil || m.state == void {
			continue
		}
		channel := "kakao"
		if m.kind.product() == SMS {
			channel = "sms"
		}
		a.Key, a.Channel, a.At = append(a.Key, m.key), append(a.Channel, channel), append(a.At, m.created)
	}
	return a
}

func (s *Simulator) getArrivals(r *request) (any, error) {
	q, err := url.ParseQuery(r.query)
	if err != nil {
		return nil, errors.New("simulator: the query cannot be read")
	}
	n := uint64(0)
	if v := q.Get("since"); v != "" {
		if n, err = strconv.ParseUint(v, 10, 32); err != nil {
			return nil, errors.New("simulator: since is the next of the last answer you have")
		}
	}
	return s.Arrivals(uint32(n)), nil
}
