package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/auth/oidctest"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// connections are the identities of one tenant.
type connections struct {
	tenant tenant.ID
	known  map[string]bool // kind:subject
	err    error
}

func (c connections) TenantOfIdentity(_ context.Context, _, kind, subject string) (tenant.ID, error) {
	if c.err != nil {
		return tenant.ID{}, c.err
	}
	if !c.known[kind+":"+subject] {
		return tenant.ID{}, store.ErrNotFound
	}
	return c.tenant, nil
}

const audience = "https://app.example"

// world is an issuer that is served, and who trusts it.
func world(t *testing.T, change func(*IssuerConfig)) (*oidctest.Issuer, *Authenticator, connections) {
	t.Helper()
	var issuer *oidctest.Issuer
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.Handler().ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	issuer = oidctest.New(s.URL)
	c := IssuerConfig{URL: s.URL, Parties: []string{audience}, Client: s.Client()}
	if change != nil {
		change(&c)
	}
	ids := connections{tenant: tenant.NewID(), known: map[string]bool{"organization:org_1": true, "user:user_1": true}}
	return issuer, New(goodKeys(), nil, slog.New(slog.DiscardHandler)).Trust(NewIssuer(c), ids), ids
}

func TestATokenNamesItsTenantAndRole(t *testing.T) {
	t.Parallel()
	issuer, a, ids := world(t, nil)
	for name, tt := range map[string]struct {
		change func(map[string]any)
		want   Principal
	}{
		"admin of version 2":  {func(map[string]any) {}, Principal{Role: Owner}},
		"member of version 2": {func(c map[string]any) { c["o"] = map[string]any{"id": "org_1", "rol": "member"} }, Principal{Role: Staff}},
		"viewer of version 1": {func(c map[string]any) { delete(c, "o"); c["org_id"], c["org_role"] = "org_1", "org:viewer" }, Principal{Role: Viewer}},
		"unknown role":        {func(c map[string]any) { c["o"] = map[string]any{"id": "org_1", "rol": "guest"} }, Principal{}},
		"a user alone":        {func(c map[string]any) { delete(c, "o") }, Principal{Role: Owner}},
		"just expired":        {func(c map[string]any) { c["exp"] = time.Now().Add(-30 * time.Second).Unix() }, Principal{Role: Owner}},
		"a clock ahead":       {func(c map[string]any) { c["nbf"] = time.Now().Add(30 * time.Second).Unix() }, Principal{Role: Owner}},
	} {
		claims := issuer.Claims(audience, "user_1", "org_1", "admin")
		tt.change(claims)
		tt.want.Tenant, tt.want.Subject = ids.tenant, "user_1"
		w, got := call(a, "Bearer "+issuer.Sign(claims))
		if diff := cmp.Diff(&tt.want, got); diff != "" || w.Code != http.StatusOK {
			t.Errorf("%s: %d, principal (-want +got):\n%s", name, w.Code, diff)
		}
	}
	if p := (Principal{Subject: "user_1"}); p.Actor() != "user:user_1" {
		t.Errorf("actor %s", p.Actor())
	}
}

func TestOtherIssuersNameTheirClaimsAndRoles(t *testing.T) {
	t.Parallel()
	issuer, a, _ := world(t, func(c *IssuerConfig) {
		c.Parties, c.Audiences = nil, []string{"doctorsflow"}
		c.OrganizationClaim, c.RoleClaim, c.Roles = "clinic", "duty", map[string]Role{"nurse": Staff}
	})
	claims := issuer.Claims("doctorsflow", "user_9", "", "")
	claims["clinic"], claims["duty"], claims["aud"] = "org_1", "nurse", []string{"other", "doctorsflow"}
	if w, got := call(a, "Bearer "+issuer.Sign(claims)); got == nil || got.Role != Staff {
		t.Errorf("%d, principal %+v", w.Code, got)
	}
}

