// Package template fills #{name} placeholders into a message, byte for byte,
// and measures what a Korean SMS or Alimtalk can carry. It must not know where
// values come from, what a message is about, or who sends it.
package template

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a template's text.
const (
	// MaxVariables is how many different variables one template may have, which
	// is Kakao's rule for Alimtalk.
	MaxVariables = 40
	// MaxName is the longest name of a variable, in characters. The gateway
	// takes more, but a longer one is most likely a brace not closed.
	MaxName = 64
)

// The marks around a variable's name, and the one of NHN's own SMS templates
// (##name##), which must not reach a patient either.
const (
	opening     = "#{"
	closing     = "}"
	foreignMark = "##"
)

// Template is a compiled text. It is immutable and safe for concurrent use.
type Template struct {
	text     string
	names    []string // distinct, in the order of first appearance
	segments []segment
	tail     string // the text after the last variable
}

// segment is some text and the variable that follows it.
type segment struct {
	text string
	name int // index in names
}

// Compile reads text with variables written as #{name}. Everything else stands
// for itself, byte for byte, because an approved Alimtalk template must be sent
// exactly as approved; so does every byte of a name, spaces included. It
// returns a [*CompileError] that lists all problems.
func Compile(text string) (*Template, error) {
	t := &Template{text: text}
	problems := checkText(text)
	rest, at := text, 0 // at is the offset of rest in text
	for len(problems) < maxProblems {
		i := strings.Index(rest, opening)
		if i < 0 {
			break
		}
		name, size, code := readName(rest[i:])
		if code == "" {
			t.segments = append(t.segments, segment{rest[:i], t.index(name)})
			if len(t.names) > MaxVariables {
				code = TooManyVariables
			}
		}
		if code != "" {
			problems = append(problems, problemAt(text, at+i, code))
		}
		if code == TooManyVariables {
			break
		}
		rest, at = rest[i+size:], at+i+size
	}
	t.tail = rest
	if len(problems) > 0 {
		return nil, &CompileError{problems}
	}
	return t, nil
}

// readName reads the variable that s begins with, and how many bytes of s are
// dealt with, also when something is wrong.
func readName(s string) (name string, size int, code ProblemCode) {
	body, _, closed := strings.Cut(s[len(opening):], closing)
	// A brace or a new line before the closing brace belongs to other text:
	// go on right behind the opening one, so that what follows is still read.
	if !closed || strings.ContainsAny(body, "{\n") {
		return "", len(opening), Unbalanced
	}
	size = len(opening) + len(body) + len(closing)
	switch {
	case isBlank(body):
		return "", size, EmptyName
	case utf8.RuneCountInString(body) > MaxName:
		return "", size, NameTooLong
	case strings.Contains(body, "#"):
		return "", size, BadName
	}
	return body, size, ""
}

// index returns name's place in t.names, adding it when new.
func (t *Template) index(name string) int {
	i := slices.Index(t.names, name)
	if i < 0 {
		i = len(t.names)
		t.names = append(t.names, name)
	}
	return i
}

// Variables returns the distinct names in the order of first appearance. The
// caller owns the slice.
func (t *Template) Variables() []string { return slices.Clone(t.names) }

// String returns the text that was compiled.
func (t *Template) String() string { return t.text }
