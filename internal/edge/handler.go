package edge

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/rs/cors"

	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// The published limits of a request's form.
const (
	// MaxURI is the longest target, with its query, in bytes.
	MaxURI = 4 << 10
	// MaxHeaderLines is how many header lines a request may have.
	MaxHeaderLines = 100
)

// The headers that hold for every answer: nothing of them is kept by a cache,
// guessed to be another type, framed, or run. A page widens the policy for
// itself. The values are shared by all answers and never changed.
var (
	noStore  = []string{"no-store"}
	policy   = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
	sameSite = []string{"same-origin"}
	noRef    = []string{"no-referrer"}
	noSniff  = []string{"nosniff"}
	hsts     = []string{"max-age=63072000"}
)

// Handler judges a request's form and passes it on; see [Config].
func (e *Edge) Handler(next http.Handler) http.Handler {
	if len(e.config.Origins) > 0 {
		next = cors.New(cors.Options{
			AllowedOrigins: e.config.Origins,
			AllowedMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
			AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Purpose"},
			ExposedHeaders: []string{"ETag", "Retry-After", "WWW-Authenticate", "X-Request-Id"},
			MaxAge:         600,
		}).Handler(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Cache-Control"] = noStore
		h["Content-Security-Policy"] = policy
		h["Cross-Origin-Resource-Policy"] = sameSite
		h["Referrer-Policy"] = noRef
		h["X-Content-Type-Options"] = noSniff
		if e.config.TLS {
			h["Strict-Transport-Security"] = hsts
		}
		if slug, by := e.form(r); slug != "" {
			e.limited.WithLabelValues(by).Inc()
			h.Set("Connection", "close") // what follows is not read
			problem.Write(w, r, problem.New(slug))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// form judges what every request has in common.
func (e *Edge) form(r *http.Request) (slug problem.Slug, by string) {
	if len(r.RequestURI) > MaxURI {
		return problem.URITooLong, "uri"
	}
	if r.URL.Path != "" && unclean(r.URL.Path) {
		return problem.NotFound, "path"
	}
	lines := 0
	for _, values := range r.Header {
		lines += len(values)
	}
	if lines > MaxHeaderLines {
		return problem.HeadersTooLarge, "headers"
	}
	if len(e.config.Hosts) > 0 && !e.serves(r.Host) {
		return problem.MisdirectedRequest, "host"
	}
	return "", ""
}

// unclean reports a path that [http.ServeMux] would redirect to a shorter one:
// two readers on the way could take it for two places.
func unclean(path string) bool {
	for dots := range strings.SplitSeq(strings.TrimPrefix(path, "/")+"/", "/") {
		if dots == "." || dots == ".." {
			return true
		}
	}
	return strings.Contains(path, "//")
}

// serves reports whether a Host header names us.
func (e *Edge) serves(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return slices.ContainsFunc(e.config.Hosts, func(ours string) bool { return strings.EqualFold(ours, name) })
}

// ValidOrigin reports whether s is a web page's origin as a browser writes it:
// https, or http on this machine, a host in small letters, and nothing after
// it. A wildcard is none.
func ValidOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || strings.ContainsAny(s, "* ") || s != u.Scheme+"://"+strings.ToLower(u.Host) {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || err == nil && a.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// IsJSON reports whether a Content-Type is application/json, in UTF-8 if it
// names a charset.
func IsJSON(contentType string) bool { return IsMedia(contentType, "application/json") }

// IsMedia is [IsJSON] for another type that JSON goes by, such as
// application/fhir+json.
func IsMedia(contentType, want string) bool {
	if contentType == want {
		return true
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != want {
		return false
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}
