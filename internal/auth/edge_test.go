package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// counted counts the questions at the ledger.
type counted struct {
	connections
	asked *int
}

func (c counted) TenantOfIdentity(ctx context.Context, issuer, kind, subject string) (tenant.ID, error) {
	*c.asked++
	return c.connections.TenantOfIdentity(ctx, issuer, kind, subject)
}

// Anybody can sign up at a public issuer: good tokens of nobody that we know
// are as cheap for us as guesses, and nobody's colleague is shut out by them.
func TestAnAddressWithTokensOfNobodyIsRefused(t *testing.T) {
	t.Parallel()
	issuer, trusting, ids := world(t, nil)
	asked := 0
	a := New(goodKeys(), edge.New(edge.Config{StrangersPerMinute: 5}, prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	a.Trust(trusting.issuer, counted{ids, &asked})
	known := "Bearer " + issuer.Sign(issuer.Claims(audience, "user_1", "org_1", "admin"))
	if w, in := call(a, known); in == nil {
		t.Fatalf("a colleague: %d", w.Code)
	}
	for i := range 20 {
		want := http.StatusForbidden
		if i >= 5 {
			want = http.StatusTooManyRequests
		}
		w, _ := call(a, "Bearer "+issuer.Sign(issuer.Claims(audience, fmt.Sprint("user_x", i), fmt.Sprint("org_x", i), "admin")))
		if w.Code != want || (want == http.StatusTooManyRequests) != (w.Header().Get("Retry-After") != "") {
			t.Fatalf("token %d: %d %v, want %d", i, w.Code, w.Header(), want)
		}
	}
	if asked > 1+6 {
		t.Errorf("the ledger was asked %d times", asked)
	}
	if w, in := call(a, known); in == nil {
		t.Errorf("a colleague from there: %d", w.Code)
	}
}
