// Package problem is the error document that every HTTP answer of this program
// uses (RFC 9457), with the closed table of the problems there are. It knows
// nothing of routes, tenants or the ledger.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of a problem document, from RFC 9457.
const ContentType = "application/problem+json"

// Problem is one error document. Its texts come from the table in this package
// or from constants in the caller's source, so that nothing of a request is
// echoed in it; pointers may name places in the request, never values.
type Problem struct {
	Type     string  `json:"type"`             // /problems/<slug>
	Title    string  `json:"title"`            // the same for every occurrence of the type
	Status   int     `json:"status"`           // the HTTP status
	Detail   string  `json:"detail,omitempty"` // what to do about it
	Instance string  `json:"instance"`         // urn:req:<request id>; set by [Write]
	Errors   []Field `json:"errors,omitempty"`

	// RetryAfter is sent as the Retry-After header when positive, rounded up
	// to whole seconds.
	RetryAfter time.Duration `json:"-"`
}

// Field is one thing that is wrong with the request's body.
type Field struct {
	Pointer string `json:"pointer"` // RFC 6901, into the body; "" is the whole
	Code    string `json:"code"`    // from a closed list, e.g. not-mobile
}

// constant is a string that only a literal in the source can become, which
// keeps input out of details.
type constant string

// New returns the problem of the table's row slug. An unknown slug is a
// programming error and becomes [Internal].
func New(slug Slug) Problem {
	row, ok := table[slug]
	if !ok {
		slug, row = Internal, table[Internal]
	}
	return Problem{Type: "/problems/" + string(slug), Title: row.title, Status: row.status, Detail: row.detail}
}

// Slug is the last part of the problem's type.
func (p Problem) Slug() Slug { return Slug(p.Type[len("/problems/"):]) }

// WithDetail returns p with another detail, which must be a literal.
func (p Problem) WithDetail(detail constant) Problem {
	p.Detail = string(detail)
	return p
}

// WithErrors returns p with the places in the body that are wrong.
func (p Problem) WithErrors(errors ...Field) Problem {
	p.Errors = errors
	return p
}

// WithRetryAfter returns p with the time after which the same request may
// succeed.
func (p Problem) WithRetryAfter(d time.Duration) Problem {
	p.RetryAfter = d
	return p
}

// Write answers the request with p. It gives the document the request's id, a
// fresh one if the request did not pass [WithRequestID].
func Write(w http.ResponseWriter, r *http.Request, p Problem) {
	id := RequestID(r.Context())
	h := w.Header()
	if id == "" {
		id = newRequestID()
		h.Set(requestIDHeader, id)
	}
	p.Instance = "urn:req:" + id
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always marshal; pointers are valid UTF-8 or replaced
		body = []byte(`{"type":"/problems/internal","title":"Internal error","status":500}`)
		p.Status = http.StatusInternalServerError
	}
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a client that left is no error of ours
}
