package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
)

// IssuerConfig says whose tokens are good.
type IssuerConfig struct {
	// URL is the issuer, exactly as tokens name it in iss.
	URL string
	// Audiences and Parties are what a token must be for (aud) or come from
	// (azp). Clerk's session tokens have no aud, so that Parties is what tells
	// our own application from another one of the same issuer. At least one of
	// the two is given.
	Audiences, Parties []string
	// Roles reads the issuer's word for a member's role. A word that is not
	// here may do nothing.
	Roles map[string]Role
	// OrganizationClaim and RoleClaim name the claims of an organisation's id
	// and of the member's role; "" are Clerk's of both versions.
	OrganizationClaim, RoleClaim string
	// Client fetches the issuer's documents; nil is one with a time limit.
	Client *http.Client
}

// ClerkRoles is how Clerk calls the members of an organisation.
var ClerkRoles = map[string]Role{
	"org:admin": Owner, "admin": Owner, "org:member": Staff, "member": Staff, "org:viewer": Viewer, "viewer": Viewer,
}

const (
	// skew is how far an issuer's clock may be from ours.
	skew = time.Minute
	// maxToken bounds a token, in bytes.
	maxToken = 8 << 10
)

// Issuer knows callers by the tokens of an OpenID Connect provider. It asks the
// provider when the first token comes, and again where that failed: a process
// starts without it. It is safe for concurrent use.
type Issuer struct {
	config   IssuerConfig
	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	keys     *keySet
	asked    time.Time
}

// NewIssuer returns an Issuer; it asks nobody yet.
func NewIssuer(c IssuerConfig) *Issuer {
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if c.Roles == nil {
		c.Roles = ClerkRoles
	}
	return &Issuer{config: c}
}

// identity is what a good token says.
type identity struct {
	issuer, user, organization string
	role                       Role // "": none that we know
	expires                    time.Time
}

// identify reads a token. Its errors are errToken, errIssuer or the context's.
func (i *Issuer) identify(ctx context.Context, raw string) (identity, error) {
	if len(raw) > maxToken || strings.Count(raw, ".") != 2 {
		return identity{}, errToken
	}
	verifier, err := i.provider(ctx)
	if err != nil {
		return identity{}, err
	}
	// The verifier tells of its key set's errors in words only.
	var away bool
	token, err := verifier.Verify(context.WithValue(ctx, awayKey{}, &away), raw)
	switch {
	case away:
		return identity{}, errIssuer
	case err != nil:
		return identity{}, errToken
	}
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return identity{}, errToken
	}
	return i.read(token, claims, time.Now())
}

func (i *Issuer) read(token *oidc.IDToken, claims map[string]json.RawMessage, now time.Time) (id identity, err error) {
	begins := token.IssuedAt
	if b, given := claims["nbf"]; given {
		t, ok := moment(b)
		if !ok {
			return id, errToken
		}
		if t.After(begins) {
			begins = t
		}
	}
	ends, there := moment(claims["exp"])
	if !there || !now.Before(ends.Add(skew)) || begins.After(now.Add(skew)) || token.Subject == "" || len(token.Subject) > 200 {
		return id, errToken
	}
	party := text(claims["azp"])
	forUs := slices.ContainsFunc(token.Audience, func(a string) bool { return slices.Contains(i.config.Audiences, a) })
	if len(i.config.Audiences) > 0 && !forUs || len(i.config.Parties) > 0 && !slices.Contains(i.config.Parties, party) ||
		len(i.config.Audiences)+len(i.config.Parties) == 0 {
		return id, errToken
	}
	// Clerk signs for who has yet to do what it asks of them, such as a second
	// factor, and says so in sts: to its own libraries they are signed out.
	if text(claims["sts"]) == "pending" {
		return id, errToken
	}
	id = identity{issuer: i.config.URL, user: token.Subject, expires: ends}
	organization, role := i.membership(claims)
	if strings.ContainsFunc(token.Subject+organization, unicode.IsControl) {
		return identity{}, errToken
	}
	if id.organization = organization; organization == "" {
		id.role = Owner // of what is theirs alone
		return id, nil
	}
	id.role = i.config.Roles[role]
	return id, nil
}

// membership finds the organisation and the role in it: the claims that are
// configured, or Clerk's of version 2 (o.id, o.rol) and 1 (org_id, org_role);
// see https://clerk.com/docs/guides/sessions/session-tokens.
func (i *Issuer) membership(claims map[string]json.RawMessage) (organization, role string) {
	if i.config.OrganizationClaim != "" {
		organization = text(claims[i.config.OrganizationClaim])
		role = text(claims[i.config.RoleClaim])
		return organization, role
	}
	var o struct {
		ID  string `json:"id"`
		Rol string `json:"rol"`
	}
	if b, there := claims["o"]; there && json.Unmarshal(b, &o) == nil && o.ID != "" {
		return o.ID, o.Rol
	}
	organization = text(claims["org_id"])
	role = text(claims["org_role"])
	return organization, role
}

// provider asks the issuer for its metadata, once.
func (i *Issuer) provider(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier != nil {
		return i.verifier, nil
	}
	now := time.Now()
	if !i.asked.IsZero() && now.Sub(i.asked) < askEvery/10 {
		return nil, errIssuer
	}
	i.asked = now
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, i.config.Client), i.config.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIssuer, err)
	}
	var doc struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&doc); err != nil || doc.Keys == "" {
		return nil, fmt.Errorf("%w: its metadata names no keys", errIssuer)
	}
	algs := make([]string, len(algorithms))
	for n, a := range algorithms {
		algs[n] = string(a)
	}
	i.keys = &keySet{client: i.config.Client, url: doc.Keys}
	i.verifier = oidc.NewVerifier(i.config.URL, i.keys, &oidc.Config{
		// Times, audience and party are judged in read, with a skew.
		SkipClientIDCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: algs,
	})
	return i.verifier, nil
}

// awayKey is where [keySet] says that the issuer gave no keys.
type awayKey struct{}

// moment reads a NumericDate (RFC 7519).
func moment(b json.RawMessage) (time.Time, bool) {
	var seconds float64
	if len(b) == 0 || json.Unmarshal(b, &seconds) != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// text reads a string, empty if it is none or longer than any that is ours.
func text(b json.RawMessage) string {
	var s string
	if len(b) == 0 || json.Unmarshal(b, &s) != nil || len(s) > 200 {
		return ""
	}
	return s
}
