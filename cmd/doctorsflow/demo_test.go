package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheDemoShowsEveryWayAMessageCanGo runs what the README promises first.
func TestTheDemoShowsEveryWayAMessageCanGo(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	out := command(t, "demo", "--data", data, "--http-addr", "127.0.0.1:0")
	for _, want := range []string{
		"duplicate=true",
		"김하늘        카톡 ✔                카톡 ✔                카톡 ✔",
		"정도윤        카톡 ✘3019 → 문자 ✔",
		"조시우        카톡 ✘-3010 → 문자 ✔",
		"윤하린        카톡 ✘3020 → 문자 ✘3001",
		"장주원        – opted_out           – opted_out           – opted_out",
		"미소치과  ✔ holds",
		"steps 42 (runs expect 42) = delivered 24 + sent 0 + failed 15 + cancelled 0 + skipped 3",
		"why P-1005 --data " + data,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if strings.Contains(out, "\x1b[") {
		t.Error("escape codes where the output is not a terminal")
	}
	if t.Failed() {
		t.Log(out)
	}
	noProcessOf(t, data)

	// What it printed to look further works on the stopped folder.
	if why := command(t, "why", "P-1005", "--data", data, "--lang", "en"); strings.Count(why, "went on by SMS [fell_back]") != 3 || strings.Count(why, "code=3019") != 3 {
		t.Errorf("why P-1005 says:\n%s", why)
	}
	if why := command(t, "why", "P-1009", "--data", data, "--lang", "ko"); strings.Count(why, "환자가 수신을 거부함 [opted_out]") != 3 {
		t.Errorf("why P-1009 says:\n%s", why)
	}
	noProcessOf(t, data)
}

func TestTheDemoEmptiesNoFolderOfSomebodyElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(keep, []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"demo", "--data", dir}, &out, &errs); code == 0 || !strings.Contains(errs.String(), "is not empty and no demo made it") {
		t.Errorf("exit %d: %s", code, &errs)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error(err)
	}
}

// noProcessOf fails if any process was started on the data folder and is left.
func noProcessOf(t testing.TB, data string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if cmd := string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})); strings.Contains(cmd, data+"/postgres") {
			t.Errorf("left behind: %s", cmd)
		}
	}
}
