package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrPointer is wrapped by every error of [ValidPointer].
var ErrPointer = errors.New("strictjson: a JSON pointer (RFC 6901) is empty or begins with /, as in /patient/id")

// MaxPointer is the longest pointer accepted, in bytes.
const MaxPointer = 512

// ValidPointer reports what is wrong with a pointer that somebody configured.
// ~ and / inside a key are written ~0 and ~1.
func ValidPointer(pointer string) error {
	switch {
	case pointer == "":
		return nil
	case pointer[0] != '/':
		return ErrPointer
	case len(pointer) > MaxPointer:
		return fmt.Errorf("%w; it is longer than %d bytes", ErrPointer, MaxPointer)
	case strings.Count(pointer, "/") > DefaultDepth:
		return fmt.Errorf("%w; it is deeper than %d levels, which no document is", ErrPointer, DefaultDepth)
	case !utf8.ValidString(pointer), strings.Contains(pointer, "\x00"):
		return fmt.Errorf("%w; it is not valid text", ErrPointer)
	}
	for rest := pointer; ; {
		_, after, found := strings.Cut(rest, "~")
		if !found {
			return nil
		}
		if after == "" || (after[0] != '0' && after[0] != '1') {
			return fmt.Errorf("%w; write ~ as ~0", ErrPointer)
		}
		rest = after
	}
}

// Lookup returns the value that pointer names in b, as written there and
// sharing its memory, or false when there is none. b must have passed [Check];
// with any other, what is returned means nothing. Without escapes in the
// pointer and the keys on the way, nothing is allocated.
func Lookup(b []byte, pointer string) (raw json.RawMessage, ok bool) {
	i := skipSpace(b, 0)
	for pointer != "" {
		if pointer[0] != '/' || i >= len(b) {
			return nil, false
		}
		token := pointer[1:]
		if end := strings.IndexByte(token, '/'); end >= 0 {
			token = token[:end]
		}
		pointer = pointer[1+len(token):]
		switch b[i] {
		case '{':
			i = member(b, i, token)
		case '[':
			i = element(b, i, token)
		default:
			i = -1
		}
		if i < 0 {
			return nil, false
		}
	}
	end := skipValue(b, i)
	if end <= i {
		return nil, false
	}
	return json.RawMessage(b[i:end:end]), true
}

// LookupText is [Lookup] for an id or a piece of text: a string decoded, or a
// number as written. Anything else returns false.
func LookupText(b []byte, pointer string) (text string, ok bool) {
	raw, ok := Lookup(b, pointer)
	if !ok {
		return "", false
	}
	switch c := raw[0]; {
	case c == '"':
		inner := raw[1 : len(raw)-1]
		if bytes.IndexByte(inner, '\\') < 0 {
			return string(inner), true
		}
		return string(unescape(nil, inner)), true
	case c == '-', '0' <= c && c <= '9':
		return string(raw), true
	}
	return "", false
}

// member returns where the value of the key token begins in the object at
// b[i], or -1.
func member(b []byte, i int, token string) int {
	if strings.Contains(token, "~") {
		token = unescapeToken.Replace(token)
	}
	for i++; ; i++ { // behind { or a comma
		i = skipSpace(b, i)
		end := skipString(b, i)
		if end < 0 {
			return -1
		}
		key := b[i+1 : end-1]
		if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
			return -1
		}
		i = skipSpace(b, i+1)
		if isKey(key, token) {
			return i
		}
		if i = skipSpace(b, skipValue(b, i)); i < 0 || i >= len(b) || b[i] != ',' {
			return -1
		}
	}
}

// unescapeToken works from left to right, so that ~01 is ~1 and not /.
var unescapeToken = strings.NewReplacer("~1", "/", "~0", "~")

// isKey reports whether raw, between its quotes, stands for token.
func isKey(raw []byte, token string) bool {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw) == token
	}
	var buf [DefaultKey]byte
	return string(unescape(buf[:0], raw)) == token
}

// element returns where the element numbered token begins in the array at
// b[i], or -1.
func element(b []byte, i int, token string) int {
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 || strconv.Itoa(n) != token { // neither 01, +1 nor -
		return -1
	}
	if i = skipSpace(b, i+1); i >= len(b) || b[i] == ']' {
		return -1
	}
	for ; n > 0; n-- {
		if i = skipSpace(b, skipValue(b, i)); i < 0 || i >= len(b) || b[i] != ',' {
			return -1
		}
		i = skipSpace(b, i+1)
	}
	return i
}
