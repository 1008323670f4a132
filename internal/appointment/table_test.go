package appointment

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/korean"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func export(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile("../../docs/examples/appointments/export.csv")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAnExportIsReadInEveryEncodingAndForm(t *testing.T) {
	t.Parallel()
	utf := export(t)
	cp949, err := korean.EUCKR.NewEncoder().Bytes(utf)
	if err != nil {
		t.Fatal(err)
	}
	tabs := strings.ReplaceAll(string(utf), ",", "\t")
	for name, raw := range map[string][]byte{
		"utf-8": utf, "with a mark": append([]byte("\xef\xbb\xbf"), utf...), "cp949": cp949, "tabs": []byte(tabs),
		"semicolons": []byte(strings.ReplaceAll(string(utf), ",", ";")), "windows": []byte(strings.ReplaceAll(string(utf), "\n", "\r\n") + ",,,,,,,,,\r\n"),
	} {
		table, problems := ReadTable(raw, TableOptions{})
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		if want := "utf-8"; (name == "cp949") == (table.Encoding == want) || fmt.Sprint(table.Ignored) != "[담당의 메모]" {
			t.Errorf("%s: %s, ignored %v", name, table.Encoding, table.Ignored)
		}
		rows := table.Rows(TableOptions{Upload: "u"})
		want := []Event{
			{Stands: Scheduled, Appointment: "A-201", When: at("2026-12-01", 14, 30), Surgery: new("임플란트"), Patient: Patient{"1005", "정도윤", "010-1234-5678", true}},
			{Stands: HasRequested, Appointment: "A-202", When: at("2026-12-01", 15, 0), Surgery: new("교정"), Patient: Patient{"1006", "한서연", "010-2345-6789", true}},
			{Stands: HasNotShown, Appointment: "A-203", When: at("2026-12-01", 16, 0), Surgery: new("스케일링"), Patient: Patient{"1007", "오지호", "01034567890", true}},
		}
		if len(rows) != len(want) {
			t.Fatalf("%s: %d rows", name, len(rows))
		}
		for i, r := range rows {
			want[i].ID, want[i].Source = fmt.Sprintf("csv:u:%d", i+2), DefaultSource
			again, problems := Decode(r.Raw)
			if len(problems)+len(r.Problems) > 0 || again.Appointment != r.Appointment || again.Stands != r.Stands {
				t.Errorf("%s: row %d is kept as %s: %v %v", name, i, r.Raw, problems, r.Problems)
			}
			r.Raw = nil
			if diff := cmp.Diff(want[i], r.Event); diff != "" || r.Line != i+2 {
				t.Errorf("%s, line %d: %s", name, r.Line, diff)
			}
		}
	}
}

func at(date string, hour, minute int) *When {
	return &When{Date: date, Time: &workflow.Clock{Hour: hour, Minute: minute}}
}

