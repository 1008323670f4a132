package template

import (
	"bytes"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
)

// EUCKRBytes returns how many bytes s takes in an SMS, where ASCII is one byte
// and every other character of KS X 1001 is two, and the distinct characters
// that an SMS cannot carry, in the order of appearance, 100 at most (each
// counted as two bytes). Those are what EUC-KR lacks, the CP949 extension (똠,
// 뷁), which handsets may show as ?, and control characters other than tab, LF
// and CR. They come from the message: show them to its author, never log them.
func EUCKRBytes(s string) (n int, bad []rune) {
	known := ksx1001()
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			i++
			if isPrintable(c) {
				n++
				continue
			}
			n += 2
			bad = appendNew(bad, rune(c))
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		n += 2
		if !known.has(r) {
			bad = appendNew(bad, r)
		}
	}
	return n, bad
}

func isPrintable(c byte) bool {
	return c >= ' ' && c != 0x7F || c == '\n' || c == '\t' || c == '\r'
}

// maxBad bounds the list of characters; an author mends those and tries again.
const maxBad = 100

func appendNew(rs []rune, r rune) []rune {
	if len(rs) == maxBad || slices.Contains(rs, r) {
		return rs
	}
	return append(rs, r)
}

// runeSet is a set of characters of the basic multilingual plane.
type runeSet [1 << 16 / 64]uint64

func (s *runeSet) add(r rune) { s[r/64] |= 1 << (r % 64) }

func (s *runeSet) has(r rune) bool { return uint32(r) < 1<<16 && s[r/64]&(1<<(r%64)) != 0 }

// ksx1001 is the two-byte part of EUC-KR. Go's korean.EUCKR is CP949, a
// superset whose additions have a lead or trail byte below 0xA1; decoding the
// square above once is cheaper than an encoder in each call.
var ksx1001 = sync.OnceValue(func() *runeSet {
	const first, last = 0xA1, 0xFE
	var square []byte
	for lead := first; lead <= last; lead++ {
		for trail := first; trail <= last; trail++ {
			square = append(square, byte(lead), byte(trail), '\n')
		}
	}
	decoded, err := korean.EUCKR.NewDecoder().Bytes(square)
	if err != nil { // cannot be: the decoder replaces what it does not know
		return new(runeSet)
	}
	set := new(runeSet)
	for cell := range bytes.Lines(decoded) {
		if r, size := utf8.DecodeRune(cell); r != utf8.RuneError && size+1 == len(cell) {
			set.add(r)
		}
	}
	return set
})
