package simulator

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
	"pgregory.net/rapid"
)

func TestBytesAreCountedInEUCKR(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		n    int
		ok   bool
	}{
		{"", 0, true},
		{"abc\n", 4, true},
		{"가나다", 6, true},
		{"(광고)", 6, true},
		{"\n무료거부 08012345678", 21, true},
		{"똠뷁햏", 6, true},
		{"￦€·…“”～ㆍ®™℃♥★①☎㈜漢", 34, true},
		{"₩", 2, false},
		{"–", 2, false},
		{"—", 2, false},
		{"•", 2, false},
		{"〜", 2, false},
		{"\u00a0", 2, false},
		{"\u200b", 2, false},
		{"é", 2, false},
		{"😀", 2, false},
		{"❤", 2, false},
		{"✅", 2, false},
		{"\u1112\u1161\u11ab", 6, false},
	}
	for _, tt := range tests {
		if n, ok := eucBytes(tt.text); n != tt.n || ok != tt.ok {
			t.Errorf("eucBytes(%q) = %d %v, want %d %v", tt.text, n, ok, tt.n, tt.ok)
		}
	}
}

func TestEncodableAgreesWithTheEncoder(t *testing.T) {
	t.Parallel()
	enc := korean.EUCKR.NewEncoder()
	for c := rune(0x80); c <= 0x10010; c++ {
		if c >= 0xD800 && c < 0xE000 || c == utf8.RuneError {
			continue
		}
		_, err := enc.String(string(c))
		if got, want := inEUCKR(c), err == nil; got != want {
			t.Fatalf("inEUCKR(%U) = %v, want %v", c, got, want)
		}
	}
}

func TestCutNeverExceedsItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOf(rapid.RuneFrom([]rune("aZ 1\n가힣漢…"))).Draw(t, "s")
		limit := rapid.IntRange(0, 30).Draw(t, "limit")
		cut := eucCut(s, limit)
		n, _ := eucBytes(cut)
		if !strings.HasPrefix(s, cut) || n > limit {
			t.Fatalf("eucCut(%q, %d) = %q of %d bytes", s, limit, cut, n)
		}
		if rest := s[len(cut):]; rest != "" {
			c, _ := utf8.DecodeRuneInString(rest)
			if more, _ := eucBytes(cut + string(c)); more <= limit {
				t.Fatalf("eucCut(%q, %d) = %q, one more character fits", s, limit, cut)
			}
		}
	})
}
