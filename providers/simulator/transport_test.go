package simulator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func sendTo(ctx context.Context, c *http.Client, base, no string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+kakaoBase+"messages", strings.NewReader(js(kakaoBody(no, no+":kakao"))))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("X-Secret-Key", "secret-of-k")
	return c.Do(r)
}

// What a client sees over sockets and over Transport is the same.
func TestTransportBehavesAsARealListener(t *testing.T) {
	t.Parallel()
	tests := []struct {
		no    string
		reset bool
		body  string // "" for any
	}{
		{"01012345678", false, ""}, {"01005010000", false, "502 Bad Gateway"}, {"01005050000", true, ""}, {"01005060000", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.no, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(New(Config{Open: true}).Handler())
			defer srv.Close()
			inProcess := &http.Client{Transport: New(Config{Open: true}).Transport()}
			for name, c := range map[string]*http.Client{"sockets": srv.Client(), "in_process": inProcess} {
				resp, err := sendTo(t.Context(), c, srv.URL, tt.no)
				if tt.reset {
					if !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("%s: error = %v, want a reset", name, err)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !strings.Contains(string(b), tt.body) {
					t.Errorf("%s: body = %q, %v", name, b, err)
				}
			}
		})
	}
}

func TestTransportHonoursTheClientsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Open: true})
		c := &http.Client{Transport: s.Transport(), Timeout: 10 * time.Second}
		start := time.Now()
		_, err := sendTo(t.Context(), c, "http://gw.invalid", "01005040000")
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != 10*time.Second {
			t.Errorf("error = %v after %v, want a timeout after 10s", err, time.Since(start))
		}
		if got := len(s.Ledger()); got != 1 {
			t.Errorf("%d accepted, want 1: the answer alone is lost", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := sendTo(ctx, c, "http://gw.invalid", "01012345678"); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want the context's", err)
		}
		if got := len(s.Ledger()); got != 1 {
			t.Error("a request that was cancelled before was accepted")
		}
	})
}

func TestTransportGivesTheEvidenceOfATrace(t *testing.T) {
	t.Parallel()
	s := New(Config{Open: true})
	var saw []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { saw = append(saw, "conn") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { saw = append(saw, "wrote") },
		GotFirstResponseByte: func() { saw = append(saw, "answer") },
	})
	c := &http.Client{Transport: s.Transport()}
	for _, tt := range []struct{ outage, no, want string }{
		{"", "01012345678", "conn wrote answer"}, {"", "01005060000", "conn wrote"}, {"refuse", "01012345678", ""}, {"reset", "01012345678", "conn wrote"},
	} {
		saw = nil
		s.EndOutages()
		if tt.outage != "" {
			if err := s.AddOutage(Outage{Mode: tt.outage}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := sendTo(ctx, c, "http://gw.invalid", tt.no)
		if err == nil {
			resp.Body.Close()
		}
		if got := strings.Join(saw, " "); got != tt.want {
			t.Errorf("%s %s: saw %q, want %q (%v)", tt.outage, tt.no, got, tt.want, err)
		}
	}
}

func TestRecorderSeesAnAbortedHandler(t *testing.T) {
	t.Parallel()
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("recovered %v, want http.ErrAbortHandler", err)
		}
	}()
	r := httptest.NewRequest(http.MethodPost, kakaoBase+"messages", strings.NewReader(js(kakaoBody("01005050000", "r:kakao"))))
	r.Header.Set("Content-Type", jsonType)
	r.Header.Set("X-Secret-Key", "s")
	New(Config{Open: true}).ServeHTTP(httptest.NewRecorder(), r)
}
