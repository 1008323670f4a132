package api

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/text/encoding/korean"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/intake"
)

func (o *office) tellTable(query, contentType string, table []byte) (code int, out intake.TableReceipt, said string) {
	o.l.t.Helper()
	w := o.l.sendAs(http.MethodPost, "/api/appointments/csv"+query, o.keys[auth.Integration], contentType, string(table))
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			o.l.t.Fatal(err)
		}
	}
	return w.Code, out, w.Body.String()
}

func TestAnExportIsUploadedAndAgainChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	table, err := os.ReadFile("../docs/examples/appointments/export.csv")
	if err != nil {
		t.Fatal(err)
	}
	// The ledger of the tests knows numbers of the simulator's bands only.
	text := strings.NewReplacer("010-1234-5678", "010-0000-0021", "010-2345-6789", "010-0000-0022", "01034567890", "1000000023").Replace(string(table))
	code, got, said := l.mine.tellTable("", "text/csv; charset=utf-8; header=present", []byte(text))
	if code != http.StatusOK || got.Accepted != 3 || got.Rejected+got.Duplicate != 0 || got.Encoding != "utf-8" || len(got.IgnoredColumns) != 2 || got.Rows[2].Line != 4 {
		t.Fatal(code, said)
	}
	cp949, err := korean.EUCKR.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	if code, got, said = l.mine.tellTable("", "text/csv; charset=euc-kr", []byte(cp949)); code != http.StatusOK || got.Duplicate != 3 || got.Encoding != "cp949" {
		t.Error(code, said)
	}
	changed := strings.Replace(strings.Replace(text, "노쇼", "방문완료", 1), "예약신청", "모름", 1)
	code, got, said = l.mine.tellTable("", "text/csv", []byte(changed))
	if code != http.StatusOK || got.Accepted != 1 || got.Duplicate != 1 || got.Rejected != 1 || got.Rows[1].Problems[0] != (intake.Fault{Pointer: "/status", Code: "not-in-list"}) {
		t.Error(code, said)
	}
	var p appointmentPage
	l.fetch("/api/appointments?status=completed", l.mine.keys[auth.Viewer], &p)
	if len(p.Data) != 1 || p.Data[0].ExternalID != "A-203" || *p.Data[0].Time != "16:00" {
		t.Errorf("%+v", p.Data)
	}
}

func TestATablesRowsAreOrderedByTheirLastChange(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	const heading = "예약번호,차트번호,환자명,휴대폰,예약일,상태,수정일시\n"
	newer := heading + "A-301,P-301,김하늘,010-0000-0031,2026-12-02,예약완료,2026-11-20 11:00\n"
	older := heading + "A-301,P-301,김하늘,010-0000-0031,2026-12-01,취소,2026-11-20 10:00\n"
	for _, c := range []struct {
		table, status string
		late          bool
	}{{newer, "accepted", false}, {older, "accepted", true}, {newer, "duplicate", false}, {strings.ReplaceAll(newer, "김하늘", "김 하늘"), "duplicate", false}} {
		code, got, said := l.mine.tellTable("?source=desk", "text/csv", []byte(c.table))
		if code != http.StatusOK || got.Rows[0].Status != c.status || c.status == "accepted" && got.Rows[0].Late != c.late {
			t.Errorf("%d %s, want %s", code, said, c.status)
		}
	}
	var p appointmentPage
	l.fetch("/api/appointments?status=scheduled", l.mine.keys[auth.Viewer], &p)
	if len(p.Data) != 1 || p.Data[0].Source != "desk" || *p.Data[0].Date != "2026-12-02" {
		t.Errorf("%+v", p.Data)
	}
}

func TestAWrongTableIsAProblem(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	for _, c := range []struct {
		query, contentType, table string
		code                      int
		want                      string
	}{
		{"", "text/csv", "이름\n김하늘\n", 422, "/columns/예약번호"},
		{"", "application/vnd.ms-excel", "x", 415, "media types that the operation's documentation lists"},
		{"?identify=guess", "text/csv", "x", 400, "identify"},
		{"", "text/csv", "예약번호\n", 422, "too-few"},
	} {
		if code, _, said := l.mine.tellTable(c.query, c.contentType, []byte(c.table)); code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%q: %d %s, want %d %s", c.table, code, said, c.code, c.want)
		}
	}
}
