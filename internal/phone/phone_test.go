package phone_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/phone"
)

// zero options, test bands, international, both.
var (
	strict = phone.Options{}
	bands  = phone.Options{AllowTestBands: true}
	abroad = phone.Options{International: true}
	both   = phone.Options{AllowTestBands: true, International: true}
)

func TestOneNumberHasOneForm(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string
		opt      phone.Options
	}{
		{"01023456789", "+821023456789", strict},
		{"010-2345-6789", "+821023456789", strict},
		{"010.2345.6789", "+821023456789", strict},
		{"010 2345 6789", "+821023456789", strict},
		{" 010-2345-6789 ", "+821023456789", strict},
		{"(010) 2345-6789", "+821023456789", strict},
		{"+82 10 2345 6789", "+821023456789", strict},
		{"+821023456789", "+821023456789", strict},
		{"+82 (0)10-2345-6789", "+821023456789", strict},
		{"+82 010-2345-6789", "+821023456789", strict},
		{"(+82) 10-2345-6789", "+821023456789", strict},
		{"821023456789", "+821023456789", strict},
		{"82 010 2345 6789", "+821023456789", strict},
		{"00821023456789", "+821023456789", strict},
		{"0082 010 2345 6789", "+821023456789", strict},
		{"010-0019-0000", "+821000190000", bands},
		{"010-1234-5678", "+821012345678", bands},
		{"+82 10 0000 0000", "+821000000000", bands},
		{"011-234-5678", "+82112345678", strict},
		{"0112345678", "+82112345678", strict},
		{"011-2345-6789", "+821123456789", strict},
		{"016-234-5678", "+82162345678", strict},
		{"017-234-5678", "+82172345678", strict},
		{"018-234-5678", "+82182345678", strict},
		{"+82 19 234 5678", "+82192345678", strict},
		{"+44 7911 123456", "+447911123456", abroad},
		{"+44 (0)7911 123456", "+447911123456", abroad},
		{"+1 415-555-2671", "+14155552671", abroad},
		{"+81 90-1234-5678", "+819012345678", abroad},
		{"+86 138 1234 5678", "+8613812345678", both},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			n, err := phone.Parse(tt.in, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.E164(); got != tt.want {
				t.Errorf("E164 = %s, want %s", got, tt.want)
			}
			back, err := phone.FromE164(n.E164())
			if err != nil || back != n {
				t.Errorf("FromE164 = %v, %v; want the same number", back, err)
			}
		})
	}
}

