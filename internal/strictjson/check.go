// Package strictjson judges a hostile JSON document in one pass before it is
// stored, and reads single values out of one by pointer without decoding the
// rest. It must not know what a document is about or where it came from.
package strictjson

import "sync"

// The published limits.
const (
	DefaultDepth  = 32
	DefaultValues = 10_000
	DefaultKey    = 128
	DefaultString = 8 << 10
)

// Limits bound a document and say how strict to be. Limits of zero mean the
// published ones. The size of the whole is for whoever reads the request.
type Limits struct {
	Depth  int // arrays and objects within one another
	Values int // objects, arrays and scalars; keys are not counted
	Key    int // bytes of a key, decoded
	String int // bytes of a string, decoded
	// FoldCase takes keys that differ in case only for duplicates, because
	// encoding/json does: for documents that we decode into structs.
	FoldCase bool
	// ExactNumbers also refuses integers beyond ±(2^53−1), which lose digits
	// in a double, and minus zero: for documents whose numbers we compute
	// with. A document that is only kept keeps every digit anyway.
	ExactNumbers bool
}

func (l Limits) withDefaults() Limits {
	l.Depth = orDefault(l.Depth, DefaultDepth)
	l.Values = orDefault(l.Values, DefaultValues)
	l.Key = orDefault(l.Key, DefaultKey)
	l.String = orDefault(l.String, DefaultString)
	return l
}

func orDefault(v, d int) int {
	if v <= 0 {
		return d
	}
	return v
}

// Check reports the first fault of b as an [*Error], or nil when b is one JSON
// document that keeps every rule. What it accepts, encoding/json decodes and
// Postgres takes as jsonb.
func Check(b []byte, limits Limits) error {
	c := checkers.Get().(*checker)
	defer c.release()
	c.b, c.limits = b, limits.withDefaults()
	c.space()
	code := c.value()
	if code == "" {
		if c.space(); c.i < len(b) {
			code = Malformed // a second document, or rubbish
		}
	}
	if code != "" {
		return &Error{Pointer: pointer(c.path), Code: code}
	}
	return nil
}

// checker walks a document. Its methods start at b[i], move i behind what they
// are named for, and return the fault they met or "". After a fault, path
// leads to it.
type checker struct {
	b      []byte
	i      int
	limits Limits
	values int
	path   []step
	keys   [][]byte // decoded keys of the open objects, the innermost last
	arena  []byte   // where keys that differ from what is written are decoded
}

var checkers = sync.Pool{New: func() any { return new(checker) }}

// maxKept bounds the memory that one large document leaves behind, in keys and
// in bytes of keys.
const maxKept = 1024

// release hands c back without anything of the document in it.
func (c *checker) release() {
	path, keys, arena := c.path[:cap(c.path)], c.keys[:cap(c.keys)], c.arena[:cap(c.arena)]
	if len(keys) > maxKept || len(arena) > maxKept*DefaultKey {
		keys, arena = nil, nil
	}
	clear(path)
	clear(keys)
	clear(arena)
	*c = checker{path: path[:0], keys: keys[:0], arena: arena[:0]}
	checkers.Put(c)
}

func (c *checker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\n', '\r':
			c.i++
		default:
			return
		}
	}
}

// next moves behind the byte want, after white space, if it is there.
func (c *checker) next(want byte) bool {
	c.space()
	if c.i < len(c.b) && c.b[c.i] == want {
		c.i++
		return true
	}
	return false
}

func (c *checker) value() Code {
	if c.i == len(c.b) {
		return Malformed
	}
	if c.values++; c.values > c.limits.Values {
		return TooManyValues
	}
	switch c.b[c.i] {
	case '{':
		return c.object()
	case '[':
		return c.array()
	case '"':
		_, _, code := c.str(c.limits.String)
		return code
	case 't':
		return c.literal("true")
	case 'f':
		return c.literal("false")
	case 'n':
		return c.literal("null")
	}
	return c.number()
}

func (c *checker) literal(word string) Code {
	if end := c.i + len(word); end <= len(c.b) && string(c.b[c.i:end]) == word {
		c.i = end
		return ""
	}
	return Malformed
}

func (c *checker) array() Code {
	if len(c.path) == c.limits.Depth {
		return TooDeep
	}
	c.i++
	if c.next(']') {
		return ""
	}
	at := len(c.path)
	c.path = append(c.path, step{})
	for n := 0; ; n++ {
		c.path[at].index = n
		c.space()
		if code := c.value(); code != "" {
			return code
		}
		if c.next(']') {
			c.path = c.path[:at]
			return ""
		}
		if !c.next(',') {
			c.path = c.path[:at] // what is wrong stands between the elements
			return Malformed
		}
	}
}

func (c *checker) object() Code {
	if len(c.path) == c.limits.Depth {
		return TooDeep
	}
	c.i++
	if c.next('}') {
		return ""
	}
	at, arena := len(c.path), len(c.arena)
	keys := keySet{checker: c, first: len(c.keys)}
	for {
		if c.space(); c.i == len(c.b) || c.b[c.i] != '"' {
			return Malformed
		}
		c.path = append(c.path, step{index: -1})
		raw, escaped, code := c.str(c.limits.Key)
		if code != "" {
			return code
		}
		c.path[at].key = raw
		if !keys.add(raw, escaped) {
			return DuplicateKey
		}
		if !c.next(':') {
			return Malformed
		}
		c.space()
		if code := c.value(); code != "" {
			return code
		}
		c.path = c.path[:at]
		if c.next('}') {
			c.keys, c.arena = c.keys[:keys.first], c.arena[:arena]
			return ""
		}
		if !c.next(',') {
			return Malformed
		}
	}
}
