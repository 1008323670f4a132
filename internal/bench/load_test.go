package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// door is a webhook endpoint that checks signatures with the library.
type door struct {
	*httptest.Server
	t     *testing.T
	hook  Hook
	mu    sync.Mutex
	times map[string]time.Time
}

func newDoor(t *testing.T, answer func(w http.ResponseWriter, id string)) *door {
	t.Helper()
	d := &door{t: t, hook: Hook{ID: uuid.New(), Secret: []byte("a secret of at least 24 bytes")}, times: map[string]time.Time{}}
	verify, err := standardwebhooks.NewWebhookRaw(d.hook.Secret)
	if err != nil {
		t.Fatal(err)
	}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := verify.Verify(body, r.Header); err != nil {
			t.Errorf("signature: %v", err)
		}
		if r.URL.Path != "/api/webhooks/"+d.hook.ID.String() || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s as %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
		}
		id := r.Header.Get("Webhook-Id")
		d.mu.Lock()
		d.times[id] = time.Now()
		d.mu.Unlock()
		answer(w, id)
	}))
	t.Cleanup(d.Close)
	return d
}

func kept202(w http.ResponseWriter, _ string) {
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]any{"trigger_id": uuid.New(), "duplicate": false})
}

func body(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

func TestFlatOutCallsAreSignedAndEachIsMadeOnce(t *testing.T) {
	t.Parallel()
	d := newDoor(t, kept202)
	calls, err := (&Load{Target: d.URL, Hooks: []Hook{d.hook}, Prefix: "load", Count: 100, Callers: 8, Body: body}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.times) != 100 || kept(calls) != 100 {
		t.Errorf("%d ids seen, %d calls kept; want 100", len(d.times), kept(calls))
	}
	for n := range 100 {
		if _, ok := d.times[fmt.Sprint("load-", n)]; !ok {
			t.Errorf("call %d was not made", n)
		}
		if c := calls[n]; c.Answered.Before(c.Begun) || c.Begun.IsZero() {
			t.Errorf("call %d begun %v, answered %v", n, c.Begun, c.Answered)
		}
	}
}

func TestPacedCallsBeginAtTheirTimeThoughNoneIsAnswered(t *testing.T) {
	t.Parallel()
	all := make(chan struct{})
	var mu sync.Mutex
	n := 0
	d := newDoor(t, func(w http.ResponseWriter, id string) {
		mu.Lock()
		if n++; n == 10 {
			close(all) // only now is the first one answered
		}
		mu.Unlock()
		<-all
		kept202(w, id)
	})
	begin := time.Now()
	calls, err := (&Load{Target: d.URL, Hooks: []Hook{d.hook}, Prefix: "load", Count: 10, Rate: 200, Body: body}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if kept(calls) != 10 {
		t.Errorf("%d calls kept, want 10", kept(calls))
	}
	for i := range calls {
		if at := calls[i].Begun.Sub(begin); at < time.Duration(i)*5*time.Millisecond {
			t.Errorf("call %d began after %v, before its time", i, at)
		}
	}
}

func TestWhatIsNotKeptIsTold(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(w http.ResponseWriter, id string) {
		switch id {
		case "load-0":
			w.WriteHeader(http.StatusTooManyRequests)
		case "load-1":
			w.WriteHeader(http.StatusAccepted) // without an id
		case "load-2":
			panic(http.ErrAbortHandler)
		default:
			kept202(w, id)
		}
	})
	calls, err := (&Load{Target: d.URL, Hooks: []Hook{d.hook}, Prefix: "load", Count: 4, Callers: 1, Body: body}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []int{429, 202, 0, 202} {
		if calls[n].Status != want || calls[n].Kept() != (n == 3) {
			t.Errorf("call %d: status %d, kept %v; want %d", n, calls[n].Status, calls[n].Kept(), want)
		}
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	under, release := make(chan struct{}, 100), make(chan struct{})
	d := newDoor(t, func(w http.ResponseWriter, id string) {
		under <- struct{}{}
		<-release
	})
	t.Cleanup(func() { close(release) })
	for _, rate := range []float64{0, 1000} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-under
			cancel()
		}()
		_, err := (&Load{Target: d.URL, Hooks: []Hook{d.hook}, Prefix: fmt.Sprint("load-", rate), Count: 50, Rate: rate, Callers: 2, Body: body}).Run(ctx)
		if err == nil {
			t.Error("a load that was cancelled says nothing")
		}
	}
}

func TestATargetIsAnAddress(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"", "127.0.0.1:8080", "ftp://x", "http://"} {
		if _, err := newCaller(target); err == nil {
			t.Errorf("newCaller(%q) took it", target)
		}
	}
	if c, err := newCaller("https://flow.example"); err != nil || c.address != "flow.example:https" || c.tls == nil {
		t.Errorf("newCaller(https) = %+v, %v", c, err)
	}
}
