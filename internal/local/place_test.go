package local

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stranger is a user whom permission bits treat as everyone else.
var stranger = account{name: "stranger", uid: 4_000_000_001, gid: 4_000_000_001, switched: true}

func TestBlockedAtNamesTheOutermostClosedFolder(t *testing.T) {
	t.Parallel()
	top := mustResolve(t, t.TempDir())
	open := filepath.Join(top, "open")
	closed := filepath.Join(open, "closed")
	if err := os.MkdirAll(filepath.Join(closed, "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(open, "link")
	if err := os.Symlink(closed, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(top), top, open} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	self := account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	tests := []struct {
		name string
		who  account
		path string
		want string
	}{
		{"open", stranger, filepath.Join(open, "db"), ""},
		{"the_folder_itself_may_be_closed", stranger, closed, ""},
		{"missing_folders_do_not_block", stranger, filepath.Join(open, "a", "b", "db"), ""},
		{"closed", stranger, filepath.Join(closed, "db"), closed},
		{"outermost", stranger, filepath.Join(closed, "inner", "db"), closed},
		{"behind_a_link", stranger, filepath.Join(link, "db"), closed},
		{"owner", self, filepath.Join(closed, "inner", "db"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.who.blockedAt(tt.path)
			if err != nil || got != tt.want {
				t.Errorf("blockedAt(%s) = %q, %v; want %q", tt.path, got, err, tt.want)
			}
		})
	}
}

func TestFirstPermissionClassDecides(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owner, group := uint32(os.Geteuid()), uint32(os.Getegid())
	tests := []struct {
		name string
		who  account
		mode os.FileMode
		want bool
	}{
		{"owner", account{uid: owner, gid: stranger.gid}, 0o100, true},
		{"owner_not_by_others", account{uid: owner, gid: stranger.gid}, 0o011, false},
		{"group", account{uid: stranger.uid, gid: group}, 0o010, true},
		{"group_not_by_others", account{uid: stranger.uid, gid: group}, 0o101, false},
		{"further_group", account{uid: stranger.uid, gid: stranger.gid, groups: []uint32{group}}, 0o010, true},
		{"others", stranger, 0o001, true},
		{"others_not_by_group", stranger, 0o110, false},
	}
	for _, tt := range tests {
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.who.mayPass(fi); got != tt.want {
			t.Errorf("%s: mayPass of mode %v = %v, want %v", tt.name, tt.mode, got, tt.want)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestMoveOutGoesWhereTheServersUserCan(t *testing.T) {
	t.Parallel()
	p := place{folder: "/root/a", data: "/root/a/postgres"}
	q := place{folder: "/root/b", data: "/root/b/postgres"}
	top := t.TempDir()
	for _, dir := range []string{filepath.Dir(top), top} {
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	// A file in the way stands for a base that cannot be made.
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bases := []string{filepath.Join(file, "var"), filepath.Join(top, "lib")}
	for _, x := range []*place{&p, &q} {
		if err := x.moveOut(stranger, bases); err != nil {
			t.Fatal(err)
		}
		if !x.moved || filepath.Dir(x.data) != bases[1] {
			t.Errorf("%s moved to %s, want a folder in %s", x.folder, x.data, bases[1])
		}
	}
	if p.data == q.data {
		t.Errorf("two data folders share %s", p.data)
	}
	if err := p.moveOut(stranger, bases[:1]); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("nowhere to go: %v, want what to do", err)
	}
}

func TestForgottenDatabaseIsKeptAside(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	p := place{folder: filepath.Join(top, "folder"), data: filepath.Join(top, "postgres-0"), moved: true}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	write(p.pointer(), p.data)
	write(filepath.Join(p.data, "PG_VERSION"), "15\n")
	if err := p.setAside(log); err != nil || !p.initialized() {
		t.Fatalf("a remembered database was moved (err %v)", err)
	}
	if err := os.Remove(p.pointer()); err != nil {
		t.Fatal(err)
	}
	if err := p.setAside(log); err != nil || p.initialized() {
		t.Fatalf("a forgotten database would be used (err %v)", err)
	}
	kept, _ := filepath.Glob(p.data + ".*/PG_VERSION")
	if len(kept) != 1 {
		t.Errorf("kept %v, want the one forgotten database", kept)
	}
}

func TestRememberedDatabaseThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := place{folder: mustResolve(t, dir)}
	if err := os.WriteFile(p.pointer(), []byte("/nowhere/postgres-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := placeFor(dir); err == nil || !strings.Contains(err.Error(), "/nowhere/postgres-1") {
		t.Errorf("placeFor = %v, want an error that names the missing database", err)
	}
}

func TestRemoveSparesWhatItDidNotMake(t *testing.T) {
	t.Parallel()
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.Mkdir(precious, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := place{folder: mustResolve(t, dir)}
	if err := os.WriteFile(p.pointer(), []byte(precious), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); err == nil {
		t.Error("Remove followed a pointer that leads elsewhere")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	if err := Remove(filepath.Join(dir, "missing")); err != nil {
		t.Errorf("Remove of nothing: %v", err)
	}
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if err := Remove(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("Remove of a folder in use = %v, want ErrLocked", err)
	}
}

func TestSocketFolderIsNeverSomeoneElses(t *testing.T) {
	t.Parallel()
	p, who := place{data: filepath.Join(t.TempDir(), "postgres")}, own(t)
	made, err := makeSocketDir(p, who)
	t.Cleanup(func() { os.RemoveAll(p.socketDir()) })
	if err != nil || made != p.socketDir() {
		t.Fatalf("makeSocketDir = %s, %v; want %s", made, err, p.socketDir())
	}
	if err := os.WriteFile(filepath.Join(made, ".s.PGSQL.5432"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := makeSocketDir(p, who)
	if err != nil || again != made {
		t.Errorf("after a crash: %s, %v; want %s again", again, err, made)
	}
	if left, err := os.ReadDir(again); err != nil || len(left) != 0 {
		t.Errorf("after a crash: %v, %v; want the stale socket gone", left, err)
	}
	// Others can enter it, as they could one that they made.
	if err := os.Chmod(made, 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := makeSocketDir(p, who)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(other) })
	if fi, err := os.Stat(other); err != nil || other == made || fi.Mode().Perm() != 0o700 {
		t.Errorf("beside an open folder: %s, %v; want another one, of mode 0700", other, err)
	}
}

func mustResolve(t *testing.T, path string) string {
	t.Helper()
	path, err := resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
