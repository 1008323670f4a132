package clinic

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// plainNumber is a number that every reader takes for the same digits. YAML
// makes 8 of 010 and 1000 of 1_000, which nobody means by a patient's number.
var plainNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// maxNesting bounds how deep a file's lists and maps lie in one another, counted
// by brackets and dashes wherever they stand. What reads YAML takes time by the
// square of it.
const maxNesting = 500

// readYAML reads a file strictly.
func readYAML(b []byte, into any) (err error) {
	deep, dashes := 0, 0
	for _, c := range b {
		switch c {
		case '[', '{':
			deep++
		case ']', '}':
			deep = max(deep-1, 0)
		case '-':
			dashes++
		case ' ', '\t':
		default:
			dashes = 0
		}
		if deep > maxNesting || dashes > maxNesting {
			return errors.New("clinic: the file's lists and maps lie too deep in one another")
		}
	}
	defer func() {
		if recover() != nil { // the library does on some files that are no YAML
			err = errors.New("clinic: the file is not YAML that can be read")
		}
	}()
	if err := yaml.UnmarshalWithOptions(b, into, yaml.Strict()); err != nil {
		return syntaxError(err)
	}
	return checkScalars(b)
}

// checkScalars refuses what YAML would silently read as something else, or not
// at all: a number with another spelling, a key that is a number, and all
// documents but the first.
func checkScalars(b []byte) error {
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return syntaxError(err)
	}
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			return errors.New("clinic: the file holds several documents; keep one, without --- between parts")
		}
		for _, kind := range []ast.NodeType{ast.IntegerType, ast.FloatType} {
			for _, n := range ast.Filter(kind, doc.Body) {
				if t := n.GetToken(); !plainNumber.MatchString(t.Value) {
					return fmt.Errorf("clinic: [%d:%d] YAML reads this as another number; put it in quotes", t.Position.Line, t.Position.Column)
				}
			}
		}
		for _, n := range ast.Filter(ast.MappingValueType, doc.Body) {
			if v, ok := n.(*ast.MappingValueNode); ok && v.Key.Type() == ast.IntegerType {
				t := v.Key.GetToken()
				return fmt.Errorf("clinic: [%d:%d] a key is text; put it in quotes", t.Position.Line, t.Position.Column)
			}
		}
	}
	return nil
}

var (
	quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	word   = regexp.MustCompile(`^"[A-Za-z0-9_.:+-]*"$`)
	digits = regexp.MustCompile(`[0-9][0-9 .()-]{5,}[0-9]`)
)

// syntaxError says where and what is wrong. It shows a key or a value only
// when that looks like neither a name nor a number of a patient.
func syntaxError(err error) error {
	msg := quoted.ReplaceAllStringFunc(yaml.FormatError(err, false, false), func(s string) string {
		if word.MatchString(s) {
			return s
		}
		return `"…"`
	})
	return fmt.Errorf("clinic: %s", digits.ReplaceAllString(msg, "…"))
}
