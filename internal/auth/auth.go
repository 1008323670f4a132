// Package auth says who is calling: it turns the credential of a request into
// a principal, or refuses the request. It must not know what any caller may
// do, nor which routes there are.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Role is what a caller is to its tenant.
type Role string

// The roles, from the one that may do most.
const (
	Owner       Role = "owner"
	Staff       Role = "staff"
	Viewer      Role = "viewer"
	Integration Role = "integration" // a machine: it brings events and sees no patient data
)

// Roles is every role.
var Roles = []Role{Owner, Staff, Viewer, Integration}

// Principal is who is calling. The tenant of a request is this one's and comes
// from nowhere else.
type Principal struct {
	Tenant tenant.ID
	Role   Role
	KeyID  uuid.UUID
}

type principalKey struct{}

// From returns who makes the request, as [Authenticator.Require] found; ok is
// false where it was not asked.
func From(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Keys is the part of the store that knows API keys.
type Keys interface {
	APIKeyByHash(ctx context.Context, hash [sha256.Size]byte) (store.APIKey, error)
}

// Authenticator knows callers by their API keys. It is safe for concurrent
// use.
type Authenticator struct {
	keys  Keys
	log   *slog.Logger
	known cache
}

// New returns an Authenticator. A key that is revoked stays good for at most
// five seconds, for which a verified key is remembered.
func New(keys Keys, log *slog.Logger) *Authenticator {
	return &Authenticator{keys: keys, log: log}
}

const (
	lookupTime = 2 * time.Second // then the caller learns that we are not well
	retryAfter = 5 * time.Second
)

// Require passes on requests with a valid key, their principal in the context.
// It refuses all others with one and the same answer, whatever is wrong with
// the key, save for a doubled header and for a ledger that does not answer.
func (a *Authenticator) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header.Values("Authorization")) > 1 {
			// Whoever stands between us and the caller may have read the other.
			problem.Write(w, r, problem.New(problem.AmbiguousHeader))
			return
		}
		p, err := a.principal(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
		case errors.Is(err, store.ErrNotFound):
			w.Header().Set("WWW-Authenticate", `Bearer realm="doctorsflow"`)
			problem.Write(w, r, problem.New(problem.Unauthorized))
		case errors.Is(err, store.ErrUnavailable):
			problem.Write(w, r, problem.New(problem.Unavailable).
				WithDetail("It cannot be checked now who is calling. Nothing was done; send it again after the time in Retry-After.").
				WithRetryAfter(retryAfter))
		default:
			if r.Context().Err() == nil { // else the caller left, and nobody reads the answer
				a.log.Error("an API key could not be checked", "request", problem.RequestID(r.Context()), "err", err)
			}
			problem.Write(w, r, problem.New(problem.Internal))
		}
	})
}

// principal reads the credential. Its error wraps [store.ErrNotFound] for each
// that is no good.
func (a *Authenticator) principal(r *http.Request) (Principal, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	hash, ok := store.HashAPIKey(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Principal{}, store.ErrNotFound
	}
	asked := time.Now()
	if p, ok := a.known.get(hash, asked); ok {
		return p, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupTime)
	defer cancel()
	k, err := a.keys.APIKeyByHash(ctx, hash)
	if err != nil {
		return Principal{}, err
	}
	p := Principal{Tenant: k.Tenant, Role: Role(k.Role), KeyID: k.ID}
	a.known.put(hash, p, asked, k.Expires)
	return p, nil
}
