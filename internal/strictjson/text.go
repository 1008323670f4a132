package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string of at most limit bytes once decoded. It returns what
// stands between the quotes, and whether that contains escapes.
func (c *checker) str(limit int) (raw []byte, escaped bool, code Code) {
	b, start := c.b, c.i+1
	seen := byte(0) // all bits of all bytes: the top one means not ASCII
	saved := 0      // bytes, by decoding
	for i := start; i < len(b); {
		ch := b[i]
		if ch >= ' ' && ch != '"' && ch != '\\' {
			seen |= ch
			i++
			continue
		}
		switch ch {
		case '"':
			c.i = i + 1
			raw = b[start:i]
			if seen >= utf8.RuneSelf && !utf8.Valid(raw) {
				return nil, false, InvalidText
			}
			if len(raw)-saved > limit {
				return nil, false, TooLong
			}
			return raw, escaped, ""
		case '\\':
			escaped = true
			r, size := readEscape(b[i:])
			switch {
			case size == 0:
				return nil, false, Malformed
			case r <= 0: // NUL, or half a pair
				return nil, false, InvalidText
			}
			saved += size - utf8.RuneLen(r)
			i += size
		default: // a control character
			return nil, false, Malformed
		}
	}
	return nil, false, Malformed // never closed
}

// lone stands for half a surrogate pair, which is no character.
const lone = rune(-1)

// readEscape decodes the escape that b begins with, and how many bytes it
// takes: both halves of a surrogate pair are one. Size 0 means no escape.
func readEscape(b []byte) (r rune, size int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return 0, 0
	}
	r, ok := hex4(b[2:])
	switch {
	case !ok:
		return 0, 0
	case !utf16.IsSurrogate(r):
		return r, 6
	}
	if len(b) >= 8 && b[6] == '\\' && b[7] == 'u' {
		if low, ok := hex4(b[8:]); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return full, 12
			}
		}
	}
	return lone, 6
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape appends the text that raw, between its quotes, stands for. It never
// fails: what is no escape is kept, and half a pair becomes U+FFFD.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] == '\\' {
			if r, size := readEscape(raw[i:]); size > 0 {
				dst = utf8.AppendRune(dst, r)
				i += size
				continue
			}
		}
		dst = append(dst, raw[i])
		i++
	}
	return dst
}
