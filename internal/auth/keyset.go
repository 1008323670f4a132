package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysFor is how long an issuer's keys are used without asking again.
	keysFor = time.Hour
	// askEvery is how often a key that is not known may cause a question, so
	// that a stranger's tokens make no work for the issuer.
	askEvery = 10 * time.Second
	// askTime bounds a question, whose answer is for every caller: it goes on
	// where the one whose token caused it leaves.
	askTime = 4 * time.Second
	// maxKeys bounds what an issuer may answer, in bytes.
	maxKeys = 1 << 20
)

// algorithms are those whose verification needs no secret.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

var (
	errToken  = errors.New("auth: not a good token")
	errIssuer = errors.New("auth: the issuer does not answer")
)

// keySet is an issuer's public keys. Whatever a token says of its own key,
// other than its id, is not looked at.
type keySet struct {
	client *http.Client
	url    string

	mu      sync.Mutex
	keys    map[string]jose.JSONWebKey
	fetched time.Time // of the last good answer
	asked   time.Time // of the last question
}

// VerifySignature implements [oidc.KeySet].
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return nil, errToken
	}
	header := jws.Signatures[0].Protected
	key, err := k.key(ctx, header.KeyID)
	if err != nil {
		if away, ok := ctx.Value(awayKey{}).(*bool); ok {
			*away = errors.Is(err, errIssuer)
		}
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, errToken
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return nil, errToken
	}
	return payload, nil
}

// key finds the key with this id, and asks the issuer where it is not known.
func (k *keySet) key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	key, known := k.keys[id]
	if known && now.Sub(k.fetched) < keysFor {
		return key, nil
	}
	if now.Sub(k.asked) >= askEvery || k.asked.IsZero() {
		k.asked = now
		keys, err := k.fetch(ctx)
		switch {
		case err == nil:
			k.keys, k.fetched = keys, now
		case known: // better an old key than nobody
			return key, nil
		default:
			return key, fmt.Errorf("%w: %w", errIssuer, err)
		}
		key, known = k.keys[id]
	}
	switch {
	case known:
		return key, nil
	case k.keys == nil:
		return key, errIssuer
	}
	return key, errToken
}

func (k *keySet) fetch(ctx context.Context) (map[string]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %d", res.StatusCode)
	}
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(res.Body, maxKeys)).Decode(&set); err != nil {
		return nil, errors.New("its keys cannot be read")
	}
	keys := map[string]jose.JSONWebKey{}
	for _, key := range set.Keys {
		if key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig") {
			keys[key.KeyID] = key
		}
	}
	return keys, nil
}
