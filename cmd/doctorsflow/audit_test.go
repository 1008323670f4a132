package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

func TestACellIsNeverAFormula(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "read": "read", "key:01": "key:01", `{"a":1}`: `{"a":1}`, "12": "12", "a=b": "a=b",
		"=1+1": "'=1+1", "+82": "'+82", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "  =1": "'  =1", "＝1": "'＝1", "\u00a0@x": "'\u00a0@x",
	} {
		if got := plainCell(in); got != want {
			t.Errorf("plainCell(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAnExportIsWhatASpreadsheetReads(t *testing.T) {
	t.Parallel()
	row := store.AuditRow{
		Seq: 7, At: time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC), Actor: "cli:dana", Action: "read", Subject: "why",
		Patients: []uuid.UUID{uuid.Max, uuid.Max}, Purpose: `=HYPERLINK("http://x","y")`, Detail: json.RawMessage(`{"rows": 1}`), Hash: []byte{1}, PrevHash: []byte{2},
	}
	var b bytes.Buffer
	w := newAuditWriter("csv", &b)
	if err := w.row(row); err != nil {
		t.Fatal(err)
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"seq", "at", "actor", "from_addr", "action", "subject", "subject_id", "patients", "purpose", "detail", "prev_hash", "hash"},
		{"7", "2026-11-01T09:00:00Z", "cli:dana", "", "read", "why", "", uuid.Max.String() + " " + uuid.Max.String(), `'=HYPERLINK("http://x","y")`, `{"rows": 1}`, "02", "01"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("csv (-want +got):\n%s", diff)
	}
}

func TestWhatIsSentAndLookedAtCanBeReviewed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if status, _ := d.hook.post(t.Context(), d.p.http, "P-1", visit("P-1", "010-0000-0001")); status != http.StatusAccepted {
		t.Fatalf("status %d", status)
	}
	d.becomes("P-1", "sent", "delivered")
	cli := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		return run(t.Context(), append(args, "--data", d.data), &out, &errs), out.String(), errs.String()
	}
	var verdict string
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(verdict, "and 1 sends are as they were written"); wait(t.Context(), 200*time.Millisecond) {
		if code, out, errs := cli("verify-audit"); code != 0 || time.Now().After(deadline) {
			t.Fatalf("verify-audit: exit %d: %s%s", code, out, errs)
		} else {
			verdict = out
		}
	}
	_, head, _ := strings.Cut(verdict, "head ")
	head = strings.TrimSpace(head)

	if code, out, errs := cli("patient", "find", "--tenant", "parked", "--last4", "0001", "--reason", "전화 문의"); code != 0 || !strings.Contains(out, "P-1") {
		t.Errorf("patient find: exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := cli("patient", "find", "--tenant", "parked", "--phone", "010-9999-9999"); code != 0 || out != "" || !strings.Contains(errs, "No patient") {
		t.Errorf("patient find of nobody: exit %d: %s%s", code, out, errs)
	}
	code, out, errs := cli("audit", "export", "--tenant", "parked", "--format", "jsonl", "--reason", "월간 점검")
	if code != 0 {
		t.Fatalf("audit export: exit %d: %s", code, errs)
	}
	seen, searches := map[string]int{}, []string(nil)
	for line := range strings.Lines(out) {
		var l auditLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		seen[l.Action+" "+l.Subject]++
		if l.Subject == "patient-find" {
			searches = append(searches, fmt.Sprintf("%s %d %s %s", l.Actor, len(l.Patients), l.Purpose, l.Detail))
		}
		if l.Subject == "why" && (len(l.Patients) != 1 || l.Actor != "cli:"+login()) {
			t.Errorf("the audit log has %+v", l)
		}
	}
	if seen["clinic.apply clinic_file"] != 1 || seen["send attempts"] != 1 || seen["read why"] == 0 {
		t.Errorf("the export has %v", seen)
	}
	who := "cli:" + login()
	if diff := cmp.Diff([]string{
		who + ` 1 전화 문의 {"by":"last4","name":false,"rows":1,"whole_numbers":false}`,
		who + ` 0  {"by":"phone","name":false,"rows":0,"whole_numbers":false}`,
	}, searches); diff != "" {
		t.Errorf("searches in the log (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"김하늘", "01000000001", "0000-0001", "99999999", "0001\""} {
		if strings.Contains(out, secret) {
			t.Errorf("the export has %q", secret)
		}
	}
	if _, out, _ := cli("audit", "export", "--tenant", "parked", "--reason", "again"); !strings.Contains(out, ",export,audit-log,") || !strings.Contains(out, "월간 점검") {
		t.Errorf("that it was exported is not in the log:\n%s", out)
	}
	if _, out, _ := cli("audit", "export", "--tenant", "parked", "--reason", "none", "--from", "2099-01-01"); strings.Count(out, "\n") != 1 {
		t.Errorf("an empty export is %q", out)
	}

	if code, out, _ := cli("verify-audit", "--tenant", "parked", "--expect-head", head); code != 0 {
		t.Errorf("with the head of before: exit %d: %s", code, out)
	}
	if code, out, _ := cli("verify-audit", "--tenant", "parked", "--expect-head", strings.Repeat("0", 64)); code != 1 || !strings.Contains(out, "TOUCHED") {
		t.Errorf("with a head that never was: exit %d: %s", code, out)
	}
	for _, bad := range [][]string{
		{"verify-audit", "--expect-head", "zz", "--tenant", "parked"},
		{"verify-audit", "--expect-head", head},
		{"verify-audit", "--from", "-1"},
		{"audit", "export", "--tenant", "nobody", "--reason", "x"},
		{"audit", "export", "--tenant", "parked", "--reason", "for 010-1234-5678"},
		{"audit", "export", "--tenant", "parked", "--reason", "x", "--from", "yesterday"},
	} {
		if code, _, errs := cli(bad...); code == 0 || errs == "" {
			t.Errorf("%v: exit %d, %q", bad, code, errs)
		}
	}
}