// forged are tokens and headers that must be answered like no token at all.
func forged(issuer *oidctest.Issuer) map[string]string {
	good := func() map[string]any { return issuer.Claims(audience, "user_1", "org_1", "admin") }
	with := func(name string, v any) string {
		c := good()
		c[name] = v
		return issuer.Sign(c)
	}
	without := func(name string) string {
		c := good()
		delete(c, name)
		return issuer.Sign(c)
	}
	key := issuer.Key()
	public, _ := x509.MarshalPKIXPublicKey(oidctest.Public(key))
	stranger, _ := rsa.GenerateKey(rand.Reader, 2048)
	other := oidctest.New(issuer.URL)
	embedded := other.Key()
	raw := func(header, payload string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "."
	}
	body, _ := json.Marshal(good())
	token := issuer.Sign(good())
	part := strings.Split(token, ".")
	all := map[string]string{
		"no algorithm":                raw(`{"alg":"none"}`, string(body)),
		"None":                        raw(`{"alg":"None","kid":"`+key.KeyID+`"}`, string(body)),
		"empty algorithm":             raw(`{"alg":""}`, string(body)),
		"public key as a secret":      oidctest.SignWith(bytes.Repeat(public, 1), jose.HS256, key.KeyID, good(), nil),
		"a secret of its own":         oidctest.SignWith([]byte(strings.Repeat("s", 32)), jose.HS256, key.KeyID, good(), nil),
		"another key by our id":       oidctest.SignWith(other.Key().Key, jose.ES256, key.KeyID, good(), nil),
		"another key":                 other.Sign(good()),
		"another algorithm":           oidctest.SignWith(stranger, jose.RS256, key.KeyID, good(), nil),
		"a weak algorithm":            oidctest.SignWith(stranger, jose.PS512, key.KeyID, good(), nil),
		"its own key inside":          oidctest.SignWith(other.Key().Key, jose.ES256, "", good(), map[jose.HeaderKey]any{"jwk": embedded.Public()}),
		"its own key's address":       oidctest.SignWith(other.Key().Key, jose.ES256, "", good(), map[jose.HeaderKey]any{"jku": "https://evil.example/jwks"}),
		"its own chain's address":     oidctest.SignWith(other.Key().Key, jose.ES256, "", good(), map[jose.HeaderKey]any{"x5u": "https://evil.example/x"}),
		"a path as key id":            oidctest.SignWith(other.Key().Key, jose.ES256, "../../etc/passwd", good(), nil),
		"a statement as key id":       oidctest.SignWith(other.Key().Key, jose.ES256, "' OR 1=1 --", good(), nil),
		"a long key id":               oidctest.SignWith(other.Key().Key, jose.ES256, strings.Repeat("k", 3000), good(), nil),
		"another issuer":              with("iss", "https://evil.example"),
		"its issuer with a slash":     with("iss", issuer.URL+"/"),
		"no issuer":                   without("iss"),
		"expired":                     with("exp", time.Now().Add(-2*time.Minute).Unix()),
		"never expires":               without("exp"),
		"expires as text":             with("exp", "never"),
		"expires at the end of time":  with("exp", 1e300),
		"expires before time":         with("exp", -1),
		"a session not yet active":    with("sts", "pending"),
		"not yet":                     with("nbf", time.Now().Add(2*time.Minute).Unix()),
		"nbf as text":                 with("nbf", "1e9"),
		"nbf of a list":               with("nbf", []int{1}),
		"subject with a NUL":          with("sub", "user\x00_1"),
		"organisation with a NUL":     with("o", map[string]any{"id": "org_1\x00", "rol": "admin"}),
		"issued tomorrow":             with("iat", time.Now().Add(24*time.Hour).Unix()),
		"another application":         with("azp", "https://evil.example"),
		"no application":              without("azp"),
		"an application in a list":    with("azp", []string{audience}),
		"nobody":                      without("sub"),
		"an empty subject":            with("sub", ""),
		"a number as subject":         with("sub", 7),
		"a long subject":              with("sub", strings.Repeat("u", 300)),
		"claims elsewhere":            with("_claim_names", map[string]any{"o": "src"}),
		"without a signature":         part[0] + "." + part[1] + ".",
		"without a payload":           part[0] + ".." + part[2],
		"a cut signature":             token[:len(token)-4],
		"a changed payload":           part[0] + "." + base64.RawURLEncoding.EncodeToString(bytes.Replace(body, []byte("admin"), []byte("owner"), 1)) + "." + part[2],
		"four parts":                  token + ".x",
		"two parts":                   part[0] + "." + part[1],
		"dots":                        "..",
		"padding":                     part[0] + "=." + part[1] + "." + part[2],
		"a key after it":              token + " dfk_x",
		"JSON serialization":          `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
		"a huge token":                part[0] + "." + strings.Repeat("A", 9<<10) + "." + part[2],
		"an encrypted token's header": raw(`{"alg":"RSA-OAEP","enc":"A256GCM"}`, string(body)) + "..",
		"bytes that are no text":      "\xff\xfe." + part[1] + "." + part[2],
	}
	maps.DeleteFunc(all, func(_, v string) bool { return strings.ContainsAny(v, "\r\n") })
	return all
}

func TestEveryForgedTokenGetsTheAnswerOfNone(t *testing.T) {
	t.Parallel()
	issuer, a, _ := world(t, nil)
	if w, in := call(a, "Bearer "+issuer.Sign(issuer.Claims(audience, "user_1", "org_1", "admin"))); in == nil {
		t.Fatalf("a good token is answered %d %s", w.Code, w.Body)
	}
	answer := func(header ...string) string {
		w, in := call(a, header...)
		if in != nil || w.Code != http.StatusUnauthorized {
			t.Errorf("%.60q: %d, principal %+v", header, w.Code, in)
		}
		id := w.Header().Get("X-Request-Id")
		w.Header().Del("X-Request-Id")
		return strings.ReplaceAll(fmt.Sprint(w.Header(), w.Body), id, "ID")
	}
	want, all := answer(), forged(issuer)
	if len(all) < 40 {
		t.Errorf("only %d forgeries", len(all))
	}
	for name, token := range all {
		if got := answer("Bearer " + token); got != want {
			t.Errorf("%s is answered\n%s\nand none is answered\n%s", name, got, want)
		}
	}
	if n := issuer.Asked.Load(); n > 2 {
		t.Errorf("the issuer was asked for its keys %d times", n)
	}
}

func TestANewKeyOfTheIssuerIsLearnt(t *testing.T) {
	t.Parallel()
	issuer, a, _ := world(t, nil)
	claims := issuer.Claims(audience, "user_1", "org_1", "admin")
	before := issuer.Sign(claims)
	if _, in := call(a, "Bearer "+before); in == nil {
		t.Fatal("a good token is refused")
	}
	issuer.Rotate()
	if _, in := call(a, "Bearer "+issuer.Sign(claims)); in != nil {
		t.Error("a key that nobody knows made us ask the issuer again at once")
	}
	a.issuer.keys.mu.Lock()
	a.issuer.keys.asked = time.Time{} // the time is over in which strangers' keys are not asked about
	a.issuer.keys.mu.Unlock()
	for name, token := range map[string]string{"new": issuer.Sign(claims), "old": before} {
		if w, in := call(a, "Bearer "+token); in == nil {
			t.Errorf("the %s key's token is answered %d", name, w.Code)
		}
	}
}

func TestAnIssuerThatIsAwayStopsTokensAndNotKeys(t *testing.T) {
	t.Parallel()
	issuer, a, _ := world(t, nil)
	issuer.Away.Store(true)
	w, in := call(a, "Bearer "+issuer.Sign(issuer.Claims(audience, "user_1", "org_1", "admin")))
	if in != nil || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v, principal %v", w.Code, w.Header(), in)
	}
	if w, in := call(a, "Bearer "+key); in == nil {
		t.Errorf("a key is answered %d", w.Code)
	}
}

func TestWhoIsNotConnectedIsToldHow(t *testing.T) {
	t.Parallel()
	issuer, a, _ := world(t, nil)
	for _, claims := range []map[string]any{issuer.Claims(audience, "user_1", "org_2", "admin"), issuer.Claims(audience, "user_2", "", "")} {
		w, in := call(a, "Bearer "+issuer.Sign(claims))
		if in != nil || w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "tenant identity add") {
			t.Errorf("%d %s, principal %v", w.Code, w.Body, in)
		}
	}
}
