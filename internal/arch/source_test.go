package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strings"
	"testing"
)

// maxLines is the length beyond which nobody reads a file from top to bottom.
// The wiring in cmd is one deliberate straight line and may be longer.
const maxLines = 500

var (
	// leftover marks what was left for later, or hidden from the linter. It
	// is put together here so that this file is not found guilty.
	leftover = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|no` + `lint`)
	// machinePath is a place on somebody's machine.
	machinePath = regexp.MustCompile(`(^|[^\w.])/(work|workspace|home|Users)/|/root/(go|\.)`)
	// skipping is a method that ends a test without a verdict.
	skipping = map[string]bool{"Skip": true, "Skipf": true, "SkipNow": true}
)

// checkSource says what in f has no place in the repository.
func checkSource(f goFile) (violations []string) {
	bad := func(line int, format string, args ...any) {
		violations = append(violations, fmt.Sprintf("%s:%d: ", f.path, line)+fmt.Sprintf(format, args...))
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if m := leftover.FindString(c.Text); m != "" {
				bad(f.line(c.Pos()), "%s in a comment: do it, or leave it out", m)
			}
		}
	}
	for i, line := range strings.Split(string(f.src), "\n") {
		if m := machinePath.FindString(line); m != "" {
			bad(i+1, "%s is a path of one machine", strings.TrimSpace(m))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !f.test {
			return true
		}
		if s, ok := call.Fun.(*ast.SelectorExpr); ok && skipping[s.Sel.Name] {
			bad(f.line(call.Pos()), "%s: a test that does not run proves nothing; provide what it needs", s.Sel.Name)
		}
		return true
	})
	if n := bytes.Count(f.src, []byte("\n")); n > maxLines && !strings.HasPrefix(f.pkg, "cmd/") {
		bad(n, "%d lines; more than %d are not read from top to bottom", n, maxLines)
	}
	return violations
}

// checkPackageComments says which packages do not tell what they are. A
// package of tests alone tells it in a test file.
func checkPackageComments(files []goFile) (violations []string) {
	told, onlyTests := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if _, seen := onlyTests[f.pkg]; !seen {
			onlyTests[f.pkg] = true
		}
		onlyTests[f.pkg] = onlyTests[f.pkg] && f.test
	}
	for _, f := range files {
		if f.ast.Doc == nil || f.test && !onlyTests[f.pkg] {
			continue
		}
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = "Command " + path.Base(f.pkg) + " "
		}
		if !strings.HasPrefix(f.ast.Doc.Text(), want) {
			violations = append(violations, fmt.Sprintf("%s: the package comment begins with %q", f.path, want))
		}
		told[f.pkg] = true
	}
	for pkg := range onlyTests {
		if !told[pkg] {
			violations = append(violations, fmt.Sprintf("package %s has no comment: one sentence what it is, one what it must not know", pkg))
		}
	}
	return violations
}

func TestSourceHoldsNoLeftovers(t *testing.T) {
	t.Parallel()
	var violations []string
	for _, f := range allGoFiles(t) {
		violations = append(violations, checkSource(f)...)
	}
	report(t, violations)
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	report(t, checkPackageComments(allGoFiles(t)))
}

func TestEveryLeftoverIsReported(t *testing.T) {
	t.Parallel()
	long := "package x\n" + strings.Repeat("\n", maxLines)
	tests := []struct{ name, file, src, want string }{
		{"leftover", "planner/x.go", "package x\n\n// TO" + "DO: later.\n", "do it, or leave it out"},
		{"fix_me", "planner/x.go", "package x\n\n/* FIX" + "ME */\n", "do it, or leave it out"},
		{"lint_off", "planner/x.go", "package x\n\n//no" + "lint:errcheck\n", "do it, or leave it out"},
		{"skip", "planner/x_test.go", "package x\n\nfunc f(t T) { t.Skip(\"no docker\") }\n", "proves nothing"},
		{"skip_now", "planner/x_test.go", "package x\n\nfunc f(t T) { if true { t.SkipNow() } }\n", "proves nothing"},
		{"machine_path", "planner/x.go", "package x\n\nconst p = \"/ho" + "me/kim/x\"\n", "path of one machine"},
		{"module_cache", "planner/x.go", "package x\n\n// see /root" + "/go/pkg\n", "path of one machine"},
		{"too_long", "planner/x.go", long, "not read from top to bottom"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(tt.file, []byte(tt.src))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(checkSource(f), "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("checkSource = %q, want it to contain %q", got, tt.want)
			}
		})
	}
	wiring, err := parse("cmd/doctorsflow/serve.go", []byte(long))
	if err != nil {
		t.Fatal(err)
	}
	if got := checkSource(wiring); got != nil {
		t.Errorf("checkSource of long wiring = %q, want nothing", got)
	}
}

func TestMissingPackageCommentsAreReported(t *testing.T) {
	t.Parallel()
	source := func(name, src string) goFile {
		f, err := parse(name, []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	tests := []struct {
		name  string
		files []goFile
		want  int
	}{
		{"none", []goFile{source("a/a.go", "package a\n")}, 1},
		{"one_file_of_two", []goFile{source("a/a.go", "// Package a is a.\npackage a\n"), source("a/b.go", "package a\n")}, 0},
		{"wrong_beginning", []goFile{source("a/a.go", "// This is a.\npackage a\n")}, 1},
		{"only_in_a_test", []goFile{source("a/a.go", "package a\n"), source("a/a_test.go", "// Package a is a.\npackage a\n")}, 1},
		{"tests_alone", []goFile{source("a/a_test.go", "// Package a is a.\npackage a\n")}, 0},
		{"command", []goFile{source("cmd/x/main.go", "// Command x is x.\npackage main\n")}, 0},
	}
	for _, tt := range tests {
		if got := checkPackageComments(tt.files); len(got) != tt.want {
			t.Errorf("%s: checkPackageComments = %q, want %d", tt.name, got, tt.want)
		}
	}
}
