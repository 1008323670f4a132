package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/failpoint"
)

// TestFailpointsAreOnlyInTheirBuild builds the program with and without the
// tag and looks for what only the one may hold and obey.
func TestFailpointsAreOnlyInTheirBuild(t *testing.T) {
	t.Parallel()
	const variable = "DOCTORSFLOW_FAILPOINT"
	for _, tt := range []struct {
		name, tags string
		present    bool
	}{{"normal", "", false}, {"tagged", "failpoint", true}} {
		exe := filepath.Join(t.TempDir(), tt.name)
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags="+tt.tags, "-o", exe, ".").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", tt.name, err, out)
		}
		program, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		// The names of symbols and files are in the program, too.
		for _, trace := range []string{variable, "internal/failpoint", string(failpoint.DispatcherWritten), string(failpoint.RecorderFellBack)} {
			if bytes.Contains(program, []byte(trace)) != tt.present {
				t.Errorf("%s build: has %q is %t, want %t", tt.name, trace, !tt.present, tt.present)
			}
		}
		// Neither gets further than its settings.
		cmd := exec.CommandContext(t.Context(), exe, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--http-addr", "nowhere")
		cmd.Env = append(os.Environ(), variable+"=no.such.point:1")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("HTTPAddr")) {
			t.Errorf("%s build: serve on nowhere: %v, %s", tt.name, err, out)
		}
		if told := strings.Contains(string(out), `there is no point "no.such.point"; use one of `+string(failpoint.IngestTaken)); told != tt.present {
			t.Errorf("%s build: refuses an unknown point is %t, want %t: %s", tt.name, told, tt.present, out)
		}
	}
}
