package local

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var discard = slog.New(slog.DiscardHandler)

// own is the account of the test itself.
func own(t *testing.T) account {
	t.Helper()
	return account{name: "tester", uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}

// fakeBin makes a folder of programs that say version and do nothing else.
func fakeBin(t *testing.T, dir, version string, programs ...string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range programs {
		script := "#!/bin/sh\necho '" + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNamedBinIsUsedOrExplained(t *testing.T) {
	t.Parallel()
	both := []string{"postgres", "initdb"}
	tests := []struct {
		name     string
		version  string
		programs []string
		wants    int
		err      string // part of the error; "" for none
	}{
		{"debian", "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", both, 0, ""},
		{"beta", "postgres (PostgreSQL) 19beta1", both, 0, ""},
		{"same_as_data", "postgres (PostgreSQL) 16.2", both, 16, ""},
		{"too_old", "postgres (PostgreSQL) 14.9", both, 0, "15 or newer"},
		{"other_than_data", "postgres (PostgreSQL) 17.2", both, 16, "written by PostgreSQL 16"},
		{"no_initdb", "postgres (PostgreSQL) 17.2", both[:1], 0, "no initdb"},
		{"not_postgres", "hello", both, 0, "not PostgreSQL"},
		{"empty", "", nil, 0, "no postgres"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bin := fakeBin(t, filepath.Join(t.TempDir(), "bin"), tt.version, tt.programs...)
			got, err := finder{who: own(t), bin: bin, wants: tt.wants, log: discard}.find(t.Context())
			if tt.err == "" && (err != nil || got.dir != bin) {
				t.Errorf("find = %+v, %v; want %s", got, err, bin)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), "--postgres-bin")) {
				t.Errorf("find = %v, want an error with %q and --postgres-bin", err, tt.err)
			}
		})
	}
}

func TestSearchGoesPathThenDebianThenCache(t *testing.T) {
	top := t.TempDir()
	version := func(n string) string { return "postgres (PostgreSQL) " + n }
	both := []string{"postgres", "initdb"}
	old := fakeBin(t, filepath.Join(top, "old"), version("14.1"), both...)
	path16 := fakeBin(t, filepath.Join(top, "real"), version("16.1"), both...)
	link := filepath.Join(top, "link")
	if err := os.Mkdir(link, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(path16, "postgres"), filepath.Join(link, "postgres")); err != nil {
		t.Fatal(err)
	}
	deb := filepath.Join(top, "lib")
	deb9 := fakeBin(t, filepath.Join(deb, "9", "bin"), version("9.6"), both...)
	deb15 := fakeBin(t, filepath.Join(deb, "15", "bin"), version("15.1"), both...)
	deb18 := fakeBin(t, filepath.Join(deb, "18", "bin"), version("18.1"), both...)
	cache := filepath.Join(top, "cache")
	cached := fakeBin(t, filepath.Join(cachedHome(cache), "bin"), version(pinnedVersion), both...)
	tests := []struct {
		name  string
		path  string
		f     finder
		want  string
		major int
	}{
		{"path_first", path16, finder{debian: deb}, path16, 16},
		{"link_is_followed", link, finder{debian: deb}, path16, 16},
		{"too_old_is_passed_over", old, finder{debian: deb}, deb18, 18},
		{"newest_of_debian", top, finder{debian: deb}, deb18, 18},
		{"version_of_the_data", path16, finder{debian: deb, wants: 15}, deb15, 15},
		{"cache", top, finder{debian: filepath.Dir(filepath.Dir(deb9)) + "/none"}, cached, 17},
		{"fetch_only", path16, finder{debian: deb, fetchOnly: true}, cached, 17},
	}
	for _, tt := range tests {
		t.Setenv("PATH", tt.path)
		f := tt.f
		f.who, f.cache, f.log = own(t), cache, discard
		f.debian = filepath.Join(f.debian, "*", "bin")
		got, err := f.find(t.Context())
		if err != nil || got.dir != mustResolve(t, tt.want) || got.major != tt.major {
			t.Errorf("%s: find = %+v, %v; want %s", tt.name, got, err, tt.want)
		}
	}

	t.Setenv("PATH", top)
	_, err := finder{who: own(t), debian: top, cache: filepath.Join(top, "empty"), log: discard}.find(context.Background())
	if err == nil || !strings.Contains(err.Error(), "apt-get install postgresql`") || strings.Contains(err.Error(), "\n") {
		t.Errorf("nothing anywhere: %v, want one line with the apt-get command", err)
	}
	_, err = finder{who: own(t), debian: top, wants: 16, log: discard}.find(context.Background())
	if err == nil || !strings.Contains(err.Error(), "apt-get install postgresql-16`") {
		t.Errorf("data of a version that is not here: %v, want the apt-get command for it", err)
	}
}
