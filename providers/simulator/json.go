package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reader walks one JSON document strictly: names are case-sensitive and a
// value of another type than the field's is an error, as encoding/json alone
// would not have it. The document was validated before, so the walk cannot
// run off its end.
type reader struct {
	s string
	i int
	// bad is the first field of the wrong type.
	bad string
	// unknown are the names that the guide does not list, at most 20.
	unknown []string
}

// newReader validates body as one JSON object in UTF-8.
func newReader(body []byte) (*reader, bool) {
	if !json.Valid(body) || !utf8.Valid(body) {
		return nil, false
	}
	r := &reader{s: string(body)}
	r.space()
	return r, r.s[r.i] == '{'
}

func (r *reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

func (r *reader) fail(field string) {
	if r.bad == "" {
		r.bad = field
	}
	r.skip()
}

// other skips a field that nobody asked for and remembers its name.
func (r *reader) other(field string) {
	if len(r.unknown) < 20 {
		r.unknown = append(r.unknown, strings.Clone(field))
	}
	r.skip()
}

// null consumes a null.
func (r *reader) null() bool {
	if r.s[r.i] == 'n' {
		r.i += len("null")
		return true
	}
	return false
}

// quoted consumes a JSON string at the cursor and returns its value.
func (r *reader) quoted() string {
	start := r.i
	r.i++
	escaped := false
	for r.s[r.i] != '"' {
		if r.s[r.i] == '\\' {
			escaped = true
			r.i++
		}
		r.i++
	}
	r.i++
	if !escaped {
		return r.s[start+1 : r.i-1]
	}
	var v string
	_ = json.Unmarshal([]byte(r.s[start:r.i]), &v) // validated by newReader
	return v
}

// skip consumes any value.
func (r *reader) skip() {
	depth := 0
	for {
		switch r.s[r.i] {
		case '"':
			r.quoted()
		case '{', '[':
			depth++
			r.i++
		case '}', ']':
			depth--
			r.i++
		case ',', ':', ' ', '\t', '\n', '\r':
			r.i++
		default: // number, true, false, null
			for r.i < len(r.s) && !strings.ContainsRune(",]} \t\n\r", rune(r.s[r.i])) {
				r.i++
			}
		}
		if depth == 0 {
			return
		}
		r.space()
	}
}

// object calls each for every member; each consumes the member's value. It
// reports whether there was an object rather than null or a wrong type.
func (r *reader) object(field string, each func(name string)) bool {
	if r.null() {
		return false
	}
	if r.s[r.i] != '{' {
		r.fail(field)
		return false
	}
	r.i++
	for {
		r.space()
		switch r.s[r.i] {
		case '}':
			r.i++
			return true
		case ',':
			r.i++
			continue
		}
		name := r.quoted()
		r.space()
		r.i++ // the colon
		r.space()
		each(name)
	}
}

// array calls each for every element; each consumes the element.
func (r *reader) array(field string, each func()) {
	if r.null() {
		return
	}
	if r.s[r.i] != '[' {
		r.fail(field)
		return
	}
	r.i++
	for {
		r.space()
		switch r.s[r.i] {
		case ']':
			r.i++
			return
		case ',':
			r.i++
		default:
			each()
		}
	}
}

// text reads a string; null is "".
func (r *reader) text(field string) string {
	if r.null() {
		return ""
	}
	if r.s[r.i] != '"' {
		r.fail(field)
		return ""
	}
	return r.quoted()
}

// integer reads a whole number; null is 0.
func (r *reader) integer(field string) int {
	if r.null() {
		return 0
	}
	start := r.i
	r.skip()
	n, err := strconv.Atoi(r.s[start:r.i])
	if err != nil && r.bad == "" {
		r.bad = field
	}
	return n
}

// tri is a boolean that may be absent.
type tri int8

const (
	unset tri = iota
	no
	yes
)

// boolean reads true, false or null.
func (r *reader) boolean(field string) tri {
	switch r.s[r.i] {
	case 't':
		r.i += len("true")
		return yes
	case 'f':
		r.i += len("false")
		return no
	}
	if !r.null() {
		r.fail(field)
	}
	return unset
}

// container skips an object or array that the guide lists and the simulator
// does not look into.
func (r *reader) container(field string) {
	if c := r.s[r.i]; c == '{' || c == '[' || c == 'n' {
		r.skip()
		return
	}
	r.fail(field)
}

// decodeStrict reads one JSON value of the control plane: no unknown names,
// nothing after it.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("simulator: cannot read the request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("simulator: send exactly one JSON value")
	}
	return nil
}
