package simulator

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whoever may not see the traffic gets the page without it.
func TestConsolePageHoldsNothingAndLoadsNothing(t *testing.T) {
	t.Parallel()
	s := New(Config{Open: true, ControlToken: "t"})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/__sim/console", nil))
	page := w.Body.String()
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(page, "</script>") {
		t.Fatalf("%d %s", w.Code, w.Header())
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("policy = %q", policy)
	}
	for _, bad := range []string{"innerHTML", "http://", "https://"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/__sim/ledger", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("the ledger without a token: %d", w.Code)
	}
}
