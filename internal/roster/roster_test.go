package roster

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/korean"

	"github.com/doctorsflow/doctorsflow/internal/phone"
)

var (
	today   = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	numbers = phone.Options{AllowTestBands: true}
)

const list = "차트 번호,환자명,휴대폰,생년월일,성별,메모\nP-1,김하늘,010-0000-0001,1958-03-01,여,단골\nP-2,이바다,1000000002,1990.12.31,남,\n,,,,,\n"

// shown is a row as text.
func shown(p Patient) string {
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	number := "-"
	if p.Phone != nil {
		number = p.Phone.National()
	}
	out := []string{p.ExternalID, text(p.Name), number, text(p.Email), text(p.BirthDate), text(p.Gender)}
	for _, f := range p.Problems {
		out = append(out, f.Pointer+" "+f.Code)
	}
	return strings.Join(out, "|")
}

func TestAListIsReadInEveryEncoding(t *testing.T) {
	t.Parallel()
	cp949, err := korean.EUCKR.NewEncoder().String(list)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{"utf-8": list, "marked": "\ufeff" + list, "cp949": cp949, "tabs": strings.ReplaceAll(list, ",", "\t")} {
		l, problems := Read([]byte(raw), numbers, today)
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		var got []string
		for _, p := range l.Patients {
			got = append(got, shown(p))
		}
		want := []string{"P-1|김하늘|01000000001|-|1958-03-01|female", "P-2|이바다|01000000002|-|1990-12-31|male"}
		if diff := cmp.Diff(want, got); diff != "" || !slices.Equal(l.Ignored, []string{"메모"}) || (l.Encoding == "cp949") != (name == "cp949") {
			t.Errorf("%s: %v %s %s", name, l.Ignored, l.Encoding, diff)
		}
	}
}

func TestARowTellsWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	const heading = "차트번호,이름,연락처,생일,성별\n"
	for row, want := range map[string]string{
		"P-1,김하늘,02-555-0100,,":                   "/phone not-a-phone-number",
		"P-1,김하늘,,2027-01-01,":                    "/birth_date not-a-date",
		"P-1,김하늘,,어제,":                            "/birth_date not-a-date",
		"P-1,김하늘,,,모름":                            "/gender not-in-list",
		",김하늘,,,":                                 "/external_id missing",
		"P-1," + strings.Repeat("가", 101) + ",,,": "/name too-long",
		"P-1,\"김\n하늘\",,,":                        "/name wrong-form",
		"P-1,김하늘":                                 " wrong-number-of-cells",
	} {
		l, problems := Read([]byte(heading+row+"\n"), numbers, today)
		if len(problems) > 0 || len(l.Patients[0].Problems) != 1 || l.Patients[0].Problems[0].Pointer+" "+l.Patients[0].Problems[0].Code != want || l.Patients[0].Line != 2 {
			t.Errorf("%s: %v %+v, want %s", row, problems, l, want)
		}
	}
	for raw, want := range map[string]Problem{
		"":                 {"", "too-few"},
		heading:            {"", "too-few"},
		"이름,생일\n김하늘,\n":    {"/columns/차트번호", "missing"},
		"차트번호\n\"P-1\n":    {"", "not-a-table"},
		"차트번호\n\x00\n":     {"", "not-a-table"},
		"\xff\xfe\x00\x01": {"", "unknown-encoding"},
		"차트번호\n" + strings.Repeat("P\n", MaxRows+1): {"", "too-many"},
	} {
		if _, got := Read([]byte(raw), numbers, today); !cmp.Equal(got, []Problem{want}) {
			t.Errorf("%.20q: %v, want %v", raw, got, want)
		}
	}
}

func TestWhatIsWrittenIsReadAgainAndRunsNoFormula(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := Write(&out, slices.Values([][]string{{"P-1", "=HYPERLINK(\"x\")", "01000000001", "a@b.c", "1958-03-01", "female", "", "", "2026-11-24", "id"}})); err != nil {
		t.Fatal(err)
	}
	l, problems := Read(out.Bytes(), numbers, today)
	if len(problems) > 0 || len(l.Patients) != 1 {
		t.Fatal(problems, l)
	}
	if got := shown(l.Patients[0]); got != `P-1|'=HYPERLINK("x")|01000000001|a@b.c|1958-03-01|female` {
		t.Error(got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(list))
	f.Add([]byte("차트번호;이름;연락처;생일\nP;a;b;c\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, problems := Read(raw, numbers, today)
		if (l == nil) != (len(problems) > 0) {
			t.Fatal(l, problems)
		}
		if l == nil {
			return
		}
		for _, p := range l.Patients {
			if len(p.Problems) == 0 && p.ExternalID == "" && (p.Name == nil || p.Phone == nil || p.Phone.IsZero()) {
				t.Fatalf("%+v names nobody", p)
			}
		}
	})
}
