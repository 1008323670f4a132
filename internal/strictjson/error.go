package strictjson

import (
	"strconv"
	"strings"
)

// Code says which rule a document breaks. It is an error itself, so that
// errors.Is(err, DuplicateKey) asks for one cause.
type Code string

// The rules. Each is also the slug of an API problem.
const (
	// Malformed means no JSON document, or more than one: empty input, syntax
	// errors, a byte order mark, comments, NaN, text behind the document.
	Malformed Code = "malformed-json"
	// DuplicateKey means an object that has a key twice; readers disagree on
	// which counts. With [Limits].FoldCase, keys that differ in case only are
	// the same.
	DuplicateKey Code = "duplicate-key"
	// TooDeep means arrays and objects nested beyond [Limits].Depth.
	TooDeep Code = "json-too-deep"
	// InvalidText means a string that Postgres or a reader could not keep as
	// it is: invalid UTF-8, \u0000, or half a surrogate pair.
	InvalidText Code = "invalid-text"
	// OutOfRange means a number that float64 would turn into infinity or zero.
	// With [Limits].ExactNumbers, also one that it would change otherwise.
	OutOfRange Code = "out-of-range"
	// TooManyValues means more values than [Limits].Values.
	TooManyValues Code = "too-many-values"
	// TooLong means a key or a string beyond [Limits].Key or String.
	TooLong Code = "too-long"
)

// advice tells the sender how to mend each fault.
var advice = map[Code]string{
	Malformed:     "send one JSON document in UTF-8 without a byte order mark",
	DuplicateKey:  "send each key of an object once",
	TooDeep:       "nest arrays and objects less deeply",
	InvalidText:   "send text as valid UTF-8 without NUL or lone surrogates",
	OutOfRange:    "send the number as a string, or within the range of a double",
	TooManyValues: "send fewer values, or several documents",
	TooLong:       "shorten the key or the string",
}

// Error returns the slug.
func (c Code) Error() string { return string(c) }

// Error is the first fault of a document. It repeats no value of it.
type Error struct {
	// Pointer is where, as an RFC 6901 pointer, "" for the whole document.
	// Keys may be data: one that does not look like the name of a field
	// stands as *.
	Pointer string
	Code    Code
}

// Error says what is wrong, where, and how to mend it.
func (e *Error) Error() string {
	at := e.Pointer
	if at == "" {
		at = "the document"
	}
	return "strictjson: " + string(e.Code) + " at " + at + ": " + advice[e.Code]
}

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }

// step is one level of the way to a value.
type step struct {
	key   []byte // as written between the quotes
	index int    // of an array; -1 for an object
}

// pointer writes the way as an RFC 6901 pointer that may be shown. Nothing in
// it needs escaping.
func pointer(path []step) string {
	var b strings.Builder
	for _, s := range path {
		b.WriteByte('/')
		switch {
		case s.index >= 0:
			b.WriteString(strconv.Itoa(s.index))
		case looksLikeName(s.key):
			b.Write(s.key)
		default:
			b.WriteByte('*')
		}
	}
	return b.String()
}

const (
	maxName   = 64
	maxDigits = 4 // more could be a phone number, a birth date or an id
)

// looksLikeName reports whether key is surely a field's name: 1 to 64 of
// [A-Za-z0-9_.-] with four digits at most.
func looksLikeName(key []byte) bool {
	digits := 0
	for _, c := range key {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == '.', c == '-':
		case '0' <= c && c <= '9':
			digits++
		default:
			return false
		}
	}
	return 0 < len(key) && len(key) <= maxName && digits <= maxDigits
}
