//go:build failpoint

package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestListHasEveryPoint: a point that is not listed could not be asked for.
func TestListHasEveryPoint(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "points.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []Point
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.BasicLit); ok && v.Kind == token.STRING {
			name, err := strconv.Unquote(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, Point(name))
		}
		return true
	})
	listed := slices.Clone(Points)
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("Points has %v, the constants are %v", listed, declared)
	}
}

func TestUnknownPointIsRefusedWithTheList(t *testing.T) {
	t.Parallel()
	tests := []struct{ set, want string }{
		{"", ""},
		{"planner.planned:1", ""},
		{"ingest.answered:1:pause,release.found:10", ""},
		{"planner.plannd:1", `there is no point "planner.plannd"; use one of ingest.taken, ingest.committed`},
		{":1", `there is no point ""`},
		{"planner.planned", "write name:count"},
		{"planner.planned:0", "with a count from 1"},
		{"planner.planned:first", "with a count from 1"},
		{"planner.planned:1:error", "name:count:pause"},
	}
	for _, tt := range tests {
		_, err := parse(tt.set)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s=%q: %v, want %q", Env, tt.set, err, tt.want)
		}
	}
}
