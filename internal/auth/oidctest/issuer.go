// Package oidctest is an OpenID Connect issuer for tests and for trying out: it
// signs whatever it is asked to. It must not be trusted with anything real.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer serves metadata and keys, and signs tokens. It is safe for concurrent
// use.
type Issuer struct {
	// URL is where it can be reached, which is also what tokens name.
	URL string
	// Away makes it answer 503.
	Away atomic.Bool
	// Asked counts how often its keys were asked for.
	Asked atomic.Int64

	mu   sync.Mutex
	keys []jose.JSONWebKey // private ones; the last signs
}

// New returns an issuer with one key. Serve its Handler at url.
func New(url string) *Issuer {
	i := &Issuer{URL: url}
	i.Rotate()
	return i
}

// Rotate adds a key, with which it signs from now on, and drops all but the
// one before.
func (i *Issuer) Rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // no randomness: the program cannot go on
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	id := fmt.Sprintf("key-%d", time.Now().UnixNano())
	i.keys = append(i.keys, jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(jose.ES256), Use: "sig"})
	i.keys = i.keys[max(0, len(i.keys)-2):]
}

// Key is the key that signs now.
func (i *Issuer) Key() jose.JSONWebKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[len(i.keys)-1]
}

// Claims are those of a good token for audience: of user, in organisation with
// a role where there is one, valid for five minutes.
func (i *Issuer) Claims(audience, user, organization, role string) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": i.URL, "sub": user, "aud": audience, "azp": audience,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	if organization != "" {
		c["o"] = map[string]any{"id": organization, "rol": role}
	}
	return c
}

// Sign makes a token of the claims.
func (i *Issuer) Sign(claims map[string]any) string {
	return SignWith(i.Key().Key, jose.ES256, i.Key().KeyID, claims, nil)
}

// SignWith makes a token by any key and algorithm, with more headers.
func SignWith(key any, alg jose.SignatureAlgorithm, id string, claims map[string]any, headers map[jose.HeaderKey]any) string {
	o := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", id)
	for name, v := range headers {
		o = o.WithHeader(name, v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		panic(err) // a test's mistake
	}
	b, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	jws, err := signer.Sign(b)
	if err != nil {
		panic(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// Public is the public half of a key of ours.
func Public(k jose.JSONWebKey) crypto.PublicKey { return k.Public().Key }

// Handler serves /.well-known/openid-configuration and /jwks.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/jwks", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		i.Asked.Add(1)
		i.mu.Lock()
		var set jose.JSONWebKeySet
		for _, k := range i.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		i.mu.Unlock()
		i.answer(w, set)
	})
	return mux
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	if i.Away.Load() {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that left is no error of ours
}
