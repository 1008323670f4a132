package phone

import "strings"

// Options widen what [Parse] accepts. The zero Options are right for a clinic
// in production.
type Options struct {
	// AllowTestBands accepts 010-0 and 010-1, where the gateway simulator's
	// magic recipients live. Never set it in production.
	AllowTestBands bool
	// International accepts foreign mobile numbers written with a leading +.
	International bool
}

const (
	// maxInput is the longest text looked at, in bytes: 15 digits (the most
	// that E.164 allows) and room for punctuation.
	maxInput  = 40
	maxDigits = 15
	minDigits = 3 // 112
)

// Parse reads one number as people write it: 010-1234-5678, 010.1234.5678,
// (010) 1234 5678, +82 10 1234 5678, (+82) 10…, +82 (0)10…, 8210…, 0082 10…. Digits of
// other scripts, letters, extensions, lists, control and invisible characters
// are refused rather than guessed at. It returns [ErrInvalid], [ErrNotMobile],
// [ErrForeign] or [ErrTestBand].
func Parse(s string, opt Options) (Number, error) {
	var buf [maxDigits]byte
	digits, plus, ok := scan(buf[:0], s)
	if !ok {
		return Number{}, ErrInvalid
	}
	national, abroad, err := domestic(digits, plus)
	if err != nil {
		return Number{}, err
	}
	if abroad {
		return parseForeign(digits, opt)
	}
	if err := checkKorean(national, opt); err != nil {
		return Number{}, err
	}
	return Number{korea + national[1:]}, nil
}

// FromE164 reads back what [Number.E164] returned. It accepts test bands and
// foreign numbers, which were somebody's decision when the number was first
// read, and [ErrInvalid] is its only error.
func FromE164(s string) (Number, error) {
	n, err := Parse(s, Options{AllowTestBands: true, International: true})
	if err != nil || n.e164 != s {
		return Number{}, ErrInvalid
	}
	return n, nil
}

// scan appends the digits of s to dst, dropping the separators people use, and
// reports whether a + led them.
func scan(dst []byte, s string) (digits []byte, plus, ok bool) {
	if len(s) > maxInput {
		return nil, false, false
	}
	open := false
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			if len(dst) == maxDigits {
				return nil, false, false
			}
			dst = append(dst, c)
		case c == '+' && !plus && len(dst) == 0:
			plus = true
		case c == '(' && !open:
			open = true
		case c == ')' && open:
			open = false
		case c == ' ' || c == '-' || c == '.':
		default:
			return nil, false, false
		}
	}
	return dst, plus, len(dst) >= minDigits && !open
}

// domestic rewrites the digits of a Korean number to the form dialled in Korea,
// beginning with 0 unless it is a short code, or reports that they lie abroad.
func domestic(digits []byte, plus bool) (national string, abroad bool, err error) {
	d := string(digits)
	prefixed := plus
	if !plus {
		// 00 is the only dialling prefix understood, and only before 82: in
		// Korea 001, 002 … also name a carrier.
		if rest, ok := strings.CutPrefix(d, "00"); ok {
			if !strings.HasPrefix(rest, "82") {
				return "", false, ErrInvalid
			}
			d, prefixed = rest, true
		}
		// No Korean number begins with 82 and is this long.
		prefixed = prefixed || (strings.HasPrefix(d, "82") && len(d) >= 10)
	}
	if !prefixed {
		return d, false, nil
	}
	rest, ok := strings.CutPrefix(d, "82")
	if !ok {
		return "", true, nil
	}
	return "0" + strings.TrimPrefix(rest, "0"), false, nil
}

// checkKorean reports why no message may go to a number as dialled in Korea.
func checkKorean(d string, opt Options) error {
	switch {
	case strings.HasPrefix(d, "010"):
		if len(d) != 11 {
			return ErrInvalid
		}
		if (d[3] == '0' || d[3] == '1') && !opt.AllowTestBands {
			return ErrTestBand
		}
		return nil
	case strings.HasPrefix(d, "01"):
		if len(d) != 10 && len(d) != 11 {
			return ErrInvalid
		}
		if !strings.ContainsRune("16789", rune(d[2])) {
			return ErrNotMobile // 012 machines, 015 pagers
		}
		return nil
	case notMobile(d):
		return ErrNotMobile
	}
	return ErrInvalid
}

// notMobile reports whether d has the shape of a Korean number that is not a
// mobile one: 02-, 031-, 050-, 060-, 070- or 080- and the like, 1588- and its
// siblings, or a short code such as 112, 119 and 1339.
func notMobile(d string) bool {
	switch d[0] {
	case '0':
		return len(d) >= 8 && len(d) <= 12 && d[1] != '0'
	case '1':
		return len(d) <= 4 || (len(d) == 8 && strings.ContainsRune("4568", rune(d[1])))
	}
	return false
}
