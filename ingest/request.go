package ingest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// single lists the headers that mean something here and may appear once. Of
// two, a proxy might have believed the other one.
var single = []string{
	headerID, headerTimestamp, headerSignature, headerLegacy,
	"Content-Type", "Content-Encoding", "Authorization", "Idempotency-Key",
}

// checkForm judges the request before its body is read, and before it is known
// whether there is such a webhook.
func checkForm(r *http.Request) problem.Slug {
	for _, name := range single {
		if len(r.Header[name]) > 1 {
			return problem.AmbiguousHeader
		}
	}
	if r.ContentLength > MaxBody {
		return problem.PayloadTooLarge
	}
	if e := first(r.Header["Content-Encoding"]); e != "" && !strings.EqualFold(e, "identity") {
		return problem.UnsupportedMediaType
	}
	if !edge.IsJSON(first(r.Header["Content-Type"])) {
		return problem.UnsupportedMediaType
	}
	return ""
}

// readBody reads the whole body into c. It takes room as the bytes arrive,
// whatever Content-Length promises.
func (c *call) readBody(w http.ResponseWriter, r *http.Request) problem.Slug {
	body := http.MaxBytesReader(w, r.Body, MaxBody)
	c.body = c.body[:0]
	for {
		if len(c.body) == cap(c.body) {
			c.body = append(c.body, 0)[:len(c.body)]
		}
		n, err := body.Read(c.body[len(c.body):cap(c.body)])
		c.body = c.body[:len(c.body)+n]
		if err == nil {
			continue
		}
		_, tooLarge := errors.AsType[*http.MaxBytesError](err)
		switch {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return ""
		case tooLarge:
			return problem.PayloadTooLarge
		case errors.Is(err, os.ErrDeadlineExceeded):
			return problem.RequestTimeout
		}
		return problem.BadRequest
	}
}

// parseID reads a webhook's id in its canonical form only.
func parseID(s string) (uuid.UUID, bool) {
	if len(s) != 36 || strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' && r <= 'F' }) {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(s)
	return id, err == nil
}

// secretNames are the query parameters that people put secrets in.
var secretNames = map[string]bool{
	"key": true, "secret": true, "token": true, "signature": true, "sig": true, "auth": true,
	"password": true, "api_key": true, "apikey": true, "access_token": true, "webhook_secret": true,
}

// hasSecret reports a secret in the address, where every proxy logs it.
func hasSecret(query string) bool {
	if query == "" {
		return false
	}
	values, _ := url.ParseQuery(query) // what cannot be parsed is not used either
	for name, all := range values {
		if secretNames[strings.ToLower(name)] {
			return true
		}
		for _, v := range all {
			if strings.HasPrefix(v, secretPrefix) {
				return true
			}
		}
	}
	return false
}
