package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

// leafProcess runs the program on a clinic's computer, and returns where it
// listens.
func leafProcess(t *testing.T, data string, args ...string) (cmd *exec.Cmd, url string) {
	t.Helper()
	exe, err := exec.LookPath("doctorsflow")
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(exe, append([]string{"leaf", "--data", data, "--listen", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()
	})
	url, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, log.String())
	}
	return cmd, strings.TrimSpace(url)
}

// TestAClinicsEventsSurviveTheLineAndItsComputer goes the whole way: events are
// acknowledged while the pipeline is away and the clinic's computer is killed;
// each is in the ledger once when both are back, and has its receipt.
func TestAClinicsEventsSurviveTheLineAndItsComputer(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	_, gw := gateway(t)
	p := start(t, data)
	applied(t, fmt.Sprintf(killClinic, gw), "--data", data)
	where, err := readRunning(data)
	if err != nil {
		t.Fatal(err)
	}
	slug := regexp.MustCompile(`slug: ([a-z0-9-]+)`).FindStringSubmatch(killClinic)[1]
	made := regexp.MustCompile(`(?s)^user +([0-9a-f-]{36})\npassword +(dfn_[0-9A-Za-z]{43})\n$`).FindStringSubmatch(command(t, "tenant", "nats-creds", "create", "--tenant", slug, "--data", data))
	id := regexp.MustCompile(`(?m)^([0-9a-f-]{36}) .* ` + slug + ` `).FindStringSubmatch(command(t, "tenant", "list", "--data", data))
	if made == nil || id == nil {
		t.Fatal(made, id)
	}
	site := t.TempDir()
	args := []string{"--hub", where.NATS, "--tenant", id[1], "--user", made[1], "--password", made[2]}
	leaf, url := leafProcess(t, site, args...)
	password, err := os.ReadFile(filepath.Join(site, "clinic-password"))
	if err != nil {
		t.Fatal(err)
	}
	// say publishes as JetStream clients do, and waits for the acknowledgement.
	say := func(n int) {
		t.Helper()
		line := callIn(t, url, "clinic", strings.TrimSpace(string(password)))
		event := fmt.Sprintf(`{"id":"leaf-%d","sequence":%d,"patient":{"external_id":"P-%d","name":"김하늘","phone":"010-0000-%04d"},"appointment":{"id":"A-%d","starts_at":"2030-01-02T10:00:00+09:00"}}`, n, n+1, n%7, n%7, n%7)
		kind := "edited"
		if n < 7 {
			kind = "booked"
		}
		got := line.say(fmt.Sprintf("SUB _INBOX.a 1\r\nPUB clinic.%s.appointment.%s _INBOX.a %d\r\n%s\r\n", id[1], kind, len(event), event))
		if got != "PONG" {
			t.Fatal(got)
		}
		if got = line.hear(); !strings.HasPrefix(got, "MSG _INBOX.a") {
			t.Fatal(got)
		}
		if got = line.hear(); !strings.Contains(got, `"stream":"OUTBOX"`) {
			t.Fatal(got)
		}
		_ = line.Close() // said
	}
	for n := range 14 {
		say(n)
	}
	p.stop()
	for n := 14; n < 28; n++ {
		say(n)
	}
	if err := leaf.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = leaf.Wait()
	p = start(t, data)
	if where, err = readRunning(data); err != nil {
		t.Fatal(err)
	}
	args[1] = where.NATS
	_, url = leafProcess(t, site, args...)
	for n := 28; n < 35; n++ {
		say(n)
	}
	look := storetest.URLs{Super: where.WorkerURL}
	var events, appointments, late int
	for deadline := time.Now().Add(time.Minute); events < 35; time.Sleep(100 * time.Millisecond) {
		look.Scan(t, `SELECT count(*), count(DISTINCT appointment_id), count(*) FILTER (WHERE late) FROM appointment_events WHERE event_id LIKE 'leaf-%'`, nil, &events, &appointments, &late)
		if time.Now().After(deadline) {
			break
		}
	}
	if events != 35 || appointments != 7 || late != 0 {
		t.Errorf("%d events of 35, %d appointments of 7, %d came out of order", events, appointments, late)
	}
	line := callIn(t, url, "clinic", strings.TrimSpace(string(password)))
	ask := fmt.Sprintf(`{"last_by_subj":"clinic.%s.receipt.leaf-20"}`, id[1])
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := line.say(fmt.Sprintf("SUB _INBOX.r 2\r\nPUB $JS.API.DIRECT.GET.RECEIPTS _INBOX.r %d\r\n%s\r\n", len(ask), ask))
		for range 12 {
			if strings.Contains(got, `"event_id":"leaf-20"`) || time.Now().After(deadline) {
				break
			}
			got = line.hear()
			if strings.Contains(got, "404") {
				break
			}
		}
		if strings.Contains(got, `"event_id":"leaf-20"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no receipt: %s", got)
		}
		time.Sleep(200 * time.Millisecond)
	}
	p.stop()
	command(t, "conserve", "--data", data)
}

func TestALeafRefusesWhatWouldSendPatientsInTheClear(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"in the clear":  {"--hub", "nats://hub.example.com:4222", "--tenant", "0198c0de-0000-7000-8000-000000000000", "--user", "u", "--password", "p"},
		"with a user":   {"--hub", "tls://app:secret@hub.example.com:4222", "--tenant", "0198c0de-0000-7000-8000-000000000000", "--user", "u", "--password", "p"},
		"no password":   {"--hub", "tls://hub.example.com:4222", "--tenant", "0198c0de-0000-7000-8000-000000000000", "--user", "u"},
		"no tenant":     {"--hub", "tls://hub.example.com:4222", "--tenant", "miso", "--user", "u", "--password", "p"},
		"others listen": {"--hub", "tls://hub.example.com:4222", "--tenant", "0198c0de-0000-7000-8000-000000000000", "--user", "u", "--password", "p", "--listen", "0.0.0.0:0"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"leaf", "--data", t.TempDir()}, args...), &out, &errs); code != 1 || errs.Len() == 0 || strings.Contains(errs.String(), "secret") {
			t.Errorf("%s: %d %s", name, code, errs.String())
		}
	}
}
