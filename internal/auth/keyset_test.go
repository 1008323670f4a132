package auth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/auth/oidctest"
)

// TestWhoLeavesDoesNotKeepKeysFromBeingLearnt sends a token and hangs up: what
// its token made us ask is still answered, for everybody after it.
func TestWhoLeavesDoesNotKeepKeysFromBeingLearnt(t *testing.T) {
	t.Parallel()
	var issuer *oidctest.Issuer
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.Handler().ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	issuer = oidctest.New(s.URL)
	i := NewIssuer(IssuerConfig{URL: s.URL, Parties: []string{audience}, Client: s.Client()})
	token := issuer.Sign(issuer.Claims(audience, "user_1", "org_1", "admin"))

	gone, leave := context.WithCancel(t.Context())
	leave()
	_, _ = i.identify(gone, token)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := i.identify(ctx, token); err != nil {
		t.Errorf("after somebody who left: %v", err)
	}
}

// TestARevokedKeyIsForgottenWhoeverLeaves has an issuer withdraw a key while
// somebody hangs up on every question to it.
func TestARevokedKeyIsForgottenWhoeverLeaves(t *testing.T) {
	t.Parallel()
	var issuer *oidctest.Issuer
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.Handler().ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	issuer = oidctest.New(s.URL)
	stolen := issuer.Sign(issuer.Claims(audience, "user_1", "org_1", "admin"))
	k := &keySet{client: s.Client(), url: s.URL + "/jwks"}
	if _, err := k.VerifySignature(t.Context(), stolen); err != nil {
		t.Fatal(err)
	}
	issuer = oidctest.New(s.URL) // with another key
	k.mu.Lock()
	k.fetched, k.asked = time.Now().Add(-2*keysFor), time.Time{}
	k.mu.Unlock()
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, _ = k.VerifySignature(gone, stolen)
	if _, err := k.VerifySignature(t.Context(), stolen); err == nil {
		t.Error("the key that the issuer withdrew is still good")
	}
}
