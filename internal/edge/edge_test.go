package edge

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func from(addr string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = addr
	return r
}

func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	var b Buckets[int]
	now := time.Now()
	for i := range 2 * bucketLimit {
		b.Take(i, 60, now)
		if i == bucketLimit/2 {
			now = now.Add(time.Hour) // half of them are full again when room is needed
		}
		if len(b.m) > bucketLimit {
			t.Fatalf("%d buckets", len(b.m))
		}
	}
	if len(b.m) < bucketLimit/2 {
		t.Errorf("%d buckets: more was forgotten than needed", len(b.m))
	}
}

func TestAnAddressHasItsRateAndNoOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{StrangersPerMinute: 6}, prometheus.NewRegistry())
		for i := range 6 {
			if wait := e.Strange(from("203.0.113.1:1")); wait != 0 || e.Wary(from("203.0.113.1:1")) != (i == 5) {
				t.Fatalf("request %d waits %v", i, wait)
			}
		}
		if wait := e.Strange(from("203.0.113.1:2")); wait != 10*time.Second {
			t.Errorf("one more waits %v, want 10s", wait)
		}
		if e.Strange(from("203.0.113.2:1")) != 0 || e.Wary(from("203.0.113.2:1")) {
			t.Error("another address waits")
		}
		time.Sleep(10 * time.Second)
		if e.Wary(from("203.0.113.1:1")) || e.Strange(from("203.0.113.1:1")) != 0 {
			t.Error("it is refused after the time it was told to wait")
		}
	})
}

func TestANilEdgeLimitsNothing(t *testing.T) {
	t.Parallel()
	var e *Edge
	r := from("203.0.113.1:1")
	r.Header.Set(forwarded, "198.51.100.1")
	if e.Strange(r) != 0 || e.Wary(r) || e.Address(r).String() != "203.0.113.1" {
		t.Error("a nil edge limits, or believes")
	}
}

// ok answers 200, whatever comes.
var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

func TestFormsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	h := New(Config{Hosts: []string{"flow.example.com"}}, prometheus.NewRegistry()).Handler(ok)
	many := func(n int) func(*http.Request) {
		return func(r *http.Request) { r.Header["X-A"] = make([]string, n) }
	}
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"as_it_should_be", func(*http.Request) {}, 200},
		{"uri_at_the_limit", func(r *http.Request) { r.RequestURI = strings.Repeat("a", MaxURI) }, 200},
		{"uri_beyond", func(r *http.Request) { r.RequestURI = strings.Repeat("a", MaxURI+1) }, 414},
		{"headers_at_the_limit", many(MaxHeaderLines), 200},
		{"headers_beyond", many(MaxHeaderLines + 1), 431},
		{"host_with_port", host("flow.example.com:8443"), 200},
		{"host_in_capitals", host("FLOW.Example.com"), 200},
		{"a_path_with_a_slash_at_its_end", func(r *http.Request) { r.URL.Path = "/api/" }, 200},
		{"hidden", func(r *http.Request) { r.URL.Path = "/.well-known/x" }, 200},
		{"no_path", func(r *http.Request) { r.URL.Path = "" }, 200},
		{"two_slashes", func(r *http.Request) { r.URL.Path = "//api" }, 404},
		{"two_slashes_within", func(r *http.Request) { r.URL.Path = "/api//x" }, 404},
		{"up", func(r *http.Request) { r.URL.Path = "/api/../x" }, 404},
		{"up_at_the_end", func(r *http.Request) { r.URL.Path = "/api/.." }, 404},
		{"here", func(r *http.Request) { r.URL.Path = "/./api" }, 404},
		{"another_host", host("evil.example"), 421},
		{"a_host_that_ends_alike", host("flow.example.com.evil.example"), 421},
		{"a_host_below", host("x.flow.example.com"), 421},
		{"no_host", host(""), 421},
		{"an_address", host("127.0.0.1:8080"), 200},
		{"an_address_six", host("[::1]:8080"), 200},
		{"a_bare_address_six", host("[::1]"), 200},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = "flow.example.com"
		tt.change(r)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.status || (w.Header().Get("Connection") == "close") != (tt.status != 200) {
			t.Errorf("%s: %d %v, want %d", tt.name, w.Code, w.Header(), tt.status)
		}
		if tt.status != 200 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: not a problem document: %s", tt.name, w.Body)
		}
	}
}

