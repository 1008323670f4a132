package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheDemoShowsEveryWayAMessageCanGo runs what the README promises first.
func TestTheDemoShowsEveryWayAMessageCanGo(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	out := command(t, "demo", "--data", data, "--http-addr", "127.0.0.1:0")
	for _, want := range []string{
		"duplicate=true",
		"김하늘        카톡 ✔                카톡 ✔                카톡 ✔",
		"정도윤        카톡 ✘3019 → 문자 ✔",
		"조시우        카톡 ✘-3010 → 문자 ✔",
		"윤하린        카톡 ✘3020 → 문자 ✘3001",
		"장주원        – opted_out           – opted_out           – opted_out",
		"미소치과  ✔ holds",
		"steps 42 (runs expect 42) = delivered 24 + sent 0 + failed 15 + cancelled 0 + skipped 3",
		"why P-1005 --data " + data,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if strings.Contains(out, "\x1b[") {
		t.Error("escape codes where the output is not a terminal")
	}
	if t.Failed() {
		t.Log(out)
	}
	noProcessOf(t, data)

	// What it printed to look further works on the stopped folder.
	if why := command(t, "why", "P-1005", "--data", data, "--lang", "en"); strings.Count(why, "went on by SMS [fell_back]") != 3 || strings.Count(why, "code=3019") != 3 {
		t.Errorf("why P-1005 says:\n%s", why)
	}
	if why := command(t, "why", "P-1009", "--data", data, "--lang", "ko"); strings.Count(why, "환자가 수신을 거부함 [opted_out]") != 3 {
		t.Errorf("why P-1009 says:\n%s", why)
	}
	noProcessOf(t, data)
}

func TestTheDemoEmptiesNoFolderOfSomebodyElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(keep, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"demo", "--data", dir}, &out, &errs); code == 0 || !strings.Contains(errs.String(), "is not empty and no demo made it") {
		t.Errorf("exit %d: %s", code, &errs)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}

// noProcessOf fails if any process was started on the data folder and is left.
func noProcessOf(t testing.TB, data string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if cmd := string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})); strings.Contains(cmd, data+"/postgres") {
			t.Errorf("left behind: %s", cmd)
		}
	}
}

// TestTheDemosOwnIssuerLetsItsClinicIn keeps a demo serving and does what it
// prints.
func TestTheDemosOwnIssuerLetsItsClinicIn(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	var errs bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--keep", "--plain", "--data", data, "--http-addr", "127.0.0.1:0"}, in, &errs)
		in.Close()
	}()
	var tokens, list string
	line := regexp.MustCompile(`curl -s '(http://127\.0\.0\.1:\d+/token)\?role=owner'\)" '(http://[^']+/api/audit-log[^']*)'`)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := line.FindStringSubmatch(lines.Text()); m != nil {
			tokens, list = m[1], m[2]
		}
		if strings.Contains(lines.Text(), "until Ctrl-C") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if tokens == "" {
		stop()
		t.Fatalf("the demo prints no token: exit %d\n%s", <-ended, &errs)
	}
	get := func(url, host, token string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if req.Host = host; token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(body))
	}
	for role, want := range map[string]int{"owner": 200, "viewer": 403, "": 403} {
		status, token := get(tokens+"?role="+role, "", "")
		if status != http.StatusOK {
			t.Fatalf("a token as %q: %d %s", role, status, token)
		}
		if status, body := get(list, "", token); status != want {
			t.Errorf("the audit log as %q: %d %s, want %d", role, status, body, want)
		}
		head, _, _ := strings.Cut(token, ".")
		if status, _ := get(list, "", head+".e30."); status != http.StatusUnauthorized {
			t.Errorf("a token that nobody signed: %d", status)
		}
	}
	if status, _ := get(tokens+"?role=root", "", ""); status != http.StatusBadRequest {
		t.Errorf("a token as root: %d", status)
	}
	if status, _ := get(tokens, "evil.example", ""); status != http.StatusMisdirectedRequest {
		t.Errorf("a token for a page of another name: %d", status)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit %d: %s", code, &errs)
	}
}
