//go:build failpoint

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// faultScale makes the send protocol's minutes seconds, for the gateway as for
// the program: R is 1 s, G 0.2 s, D 3 s, V 12 s, W 60 s.
const faultScale = 10

// built makes the program with the build tag, and with an overlay if one is
// named.
func built(t testing.TB, overlay string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "doctorsflow")
	args := []string{"build", "-tags", "failpoint", "-o", exe}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if out, err := exec.CommandContext(t.Context(), "go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return exe
}

// lane is one data folder, which many processes serve one after the other, and
// one gateway beside it, which nobody kills and whose ledger is on disk.
type lane struct {
	t       testing.TB
	exe     string
	addr    string // where every process of the lane listens
	gateway string
	data    string
	now     *victim
}

func newLane(t testing.TB, exe string) *lane {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &lane{t: t, exe: exe, addr: listener.Addr().String(), gateway: gatewayProcess(t, exe)}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.end)
	return l
}

var address = regexp.MustCompile(`http://[0-9.:]+`)

// gatewayProcess runs the simulator by itself, each acceptance on disk before
// its answer.
func gatewayProcess(t testing.TB, exe string) string {
	t.Helper()
	cmd := exec.Command(exe, "simulator", "--addr", "127.0.0.1:0", "--scale", fmt.Sprint(faultScale), "--real-stamps",
		"--ledger", filepath.Join(t.TempDir(), "gateway.jsonl"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if u := address.FindString(lines.Text()); u != "" {
				url <- u
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
		ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("the gateway ended with %v: nothing that it counted can be relied on", err)
		}
	})
	select {
	case u := <-url:
		return u
	case <-time.After(30 * time.Second):
		t.Fatal("the gateway does not say where it is")
	}
	return ""
}

// victim is a serving process.
type victim struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when it serves
	ended chan struct{} // closed when it has ended

	mu  sync.Mutex
	log strings.Builder
}

// start serves the lane's data with these traps set, and returns when the
// process is ready.
func (l *lane) start(traps string) (*victim, error) {
	if l.data == "" {
		data, err := dataDir()
		if err != nil {
			return nil, err
		}
		l.data = data
	}
	v := &victim{ready: make(chan struct{}), ended: make(chan struct{})}
	v.cmd = exec.Command(l.exe,
		"serve", "--data", l.data, "--http-addr", l.addr, "--nats-listen", "127.0.0.1:0", "--simulator", "127.0.0.1:0",
		"--time-scale", fmt.Sprint(faultScale), "--poll-every", "200ms", "--database-conns", "4", "--log-format", "json", "--grace", "5s")
	v.cmd.Env = append(os.Environ(), failpoint.Env+"="+traps)
	stderr, err := v.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	l.now = v
	go v.read(stderr)
	select {
	case <-v.ready:
		return v, nil
	case <-v.ended:
	case <-time.After(2 * time.Minute):
	}
	return nil, fmt.Errorf("serve was never ready:\n%s", v.tail())
}

func (v *victim) read(stderr io.Reader) {
	defer close(v.ended)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		v.mu.Lock()
		v.log.WriteString(lines.Text() + "\n")
		v.mu.Unlock()
		var line struct{ Msg string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			close(v.ready)
		}
	}
	_ = v.cmd.Wait() // ProcessState says it better
}

func (v *victim) tail() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.log.String()
	return s[max(0, len(s)-4000):]
}

// fired reports whether the process killed itself at a point.
func (v *victim) fired(p failpoint.Point, hit int) bool {
	status, ok := v.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL && strings.Contains(v.tail(), failpoint.Fired(p, int64(hit)))
}

// kill ends the lane's process at rest, if it has one. Its Postgres is an
// orphan then, which the next start stops.
func (l *lane) kill() {
	if l.now != nil {
		_ = l.now.cmd.Process.Kill() // it may have ended already
		<-l.now.ended
		l.now = nil
	}
}

// end removes the lane's data, with whatever still runs there.
func (l *lane) end() {
	l.kill()
	if l.data != "" {
		removeData(l.t, l.data)
		l.data = ""
	}
}

