package local

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tarball makes an npm package of files and of other entries.
func tarball(t *testing.T, dir string, files map[string]string, others ...tar.Header) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for name, text := range files {
		mode := int64(0o644)
		if strings.Contains(name, "/bin/") {
			mode = 0o755
		}
		others = append(others, tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(text)), Uname: text})
	}
	for _, h := range others {
		text := h.Uname
		h.Uname = ""
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{w.Close(), z.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "package.tgz")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var goodPackage = map[string]string{
	"package/package.json":                 "{}",
	"package/native/bin/postgres":          "#!/bin/sh\n",
	"package/native/lib/libpq.so.5.17":     "library",
	"package/native/share/a/b/c":           "deep",
	"package/native/pg-symlinks.json":      `[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"}]`,
	"package/scripts/hydrate-symlinks.js":  "//",
	"elsewhere/native/not-of-this-package": "",
}

func TestUnpackKeepsModesAndLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unpack(tarball(t, t.TempDir(), goodPackage), dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			fi, e := os.Stat(path)
			if e != nil {
				return e
			}
			got = append(got, fi.Mode().String()+" "+rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "-rwxr-xr-x bin/postgres\n-rw-r--r-- lib/libpq.so.5\n-rw-r--r-- lib/libpq.so.5.17\n-rw-r--r-- pg-symlinks.json\n-rw-r--r-- share/a/b/c"
	if strings.Join(got, "\n") != want {
		t.Errorf("unpacked\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if to, err := os.Readlink(filepath.Join(dir, "lib/libpq.so.5")); err != nil || to != "libpq.so.5.17" {
		t.Errorf("link to %q, %v; want a relative one, which survives a rename", to, err)
	}
}

func TestUnpackWritesNothingOutside(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	tests := []struct {
		name    string
		files   map[string]string
		entries []tar.Header
	}{
		{"dots", nil, []tar.Header{file("package/native/../../../evil")}},
		{"absolute", nil, []tar.Header{file("package/native//../../evil")}},
		{"dir", nil, []tar.Header{{Name: "package/native/../../evil/", Typeflag: tar.TypeDir, Mode: 0o755}}},
		{"symlink", nil, []tar.Header{{Name: "package/native/evil", Typeflag: tar.TypeSymlink, Linkname: "/etc"}}},
		{"hard_link", nil, []tar.Header{{Name: "package/native/evil", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}},
		{"doubled", nil, []tar.Header{file("package/native/a"), file("package/native/a")}},
		{"link_list_place", map[string]string{"package/native/pg-symlinks.json": `[{"source":"native/a","target":"native/../../evil"}]`}, nil},
		{"link_list_goal", map[string]string{"package/native/pg-symlinks.json": `[{"source":"../../etc/passwd","target":"native/evil"}]`}, nil},
		{"link_list_absolute", map[string]string{"package/native/pg-symlinks.json": `[{"source":"/etc/passwd","target":"native/evil"}]`}, nil},
		{"link_list_garbage", map[string]string{"package/native/pg-symlinks.json": `{`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "a", "b")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unpack(tarball(t, t.TempDir(), tt.files, tt.entries...), dir); err == nil {
				t.Error("unpack accepted it")
			}
			for _, d := range []string{top, filepath.Join(top, "a"), dir} {
				if _, err := os.Lstat(filepath.Join(d, "evil")); err == nil {
					t.Errorf("evil is in %s", d)
				}
			}
		})
	}
}

func TestFetchIsWholeOrNothing(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	tgz := tarball(t, top, goodPackage)
	b, err := os.ReadFile(tgz)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha512.Sum512(b)
	sum := base64.StdEncoding.EncodeToString(hash[:])
	npm := func(name, script string) string {
		path := filepath.Join(top, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := npm("good", `[ "$1 $6" = "pack some@1" ] && cp '`+tgz+`' "$5/some-1.tgz"`)
	tests := []struct {
		name, npm, sum, err string
	}{
		{"whole", good, sum, ""},
		{"wrong_sum", good, strings.ToLower(sum), "not the pinned"},
		{"npm_fails", npm("bad", "echo 'npm error network' >&2; exit 1"), sum, "npm error network"},
		{"npm_leaves_nothing", npm("none", "exit 0"), sum, "left 0 files"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cache := t.TempDir()
			home := filepath.Join(cache, "postgres-1")
			err := fetch(t.Context(), tt.npm, "some@1", tt.sum, home)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("fetch = %v, want %q", err, tt.err)
			}
			want := 1
			if tt.err != "" {
				want = 0
			}
			left, err := os.ReadDir(cache)
			if err != nil || len(left) != want {
				t.Errorf("%d entries in the cache (%v), want %d", len(left), err, want)
			}
		})
	}
}

func TestEveryPlatformIsPinned(t *testing.T) {
	t.Parallel()
	if !strings.HasPrefix(pinnedVersion, "17.") || pinnedMajor != 17 {
		t.Errorf("version %s is not of major %d", pinnedVersion, pinnedMajor)
	}
	for platform, pin := range pins {
		if sum, err := base64.StdEncoding.DecodeString(pin.sha512); err != nil || len(sum) != sha512.Size {
			t.Errorf("%s: the pin of %s is not a SHA-512 sum", platform, pin.pkg)
		}
	}
}
