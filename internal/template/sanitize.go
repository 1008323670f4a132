package template

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// replacements are the characters that word processors, keyboards and language
// models write and EUC-KR lacks or handsets show wrongly, each with its nearest
// relative. ₩ depends on its place; see [Sanitize].
var replacements = map[rune]string{
	'\u2010': "-", '\u2011': "-", '\u2012': "-", '\u2013': "-", '\u2014': "-", '\u2212': "-", // dashes, minus
	'\u2022': "·", '\u2027': "·", '\u2219': "·", // bullets
	'\u301C': "～",      // wave dash
	'\u00C5': "\u212B", // Å: EUC-KR has the unit only, which NFC turns into the letter
	'\u00A0': " ", '\u2002': " ", '\u2003': " ", '\u2004': " ", '\u2005': " ", '\u2006': " ",
	'\u2007': " ", '\u2008': " ", '\u2009': " ", '\u200A': " ", '\u202F': " ", '\u205F': " ",
}

// Sanitize brings s nearer to what an SMS can carry without changing what it
// says: no invisible characters, composed ones (NFC; macOS writes Hangul
// decomposed), LF for CRLF and CR, plain dashes, dots and spaces, 원 for ₩ behind
// an amount and ￦ elsewhere. What EUC-KR still lacks stays for [SMSKind] to
// refuse; nothing is cut. Sanitize is idempotent. It is not for Alimtalk, which
// carries Unicode and must stay as approved.
func Sanitize(s string) string {
	if isPlain(s) {
		return s
	}
	// An invisible character can keep two others from composing: drop first.
	s = norm.NFC.String(strings.Map(visible, s))
	var b strings.Builder
	b.Grow(len(s))
	var last rune
	for i, r := range s {
		switch {
		case r == '\r' && strings.HasPrefix(s[i+1:], "\n"):
		case r == '\r':
			b.WriteByte('\n')
		case r == '₩' && '0' <= last && last <= '9':
			b.WriteRune('원')
		case r == '₩':
			b.WriteRune('￦')
		default:
			if to, ok := replacements[r]; ok {
				b.WriteString(to)
			} else {
				b.WriteRune(r)
			}
		}
		last = r
	}
	return b.String()
}

// isPlain reports whether Sanitize would return s unchanged. Nothing that an SMS
// can carry is replaced, and of it only CR and the soft hyphen are dropped.
func isPlain(s string) bool {
	known := ksx1001()
	for _, r := range s {
		if r == '\r' || r >= utf8.RuneSelf && (!known.has(r) || visible(r) < 0) {
			return false
		}
	}
	return true
}
