package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// LinkLedger knows where the links in patients' messages lead.
type LinkLedger interface {
	OpenLink(ctx context.Context, token string, count bool) (target string, err error)
}

// Links is the door of patients who open a link of a message. It is safe for
// concurrent use. Tokens are secrets: none is logged.
type Links struct {
	ledger LinkLedger
	edge   *edge.Edge
	outage *outage
}

// linkDeadline bounds what a patient waits for the ledger.
const linkDeadline = 5 * time.Second

// NewLinks returns the door; e counts the addresses that try what is no link
// (nil does not).
func NewLinks(ledger LinkLedger, e *edge.Edge, log *slog.Logger) *Links {
	return &Links{ledger: ledger, edge: e, outage: &outage{log: log, what: "links of messages"}}
}

// Register adds the route to mux; HEAD is served with it.
func (l *Links) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /l/{token}", l.serve)
}

// nowhere is what a patient reads whose link is none.
const nowhere = "링크가 올바르지 않거나 더 이상 사용할 수 없습니다. 병원에 문의해 주세요.\nThis link leads nowhere, or not any more. Please ask the clinic.\n"

const later = "잠시 후 다시 시도해 주세요.\nPlease try again in a moment.\n"

func (l *Links) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	if l.edge.Wary(r) {
		l.strange(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), linkDeadline)
	defer cancel()
	target, err := l.ledger.OpenLink(ctx, r.PathValue("token"), byHand(r))
	if errors.Is(err, store.ErrNotFound) {
		l.strange(w, r)
		return
	}
	if r.Context().Err() == nil {
		l.outage.report(err)
	}
	if target == "" {
		h.Set("Retry-After", strconv.Itoa(int(retryPostgres/time.Second)))
		say(w, http.StatusServiceUnavailable, later)
		return
	}
	h["Location"] = []string{target} // as it was drawn; it was checked then
	w.WriteHeader(http.StatusFound)
}

// strange answers who asks for what is no link, at an address's rate.
func (l *Links) strange(w http.ResponseWriter, r *http.Request) {
	if wait := l.edge.Strange(r); wait > 0 {
		problem.Write(w, r, problem.New(problem.RateLimited).WithRetryAfter(wait))
		return
	}
	say(w, http.StatusNotFound, nowhere)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a patient who left is no error of ours
}

// previews are programs that open links for nobody: messengers that show a
// card of the page, search engines, scanners. KakaoTalk's own browser, which
// patients use, calls itself KAKAOTALK, its scraper kakaotalk-scrap.
var previews = regexp.MustCompile(`(?i)facebookexternalhit|facebot|kakaotalk-scrap|bot\b|crawl|spider|preview|scrap|slurp|whatsapp/|\byeti/|headless|curl/|wget/|python|go-http-client|okhttp`)

// prefetch is how a browser says that nobody has opened the page yet.
var prefetch = regexp.MustCompile(`(?i)prefetch|preview`)

// byHand reports whether a request looks like a person's.
func byHand(r *http.Request) bool {
	agent := r.UserAgent()
	ahead := r.Header.Get("Purpose") + r.Header.Get("Sec-Purpose") + r.Header.Get("X-Moz")
	return r.Method == http.MethodGet && agent != "" && !previews.MatchString(agent) && !prefetch.MatchString(ahead)
}
