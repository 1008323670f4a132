package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

const parkedClinic = `
tenant: {slug: parked, name: 미소치과}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %[1]q, app_key: k, secret: s, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: nhn, base_url: %[1]q, app_key: k, secret: s, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님", sms_text: "#{환자명}님"}
workflows:
  - {name: aftercare, ignore_quiet_hours: true, steps: [{seconds: 0, template: care}]}
webhooks:
  - {name: visits, workflow: aftercare}
`

// desk is a running process with a gateway that loses its tongue.
type desk struct {
	t    *testing.T
	data string
	sim  *simulator.Simulator
	hook hooked
	p    *process
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	sim, url := gateway(t)
	d := &desk{t: t, data: data, sim: sim}
	d.start()
	d.hook = applied(t, fmt.Sprintf(parkedClinic, url), "--data", data)
	return d
}

func (d *desk) start() {
	d.t.Helper()
	// Nothing but the resolver finds out what became of a request.
	d.p = start(d.t, d.data, "--time-scale", fmt.Sprint(scale), "--poll-every", "10m")
}

// cli runs a command of parked and returns its exit code and output.
func (d *desk) cli(args ...string) (code int, out string) {
	d.t.Helper()
	var b bytes.Buffer
	code = run(d.t.Context(), append(append([]string{"parked"}, args...), "--data", d.data), &b, &b)
	return code, b.String()
}

// becomes waits until `why` says this of the patient's message.
func (d *desk) becomes(patient string, states ...string) {
	d.t.Helper()
	var why string
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); wait(d.t.Context(), 100*time.Millisecond) {
		var b bytes.Buffer
		if run(d.t.Context(), []string{"why", patient, "--data", d.data, "--lang", "en"}, &b, &b); b.Len() > 0 {
			why = b.String()
		}
		for _, s := range states {
			if strings.Contains(why, "kakao "+s+":") {
				return
			}
		}
	}
	d.t.Fatalf("%s is not %v:\n%s", patient, states, why)
}

// park has one message end where only a human can decide, by a gateway in
// which this outage lasts longer than anybody waits.
func (d *desk) park(patient, number, mode string) (step string) {
	d.t.Helper()
	if err := d.sim.AddOutage(simulator.Outage{Mode: mode}); err != nil {
		d.t.Fatal(err)
	}
	if status, _ := d.hook.post(d.t.Context(), d.p.http, patient, visit(patient, number)); status != http.StatusAccepted {
		d.t.Fatalf("status %d", status)
	}
	d.becomes(patient, "unknown")
	d.pass(store.DefaultTiming.UnknownDeadline/scale + time.Minute)
	d.becomes(patient, "parked")
	code, out := d.cli("list", "--json")
	var p parkedLine
	if err := json.Unmarshal([]byte(out), &p); code != 0 || err != nil || strings.Contains(out, "김하늘") || strings.Contains(out, number[4:]) {
		d.t.Fatalf("parked list: exit %d, %v: %s", code, err, out)
	}
	return p.Step.String()
}

