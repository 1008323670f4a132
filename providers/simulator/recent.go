package simulator

import (
	"sync"
	"time"
)

// RawRequest is one gateway request as it came and how it was answered.
type RawRequest struct {
	N      uint64    `json:"n"`
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query,omitempty"`
	Key    string    `json:"idempotency_key,omitempty"`
	Body   string    `json:"body,omitempty"`
	// Status is the HTTP status, 0 where the connection died; Code the
	// envelope's result code.
	Status int `json:"status"`
	Code   int `json:"code"`
	// Warnings name what NHN would overlook and we should not.
	Warnings []string `json:"warnings,omitempty"`
}

// maxRawBody caps how much of one body is kept.
const maxRawBody = 16 << 10

// recent is a ring of the last requests.
type recent struct {
	mu   sync.Mutex
	ring []raw
	n    uint64
}

// raw is a request as it is kept: written out only when somebody looks.
type raw struct {
	RawRequest
	body []byte
}

func newRecent(keep int) *recent {
	switch {
	case keep < 0:
		return &recent{}
	case keep == 0:
		keep = 1000
	}
	return &recent{ring: make([]raw, keep)}
}

func (l *recent) add(c *call, a answer) {
	if len(l.ring) == 0 {
		return
	}
	body := c.req.body
	if len(body) > maxRawBody {
		body = body[:maxRawBody]
	}
	r := raw{body: body, RawRequest: RawRequest{
		At: c.at.In(kst), Method: c.req.method, Path: c.req.path, Query: c.req.query,
		Key: c.req.header.Get(idempotencyField), Status: a.status, Code: a.code, Warnings: c.warnings,
	}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	r.N = l.n
	l.ring[(l.n-1)%uint64(len(l.ring))] = r
}

// since returns the kept requests after number n, oldest first.
func (l *recent) since(n uint64) []RawRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := uint64(len(l.ring))
	if l.n > size {
		n = max(n, l.n-size)
	}
	list := []RawRequest{}
	for ; n < l.n; n++ {
		r := l.ring[n%size]
		r.Body = string(r.body)
		list = append(list, r.RawRequest)
	}
	return list
}

func (l *recent) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.ring)
	l.n = 0
}

// Requests returns the last gateway requests after number n, oldest first, as
// many as Config.KeepRequests kept.
func (s *Simulator) Requests(n uint64) []RawRequest { return s.recent.since(n) }
