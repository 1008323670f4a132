package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatOfAProcess(t *testing.T) {
	t.Parallel()
	const rest = " S 77 1 1 0 -1 4194304 100 200 0 0 150 50 30 20 20 0 1 0 12345 1000000 500"
	tests := []struct {
		name, line string
		want       stat
		fails      bool
	}{
		{"plain", "42 (postgres)" + rest, stat{42, 77, "postgres", 2 * time.Second, 500 * time.Millisecond}, false},
		{"spaces", "42 (a b)" + rest, stat{42, 77, "a b", 2 * time.Second, 500 * time.Millisecond}, false},
		{"parentheses", "42 (x) S 1 (y)" + rest, stat{42, 77, "x) S 1 (y", 2 * time.Second, 500 * time.Millisecond}, false},
		{"newline", "42 (a\nb)" + rest + "\n", stat{42, 77, "a\nb", 2 * time.Second, 500 * time.Millisecond}, false},
		{"empty", "", stat{}, true},
		{"no_name", "42 postgres" + rest, stat{}, true},
		{"wrong_way_round", "42 )postgres(" + rest, stat{}, true},
		{"short", "42 (postgres) S 77 1", stat{}, true},
		{"no_pid", "x (postgres)" + rest, stat{}, true},
		{"no_number", "42 (postgres) S 77 1 1 0 -1 0 0 0 0 0 x 50 30 20", stat{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.fails {
				t.Fatalf("parseStat: error %v, want one: %v", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(stat{})); diff != "" && !tt.fails {
				t.Error(diff)
			}
		})
	}
}

func FuzzStatOfAProcess(f *testing.F) {
	f.Add([]byte("42 (x) S 77 1 1 0 -1 4194304 100 200 0 0 150 50 30 20 20"))
	f.Add([]byte("(("))
	f.Fuzz(func(t *testing.T, line []byte) {
		if s, err := parseStat(line); err == nil && len(s.name) > len(line) {
			t.Errorf("a name of %d bytes in a line of %d", len(s.name), len(line))
		}
	})
}

func TestFieldOfStatus(t *testing.T) {
	t.Parallel()
	const status = "Name:\tpostgres\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nVmBad:\t x kB\n"
	if n, err := field([]byte(status), "VmHWM"); err != nil || n != 2<<20 {
		t.Errorf("VmHWM = %d, %v; want 2 MiB", n, err)
	}
	for _, name := range []string{"VmBad", "Pss"} {
		if n, err := field([]byte(status), name); err == nil {
			t.Errorf("%s = %d, want an error", name, n)
		}
	}
}
