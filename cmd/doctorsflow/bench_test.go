package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/bench"
	"github.com/doctorsflow/doctorsflow/internal/local"
)

func TestWhatWasLostOrDoubledFailsTheBench(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		run  bench.Run
		code int
	}{{"exact", bench.Run{}, 0}, {"lost", bench.Run{Lost: 1}, 1}, {"doubled", bench.Run{Doubled: 1}, 1}} {
		for _, asJSON := range []bool{false, true} {
			var out, errs bytes.Buffer
			r := bench.NewReport(bench.Shape{}, []*bench.Run{&tt.run})
			err := (&benchFlags{JSON: asJSON}).finish(output{&out, &errs}, r, r.Exact())
			f, _ := errors.AsType[failed](err)
			if f.code != tt.code || (errs.Len() > 0) != (tt.code > 0) {
				t.Errorf("%s: %v, %q; want exit status %d", tt.name, err, &errs, tt.code)
			}
			if json.Valid(out.Bytes()) != asJSON || out.Len() == 0 {
				t.Errorf("%s: printed %s", tt.name, &out)
			}
		}
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]float64{"5%": 0.05, "0": 0, "0.5": 0.5, " 100% ": 1, "2.5%": 0.025} {
		if got, err := share(in); err != nil || got != want {
			t.Errorf("share(%q) = %g, %v; want %g", in, got, err, want)
		}
	}
	for _, in := range []string{"", "%", "5", "101%", "-1%", "NaN", "5 %%"} {
		if got, err := share(in); err == nil {
			t.Errorf("share(%q) = %g, want an error", in, got)
		}
	}
}

// TestTheBenchLeavesNoProcess ends a bench in the middle of a load: as Ctrl-C
// does, and as nothing can prepare for.
func TestTheBenchLeavesNoProcess(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			data, err := dataDir()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { removeData(t, data) })
			exe, err := exec.LookPath("doctorsflow")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe, "bench", "hold", "--data", data, "--patients", "5")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var h held
			d := json.NewDecoder(out)
			if err := d.Decode(&h); err != nil || len(h.Webhooks) != 1 || h.Gateway == "" {
				t.Errorf("hold said %+v, %v", h, err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if signal == syscall.SIGINT {
				var u bench.Usage
				if err := d.Decode(&u); err != nil || u.Memory[bench.Worker] == 0 || u.Memory[bench.Database] == 0 {
					t.Errorf("on its end it said %+v, %v", u, err)
				}
			}
			if err := cmd.Wait(); (err != nil) != (signal == syscall.SIGKILL) {
				t.Errorf("it ended with %v", err)
			}
			if signal == syscall.SIGKILL {
				unlocked(t, data)
			}
			noProcessOf(t, data)
		})
	}
}

// unlocked waits until the worker has given its data folder back, which it does
// last.
func unlocked(t *testing.T, data string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		lock, err := local.Lock(data)
		if err == nil {
			if err := lock.Release(); err != nil {
				t.Error(err)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the worker did not end: %v", err)
		}
		wait(t.Context(), 50*time.Millisecond)
	}
}
