package ingest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Tolerance is how far a signature's timestamp may lie from our clock, either
// way, as the Standard Webhooks specification recommends.
const Tolerance = 300 * time.Second

// maxSignatures bounds the signatures that one request may carry; a sender
// that rotates needs two.
const maxSignatures = 8

// The header names, as net/http spells them.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
	headerLegacy    = "X-Webhook-Signature"
)

// ErrSecret means that a text is not a webhook secret.
var ErrSecret = errors.New("ingest: a webhook secret is whsec_ and the base64 of 24 to 64 random bytes; leave it out to have one made")

const secretPrefix = "whsec_"

// NewSecret makes a secret of 32 random bytes.
func NewSecret() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, by its contract
	return b
}

// EncodeSecret writes a secret the way Standard Webhooks libraries take it.
func EncodeSecret(secret []byte) string {
	return secretPrefix + base64.StdEncoding.EncodeToString(secret)
}

// DecodeSecret reads what [EncodeSecret] wrote; errors are [ErrSecret]. Secrets
// are between 24 and 64 bytes long, as the Standard Webhooks specification has
// it. The prefix is required, because without it a secret meant as text could
// be mistaken for base64.
func DecodeSecret(s string) ([]byte, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), secretPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) < 24 || len(b) > 64 {
		return nil, ErrSecret
	}
	return b, nil
}

// signer makes HMAC-SHA-256 sums with one secret. It keeps spent hashes, whose
// keyed state is worth more than the sum of a small body.
type signer struct {
	secret []byte
	spare  sync.Pool // of hash.Hash
}

func newSigner(secret []byte) *signer { return &signer{secret: secret} }

// sum appends the HMAC of prefix and body to dst.
func (s *signer) sum(dst, prefix, body []byte) []byte {
	h, ok := s.spare.Get().(hash.Hash)
	if !ok {
		h = hmac.New(sha256.New, s.secret)
	}
	h.Write(prefix)
	h.Write(body)
	dst = h.Sum(dst)
	h.Reset()
	s.spare.Put(h)
	return dst
}

// signature is what a request says about itself, as sent.
type signature struct {
	id, timestamp, signatures string
	legacy                    string
}

func readSignature(h http.Header) signature {
	return signature{
		id:         first(h[headerID]),
		timestamp:  first(h[headerTimestamp]),
		signatures: first(h[headerSignature]),
		legacy:     first(h[headerLegacy]),
	}
}

// standard reports whether the request claims to be a Standard Webhook. One
// that does is never judged by its legacy signature, which would be a way
// around the timestamp.
func (s *signature) standard() bool {
	return s.id != "" || s.timestamp != "" || s.signatures != ""
}

// scratch is room for one verification.
type scratch struct {
	prefix []byte
	sum    [sha256.Size]byte
	text   [44]byte // base64 of a sum
}

// verify checks the Standard Webhooks signature of body: HMAC-SHA-256 over
// "id.timestamp.body", in canonical base64. The sums are made whatever the
// headers hold, so that a malformed header takes no less time.
func (s *signature) verify(signers []*signer, body []byte, now time.Time, tmp *scratch) reason {
	why := s.check(now)
	tmp.prefix = tmp.prefix[:0]
	if why == "" {
		tmp.prefix = append(append(append(append(tmp.prefix, s.id...), '.'), s.timestamp...), '.')
	}
	good := 0
	for _, key := range signers {
		base64.StdEncoding.Encode(tmp.text[:], key.sum(tmp.sum[:0], tmp.prefix, body))
		if why != "" {
			continue
		}
		for sig := range strings.SplitSeq(s.signatures, " ") {
			if v, ok := strings.CutPrefix(sig, "v1,"); ok && len(v) == len(tmp.text) {
				good |= equal(&tmp.text, v)
			}
		}
	}
	if why == "" && good == 0 {
		why = badSignature
	}
	return why
}

// check judges the headers alone.
func (s *signature) check(now time.Time) reason {
	if s.id == "" || s.timestamp == "" || s.signatures == "" {
		return missingSignature
	}
	at, ok := parseTimestamp(s.timestamp)
	switch {
	case !isID(s.id), !ok, strings.Count(s.signatures, " ") >= maxSignatures:
		return malformedSignature
	case now.Sub(at) > Tolerance, at.Sub(now) > Tolerance:
		return staleTimestamp
	}
	return ""
}

// verifyLegacy checks the hexadecimal HMAC-SHA-256 of the raw body. It holds
// no time, so a captured request stays valid; that is why a webhook opts in.
func (s *signature) verifyLegacy(signers []*signer, body []byte, tmp *scratch) reason {
	text := strings.TrimPrefix(s.legacy, "sha256=")
	var given [sha256.Size]byte
	wellFormed := len(text) == hex.EncodedLen(len(given))
	if wellFormed {
		_, err := hex.Decode(given[:], []byte(text))
		wellFormed = err == nil
	}
	good := 0
	for _, key := range signers {
		good |= subtle.ConstantTimeCompare(key.sum(tmp.sum[:0], nil, body), given[:])
	}
	switch {
	case s.legacy == "":
		return missingSignature
	case !wellFormed:
		return malformedSignature
	case good == 0:
		return badSignature
	}
	return ""
}

// parseTimestamp reads Unix seconds: plain ASCII digits without a sign or
// leading zeros, at most eleven.
func parseTimestamp(s string) (time.Time, bool) {
	if len(s) == 0 || len(s) > 11 || s[0] == '0' {
		return time.Time{}, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return time.Time{}, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return time.Unix(n, 0), true
}

// isID accepts 1 to 64 letters, digits, - and _. A dot would make
// "id.timestamp.body" readable in two ways.
func isID(s string) bool { return isToken(s, "-_") }

func isToken(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 64
}

// equal compares in constant time. got has the length of want.
func equal(want *[44]byte, got string) int {
	var b [44]byte
	copy(b[:], got)
	return subtle.ConstantTimeCompare(want[:], b[:])
}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}
