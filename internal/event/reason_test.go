package event_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// reasonsOf reads the constants of type Reason from the one file that may
// declare them.
func reasonsOf(t *testing.T) []event.Reason {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []event.Reason
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is not a literal", spec.Names[0])
		}
		s, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, event.Reason(s))
		return true
	})
	return list
}

func TestEveryReasonIsValidAndSaysItselfInBothLanguages(t *testing.T) {
	t.Parallel()
	list := reasonsOf(t)
	if len(list) < 30 {
		t.Fatalf("found only %d reasons", len(list))
	}
	seen := map[event.Reason]bool{}
	for _, r := range append(list, event.Rejected("3018"), event.Rejected("-1005")) {
		if seen[r] {
			t.Errorf("%s is declared twice", r)
		}
		seen[r] = true
		english, korean := r.English(), r.Korean()
		if !r.Valid() {
			t.Errorf("%s is not valid", r)
		}
		if english == "" || english == string(r) || strings.ContainsFunc(english, isHangul) {
			t.Errorf("%s in English: %q", r, english)
		}
		if korean == "" || !strings.ContainsFunc(korean, isHangul) {
			t.Errorf("%s in Korean: %q", r, korean)
		}
		if code := r.Code(); code != "" && (!strings.Contains(english, code) || !strings.Contains(korean, code)) {
			t.Errorf("%s hides its code: %q, %q", r, english, korean)
		}
	}
}

func isHangul(r rune) bool { return unicode.Is(unicode.Hangul, r) }

func TestRejectedNeverMakesAnInvalidReason(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]event.Reason{
		"3018": "rejected:3018", "-1005": "rejected:-1005", "E915": "rejected:E915", "": "rejected:other",
		"a b": "rejected:other", "실패": "rejected:other", "12345678901234567": "rejected:other", "1\n": "rejected:other",
	} {
		if got := event.Rejected(code); got != want {
			t.Errorf("Rejected(%q) = %s, want %s", code, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := event.Rejected(rapid.String().Draw(t, "code"))
		if !r.Valid() || r.Code() == "" {
			t.Fatalf("%q is not valid", r)
		}
	})
}

func TestOnlyTheListIsValid(t *testing.T) {
	t.Parallel()
	for _, r := range []event.Reason{"", "because", "rejected", "rejected:", "rejected:a b", "NO_PHONE", "no_phone ", "rejected:12345678901234567"} {
		if r.Valid() {
			t.Errorf("%q is valid", r)
		}
		// What an older version wrote is shown as it is, never as nothing.
		if r != "" && (r.English() == "" || r.Korean() == "") {
			t.Errorf("%q says nothing", r)
		}
	}
}
