package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// fakeKeys answers every look-up alike and counts them.
type fakeKeys struct {
	key   store.APIKey
	err   atomic.Pointer[error]
	asked atomic.Int64
}

func (f *fakeKeys) APIKeyByHash(context.Context, [sha256.Size]byte) (store.APIKey, error) {
	f.asked.Add(1)
	if err := f.err.Load(); err != nil {
		return store.APIKey{}, *err
	}
	return f.key, nil
}

func (f *fakeKeys) fail(err error) { f.err.Store(&err) }

func goodKeys() *fakeKeys {
	return &fakeKeys{key: store.APIKey{Tenant: tenant.NewID(), ID: uuid.New(), Role: "staff"}}
}

var key = "dfk_" + strings.Repeat("x", 43)

// call asks through Require and returns the answer and who was let in.
func call(a *Authenticator, authorization ...string) (*httptest.ResponseRecorder, *Principal) {
	var in *Principal
	h := problem.WithRequestID(a.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p, ok := From(r.Context())
		if ok {
			in = &p
		}
	})))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w, in
}

func TestAValidKeyNamesItsPrincipal(t *testing.T) {
	t.Parallel()
	keys := goodKeys()
	for _, header := range []string{"Bearer " + key, "bearer " + key, "BEARER " + key} {
		w, got := call(New(keys, nil, slog.New(slog.DiscardHandler)), header)
		want := &Principal{Tenant: keys.key.Tenant, Role: Staff, KeyID: keys.key.ID}
		if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusOK {
			t.Errorf("%s: %d, principal (-want +got):\n%s", header, w.Code, diff)
		}
	}
	if p, ok := From(t.Context()); ok || p != (Principal{}) {
		t.Errorf("a context that was not authenticated has %+v", p)
	}
}

func TestEveryBadCredentialGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	keys := goodKeys()
	keys.fail(fmt.Errorf("x: %w", store.ErrNotFound))
	a := New(keys, nil, slog.New(slog.DiscardHandler))
	answer := func(header ...string) string {
		w, in := call(a, header...)
		if in != nil || w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != `Bearer realm="doctorsflow"` {
			t.Errorf("%q: %d, %v, principal %v", header, w.Code, w.Header(), in)
		}
		id := w.Header().Get("X-Request-Id")
		w.Header().Del("X-Request-Id")
		return strings.ReplaceAll(fmt.Sprint(w.Header(), w.Body), id, "ID")
	}
	want := answer()
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer  " + key, "Bearer " + key + " ", "Basic " + key, key, "Token " + key,
		"Bearer " + key + ", Bearer " + key, "Bearer " + key[1:], "Bearer " + strings.ToUpper(key), "Bearer\t" + key, "Bearer " + key,
	} {
		if got := answer(header); got != want {
			t.Errorf("%q is answered\n%s\nand none is answered\n%s", header, got, want)
		}
	}
	if n := keys.asked.Load(); n != 1 {
		t.Errorf("the ledger was asked %d times, want once: only what looks like a key is looked up", n)
	}
}

func TestADoubledHeaderIsRefusedWhicheverIsGood(t *testing.T) {
	t.Parallel()
	keys := goodKeys()
	for _, headers := range [][]string{{"Bearer " + key, "Bearer " + key}, {"Bearer " + key, ""}, {"", "Bearer " + key}} {
		w, in := call(New(keys, nil, slog.New(slog.DiscardHandler)), headers...)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "/problems/ambiguous-header") || in != nil {
			t.Errorf("%q: %d %s, principal %v", headers, w.Code, w.Body, in)
		}
	}
	if keys.asked.Load() != 0 {
		t.Error("the ledger was asked")
	}
}

func TestALedgerThatIsAwayIsNotABadKey(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	keys := goodKeys()
	a := New(keys, nil, slog.New(slog.NewTextHandler(&log, nil)))
	keys.fail(fmt.Errorf("x: %w", store.ErrUnavailable))
	if w, in := call(a, "Bearer "+key); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || in != nil {
		t.Errorf("away: %d %v", w.Code, w.Header())
	}
	if log.Len() != 0 {
		t.Errorf("logged: %s", log.String())
	}
	keys.fail(errors.New("broken"))
	if w, in := call(a, "Bearer "+key); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "broken") || in != nil {
		t.Errorf("broken: %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "err=broken") || strings.Contains(log.String(), key) {
		t.Errorf("logged: %s", log.String())
	}
}

func TestAVerifiedKeyIsRememberedForSecondsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := goodKeys()
		a := New(keys, nil, slog.New(slog.DiscardHandler))
		try := func(want int, asked int64) {
			t.Helper()
			if w, _ := call(a, "Bearer "+key); w.Code != want || keys.asked.Load() != asked {
				t.Fatalf("%d after %d look-ups; want %d after %d", w.Code, keys.asked.Load(), want, asked)
			}
		}
		try(200, 1)
		keys.fail(store.ErrNotFound) // revoked
		time.Sleep(5*time.Second - 1)
		try(200, 1)
		time.Sleep(time.Nanosecond)
		try(401, 2)
		try(401, 3) // what was refused is asked again
		keys.err.Store(nil)
		try(200, 4)

		keys.key.Expires = time.Now().Add(7 * time.Second)
		time.Sleep(5 * time.Second)
		try(200, 5)
		keys.fail(store.ErrNotFound) // expired, as the ledger says then
		time.Sleep(2*time.Second - 1)
		try(200, 5)
		time.Sleep(time.Nanosecond)
		try(401, 6)
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	var c cache
	now := time.Now()
	hash := func(i int) (h [sha256.Size]byte) {
		binary.BigEndian.PutUint64(h[:], uint64(i))
		return h
	}
	for i := range cacheSize {
		c.put(hash(i), Principal{}, now, time.Time{})
	}
	c.put(hash(cacheSize), Principal{}, now.Add(time.Second), time.Time{})
	if len(c.m) != 1 {
		t.Errorf("%d entries after it was full, want 1", len(c.m))
	}
	for i := range cacheSize {
		c.put(hash(i), Principal{}, now.Add(time.Duration(i)*time.Second), time.Time{})
	}
	if len(c.m) > cacheSize {
		t.Errorf("%d entries, want at most %d", len(c.m), cacheSize)
	}
	if _, _, ok := c.get(hash(cacheSize-1), now.Add((cacheSize-1)*time.Second)); !ok {
		t.Error("the latest is forgotten")
	}
}