func TestRefusalsSayWhyAndNeverEcho(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		want     error
		opt      phone.Options
	}{
		{"empty", "", phone.ErrInvalid, both},
		{"blank", "   ", phone.ErrInvalid, both},
		{"plus_only", "+", phone.ErrInvalid, both},
		{"two_digits", "12", phone.ErrInvalid, both},
		{"too_short", "010-234-567", phone.ErrInvalid, both},
		{"ten_digit_010", "010-234-5678", phone.ErrInvalid, both},
		{"twelve_digit_010", "010-2345-67890", phone.ErrInvalid, both},
		{"sixteen_digits", "0102345678901234", phone.ErrInvalid, both},
		{"long_input", "010-2345-6789" + strings.Repeat(" ", 40), phone.ErrInvalid, both},
		{"spreadsheet_lost_zero", "1023456789", phone.ErrInvalid, both},
		{"no_area_code", "2345-6789", phone.ErrInvalid, both},
		{"full_width", "０１０２３４５６７８９", phone.ErrInvalid, both},
		{"arabic_digits", "٠١٠٢٣٤٥٦٧٨٩", phone.ErrInvalid, both},
		{"letter_O", "O10-2345-6789", phone.ErrInvalid, both},
		{"letter_l", "0l0-2345-6789", phone.ErrInvalid, both},
		{"extension_x", "010-2345-6789x12", phone.ErrInvalid, both},
		{"extension_rfc3966", "010-2345-6789;ext=1", phone.ErrInvalid, both},
		{"phone_context", "2345-6789;phone-context=+82-10", phone.ErrInvalid, both},
		{"tel_uri", "tel:+821023456789", phone.ErrInvalid, both},
		{"comma_list", "010-2345-6789,010-2345-6780", phone.ErrInvalid, both},
		{"slash_list", "010-2345-6789/010-2345-6780", phone.ErrInvalid, both},
		{"carriage_return", "010-2345-6789\r", phone.ErrInvalid, both},
		{"line_feed", "010-2345-6789\n", phone.ErrInvalid, both},
		{"header_injection", "010-2345-6789\r\nX: y", phone.ErrInvalid, both},
		{"tab", "010\t2345\t6789", phone.ErrInvalid, both},
		{"nul", "010-2345-6789\x00", phone.ErrInvalid, both},
		{"zero_width_space", "010\u200b2345\u200b6789", phone.ErrInvalid, both},
		{"rtl_override", "\u202e010-2345-6789", phone.ErrInvalid, both},
		{"nbsp", "010\u00a02345\u00a06789", phone.ErrInvalid, both},
		{"en_dash", "010–2345–6789", phone.ErrInvalid, both},
		{"invalid_utf8", "010-2345-6789\xff", phone.ErrInvalid, both},
		{"plus_twice", "++821023456789", phone.ErrInvalid, both},
		{"plus_inside", "010+23456789", phone.ErrInvalid, both},
		{"open_bracket", "(010 2345 6789", phone.ErrInvalid, both},
		{"nested_bracket", "((010)) 2345 6789", phone.ErrInvalid, both},
		{"close_bracket", "010) 2345 6789", phone.ErrInvalid, both},
		{"negative_exponent", "1e10", phone.ErrInvalid, both},
		{"00_and_another_country", "00447911123456", phone.ErrInvalid, both},
		{"carrier_prefix", "001821023456789", phone.ErrInvalid, both},
		{"plus_zero", "+01023456789", phone.ErrInvalid, both},
		{"two_trunk_zeros", "+82 00 10 2345 6789", phone.ErrInvalid, both},
		{"double_zero_only", "000", phone.ErrInvalid, both},
		{"too_short_01", "011-23-45", phone.ErrInvalid, both},

		{"police", "112", phone.ErrNotMobile, both},
		{"fire", "119", phone.ErrNotMobile, both},
		{"hotline", "1339", phone.ErrNotMobile, both},
		{"seoul", "02-2345-6789", phone.ErrNotMobile, both},
		{"seoul_short", "02-345-6789", phone.ErrNotMobile, both},
		{"gyeonggi", "031-234-5678", phone.ErrNotMobile, both},
		{"seoul_e164", "+82 2 2345 6789", phone.ErrNotMobile, both},
		{"seoul_82", "82223456789", phone.ErrNotMobile, both},
		{"premium", "060-700-1234", phone.ErrNotMobile, both},
		{"internet", "070-1234-5678", phone.ErrNotMobile, both},
		{"toll_free", "080-123-4567", phone.ErrNotMobile, both},
		{"safe_number", "0502-1234-5678", phone.ErrNotMobile, both},
		{"representative_1588", "1588-1234", phone.ErrNotMobile, both},
		{"representative_1644", "1644-1234", phone.ErrNotMobile, both},
		{"representative_1899", "1899-1234", phone.ErrNotMobile, both},
		{"machine_012", "012-2345-6789", phone.ErrNotMobile, both},
		{"pager_015", "015-2345-6789", phone.ErrNotMobile, both},
		{"foreign_landline", "+44 20 7946 0018", phone.ErrNotMobile, both},

		{"test_band_0", "010-0000-0000", phone.ErrTestBand, strict},
		{"test_band_1", "010-1234-5678", phone.ErrTestBand, strict},
		{"test_band_e164", "+821001160000", phone.ErrTestBand, abroad},

		{"foreign", "+447911123456", phone.ErrForeign, strict},
		{"foreign_us", "+14155552671", phone.ErrForeign, bands},
		{"foreign_too_short", "+44791", phone.ErrInvalid, both},
		{"foreign_no_such_country", "+9999999999", phone.ErrInvalid, both},
		{"foreign_not_assigned", "+447000000000000", phone.ErrInvalid, both},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n, err := phone.Parse(tt.in, tt.opt)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Parse error = %v, want %v", err, tt.want)
			}
			if !n.IsZero() {
				t.Errorf("Parse returned a number beside its error")
			}
			if digits := onlyDigits(tt.in); len(digits) > 4 && strings.Contains(onlyDigits(err.Error()), digits) {
				t.Errorf("the error repeats the input: %v", err)
			}
		})
	}
}

func onlyDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, s)
}

func TestFromE164TakesTheCanonicalFormOnly(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "01023456789", "+82 1023456789", "+8201023456789", "821023456789", "+8222345678", "+44 7911123456", "x"} {
		if n, err := phone.FromE164(in); !errors.Is(err, phone.ErrInvalid) || !n.IsZero() {
			t.Errorf("FromE164(%q) = %v, %v; want ErrInvalid", in, n, err)
		}
	}
}

