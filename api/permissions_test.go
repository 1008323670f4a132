package api

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/auth/oidctest"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// operationsOf lists every operation of the document: method, a path with ids in it,
// and a body where it takes one.
func operationsOf(a *API) (list [][4]string) {
	for path, item := range a.huma.OpenAPI().Paths {
		target := path
		for {
			before, rest, ok := strings.Cut(target, "{")
			if !ok {
				break
			}
			_, after, _ := strings.Cut(rest, "}")
			target = before + uuid.NewString() + after
		}
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Delete} {
			switch {
			case op == nil:
			case op.RequestBody == nil:
				list = append(list, [4]string{op.OperationID, op.Method, target})
			default:
				list = append(list, [4]string{op.OperationID, op.Method, target, `{"note":"x"}`})
			}
		}
	}
	slices.SortFunc(list, func(a, b [4]string) int { return strings.Compare(a[0], b[0]) })
	return list
}

// Whoever may not is told so before anything else of the request is looked at.
func TestEachRoleMayWhatTheTableSays(t *testing.T) {
	t.Parallel()
	issuer, url := issuing(t)
	for _, role := range auth.Roles {
		db := &fakeLedger{role: string(role)}
		s := serveWith(t, db, auth.NewIssuer(auth.IssuerConfig{URL: url, Parties: []string{"app"}, Roles: map[string]auth.Role{"x": role}}))
		all := operationsOf(s.api)
		if len(all) != len(permissions) {
			t.Fatalf("%d operations are served and %d are in permissions", len(all), len(permissions))
		}
		token := issuer.Sign(issuer.Claims("app", "user_1", "org_1", "x"))
		for _, r := range all {
			may := slices.Contains(permissions[r[0]], role)
			for by, credential := range map[string]string{"key": fakeKey, "token": token} {
				if w := s.send(r[1], r[2], credential, r[3]); (w.Code != http.StatusForbidden) != may || w.Code == http.StatusUnauthorized {
					t.Errorf("%s by a %s of role %s: %d", r[0], by, role, w.Code)
				}
			}
		}
	}
}

func TestScopesNarrowARoleAndNeverWidenIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		role, scope string
		may         []string // of the three below
	}{
		{"owner", "", []string{"list-executions", "list-message-logs", "drop-parked-step"}},
		{"owner", "read", []string{"list-executions", "list-message-logs"}},
		{"owner", "write", []string{"list-executions", "list-message-logs", "drop-parked-step"}},
		{"owner", "list-executions", []string{"list-executions"}},
		{"integration", "write", []string{"list-executions"}},
		{"integration", "list-message-logs", nil},
		{"viewer", "drop-parked-step", nil},
	} {
		s := serve(t, &fakeLedger{role: tt.role, scopes: tt.scope}, &fakeBroker{})
		for _, r := range operationsOf(s.api) {
			if !slices.Contains([]string{"list-executions", "list-message-logs", "drop-parked-step"}, r[0]) {
				continue
			}
			may := slices.Contains(tt.may, r[0])
			if w := s.send(r[1], r[2], fakeKey, r[3]); (w.Code != http.StatusForbidden) != may {
				t.Errorf("%s with scope %q as %s: %d", r[0], tt.scope, tt.role, w.Code)
			}
		}
	}
}

func issuing(t *testing.T) (*oidctest.Issuer, string) {
	t.Helper()
	var issuer *oidctest.Issuer
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.Handler().ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	issuer = oidctest.New(s.URL)
	return issuer, s.URL
}

func serveWith(t *testing.T, db Ledger, issuer *auth.Issuer) *server {
	t.Helper()
	s := &server{t: t, reg: prometheus.NewPedanticRegistry(), log: &lockedBuffer{}}
	mux := http.NewServeMux()
	s.mux = mux
	s.api = Register(mux, Config{DB: db, Issuer: issuer, Broker: &fakeBroker{}, Registry: s.reg, Routes: true, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	return s
}

// A token and a key of one clinic see the same, and another clinic's nothing.
func TestATokenSeesTheClinicOfItsOrganisation(t *testing.T) {
	t.Parallel()
	issuer, url := issuing(t)
	l := newLedger(t)
	l.mine.message("010-0000-0001", store.StateDelivered)
	l.server = serveWith(t, l.db, auth.NewIssuer(auth.IssuerConfig{URL: url, Parties: []string{"app"}}))
	for org, o := range map[string]*office{"org_mine": l.mine, "org_other": l.other} {
		if _, err := l.db.AddIdentity(t.Context(), o.tenant, store.Identity{Issuer: url, Kind: store.Organization, Subject: org}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.db.AddIdentity(t.Context(), l.other.tenant, store.Identity{Issuer: url, Kind: store.Organization, Subject: "org_mine"}); !errors.Is(err, store.ErrConnected) {
		t.Errorf("an organisation of one clinic was connected with another too: %v", err)
	}
	byKey := l.do(http.MethodGet, logs, l.mine.keys[auth.Owner]).Body.String()
	for org, want := range map[string]string{"org_mine": byKey, "org_other": l.do(http.MethodGet, logs, l.other.keys[auth.Owner]).Body.String()} {
		w := l.do(http.MethodGet, logs, issuer.Sign(issuer.Claims("app", "user_1", org, "admin")))
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s sees %d %s", org, w.Code, w.Body)
		}
	}
	if !strings.Contains(byKey, "delivered") {
		t.Fatalf("the clinic's log is %s", byKey)
	}
	w := l.do(http.MethodGet, logs, issuer.Sign(issuer.Claims("app", "user_1", "org_stranger", "admin")))
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "identity add") {
		t.Errorf("a stranger's organisation sees %d %s", w.Code, w.Body)
	}
}
