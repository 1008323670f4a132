package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestOverTheRateOfACallerOrItsClinicIs429UntilRetryAfter(t *testing.T) {
	t.Parallel()
	for name, rates := range map[string]Rates{"caller": {Caller: 6, Tenant: 1000}, "tenant": {Caller: 1000, Tenant: 6}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := &steadyLedger{key: store.APIKey{Tenant: tenant.NewID(), Role: "owner"}}
				s := serveAt(t, db, &fakeBroker{}, freely.edge, rates)
				for i := range 6 {
					if w := s.do(http.MethodGet, logs, fakeKey); w.Code != 200 {
						t.Fatalf("request %d: %d", i, w.Code)
					}
				}
				w := s.do(http.MethodGet, logs, fakeKey)
				if got := problemOf(t, w); w.Code != 429 || got != "rate-limited" || w.Header().Get("Retry-After") != "10" {
					t.Errorf("%d %s, Retry-After %s", w.Code, got, w.Header().Get("Retry-After"))
				}
				if db.lists != 6 {
					t.Errorf("the ledger was asked %d times", db.lists)
				}
				if m := s.do(http.MethodGet, "/metrics", ""); !strings.Contains(m.Body.String(), `doctorsflow_api_limited_total{by="`+name+`"} 1`) {
					t.Error("it is not counted")
				}
				time.Sleep(10 * time.Second)
				if w := s.do(http.MethodGet, logs, fakeKey); w.Code != 200 {
					t.Errorf("after Retry-After: %d", w.Code)
				}
			})
		})
	}
}

// A clinic is not shut out by whoever shares its address, and what the address
// may still ask costs the ledger nothing.
func TestAnAddressThatGuessesKeysIsRefusedAndGoodKeysAreNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &steadyLedger{key: store.APIKey{Tenant: tenant.NewID(), Role: "owner"}}
		s := serveAt(t, db, &fakeBroker{}, edge.Config{StrangersPerMinute: 10}, Rates{})
		if w := s.do(http.MethodGet, logs, fakeKey); w.Code != 200 {
			t.Fatalf("a good key: %d", w.Code)
		}
		for i := range 40 {
			w := s.do(http.MethodGet, logs, fmt.Sprintf("dfk_%043d", i+1))
			want := 401
			if i >= 10 {
				want = 429
			}
			if w.Code != want {
				t.Fatalf("guess %d: %d, want %d", i, w.Code, want)
			}
		}
		if db.keys != 11 {
			t.Errorf("the ledger was asked for %d keys, want 11", db.keys)
		}
		for _, target := range []string{"/nothing", "/api/docs", "/problems/conflict", "/api/openapi.yaml", "/api/message-logs/x"} {
			if w := s.do(http.MethodGet, target, ""); w.Code != 429 || w.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %d", target, w.Code)
			}
		}
		for _, target := range []string{"/healthz", "/readyz", "/metrics"} {
			if w := s.do(http.MethodGet, target, ""); w.Code == 429 {
				t.Errorf("%s is a probe's, and was refused", target)
			}
		}
		for range 20 {
			if w := s.do(http.MethodGet, logs, fakeKey); w.Code != 200 {
				t.Fatalf("a good key from there: %d", w.Code)
			}
			time.Sleep(400 * time.Millisecond) // longer in all than a verified key is remembered
			s.do(http.MethodGet, logs, "dfk_guess")
			s.do(http.MethodGet, logs, "dfk_guess")
		}
	})
}

// steadyLedger knows one key of one clinic, and counts.
type steadyLedger struct {
	fakeLedger
	key         store.APIKey
	keys, lists int
}

func (l *steadyLedger) APIKeyByHash(_ context.Context, hash [sha256.Size]byte) (store.APIKey, error) {
	l.keys++
	if want, _ := store.HashAPIKey(fakeKey); hash != want {
		return store.APIKey{}, store.ErrNotFound
	}
	return l.key, nil
}

func (l *steadyLedger) MessageLogs(context.Context, tenant.ID, store.LogQuery) (store.Page[store.MessageLog], error) {
	l.lists++
	return store.Page[store.MessageLog]{}, nil
}

func TestTheAuditLogHasTheAddressThatAProxyVouchesFor(t *testing.T) {
	t.Parallel()
	proxies, err := edge.ParseProxies([]string{"192.0.2.1"}) // httptest's
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		trusted edge.Proxies
		want    string
	}{{proxies, "203.0.113.9"}, {nil, "192.0.2.1"}} {
		l := newLedger(t)
		l.server = serveAt(t, l.db, &fakeBroker{}, edge.Config{Proxies: tt.trusted}, Rates{})
		r := httptest.NewRequest(http.MethodGet, logs, nil)
		r.Header.Set("Authorization", "Bearer "+l.mine.keys["owner"])
		r.Header.Set("X-Forwarded-For", "198.51.100.1, 203.0.113.9")
		w := httptest.NewRecorder()
		l.mux.ServeHTTP(w, r)
		var got struct {
			Data []struct {
				FromAddr string `json:"from_addr"`
				Subject  string
			}
		}
		l.fetch("/api/audit-log?action=read", l.mine.keys["owner"], &got)
		if w.Code != 200 || len(got.Data) == 0 || got.Data[len(got.Data)-1].FromAddr != tt.want {
			t.Errorf("%d, read from %+v, want %s", w.Code, got.Data, tt.want)
		}
	}
}

// No route of ours takes a secret where every proxy on the way logs it.
func TestNoSecretIsEverInAURL(t *testing.T) {
	t.Parallel()
	doc := serve(t, &fakeLedger{}, &fakeBroker{}).api.huma.OpenAPI()
	for path, op := range operations(doc) {
		for _, p := range op.Parameters {
			for _, word := range []string{"key", "secret", "token", "password", "auth", "signature", "sig", "phone", "name"} {
				if p.In != "header" && strings.Contains(strings.ToLower(p.Name), word) {
					t.Errorf("%s takes %s in its %s", path, p.Name, p.In)
				}
			}
		}
	}
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	for _, name := range []string{"key", "token", "access_token", "api_key", "authorization", "secret", "password", "signature"} {
		if w := s.do(http.MethodGet, logs+"?"+name+"="+fakeKey, ""); w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), fakeKey) {
			t.Errorf("a key in ?%s= lets in, or is repeated: %d %s", name, w.Code, w.Body)
		}
	}
}

// Whatever a client says of itself in headers, it is who its credential says.
func TestClaimedHeadersChangeNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	for _, h := range []string{"X-Tenant-Id", "X-User-Id", "X-Role", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-Url", "X-Rewrite-Url", "X-Real-Ip", "Forwarded"} {
		r := httptest.NewRequest(http.MethodGet, logs, nil)
		r.Header.Set(h, one)
		w := httptest.NewRecorder()
		s.mux.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d", h, w.Code)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/api/parked-steps/"+one+"/drop", nil)
	r.Header.Set("X-HTTP-Method-Override", "POST")
	r.Header.Set("Authorization", "Bearer "+fakeKey)
	w := httptest.NewRecorder()
	s.mux.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("an overridden method: %d", w.Code)
	}
}

func TestWhereNoBodyIsTakenNoneIsRead(t *testing.T) {
	t.Parallel()
	s := serve(t, &fakeLedger{}, &fakeBroker{})
	if w := s.send(http.MethodGet, logs, fakeKey, `{"limit":1}`); w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Connection") != "close" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
