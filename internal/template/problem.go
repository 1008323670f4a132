package template

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// ProblemCode says what is wrong at one place of a template.
type ProblemCode string

// The problems that [Compile] finds.
const (
	EmptyText        ProblemCode = "empty-text"
	InvalidText      ProblemCode = "invalid-text"
	Unbalanced       ProblemCode = "unbalanced"
	EmptyName        ProblemCode = "empty-name"
	NameTooLong      ProblemCode = "name-too-long"
	BadName          ProblemCode = "bad-name"
	ForeignMark      ProblemCode = "foreign-mark"
	TooManyVariables ProblemCode = "too-many-variables"
)

// advice tells the author how to mend each problem.
var advice = map[ProblemCode]string{
	EmptyText:        "a template needs some text",
	InvalidText:      "a control, text-direction or broken character; remove it",
	Unbalanced:       "#{ without its }; close it, as in #{이름}",
	EmptyName:        "#{} names no variable; write one, as in #{이름}",
	NameTooLong:      fmt.Sprintf("a variable's name is longer than %d characters; shorten it or close the brace earlier", MaxName),
	BadName:          "a variable's name contains #; remove it",
	ForeignMark:      "## is another system's placeholder; write #{name}",
	TooManyVariables: fmt.Sprintf("more than %d different variables; remove some", MaxVariables),
}

// Problem is one fault of a template's text and where it is.
type Problem struct {
	Line   int // from 1
	Column int // in characters, from 1
	Code   ProblemCode
}

// String returns the place and the advice. It repeats nothing of the text.
func (p Problem) String() string {
	return fmt.Sprintf("line %d, column %d: %s", p.Line, p.Column, advice[p.Code])
}

// problemAt places code at the byte offset at of text.
func problemAt(text string, at int, code ProblemCode) Problem {
	before := text[:at]
	line := strings.LastIndexByte(before, '\n') + 1
	return Problem{
		Line:   strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(before[line:]) + 1,
		Code:   code,
	}
}

// maxProblems bounds the list; an author mends the first few and tries again.
const maxProblems = 20

// CompileError lists what is wrong with a template, at most the first 20
// problems.
type CompileError struct {
	Problems []Problem
}

// Error returns every listed problem, separated by semicolons.
func (e *CompileError) Error() string {
	s := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		s[i] = p.String()
	}
	return "template: " + strings.Join(s, "; ")
}

// checkText finds what no template may contain, variables apart.
func checkText(text string) (ps []Problem) {
	if isBlank(text) {
		return []Problem{problemAt(text, 0, EmptyText)}
	}
	// Kept bytes of an approved template may include tabs and CRLF.
	if at, err := scan(text, "\n\r\t"); err != nil {
		ps = append(ps, problemAt(text, at, InvalidText))
	}
	if at := strings.Index(text, foreignMark); at >= 0 {
		ps = append(ps, problemAt(text, at, ForeignMark))
	}
	return ps
}
