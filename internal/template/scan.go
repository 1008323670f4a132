package template

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one another.
const maxMarks = 30

// scan returns the byte offset of the first character of s that no message may
// contain and why, or a nil error. The control characters in allowed pass.
func scan(s, allowed string) (int, error) {
	marks := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if (c < ' ' || c == 0x7F) && strings.IndexByte(allowed, c) < 0 {
				return i, ErrControl
			}
			marks = 0
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if isSyllable(r) { // most of our text
			marks = 0
			i += size
			continue
		}
		switch {
		case r == utf8.RuneError && size == 1:
			return i, ErrUTF8
		case unicode.Is(unicode.Cc, r), r == '\u2028', r == '\u2029':
			return i, ErrControl
		case unicode.Is(unicode.Bidi_Control, r):
			return i, ErrBidi
		case unicode.IsMark(r):
			if marks++; marks > maxMarks {
				return i, ErrMarks
			}
		default:
			marks = 0
		}
		i += size
	}
	return 0, nil
}

// isSyllable reports a composed Hangul syllable.
func isSyllable(r rune) bool { return '가' <= r && r <= '힣' }

// isBlank reports whether nothing of s can be seen: it has only white space,
// zero-width characters and Hangul fillers.
func isBlank(s string) bool {
	for _, r := range s {
		switch {
		case unicode.IsSpace(r), visible(r) < 0:
		case r == '\u115F', r == '\u1160', r == '\u3164', r == '\uFFA0':
		default:
			return false
		}
	}
	return true
}

// visible maps characters without a shape of their own to -1: soft hyphen,
// zero-width space and joiners, word joiner, byte order mark, variation
// selectors.
func visible(r rune) rune {
	switch r {
	case '\u00AD', '\u200B', '\u200C', '\u200D', '\u2060', '\uFEFF', '\uFE0E', '\uFE0F':
		return -1
	}
	return r
}
