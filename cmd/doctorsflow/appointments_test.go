package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/streamtest"
)

const appointmentsClinic = `
tenant: {slug: miso-dental, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: 예약 안내, class: transactional, sms_text: "#{환자명}님, #{날짜} 예약되었습니다."}
  - {name: 수술 후, sms_text: "#{환자명}님, 수술 후 안내입니다."}
workflows:
  - name: confirm
    trigger_type: appointment.booked
    ignore_quiet_hours: true
    steps: [{node: confirm, seconds: 0, template: 예약 안내, variables: {날짜: /appointment/date}}]
  - name: care
    trigger_type: post_surgery
    target_surgery_type: 임플란트
    steps: [{node: care, day: 100, template: 수술 후}]
`

const testCronSecret = "kV9x2mQ7r8bT4zN1pL5wY3cH6dJ0fGsA"

var shownBody = regexp.MustCompile(`(?s)-d '(\{.*?\})'\n`)

// TestTheAppointmentsPageWorks says what docs/appointments.md says, to a whole
// system: the booking is confirmed, the surgery starts its care, and both stand
// in why.
func TestTheAppointmentsPageWorks(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	p := start(t, data, "--cron-secret", testCronSecret, "--log-level", "debug")
	file := t.TempDir() + "/clinic.yaml"
	if err := os.WriteFile(file, []byte(appointmentsClinic), 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, "apply", "-f", file, "--data", data)
	key := strings.TrimSpace(command(t, "tenant", "key", "miso-dental", "--name", "emr", "--role", "integration", "--data", data))
	doc, err := os.ReadFile("../../docs/appointments.md")
	if err != nil {
		t.Fatal(err)
	}
	bodies := shownBody.FindAllSubmatch(doc, -1)
	if len(bodies) != 2 {
		t.Fatalf("the page shows %d bodies", len(bodies))
	}
	why := func(subject string, want ...string) {
		t.Helper()
		var said string
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); wait(t.Context(), 100*time.Millisecond) {
			var b bytes.Buffer
			run(t.Context(), []string{"why", subject, "--data", data, "--lang", "en"}, &b, &b)
			said = b.String()
			all := true
			for _, line := range want {
				all = all && strings.Contains(said, line)
			}
			if all {
				return
			}
		}
		t.Fatalf("why does not say %q:\n%s", want, said)
	}
	first := tellAppointments(t, p.http, key, bodies[0][1])
	if len(first) != 1 || first[0].Status != "accepted" || first[0].Version != 1 {
		t.Fatalf("%+v", first)
	}
	why(first[0].AppointmentID, "appointment appointment.booked", "#confirm sms   delivered")
	for _, r := range tellAppointments(t, p.http, key, bodies[1][1]) {
		if r.Status != "accepted" || r.AppointmentID != first[0].AppointmentID {
			t.Errorf("%+v", r)
		}
	}
	why(first[0].AppointmentID, "appointment appointment.completed", "#care sms   planned")
	if again := tellAppointments(t, p.http, key, bodies[0][1]); again[0].Status != "duplicate" {
		t.Errorf("%+v", again)
	}
	overNATS(t, data, first[0].AppointmentID)
	asTables(t, p.http, key)
	again(t, p.http, data, first[0].TriggerID)
	if out := command(t, "conserve", "--data", data); !strings.Contains(out, "holds") {
		t.Errorf("conserve: %s", out)
	}
	p.stop()
	if strings.Contains(p.log.String(), testCronSecret) {
		t.Error("the log has the secret of cron services")
	}
}

// again has what came looked at again: nothing runs twice but what is forced by
// name.
func again(t *testing.T, base, data, trigger string) {
	t.Helper()
	say := func(args ...string) string {
		t.Helper()
		return command(t, append(append([]string{"replay"}, args...), "--tenant", "miso-dental", "--data", data, "--reason", "the answer was lost")...)
	}
	runs := func(said string) int { return strings.Count(said, "  run ") }
	if said := say("trigger", trigger); runs(said) != 1 || !strings.Contains(said, "is planned") {
		t.Errorf("again: %s", said)
	}
	for range 2 {
		if said := say("trigger", trigger, "--workflow", "confirm", "--name", "lost", "--from-now"); runs(said) != 1 || !strings.Contains(said, "is planned") || strings.Contains(said, trigger) {
			t.Errorf("by force: %s", said)
		}
	}
	if said := say("source", "--since", "1h", "--dry-run"); !strings.Contains(said, "triggers, 0 of them") {
		t.Error(said)
	}
	say("source", "appointment", "--since", "1h")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); wait(t.Context(), 100*time.Millisecond) {
		if strings.Contains(say("list"), " done ") {
			break
		}
	}
	if said := say("list"); !strings.Contains(said, " done ") || strings.Contains(said, " 0 ") && !strings.Contains(said, "appointment") {
		t.Error(said)
	}
	for secret, want := range map[string]int{testCronSecret: http.StatusOK, "x": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/cron/trigger?key="+secret, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("cron with %q: %d", secret, res.StatusCode)
		}
	}
}

