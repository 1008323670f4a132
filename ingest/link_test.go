package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

const (
	goodToken = "abcdefghijklmnop"
	target    = "https://clinic.example/설문?a=1#b"
)

// linkLedger has one link.
type linkLedger struct {
	counted, asked int
	err            error
}

func (l *linkLedger) OpenLink(_ context.Context, token string, count bool) (string, error) {
	l.asked++
	if token != goodToken {
		return "", store.ErrNotFound
	}
	if count {
		l.counted++
	}
	return target, l.err
}

const phoneBrowser = "Mozilla/5.0 (Linux; Android 14; SM-S921N) AppleWebKit/537.36 Chrome/129.0 Mobile Safari/537.36"

func opened(t *testing.T, l ingest.LinkLedger, e *edge.Edge, method, path, agent string, header ...string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	var log bytes.Buffer
	mux := http.NewServeMux()
	ingest.NewLinks(l, e, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))).Register(mux)
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("User-Agent", agent)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w, log.String()
}

func TestALinkLeadsOnAndOnlyAPersonCounts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method, agent string
		header        []string
		want          int
	}{
		"a browser":              {"GET", phoneBrowser, nil, 1},
		"KakaoTalk's browser":    {"GET", phoneBrowser + " KAKAOTALK 25.8.1", nil, 1},
		"a phone named Cubot":    {"GET", "Mozilla/5.0 (Linux; Android 11; CUBOT_NOTE_20) Chrome/99", nil, 1},
		"HEAD":                   {"HEAD", phoneBrowser, nil, 0},
		"KakaoTalk's preview":    {"GET", "facebookexternalhit/1.1; kakaotalk-scrap/1.0; +https://devtalk.kakao.com/t/scrap/33984", nil, 0},
		"iMessage's preview":     {"GET", "Mozilla/5.0 AppleWebKit/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0", nil, 0},
		"Slack's":                {"GET", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", nil, 0},
		"a crawler":              {"GET", "Mozilla/5.0 (compatible; Googlebot/2.1)", nil, 0},
		"another":                {"GET", "SomeSpider/2", nil, 0},
		"Naver's":                {"GET", "Mozilla/5.0 (compatible; Yeti/1.1; +https://naver.me/spd)", nil, 0},
		"a program":              {"GET", "curl/8.5.0", nil, 0},
		"nobody":                 {"GET", "", nil, 0},
		"a browser that guesses": {"GET", phoneBrowser, []string{"Sec-Purpose", "prefetch;prerender"}, 0},
	} {
		l := &linkLedger{}
		w, log := opened(t, l, nil, tt.method, "/l/"+goodToken+"?url=https://evil.example&to=//evil.example", tt.agent, tt.header...)
		if w.Code != http.StatusFound || w.Header().Get("Location") != target || l.counted != tt.want {
			t.Errorf("%s: %d to %q, counted %d times; want 302 and %d", name, w.Code, w.Header().Get("Location"), l.counted, tt.want)
		}
		if h := w.Header(); h.Get("Set-Cookie") != "" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || strings.Contains(log, goodToken) {
			t.Errorf("%s: %v, logged %q", name, h, log)
		}
	}
}

func TestWhatIsNoLinkIsAPageAndThenARefusal(t *testing.T) {
	t.Parallel()
	e := edge.New(edge.Config{StrangersPerMinute: 3}, prometheus.NewRegistry())
	l := &linkLedger{}
	for i := range 8 {
		w, log := opened(t, l, e, "GET", "/l/nonsense-"+strings.Repeat("x", i), phoneBrowser)
		if want := map[bool]int{true: 404, false: 429}[i < 3]; w.Code != want || i < 3 && !strings.Contains(w.Body.String(), "링크") {
			t.Errorf("guess %d: %d %s, want %d", i, w.Code, w.Body, want)
		}
		if log != "" || strings.Contains(w.Body.String(), "nonsense") {
			t.Errorf("guess %d: %q is logged, and told %q", i, log, w.Body)
		}
	}
	if l.asked > 4 {
		t.Errorf("the ledger was asked %d times by who guesses", l.asked)
	}
}

func TestALinkLeadsOnWhileTheLedgerCannotWrite(t *testing.T) {
	t.Parallel()
	l := &linkLedger{err: errors.New("no")}
	if w, log := opened(t, l, nil, "GET", "/l/"+goodToken, phoneBrowser); w.Code != http.StatusFound || strings.Contains(log, goodToken) {
		t.Errorf("%d, logged %q", w.Code, log)
	}
	down := ledgerDown{}
	if w, _ := opened(t, down, nil, "GET", "/l/"+goodToken, phoneBrowser); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a ledger: %d %v", w.Code, w.Header())
	}
}

type ledgerDown struct{}

func (ledgerDown) OpenLink(context.Context, string, bool) (string, error) {
	return "", store.ErrUnavailable
}