func TestAccessors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in                                           string
		national, last4, masked, country, subscriber string
		foreign, legacy, band                        bool
	}{
		{in: "+821023456789", national: "01023456789", last4: "6789", masked: "010****6789", country: "82", subscriber: "1023456789"},
		{in: "+82112345678", national: "0112345678", last4: "5678", masked: "011****5678", country: "82", subscriber: "112345678", legacy: true},
		{in: "+821012345678", national: "01012345678", last4: "5678", masked: "010****5678", country: "82", subscriber: "1012345678", band: true},
		{in: "+821000000000", national: "01000000000", last4: "0000", masked: "010****0000", country: "82", subscriber: "1000000000", band: true},
		{in: "+447911123456", national: "+447911123456", last4: "3456", masked: "+****3456", country: "44", subscriber: "7911123456", foreign: true},
		{in: "+14155552671", national: "+14155552671", last4: "2671", masked: "+****2671", country: "1", subscriber: "4155552671", foreign: true},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			t.Parallel()
			n, err := phone.FromE164(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			country, subscriber := n.Split()
			got := []any{n.National(), n.Last4(), n.String(), country, subscriber, n.Foreign(), n.Legacy(), n.TestBand(), n.IsZero()}
			want := []any{tt.national, tt.last4, tt.masked, tt.country, tt.subscriber, tt.foreign, tt.legacy, tt.band, false}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("accessor %d = %v, want %v", i, got[i], want[i])
				}
			}
		})
	}
}

func TestTheZeroNumberIsNone(t *testing.T) {
	t.Parallel()
	var n phone.Number
	country, subscriber := n.Split()
	if !n.IsZero() || n.Foreign() || n.Legacy() || n.TestBand() ||
		n.E164()+n.National()+n.Last4()+n.String()+country+subscriber != "" {
		t.Error("the zero Number is not empty")
	}
}

func TestNoVerbOrLogShowsTheDigits(t *testing.T) {
	t.Parallel()
	n, err := phone.Parse("010-2345-6789", strict)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%20s", "%!"} {
		fmt.Fprintf(&out, verb+" ", n)
		fmt.Fprintf(&out, verb+" ", &n)
		fmt.Fprintf(&out, verb+" ", struct{ Phone phone.Number }{n})
		fmt.Fprintf(&out, verb+" ", []phone.Number{n})
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("x", "phone", n, "in", struct{ Phone phone.Number }{n})
	}
	b, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, leak := range []string{"23456", "2345-6789", fmt.Sprintf("%x", "0102345")} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("output shows %q:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "010****6789") {
		t.Errorf("output does not show the masked form:\n%s", out.String())
	}
}

func TestNationalFormReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`(010[0-9]{8}|01[16789][0-9]{7,8}|\+4479111[0-9]{5})`).Draw(t, "number")
		n, err := phone.Parse(s, both)
		if err != nil {
			t.Fatal(err)
		}
		back, err := phone.Parse(n.National(), both)
		if err != nil || back != n {
			t.Fatalf("Parse(National()) = %v, %v; want %v", back, err, n)
		}
	})
}

// FuzzParse checks that whatever is accepted is canonical, reads back, and is
// in no class that its options exclude.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"010-2345-6789", "+82 (0)10 2345 6789", "0082 10 2345 6789", "+447911123456", "1588-1234",
		"０１０", "112", "010-0019-5040", "+1 415 555 2671", "+8619112345678", "+5219981234567",
	} {
		for i := range byte(4) {
			f.Add(s, i)
		}
	}
	f.Fuzz(func(t *testing.T, s string, o byte) {
		opt := phone.Options{AllowTestBands: o&1 != 0, International: o&2 != 0}
		n, err := phone.Parse(s, opt)
		if err != nil {
			if !n.IsZero() {
				t.Fatal("a number beside an error")
			}
			return
		}
		if n.Foreign() && !opt.International || n.TestBand() && !opt.AllowTestBands {
			t.Fatalf("%q accepted against its options", s)
		}
		for _, form := range []string{n.E164(), n.National()} {
			if back, err := phone.Parse(form, opt); err != nil || back != n {
				t.Fatalf("%q became %q, which reads back as %q, %v", s, form, back.E164(), err)
			}
		}
		if country, rest := n.Split(); "+"+country+rest != n.E164() {
			t.Fatalf("Split of %q loses digits", n.E164())
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := phone.Parse("010-2345-6789", strict); err != nil {
			b.Fatal(err)
		}
	}
}