// asTables sends the page's export as a file, and as what is put into a folder.
func asTables(t *testing.T, base, key string) {
	t.Helper()
	const export = "../../docs/examples/appointments/export.csv"
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := command(t, "appointments", "import", export, "--url", base, "--key-file", keyFile); !strings.Contains(out, "utf-8: 3 accepted, 0 with nothing new, 0 rejected") {
		t.Error(out)
	}
	var out, help bytes.Buffer
	if code := run(t.Context(), []string{"appointments", "import", export, "--url", "http://clinic.example.com", "--key-file", keyFile}, &out, &help); code != 1 || !strings.Contains(help.String(), "https") {
		t.Errorf("%d %s", code, &help)
	}
	table, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "예약.csv")
	wrong := strings.Replace(string(table), "노쇼", "???", 1)
	then := time.Now().Add(-time.Minute)
	if err := errors.Join(os.WriteFile(path, []byte(wrong), 0o600), os.Chtimes(path, then, then)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		var out, help bytes.Buffer
		ended <- run(ctx, []string{"appointments", "watch", folder, "--url", base, "--key-file", keyFile}, &out, &help)
	}()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); wait(t.Context(), 100*time.Millisecond) {
		if _, err := os.Stat(filepath.Join(folder, "done", "예약.csv")); err == nil {
			break
		}
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("watch ended with %d", code)
	}
	if sheet, err := os.ReadFile(filepath.Join(folder, "rejected", "예약.csv")); err != nil || !strings.Contains(string(sheet), "상태 알 수 없는 값입니다") || strings.Contains(string(sheet), "A-201") {
		t.Errorf("%s, %v", sheet, err)
	}
}

var shownCredential = regexp.MustCompile(`user +(\S+)\npassword +(\S+)\n`)

var shownInbox = regexp.MustCompile(`--inbox-prefix _INBOX_(\S+)`)

// overNATS says the next word about the page's appointment as a clinic's system
// that is connected to NATS.
func overNATS(t *testing.T, data, appointment string) {
	t.Helper()
	var out, help bytes.Buffer
	if run(t.Context(), []string{"tenant", "nats-creds", "create", "--tenant", "miso-dental", "--data", data}, &out, &help) != 0 {
		t.Fatalf("%s%s", &out, &help)
	}
	made, inbox := shownCredential.FindStringSubmatch(out.String()), shownInbox.FindStringSubmatch(help.String())
	where, err := readRunning(data)
	if err != nil || made == nil || inbox == nil {
		t.Fatalf("%v\n%s%s", err, &out, &help)
	}
	clinic := inbox[1]
	nc := streamtest.Client(t, where.NATS, made[1], made[2], "_INBOX_"+clinic)
	subject := "clinic." + clinic + ".appointment.cancelled"
	body := []byte(`{"id": "evt-1004", "sequence": 4, "appointment": {"id": "A-77"}}`)
	for _, want := range []string{"accepted", "duplicate"} {
		var got toldAppointment
		reply, err := nc.Request(subject, body, 30*time.Second)
		if err != nil || json.Unmarshal(reply.Data, &got) != nil || got.Status != want || got.AppointmentID != appointment {
			t.Fatalf("%+v, %v; want %s", reply, err, want)
		}
	}
	receipts, err := nc.SubscribeSync("clinic." + clinic + ".receipt.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish(subject, body); err != nil {
		t.Fatal(err)
	}
	if m, err := receipts.NextMsg(30 * time.Second); err != nil || !strings.HasSuffix(m.Subject, ".evt-1004") || !strings.Contains(string(m.Data), "duplicate") {
		t.Errorf("the receipt that nobody waited for: %+v, %v", m, err)
	}
}

type toldAppointment struct {
	Status        string
	AppointmentID string `json:"appointment_id"`
	TriggerID     string `json:"trigger_id"`
	Version       int
}

func tellAppointments(t *testing.T, base, key string, body []byte) []toldAppointment {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/api/appointments/events", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct{ Results []toldAppointment }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	return out.Results
}
