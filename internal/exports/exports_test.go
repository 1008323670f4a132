package exports

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
)

// desk answers as the API does: it refuses rows whose number ends in x, and
// whole files where it is told to.
type desk struct {
	t      *testing.T
	mu     sync.Mutex
	status int // 0: 200
	parts  [][][]string
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status != 0 {
		w.WriteHeader(d.status)
		return
	}
	if r.Header.Get("Authorization") != "Bearer key" || r.URL.Path != "/api/appointments/csv" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/csv") {
		d.t.Errorf("%s %v", r.URL, r.Header)
	}
	records, err := csv.NewReader(r.Body).ReadAll()
	if err != nil {
		d.t.Error(err)
	}
	d.parts = append(d.parts, records)
	out := answer{}
	for _, c := range records[1:] {
		row := struct {
			Status   string
			Problems []appointment.Problem
		}{Status: "accepted"}
		if strings.HasSuffix(c[0], "x") {
			row.Status, row.Problems = "rejected", []appointment.Problem{{Pointer: "/phone", Code: "not-a-phone-number"}}
		} else {
			out.Accepted++
		}
		out.Rows = append(out.Rows, row)
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		d.t.Error(err)
	}
}

func (d *desk) say(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = status
}

func newFolder(t *testing.T) (*desk, *Folder) {
	t.Helper()
	d := &desk{t: t}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	f := &Folder{Path: t.TempDir(), Log: slog.New(slog.DiscardHandler), Client: &Client{URL: server.URL, Key: "key", HTTP: server.Client()}}
	for _, sub := range []string{doneFolder, rejectedFolder} {
		if err := os.Mkdir(filepath.Join(f.Path, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return d, f
}

const heading = "예약번호,차트번호,예약일,상태\n"

// put writes a file that has been at rest for a while.
func put(t *testing.T, f *Folder, name, text string, age time.Duration) {
	t.Helper()
	path := filepath.Join(f.Path, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-age)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, parts ...string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if !e.IsDir() {
			all = append(all, e.Name())
		}
	}
	return strings.Join(all, " ")
}

func TestALargeExportIsSentInPartsAndItsLinesKeepTheirNumbers(t *testing.T) {
	t.Parallel()
	d, f := newFolder(t)
	text := heading
	for i := range 1234 {
		number := fmt.Sprint("A-", i)
		if i == 1000 {
			number += "x"
		}
		text += number + ",P-1,2026-12-01,완료\n"
	}
	got, err := f.Client.Send(t.Context(), []byte(text))
	if err != nil || got.Accepted != 1233 || len(got.Rejected) != 1 || got.Rejected[0].Line != 1002 || got.Rejected[0].Cells[0] != "A-1000x" {
		t.Errorf("%+v, %v", got, err)
	}
	if len(d.parts) != 3 || len(d.parts[2]) != 1+234 || d.parts[1][0][0] != "예약번호" {
		t.Errorf("%d parts", len(d.parts))
	}
}

// Nothing is sent before it has come to rest, nothing twice, and what was not
// taken comes back as a file that can be corrected.
func TestAFolderIsEmptiedInItsOrder(t *testing.T) {
	t.Parallel()
	d, f := newFolder(t)
	put(t, f, "b.csv", heading+"A-2,P-2,2026-12-01,완료\nA-3x,P-3,2026-12-01,완료\n", time.Minute)
	put(t, f, "a.csv", heading+"A-1,P-1,2026-12-01,완료\n", time.Second*30)
	put(t, f, "still.csv", heading+"A-9,P-9,2026-12-01,완료\n", 0)
	put(t, f, "~$a.csv", "x", time.Minute)
	put(t, f, "notes.docx", "x", time.Minute)
	for want := range 2 {
		if sent, err := f.Scan(t.Context()); err != nil || sent != 2*want {
			t.Fatal(sent, err)
		}
	}
	if got := names(t, f.Path); got != "notes.docx still.csv ~$a.csv" {
		t.Errorf("left: %s", got)
	}
	if got := names(t, f.Path, doneFolder); got != "a.csv b.csv" || len(d.parts) != 2 || d.parts[0][1][0] != "A-2" {
		t.Errorf("done: %s, %v", got, d.parts)
	}
	sheet, err := os.ReadFile(filepath.Join(f.Path, rejectedFolder, "b.csv"))
	if want := "\xef\xbb\xbf예약번호,차트번호,예약일,상태,오류\r\nA-3x,P-3,2026-12-01,완료,휴대폰 휴대전화 번호가 아닙니다. 예: 010-1234-5678\r\n"; err != nil || string(sheet) != want {
		t.Errorf("%q, %v", sheet, err)
	}
	corrected := strings.Replace(string(sheet), "A-3x", "A-3", 1)
	put(t, f, "b.csv", corrected, time.Minute)
	for range 2 {
		if _, err := f.Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, f.Path, doneFolder); len(strings.Fields(got)) != 3 {
		t.Errorf("a file was written over: %s", got)
	}
}

func TestAFileStaysUntilTheAPIHasIt(t *testing.T) {
	t.Parallel()
	d, f := newFolder(t)
	put(t, f, "a.csv", heading+"A-1,P-1,2026-12-01,완료\n", time.Minute)
	d.say(http.StatusServiceUnavailable)
	if _, err := f.Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Scan(t.Context()); err == nil || names(t, f.Path) != "a.csv" {
		t.Errorf("%v, left: %s", err, names(t, f.Path))
	}
	d.say(0)
	if sent, err := f.Scan(t.Context()); sent != 1 || err != nil || names(t, f.Path) != "" {
		t.Errorf("%d, %v", sent, err)
	}
}

func TestAFileThatIsNoneIsPutAsideWithTheReason(t *testing.T) {
	t.Parallel()
	_, f := newFolder(t)
	put(t, f, "a.csv", "이름,메모\n김하늘,x\n", time.Minute)
	for range 2 {
		if _, err := f.Scan(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	why, err := os.ReadFile(filepath.Join(f.Path, rejectedFolder, "a.csv.이유.txt"))
	if err != nil || !strings.Contains(string(why), "예약번호 열이 없습니다") || names(t, f.Path) != "" {
		t.Errorf("%s, %v, left: %s", why, err, names(t, f.Path))
	}
}

func TestAWrongKeyEndsTheWatch(t *testing.T) {
	t.Parallel()
	d, f := newFolder(t)
	put(t, f, "a.csv", heading+"A-1,P-1,2026-12-01,완료\n", time.Minute)
	d.say(http.StatusUnauthorized)
	if _, err := f.Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Watch(t.Context()); err == nil || names(t, f.Path) != "a.csv" {
		t.Errorf("%v", err)
	}
}

func TestEveryCodeOfATableIsSaidInWords(t *testing.T) {
	t.Parallel()
	for _, p := range []appointment.Problem{{Pointer: "/status", Code: "missing"}, {Pointer: "/columns/상태", Code: "missing"}, {Pointer: "/lines/3", Code: "not-a-table"}, {Pointer: "/date", Code: "not-a-date"}} {
		if got := say(p); strings.Contains(got, p.Code) || strings.Contains(got, "/") {
			t.Errorf("%v: %s", p, got)
		}
	}
}
