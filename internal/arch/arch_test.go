// Package arch holds the tests of the source itself: which package may import
// which, how long a file may be, whether the README tells the truth. It has no
// code of its own and nothing may import it.
package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/doctorsflow/doctorsflow"

// root is the folder of go.mod.
const root = "../.."

// goFile is one Go file of the repository, whatever its build tags.
type goFile struct {
	path string // slash-separated, from the root
	pkg  string // its folder; "." for the root
	test bool
	src  []byte
	ast  *ast.File
	fset *token.FileSet
}

// imports lists the file's import paths; ours without the module's prefix.
func (f goFile) imports() (ours, others []string) {
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser would have refused it
		}
		if rest, ok := strings.CutPrefix(p, module+"/"); ok {
			ours = append(ours, rest)
		} else {
			others = append(others, p)
		}
	}
	return ours, others
}

// external reports a test that sees its package as any importer does.
func (f goFile) external() bool { return f.test && strings.HasSuffix(f.ast.Name.Name, "_test") }

func (f goFile) line(p token.Pos) int { return f.fset.Position(p).Line }

// parse reads one file's source.
func parse(name string, src []byte) (goFile, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	return goFile{
		path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), src: src, ast: tree, fset: fset,
	}, err
}

// goFiles reads every Go file of the repository once for all tests.
var goFiles = sync.OnceValues(func() (files []goFile, err error) {
	err = walk(func(name string) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		f, err := parse(name, src)
		files = append(files, f)
		return err
	})
	return files, err
})

// walk visits every file that the go command or a reader would look at.
func walk(visit func(name string) error) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		base := d.Name()
		switch {
		case d.IsDir() && name != "." && (strings.HasPrefix(base, ".") && base != ".ci" || base == "testdata" || base == "node_modules"):
			return filepath.SkipDir
		case d.IsDir():
			return nil
		}
		return visit(filepath.ToSlash(name))
	})
}

func allGoFiles(t *testing.T) []goFile {
	t.Helper()
	files, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(files, func(f goFile) bool { return f.path == "cmd/doctorsflow/main.go" }) {
		t.Fatal("cmd/doctorsflow/main.go was not found; these tests look at another tree than they should")
	}
	return files
}

// report fails the test with everything that is wrong, in order.
func report(t *testing.T, violations []string) {
	t.Helper()
	slices.Sort(violations)
	for _, v := range slices.Compact(violations) {
		t.Error(v)
	}
}
