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

	"github.com/doctorsflow/doctorsflow/internal/edge"
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
	// KeyID is the API key's, Subject the issuer's id of a user; one of the two
	// is set.
	KeyID   uuid.UUID
	Subject string
	// Scopes narrows what the role may, separated by spaces: read, write, or
	// ids of operations; "" is everything.
	Scopes string
}

// Actor names who is calling, for the audit log: key:<id> or user:<subject>.
func (p Principal) Actor() string {
	if p.Subject != "" {
		return "user:" + p.Subject
	}
	return "key:" + p.KeyID.String()
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

// Identities is the part of the store that knows whom a token speaks for.
type Identities interface {
	TenantOfIdentity(ctx context.Context, issuer, kind, subject string) (tenant.ID, error)
}

// Authenticator knows callers by their API keys, and by the tokens of an
// issuer where there is one. It is safe for concurrent use.
type Authenticator struct {
	keys       Keys
	issuer     *Issuer
	identities Identities
	edge       *edge.Edge
	log        *slog.Logger
	known      cache
}

// New returns an Authenticator. A key that is revoked stays good for at most
// five seconds, for which a verified key is remembered. e counts the requests
// whose credential is no good by their address, and refuses those beyond its
// rate; nil does not.
func New(keys Keys, e *edge.Edge, log *slog.Logger) *Authenticator {
	return &Authenticator{keys: keys, edge: e, log: log}
}

// Trust also lets in whom the issuer's tokens name, if one of ids is connected
// with a tenant. It is called before the first request.
func (a *Authenticator) Trust(issuer *Issuer, ids Identities) *Authenticator {
	a.issuer, a.identities = issuer, ids
	return a
}

// errNotConnected means a good token of nobody that we know.
var errNotConnected = errors.New("auth: the identity is not connected")

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
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, errNotConnected) {
			if wait := a.edge.Strange(r); wait > 0 {
				problem.Write(w, r, problem.New(problem.RateLimited).WithRetryAfter(wait))
				return
			}
		}
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principalKey{}, p)))
		case errors.Is(err, store.ErrNotFound):
			w.Header().Set("WWW-Authenticate", `Bearer realm="doctorsflow"`)
			problem.Write(w, r, problem.New(problem.Unauthorized))
		case errors.Is(err, errNotConnected):
			problem.Write(w, r, problem.New(problem.Forbidden).
				WithDetail("The token is good, and its organisation or user is not connected with a clinic. An operator connects it with: doctorsflow tenant identity add"))
		case errors.Is(err, store.ErrUnavailable), errors.Is(err, errIssuer):
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
	if !strings.EqualFold(scheme, "Bearer") {
		return Principal{}, store.ErrNotFound
	}
	if hash, ok := store.HashAPIKey(token); ok {
		return a.byKey(r, hash)
	}
	if a.issuer != nil {
		return a.byToken(r, token)
	}
	return Principal{}, store.ErrNotFound
}

func (a *Authenticator) byKey(r *http.Request, hash [sha256.Size]byte) (Principal, error) {
	asked := time.Now()
	p, seen, ok := a.known.get(hash, asked)
	if ok {
		return p, nil
	}
	if !seen && a.edge.Wary(r) {
		return Principal{}, store.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupTime)
	defer cancel()
	k, err := a.keys.APIKeyByHash(ctx, hash)
	if err != nil {
		return Principal{}, err
	}
	p = Principal{Tenant: k.Tenant, Role: Role(k.Role), KeyID: k.ID, Scopes: k.Scopes}
	a.known.put(hash, p, asked, k.Expires)
	return p, nil
}

// byToken judges the token each time, and remembers only whom it speaks for.
func (a *Authenticator) byToken(r *http.Request, token string) (Principal, error) {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), 2*lookupTime)
	defer cancel()
	id, err := a.issuer.identify(ctx, token)
	if errors.Is(err, errToken) {
		return Principal{}, store.ErrNotFound
	}
	if err != nil {
		return Principal{}, err
	}
	kind, subject := store.Organization, id.organization
	if subject == "" {
		kind, subject = store.User, id.user
	}
	// What separates the parts is in none of them.
	hash := sha256.Sum256([]byte(id.issuer + "\x00" + kind + "\x00" + subject))
	p, seen, ok := a.known.get(hash, asked)
	if !ok && !seen && a.edge.Wary(r) {
		return Principal{}, errNotConnected
	}
	if !ok {
		p.Tenant, err = a.identities.TenantOfIdentity(ctx, id.issuer, kind, subject)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return Principal{}, errNotConnected
		case err != nil:
			return Principal{}, err
		}
		a.known.put(hash, p, asked, time.Time{})
	}
	return Principal{Tenant: p.Tenant, Role: id.role, Subject: id.user}, nil
}
