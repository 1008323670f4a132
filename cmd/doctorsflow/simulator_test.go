package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// spoken is an output that a test reads while a command writes to it.
type spoken struct {
	mu    sync.Mutex
	b     bytes.Buffer
	heard chan struct{} // closed once the last line of the greeting is there
	once  sync.Once
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.b.Write(p)
	if strings.Contains(s.b.String(), "--numbers") {
		s.once.Do(func() { close(s.heard) })
	}
	return n, err
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// simulated runs the command until the returned function stops it, which
// returns what it printed.
func simulated(t *testing.T, args ...string) (url string, stop func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, errs := &spoken{heard: make(chan struct{})}, &spoken{heard: make(chan struct{})}
	code := make(chan int, 1)
	go func() { code <- run(ctx, append([]string{"simulator", "--addr", "127.0.0.1:0"}, args...), out, errs) }()
	select {
	case <-out.heard:
	case c := <-code:
		cancel()
		t.Fatalf("exit %d: %s", c, errs)
	}
	return regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(out.String()), func() string {
		cancel()
		if c := <-code; c != 0 {
			t.Errorf("exit %d: %s", c, errs)
		}
		return out.String()
	}
}

// get reads what the simulator says.
func get(t *testing.T, url string, into any) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// example is the request that the greeting prints as a curl command.
var example = regexp.MustCompile(`curl -s '([^']+)' -H 'X-Secret-Key: try' -H 'Content-Type: application/json' -d '([^']+)'`)

func TestTheSimulatorKeepsItsLedgerAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte(`{"rules": {"key_window": "1h"}, "scripts": [{"path": "/messages", "status": 503}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ledger := filepath.Join(dir, "ledger.jsonl")
	url, stop := simulated(t, "--manual", "--limits", "--ledger", ledger, "--config", file)
	var config struct {
		Rules simulator.Rules `json:"rules"`
	}
	if get(t, url+"/__sim/config", &config); config.Rules.RPS != 300 || config.Rules.KeyWindow.String() != "1h0m0s" {
		t.Errorf("rules = %+v, want --limits and the file's", config.Rules)
	}
	said := stop()
	m := example.FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no example in:\n%s", said)
	}

	post := func(base string, body string) (int, string) {
		req, err := http.NewRequest(http.MethodPost, base+m[1][strings.Index(m[1], "/alimtalk"):], strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Secret-Key", "try")
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	url, stop = simulated(t, "--manual", "--ledger", ledger, "--config", file)
	if status, _ := post(url, m[2]); status != http.StatusServiceUnavailable {
		t.Errorf("the script answers %d", status)
	}
	if _, body := post(url, m[2]); !strings.Contains(body, `"isSuccessful":true`) {
		t.Errorf("the printed example is answered with %s", body)
	}
	if said := stop(); !strings.Contains(said, "stopped: 1 accepted, 1 without a result, 0 violations") {
		t.Errorf("it ends with:\n%s", said)
	}

	url, stop = simulated(t, "--manual", "--ledger", ledger)
	var entries []simulator.Entry
	if get(t, url+"/__sim/ledger", &entries); len(entries) != 1 || entries[0].GroupingKey != "try:kakao" {
		t.Errorf("after a restart the ledger is %+v", entries)
	}
	stop()
}