// faultClinic is a tenant of one case: two messages at once, one of them a
// text without a key at the gateway, and one a second later.
const faultClinic = `
tenant: {slug: %[1]s, name: 미소치과}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %[2]q, app_key: %[1]s-kakao, secret: s, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, report_token: token-of-%[1]s-kakao, rate_per_second: %[3]d}
  - {channel: sms, vendor: nhn, base_url: %[2]q, app_key: %[1]s-sms, secret: s, sender: "15880000", report_token: token-of-%[1]s-sms, rate_per_second: %[3]d}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
  - {name: text, sms_text: "#{환자명}님"}
  - {name: ad, class: marketing, sms_text: "#{환자명}님"}
workflows:
  - name: aftercare
    steps: [{seconds: 0, template: care}, {seconds: 0, template: text}, {seconds: 1, template: care}%[4]s]
webhooks:
  - {name: visits, workflow: aftercare, rate_per_minute: 60000}
`

// clinic applies a case's tenant to the lane and, if asked, has the gateways
// report to it.
func (l *lane) clinic(t testing.TB, slug string, c faultCase) (hooked, error) {
	rate, extra := 5000, ""
	if c.rate > 0 {
		rate = c.rate
	}
	if c.ad {
		extra = ", {seconds: 0, template: ad}"
	}
	file := fmt.Sprintf(faultClinic, slug, l.gateway, rate, extra)
	if c.drawn {
		before, after, ok := strings.Cut(file, "    steps: ")
		if !ok {
			return hooked{}, errors.New("the clinic has no steps")
		}
		_, after, _ = strings.Cut(after, "\n")
		file = before + "    visual_data: '" + drawnLoad + "'\n" + after
	}
	hook := applied(t, file, "--data", l.data)
	if !c.reports {
		return hook, nil
	}
	// Applied again, nothing changes, and the addresses are printed.
	path := filepath.Join(t.TempDir(), "clinic.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		return hook, err
	}
	out := command(t, "apply", "-f", path, "--data", l.data)
	for _, channel := range []string{"kakao", "sms"} {
		_, url, ok := strings.Cut(out, "account "+channel+": result webhook ")
		if !ok {
			return hook, errors.New("apply printed no result webhook")
		}
		url, _, _ = strings.Cut(url, "\n")
		door := struct {
			AppKey string `json:"app_key"`
			simulator.Webhook
		}{slug + "-" + channel, simulator.Webhook{URL: url, Signature: "token-of-" + slug + "-" + channel}}
		if err := l.control(t.Context(), http.MethodPut, "webhooks", door, nil); err != nil {
			return hook, err
		}
	}
	return hook, nil
}

// drawnLoad has three messages too, the last after a question.
const drawnLoad = `{"nodes": [{"id": "t", "type": "trigger", "data": {}}, {"id": "1", "type": "message", "data": {"template": "care"}}, ` +
	`{"id": "2", "type": "message", "data": {"template": "care"}}, {"id": "d", "type": "delay", "data": {"seconds": 1}}, ` +
	`{"id": "q", "type": "condition", "data": {"expression": "has(trigger.patient)"}}, {"id": "3", "type": "message", "data": {"template": "care"}}], ` +
	`"edges": [{"source": "t", "target": "1"}, {"source": "1", "target": "2"}, {"source": "2", "target": "d"}, {"source": "d", "target": "q"}, ` +
	`{"source": "q", "target": "3", "sourceHandle": "true"}]}`

// decided waits until every run of a tenant was planned, and has no question
// open.
func (l *lane) decided(ctx context.Context, t testing.TB, id tenant.ID) {
	t.Helper()
	where, err := readRunning(l.data)
	if err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		var open int
		storetest.URLs{Super: where.WorkerURL}.Scan(t, `
SELECT (SELECT count(*) FROM triggers WHERE tenant_id = $1 AND state = 'pending') + (SELECT count(*) FROM run_rests WHERE tenant_id = $1 AND wake_at IS NOT NULL)`,
			[]any{id.String()}, &open)
		if open == 0 {
			return
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// control calls the gateway's control plane.
func (l *lane) control(ctx context.Context, method, what string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, l.gateway+"/__sim/"+what, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway's control plane answered %s: %s", res.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
