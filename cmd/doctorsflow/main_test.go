package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/doctorsflow/doctorsflow/ingest"
)

// The test binary is the product's binary too: no test runs anything else.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"doctorsflow": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// Postgres is fetched or found as for anybody else.
			for _, v := range []string{"PATH", "HOME", "XDG_CACHE_HOME", "GOCACHE"} {
				if s := os.Getenv(v); s != "" && v != "PATH" {
					e.Setenv(v, s)
				}
			}
			dir, err := dataDir()
			if err != nil {
				return err
			}
			e.Defer(func() { removeData(t, dir) })
			e.Setenv("DATA", dir)
			examples, err := filepath.Abs("../../docs/examples")
			e.Setenv("EXAMPLES", examples)
			return err
		},
	})
}

// dataDir is a folder that an unprivileged Postgres can reach.
func dataDir() (string, error) {
	dir, err := os.MkdirTemp("", "doctorsflow-cmd-")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "data"), os.Chmod(dir, 0o755)
}

// process is a serving child: this test binary as the product.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   *bytes.Buffer
	http  string
	done  chan error    // gets how it ended
	ended chan struct{} // closed then
}

// start serves a data folder and waits until it is ready.
func start(t testing.TB, data string, args ...string) *process {
	t.Helper()
	exe, err := exec.LookPath("doctorsflow")
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"serve", "--data", data, "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0", "--log-format", "json", "--grace", "5s"}, args...)
	p := &process{t: t, cmd: exec.Command(exe, args...), log: new(bytes.Buffer), done: make(chan error, 1), ended: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended already
		<-p.ended
	})
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.log.Write(append(lines.Bytes(), '\n'))
			var line struct{ Msg, HTTP string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
				ready <- line.HTTP
			}
		}
		p.done <- p.cmd.Wait()
		close(p.ended)
	}()
	select {
	case p.http = <-ready:
	case err := <-p.done:
		t.Fatalf("serve ended before it was ready: %v\n%s", err, p.log)
	case <-time.After(2 * time.Minute):
		t.Fatalf("serve was not ready within 2 min\n%s", p.log)
	}
	return p
}

func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}

func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("serve ended with %v\n%s", err, p.log)
		}
	case <-time.After(time.Minute):
		p.t.Fatalf("serve did not stop within a minute of SIGTERM\n%s", p.log)
	}
}

// command runs the product once and returns what it printed.
func command(t testing.TB, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("doctorsflow %s: exit %d\n%s%s", strings.Join(args, " "), code, &out, &errs)
	}
	return out.String()
}

// hooked is what apply printed of a webhook.
type hooked struct {
	url    string
	secret []byte
}

// applied applies a file and returns its webhook.
func applied(t testing.TB, file string, args ...string) (h hooked) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clinic.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(command(t, append([]string{"apply", "-f", path}, args...)...), "\n") {
		if _, url, ok := strings.Cut(line, ": POST "); ok {
			h.url = url
		}
		if _, text, ok := strings.Cut(line, "secret (shown once): "); ok {
			secret, err := ingest.DecodeSecret(text)
			if err != nil {
				t.Fatal(err)
			}
			h.secret = secret
		}
	}
	if h.url == "" || h.secret == nil {
		t.Fatal("apply printed no webhook")
	}
	return h
}

// post makes one signed call and returns the status, 0 if there was none.
func (h hooked) post(ctx context.Context, base, id string, body []byte) (int, accepted) {
	url := base + h.url[strings.Index(h.url, "/api/"):]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, accepted{}
	}
	sign(req, h.secret, id, body)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, accepted{}
	}
	defer res.Body.Close()
	var a accepted
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		return 0, accepted{}
	}
	return res.StatusCode, a
}

func visit(patient, number string) []byte {
	return fmt.Appendf(nil, `{"type":"visit","patient":{"external_id":%q,"name":"김하늘","phone":%q}}`, patient, number)
}