func TestEveryStatusWordIsUnderstood(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]Status{
		"예약신청": HasRequested, "예약완료": Scheduled, "예약 완료": Scheduled, "접수": HasCheckedIn, "완료": HasCompleted, "진료완료": HasCompleted,
		"노쇼": HasNotShown, "No-Show": HasNotShown, "no_show": HasNotShown, "취소": HasCancelled, "예약취소 ": HasCancelled, "CHECKED_IN": HasCheckedIn,
	} {
		table, problems := ReadTable([]byte("예약번호,차트번호,예약일,상태\nA,P,2026-12-01,"+word+"\n"), TableOptions{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if r := table.Rows(TableOptions{})[0]; len(r.Problems) > 0 || r.Stands != want {
			t.Errorf("%q: %s, %v", word, r.Stands, r.Problems)
		}
	}
	for word := range statusWords {
		if folded(word) != word {
			t.Errorf("%q is never met", word)
		}
	}
	seen := map[string]column{}
	for c, list := range headings {
		for _, h := range list {
			if other, twice := seen[h]; twice || folded(h) != h {
				t.Errorf("%q names column %d, and %d", h, c, other)
			}
			seen[h] = column(c)
		}
	}
}

func TestAWrongTableIsToldAsAWhole(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("A,P,2026-12-01,완료\n", MaxRows+1)
	for in, want := range map[string]string{
		"": "[{ too-few}]",
		"예약번호,차트번호,예약일,상태\n":                      "[{ too-few}]",
		"차트번호,예약일\nP,2026-12-01\n":                "[{/columns/예약번호 missing} {/columns/상태 missing}]",
		"메모\n안녕\n":                                "[{/columns/예약번호 missing} {/columns/예약일 missing} {/columns/상태 missing} {/columns/차트번호 missing}]",
		"예약번호,차트번호,예약일,상태\nA,\"P,2026-12-01,완료\n": "[{/lines/2 not-a-table}]",
		"\xff\xfe\x00": "[{ unknown-encoding}]",
		"a\x00b\n1\n":  "[{ not-a-table}]",
		"예약번호,차트번호,예약일,상태\n" + many: "[{ too-many}]",
	} {
		if _, problems := ReadTable([]byte(in), TableOptions{}); fmt.Sprint(problems) != want {
			t.Errorf("%.60q: %v, want %s", in, problems, want)
		}
	}
	if _, problems := ReadTable([]byte("차트번호,예약일,상태\nP,2026-12-01,완료\n"), TableOptions{Identify: ByVisit}); len(problems) > 0 {
		t.Errorf("by visit: %v", problems)
	}
}

func TestAWrongRowIsToldByItsColumnAndNoOtherIsRefused(t *testing.T) {
	t.Parallel()
	for cells, want := range map[string]string{
		"A,P,김하늘,2026-12-01,14:30,완료":                              "[]",
		"A,P,김하늘,2026년 12월 1일,오후 2시 30분,완료":                        "[]",
		"A,P,김하늘,2026. 12. 1.,2:30 PM,완료":                          "[]",
		"A,P,김하늘,2026-12-01(화),,완료":                                "[]",
		"A,P,김하늘,20261201,1430,완료":                                 "[]",
		"A,P,김하늘,,,취소":                                             "[]",
		"A,P,김하늘,,,예약완료":                                           "[{/date missing}]",
		"A,P,김하늘,12/01/2026,14:30,완료":                              "[{/date not-a-date}]",
		"A,P,김하늘,2026-02-30,14:30,완료":                              "[{/date not-a-date}]",
		"A,P,김하늘,2026-12-01,25:00,완료":                              "[{/time not-a-time}]",
		"A,P,김하늘,2026-12-01,오후 14:30,완료":                           "[{/time not-a-time}]",
		"A,P,김하늘,2026-12-01,14:30,":                                "[{/status missing}]",
		"A,P,김하늘,2026-12-01,14:30,모름":                              "[{/status not-in-list}]",
		",P,김하늘,2026-12-01,14:30,완료":                               "[{/number missing}]",
		"A,P,김하늘,2026-12-01,14:30":                                 "[{ wrong-number-of-cells}]",
		"A,P," + strings.Repeat("김", 101) + ",2026-12-01,14:30,완료": "[{/name too-long}]",
	} {
		table, problems := ReadTable([]byte("예약번호,차트번호,이름,예약일,예약시간,상태\n"+cells+"\nB,Q,김바다,2026-12-02,10:00,예약완료\n"), TableOptions{})
		if len(problems) > 0 {
			t.Fatalf("%s: %v", cells, problems)
		}
		rows := table.Rows(TableOptions{})
		if fmt.Sprint(rows[0].Problems) != want || len(rows[1].Problems) > 0 {
			t.Errorf("%s: %v, want %s", cells, rows[0].Problems, want)
		}
	}
}

// A row with the moment of its last change is one word however often it is
// exported; one without is a word of its own with every upload.
func TestARowsIdIsItsPlaceInTheOrder(t *testing.T) {
	t.Parallel()
	read := func(changed, name, status, upload string) Row {
		table, problems := ReadTable([]byte("예약번호,차트번호,환자명,예약일,상태,수정일시\nA,P,"+name+",2026-12-01,"+status+","+changed+"\n"), TableOptions{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return table.Rows(TableOptions{Upload: upload})[0]
	}
	first := read("2026-11-20 10:00:05", "김하늘", "예약완료", "u1")
	if again := read("2026-11-20 10:00:05", "김 하늘", "예약완료", "u2"); again.ID != first.ID || first.Wall != time.Date(2026, 11, 20, 10, 0, 5, 0, time.UTC) {
		t.Errorf("%s, %s: %s", first.ID, again.ID, first.Wall)
	}
	for _, other := range []Row{read("2026-11-20 10:00:06", "김하늘", "예약완료", "u1"), read("2026-11-20 10:00:05", "김하늘", "취소", "u1")} {
		if other.ID == first.ID {
			t.Error("two words have one id")
		}
	}
	if a, b := read("", "김하늘", "예약완료", "u1"), read("", "김하늘", "예약완료", "u2"); a.ID == b.ID || !a.Wall.IsZero() {
		t.Errorf("%s, %s", a.ID, b.ID)
	}
}

func TestASpreadsheetsZeroIsGivenBack(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"1012345678": "01012345678", "01012345678": "01012345678", "212345678": "212345678", "101234567a": "101234567a"} {
		if got := Mobile(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestAClockIsReadBackAsItIsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := workflow.Clock{Hour: rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute")}
		half, short := "오전", want.Hour%12
		if want.Hour >= 12 {
			half = "오후"
		}
		if short == 0 {
			short = 12
		}
		for _, s := range []string{
			want.String(), want.String() + ":00", fmt.Sprintf("%02d%02d", want.Hour, want.Minute), fmt.Sprintf("%s %d:%02d", half, short, want.Minute),
			fmt.Sprintf("%s %d시 %d분", half, short, want.Minute),
		} {
			if got, ok := readClock(s); !ok || *got != want {
				t.Fatalf("%q: %v, %t", s, got, ok)
			}
		}
	})
}

func FuzzReadTable(f *testing.F) {
	f.Add(export(f))
	f.Add([]byte("예약번호;차트번호;예약일시;상태;수정일시\nA;P;2026-12-01 오후 2:30;완료;2026-11-20\n"))
	f.Add([]byte("\xbf\xb9\xbe\xe0\xb9\xf8\xc8\xa3,x\n\"a\",\"b\n\"\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, opt := range []TableOptions{{Upload: "u"}, {Identify: ByVisit, Upload: "u"}} {
			table, problems := ReadTable(raw, opt)
			if len(problems) > 0 {
				continue
			}
			for _, r := range table.Rows(opt) {
				if len(r.Problems) > 0 {
					continue
				}
				again, problems := Decode(r.Raw)
				if len(problems) > 0 || again.ID != r.ID || again.Stands != r.Stands || !again.When.Same(r.When) {
					t.Fatalf("line %d is kept as %s: %v", r.Line, r.Raw, problems)
				}
			}
		}
	})
}
