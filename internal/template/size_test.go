package template_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/korean"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/template"
)

func TestEUCKRBytes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		n        int
		bad      []rune
	}{
		{"empty", "", 0, nil},
		{"ascii", "Hello 123~\n", 11, nil},
		{"hangul", "홍길동님", 8, nil},
		{"ad_prefix", "(광고)", 6, nil},
		{"ad_refusal", "\n무료거부 08012345678", 21, nil},
		{"encodable_signs", "￦€·…“”～ㆍ®™℃♥★①☎㈜漢", 34, nil},
		{"unencodable_signs", "₩–—•〜\u00a0\u200bé❤✅", 20, []rune("₩–—•〜\u00a0\u200bé❤✅")},
		{"emoji", "😀👍", 4, []rune("😀👍")},
		{"cp949_extension", "똠뷁햏", 6, []rune("똠뷁햏")},
		{"bad_listed_once", "a똠b똠c", 7, []rune("똠")},
		{"decomposed_hangul", "\u1112\u1169\u11bc", 6, []rune("\u1112\u1169\u11bc")},
		{"line_ends_and_tab", "\r\n\t", 3, nil},
		{"controls", "\x00\x1b\x7f", 6, []rune{0, 0x1b, 0x7f}},
		{"invalid_utf8", "a\xff", 3, []rune{utf8.RuneError}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, bad := template.EUCKRBytes(tt.in)
			if n != tt.n {
				t.Errorf("%d bytes, want %d", n, tt.n)
			}
			if diff := cmp.Diff(tt.bad, bad); diff != "" {
				t.Errorf("bad (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryCharacterAgreesWithTheEncoder asks Go's encoder about each one.
func TestEveryCharacterAgreesWithTheEncoder(t *testing.T) {
	t.Parallel()
	enc := korean.EUCKR.NewEncoder()
	for r := rune(0x80); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		b, err := enc.Bytes([]byte(string(r)))
		enc.Reset()
		want := err == nil && len(b) == 2 && b[0] >= 0xA1 && b[1] >= 0xA1
		if _, bad := template.EUCKRBytes(string(r)); (bad == nil) != want {
			t.Errorf("%U: bad = %v, encoder says %x, %v", r, bad, b, err)
		}
		if r == 0x30000 {
			r = 0xDFFFF // nothing is assigned between
		}
	}
}

func TestSanitize(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"plain", "홍길동님, 내일 10:00 ★", "홍길동님, 내일 10:00 ★"},
		{"crlf", "a\r\nb", "a\nb"},
		{"lone_cr", "a\rb\r", "a\nb\n"},
		{"cr_cr_lf", "a\r\r\nb", "a\n\nb"},
		{"won_behind", "30,000₩", "30,000원"},
		{"won_before", "₩30,000", "￦30,000"},
		{"won_alone", "(단위: ₩)", "(단위: ￦)"},
		{"dashes", "a‐b\u2011c‒d–e—f−g", "a-b-c-d-e-f-g"},
		{"bullets", "• 하나 ‧ 둘 ∙", "· 하나 · 둘 ·"},
		{"wave_dash", "9시〜10시", "9시～10시"},
		{"spaces", "a\u00a0b\u2003c\u202fd", "a b c d"},
		{"invisible", "a\u200bb\u200c\u200d\u2060\ufeff\u00adc", "abc"},
		{"variation_selector", "♥\ufe0f ☎\ufe0e", "♥ ☎"},
		{"decomposed_hangul", "\u1112\u1169\u11bc길동", "홍길동"},
		{"kept_apart_by_zero_width", "\u1112\u200b\u1169", "호"},
		{"angstrom", "1 \u212b", "1 \u212b"},
		{"angstrom_beside_dash", "1 \u212b–", "1 \u212b-"},
		{"ideographic_space_kept", "a\u3000b–", "a\u3000b-"},
		{"curly_quotes_kept", "“a” ‘b’…–", "“a” ‘b’…-"},
		{"emoji_stays_for_the_check", "좋아요 ❤\ufe0f", "좋아요 ❤"},
		{"cp949_stays_for_the_check", "똠\r\n", "똠\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := template.Sanitize(tt.in); got != tt.want {
				t.Errorf("Sanitize = %+q, want %+q", got, tt.want)
			}
		})
	}
}

func TestSanitizeIsIdempotentAndAddsNothingBad(t *testing.T) {
	t.Parallel()
	letters := rapid.SampledFrom([]rune("aÅ\u212b\u00c5\u0301\u030a\u0338가홍똠\u1112\u1169\u11bc₩3–•\u00a0\u200b\ufe0f\r\n❤漢\uf900é≠-"))
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(letters).Draw(t, "runes"))
		once := template.Sanitize(s)
		if twice := template.Sanitize(once); twice != once {
			t.Fatalf("%+q became %+q, then %+q", s, once, twice)
		}
		if _, bad := template.EUCKRBytes(s); bad == nil && !strings.Contains(s, "\r") && once != s {
			t.Fatalf("%+q could be sent and became %+q", s, once)
		}
	})
}

