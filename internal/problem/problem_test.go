package problem_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/problem"
)

func TestWriteIsADocumentOfRFC9457(t *testing.T) {
	t.Parallel()
	var id string
	h := problem.WithRequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id = problem.RequestID(r.Context())
		problem.Write(w, r, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/patient/phone", Code: "not-mobile"}))
	}))
	req := httptest.NewRequest(http.MethodPost, "/x", nil)
	req.Header.Set("X-Request-Id", "spoofed")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)

	if rec.Code != http.StatusUnprocessableEntity || rec.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("answered %d %s", rec.Code, rec.Header().Get("Content-Type"))
	}
	var got map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"type": "/problems/invalid-payload", "title": "Invalid payload", "status": 422.0,
		"detail":   "The body is well formed and says something that cannot be used; see errors.",
		"instance": "urn:req:" + id,
		"errors":   []any{map[string]any{"pointer": "/patient/phone", "code": "not-mobile"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(id) || rec.Header().Get("X-Request-Id") != id {
		t.Errorf("request id %q, header %q", id, rec.Header().Get("X-Request-Id"))
	}
}

func TestWriteWithoutMiddlewareStillNamesTheRequest(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	problem.Write(rec, httptest.NewRequest(http.MethodGet, "/", nil), problem.New(problem.NotFound))
	if id := rec.Header().Get("X-Request-Id"); id == "" || !strings.Contains(rec.Body.String(), "urn:req:"+id) {
		t.Errorf("id %q is not in %s", id, rec.Body)
	}
}

func TestRetryAfterIsWholeSecondsRoundedUp(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{0: "", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2"} {
		rec := httptest.NewRecorder()
		problem.Write(rec, httptest.NewRequest(http.MethodGet, "/", nil), problem.New(problem.RateLimited).WithRetryAfter(d))
		if got := rec.Header().Get("Retry-After"); got != want {
			t.Errorf("Retry-After for %v = %q, want %q", d, got, want)
		}
	}
}

func TestEverySlugHasARow(t *testing.T) {
	t.Parallel()
	for _, s := range problem.Slugs() {
		p := problem.New(s)
		if p.Slug() != s || p.Status < 400 || p.Status > 599 || p.Title == "" || !strings.HasSuffix(p.Detail, ".") {
			t.Errorf("%s: incomplete row %+v", s, p)
		}
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(string(s)) {
			t.Errorf("%s is not a slug", s)
		}
	}
}

func TestUnknownSlugIsInternal(t *testing.T) {
	t.Parallel()
	if p := problem.New("no-such"); p.Slug() != problem.Internal || p.Status != 500 {
		t.Errorf("got %+v", p)
	}
}
