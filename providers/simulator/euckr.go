package simulator

import (
	"strings"

	"golang.org/x/text/encoding/korean"
)

// Measures of NHN's SMS (api-guide, precautions): what is stored at most and
// what a handset shows.
const (
	smsBytes, smsChars     = 90, 255
	lmsBytes, lmsChars     = 2000, 4000
	titleBytes, titleChars = 40, 120
)

// encodable holds, for each rune of the basic plane, whether EUC-KR (as
// carriers read it: CP949) has it. Built once from the decoder's whole range.
var encodable = func() (set [1 << 16 / 8]byte) {
	dec := korean.EUCKR.NewDecoder()
	for lead := 0x81; lead <= 0xFE; lead++ {
		for trail := 0x41; trail <= 0xFE; trail++ {
			s, err := dec.Bytes([]byte{byte(lead), byte(trail)})
			if err != nil {
				continue
			}
			// An undefined pair decodes to U+FFFD, a lone ASCII trail follows it.
			if rs := []rune(string(s)); len(rs) == 1 && rs[0] != '\uFFFD' && rs[0] > 0x7F {
				set[rs[0]>>3] |= 1 << (rs[0] & 7)
			}
		}
	}
	return set
}()

// inEUCKR reports whether a carrier can show c.
func inEUCKR(c rune) bool {
	return c < 0x80 || c <= 0xFFFF && encodable[c>>3]&(1<<(c&7)) != 0
}

// eucBytes returns the length of s in EUC-KR, 2 for what it lacks, and
// whether it lacks anything.
func eucBytes(s string) (n int, ok bool) {
	ok = true
	for _, c := range s {
		if c < 0x80 {
			n++
			continue
		}
		n += 2
		ok = ok && inEUCKR(c)
	}
	return n, ok
}

// eucReplace puts '?' for each rune that EUC-KR lacks.
func eucReplace(s string) string {
	return strings.Map(func(c rune) rune {
		if inEUCKR(c) {
			return c
		}
		return '?'
	}, s)
}

// eucCut returns the longest prefix of s that fits into limit bytes.
func eucCut(s string, limit int) string {
	n := 0
	for i, c := range s {
		if n++; c >= 0x80 {
			n++
		}
		if n > limit {
			return s[:i]
		}
	}
	return s
}
