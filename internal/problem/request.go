package problem

import (
	"context"
	"math/rand/v2"
	"net/http"
)

const requestIDHeader = "X-Request-Id"

type requestIDKey struct{}

// WithRequestID gives every request an id of our own making, found by
// [RequestID], and tells it to the client in X-Request-Id. An id that the
// client sent is ignored: it would let input into logs and answers.
func WithRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := newRequestID()
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
	})
}

// RequestID returns the id that [WithRequestID] gave the request, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// newRequestID returns 16 hexadecimal digits. They tell requests apart and
// need not be hard to guess.
func newRequestID() string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i, n := 0, rand.Uint64(); i < len(b); i, n = i+1, n>>4 {
		b[i] = digits[n&15]
	}
	return string(b[:])
}