// pass lets the ledger's clock leap.
func (d *desk) pass(by time.Duration) {
	d.t.Helper()
	db, _, done, err := openLedger(d.t.Context(), dataFlags{Data: d.data}, false, slog.New(slog.DiscardHandler))
	if err != nil {
		d.t.Fatal(err)
	}
	defer done()
	_, now, err := db.Queues(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	if err := db.PassTime(d.t.Context(), now.Add(by)); err != nil {
		d.t.Fatal(err)
	}
}

// sent is how many messages the gateway took, none of them twice.
func (d *desk) sent() int {
	d.t.Helper()
	for _, v := range d.sim.Violations() {
		d.t.Errorf("the gateway's oracle: %+v", v)
	}
	return len(d.sim.Ledger())
}

// The gateway took the message and could not be asked. Asked again, it says
// so, though the process was dead when the human decided.
func TestARetryFindsOutWhatTheGatewayTook(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	step := d.park("P-1", "010-0000-0001", "accept_then_lose")
	scrape := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); wait(t.Context(), 200*time.Millisecond) {
		if scrape = d.metrics(); strings.Contains(scrape, `doctorsflow_parked_steps{channel="kakao",reason="outcome_unknown"} 1`) {
			break
		}
	}
	for _, want := range []string{`parked_steps{channel="kakao",reason="outcome_unknown"} 1`, `parked_steps{channel="sms",reason="outcome_unknown"} 0`, `parked_total{channel="kakao",reason="outcome_unknown"} 1`} {
		if !strings.Contains(scrape, "doctorsflow_"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if code, out := d.cli("list"); code != 0 || !strings.Contains(out, step) || !strings.Contains(out, "aftercare #1") || !strings.Contains(out, "outcome_unknown") {
		t.Errorf("list: exit %d:\n%s", code, out)
	}
	d.p.kill()
	for _, want := range []string{`"level":"WARN"`, `"a step is parked`, `"step":"` + step + `"`, `"channel":"kakao"`, `"reason":"outcome_unknown"`} {
		if !strings.Contains(d.p.log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	d.sim.EndOutages()
	if code, out := d.cli("retry", step); code != 0 || !strings.Contains(out, "asked again") {
		t.Fatalf("retry: exit %d: %s", code, out)
	}
	if code, out := d.cli("retry", step); code != 0 || !strings.Contains(out, "already retried: it is unknown") {
		t.Errorf("retry twice: exit %d: %s", code, out)
	}
	d.start()
	d.becomes("P-1", "sent", "delivered")
	if n := d.sent(); n != 1 {
		t.Errorf("the gateway took %d messages, want 1", n)
	}
	if code, out := d.cli("drop", step, "--reason", "x"); code != 0 || !strings.Contains(out, "it is not parked but") {
		t.Errorf("drop of what was sent: exit %d: %s", code, out)
	}
	command(t, "conserve", "--data", d.data)
}

// The gateway took nothing and nobody knows. Sent again, it gets one request
// more, and one only; given up, none.
func TestASecondSendingIsOneRequestMore(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	step := d.park("P-1", "010-0000-0001", "http503")
	if code, out := d.cli("retry", step, "--resend", "--reason", "the gateway's support knows of none"); code != 1 || !strings.Contains(out, "--accept-duplicate") {
		t.Fatalf("unacknowledged: exit %d: %s", code, out)
	}
	d.sim.EndOutages()
	before := d.requests()
	again := []string{"retry", step, "--resend", "--accept-duplicate", "--reason", "the gateway's support knows of none"}
	if code, out := d.cli(again...); code != 0 || !strings.Contains(out, "sent again") {
		t.Fatalf("retry: exit %d: %s", code, out)
	}
	d.becomes("P-1", "sent", "delivered")
	if code, out := d.cli(again...); code != 0 || !strings.Contains(out, "it is not parked but") {
		t.Errorf("retry twice: exit %d: %s", code, out)
	}
	if n := d.requests() - before; n != 1 || d.sent() != 1 {
		t.Errorf("%d more requests, %d messages taken; want 1 and 1", n, d.sent())
	}
	second := d.park("P-2", "010-0000-0002", "http503")
	d.sim.EndOutages()
	before = d.requests()
	for _, want := range []string{"  dropped\n", "  already dropped\n"} {
		if code, out := d.cli("drop", second, "--reason", "called the patient"); code != 0 || !strings.Contains(out, want) {
			t.Errorf("drop: exit %d: %s, want %s", code, out, want)
		}
	}
	d.becomes("P-2", "failed")
	if n := d.requests() - before; n != 0 {
		t.Errorf("%d requests for what was dropped", n)
	}
	command(t, "conserve", "--data", d.data)
}

func (d *desk) metrics() string {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.p.http+"/metrics", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// requests is how many messages were asked for in writing, taken or not.
func (d *desk) requests() (n int) {
	for _, r := range d.sim.Requests(0) {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}