func TestHSTSIsOnlyForClientsWhoComeByTLS(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{true, false} {
		w := httptest.NewRecorder()
		New(Config{TLS: tls}, prometheus.NewRegistry()).Handler(ok).ServeHTTP(w, from("203.0.113.1:1"))
		if got := w.Header().Get("Strict-Transport-Security"); (got == "max-age=63072000") != tls {
			t.Errorf("behind TLS %t: %q", tls, got)
		}
	}
}

func TestPagesOfOtherOriginsReadNothing(t *testing.T) {
	t.Parallel()
	const ours, evil = "https://console.example.com", "https://evil.example"
	for _, tt := range []struct {
		name, origin string
		configured   []string
		method       string
		allowed      bool
	}{
		{"closed", evil, nil, "GET", false},
		{"closed_preflight", evil, nil, "OPTIONS", false},
		{"ours", ours, []string{ours}, "GET", true},
		{"ours_preflight", ours, []string{ours}, "OPTIONS", true},
		{"evil", evil, []string{ours}, "GET", false},
		{"evil_preflight", evil, []string{ours}, "OPTIONS", false},
		{"null", "null", []string{ours}, "OPTIONS", false},
		{"ends_alike", ours + ".evil.example", []string{ours}, "OPTIONS", false},
		{"without_tls", "http://console.example.com", []string{ours}, "OPTIONS", false},
		{"no_origin", "", []string{ours}, "GET", false},
	} {
		r := httptest.NewRequest(tt.method, "/api/message-logs", nil)
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		if tt.method == "OPTIONS" {
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "authorization,content-type,x-purpose")
		}
		w := httptest.NewRecorder()
		New(Config{Origins: tt.configured}, prometheus.NewRegistry()).Handler(ok).ServeHTTP(w, r)
		got := w.Header().Get("Access-Control-Allow-Origin")
		if tt.allowed != (got == tt.origin && got != "") || !tt.allowed && got != "" {
			t.Errorf("%s: Access-Control-Allow-Origin %q", tt.name, got)
		}
		if w.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: credentials of the browser are let in", tt.name)
		}
		if tt.allowed && tt.method == "OPTIONS" && (w.Header().Get("Access-Control-Allow-Headers") == "" || w.Code != http.StatusNoContent) {
			t.Errorf("%s: preflight answered %d %v", tt.name, w.Code, w.Header())
		}
	}
}

func TestOriginsAreWholeAndExact(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"https://console.example.com": true, "https://console.example.com:8443": true, "http://localhost:5173": true, "http://127.0.0.1": true, "http://[::1]:80": true,
		"": false, "*": false, "https://*": false, "https://*.example.com": false, "http://console.example.com": false, "https://console.example.com/": false,
		"https://Console.example.com": false, "console.example.com": false, "null": false, "https://u@console.example.com": false, "ftp://localhost": false, "h*": false,
	} {
		if got := ValidOrigin(s); got != want {
			t.Errorf("ValidOrigin(%q) = %t", s, got)
		}
	}
}

func TestContentTypesThatAreJSON(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "Application/JSON;charset=UTF-8": true,
		"": false, "text/plain": false, "application/json; charset=euc-kr": false, "application/json; version=1": false, "application/jsonx": false, "application/json,text/plain": false,
	} {
		if got := IsJSON(s); got != want {
			t.Errorf("IsJSON(%q) = %t", s, got)
		}
	}
}