func TestSMSKindAtTheBoundaries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       template.Kind
		size       int // of the SizeError wanted
	}{
		{"one", "a", template.SMS, 0},
		{"90_ascii", strings.Repeat("a", 90), template.SMS, 0},
		{"91_ascii", strings.Repeat("a", 91), template.LMS, 0},
		{"90_hangul", strings.Repeat("가", 45), template.SMS, 0},
		{"91_hangul", strings.Repeat("가", 45) + "a", template.LMS, 0},
		{"92_hangul", strings.Repeat("가", 46), template.LMS, 0},
		{"90_with_line_feed", strings.Repeat("가", 44) + "a\n", template.SMS, 0},
		{"2000", strings.Repeat("가", 1000), template.LMS, 0},
		{"2001", strings.Repeat("가", 1000) + "a", "", 2001},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := template.SMSKind(tt.body)
			if got != tt.want {
				t.Errorf("SMSKind = %q, %v; want %q", got, err, tt.want)
			}
			se, ok := errors.AsType[*template.SizeError](err)
			if ok != (tt.size > 0) || (ok && (se.Size != tt.size || se.Limit != template.MaxLMS)) {
				t.Errorf("error %v; want size %d", err, tt.size)
			}
		})
	}
}

func TestUnsendableTextIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "  \n", "\u200b\u3164"} {
		if _, err := template.SMSKind(body); !errors.Is(err, template.ErrEmpty) {
			t.Errorf("SMSKind(%q) error = %v, want ErrEmpty", body, err)
		}
		if err := template.CheckTitle(body); !errors.Is(err, template.ErrEmpty) {
			t.Errorf("CheckTitle(%q) error = %v, want ErrEmpty", body, err)
		}
		if err := template.CheckAlimtalk(body); !errors.Is(err, template.ErrEmpty) {
			t.Errorf("CheckAlimtalk(%q) error = %v, want ErrEmpty", body, err)
		}
	}
	_, err := template.SMSKind("똠이네 😀 똠")
	ue, ok := errors.AsType[*template.UnencodableError](err)
	if !ok || string(ue.Runes) != "똠😀" {
		t.Fatalf("SMSKind error = %v, want the two characters", err)
	}
	if strings.ContainsAny(err.Error(), "똠😀") {
		t.Errorf("error %q repeats the text", err)
	}
}

func TestTheListOfBadCharactersIsBounded(t *testing.T) {
	t.Parallel()
	var s strings.Builder
	for r := rune(0x1F300); r < 0x1F300+500; r++ {
		s.WriteRune(r)
	}
	if n, bad := template.EUCKRBytes(s.String()); n != 1000 || len(bad) != 100 {
		t.Errorf("%d bytes, %d characters listed; want 1000 and 100", n, len(bad))
	}
}

func TestCheckTitle(t *testing.T) {
	t.Parallel()
	if err := template.CheckTitle(strings.Repeat("가", 20)); err != nil {
		t.Errorf("40 bytes: %v", err)
	}
	err := template.CheckTitle(strings.Repeat("가", 20) + "a")
	if se, ok := errors.AsType[*template.SizeError](err); !ok || se.Size != 41 || se.Limit != template.MaxTitle {
		t.Errorf("41 bytes: %v; want a SizeError", err)
	}
	if err != nil && err.Error() != "template: the title is 41 bytes long; shorten it to 40" {
		t.Errorf("error %q", err)
	}
	for _, s := range []string{"a\nb", "a\rb", "a\tb"} {
		if err := template.CheckTitle(s); !errors.Is(err, template.ErrLines) {
			t.Errorf("CheckTitle(%q) error = %v, want ErrLines", s, err)
		}
	}
	if _, ok := errors.AsType[*template.UnencodableError](template.CheckTitle("❤")); !ok {
		t.Error("an emoji passed as a title")
	}
}

func TestCheckAlimtalk(t *testing.T) {
	t.Parallel()
	for _, s := range []string{strings.Repeat("가", 1000), strings.Repeat("a", 1000), strings.Repeat("😀", 500), "뷁 ❤ ₩"} {
		if err := template.CheckAlimtalk(s); err != nil {
			t.Errorf("%d characters: %v", utf8.RuneCountInString(s), err)
		}
	}
	for _, s := range []string{strings.Repeat("가", 1001), strings.Repeat("😀", 500) + "a"} {
		if se, ok := errors.AsType[*template.SizeError](template.CheckAlimtalk(s)); !ok || se.Size != 1001 || se.Limit != 1000 {
			t.Errorf("1,001 characters passed: %v", se)
		}
	}
}

func BenchmarkEUCKRBytes(b *testing.B) {
	for name, s := range map[string]string{
		"ascii":  strings.Repeat("Your appointment. ", 5),
		"hangul": strings.Repeat("예약을 확인해 주세요. ", 5),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				template.EUCKRBytes(s)
			}
		})
	}
}

func BenchmarkSanitize(b *testing.B) {
	for name, s := range map[string]string{
		"plain": strings.Repeat("예약을 확인해 주세요. ", 5),
		"dirty": strings.Repeat("예약을 확인해 주세요 – ", 5),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				template.Sanitize(s)
			}
		})
	}
}
