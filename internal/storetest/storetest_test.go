package storetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func query[T any](t *testing.T, c *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestEachDatabaseIsMigratedAndApart(t *testing.T) {
	t.Parallel()
	a, b := Database(t), Database(t)
	owner := connect(t, a.Owner)
	if _, err := owner.Exec(t.Context(), "CREATE TABLE only_here ()"); err != nil {
		t.Fatal(err)
	}
	const has = "SELECT to_regclass($1) IS NOT NULL"
	for url, want := range map[string]bool{a.API: true, b.API: false} {
		c := connect(t, url)
		if got := query[bool](t, c, has, "only_here"); got != want {
			t.Errorf("only_here exists = %v, want %v", got, want)
		}
		if !query[bool](t, c, has, "goose_db_version") {
			t.Error("the database was not migrated")
		}
	}
}

func TestRolesAreThoseOfTheProduct(t *testing.T) {
	t.Parallel()
	d := Database(t)
	tests := []struct {
		url, user string
		super     bool
	}{{d.Owner, "owner", false}, {d.API, "app_api", false}, {d.Worker, "app_worker", false}, {d.Super, "postgres", true}}
	for _, tt := range tests {
		c := connect(t, tt.url)
		if got := query[string](t, c, "SELECT current_user::text"); got != tt.user {
			t.Errorf("user %s, want %s", got, tt.user)
		}
		if got := query[bool](t, c, "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"); got != tt.super {
			t.Errorf("%s is powerful = %v, want %v", tt.user, got, tt.super)
		}
		if got := query[string](t, c, "SELECT current_database()::text"); got != d.Name {
			t.Errorf("database %s, want %s", got, d.Name)
		}
	}
}

func TestDatabaseIsDroppedWithWhateverIsConnected(t *testing.T) {
	t.Parallel()
	super := connect(t, Database(t).Super)
	var d URLs
	t.Run("user", func(t *testing.T) {
		d = Database(t)
		c, err := pgx.Connect(t.Context(), d.Worker)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Ping(context.Background()); err != nil {
				t.Errorf("cut off before its own cleanup: %v", err)
			}
		})
	})
	if query[bool](t, super, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", d.Name) {
		t.Errorf("%s is still there", d.Name)
	}
}

func TestTemplateFollowsTheMigrations(t *testing.T) {
	t.Parallel()
	hash := func(fs fstest.MapFS) string {
		t.Helper()
		h, err := schemaHash(fs)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	base := hash(fstest.MapFS{"1.sql": file("a"), "2.sql": file("b")})
	if base != hash(fstest.MapFS{"2.sql": file("b"), "1.sql": file("a")}) {
		t.Error("equal migrations have two templates")
	}
	for _, other := range []fstest.MapFS{
		{"1.sql": file("a"), "2.sql": file("c")}, {"1.sql": file("a"), "3.sql": file("b")}, {"1.sql": file("a")}, {"1.sql": file("ab")},
	} {
		if base == hash(other) {
			t.Errorf("%v shares a template with other migrations", other)
		}
	}
}

// TestKeeperRecoversAndEnds follows one folder from a first keeper that is
// killed to a second one that finds nobody there.
func TestKeeperRecoversAndEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	start := func() (pid int, s server, users *os.File) {
		t.Helper()
		users, err := lockIn(dir, "users", syscall.LOCK_SH)
		if err != nil {
			t.Fatal(err)
		}
		if pid, err = startKeeper(dir); err != nil {
			t.Fatal(err)
		}
		if s, err = waitReady(dir, pid); err != nil {
			t.Fatal(err)
		}
		if alive, err := keeperAlive(dir); !alive || err != nil {
			t.Errorf("keeperAlive = %v, %v of a keeper that is ready", alive, err)
		}
		return pid, s, users
	}
	t.Setenv(idleEnv, "1m")
	first, s, users := start()
	unlock(users)
	old := connect(t, s.super.String())
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	reap(t, first)
	if err := old.Ping(t.Context()); err != nil {
		t.Fatalf("the server did not outlive its keeper, so this test shows nothing: %v", err)
	}

	t.Setenv(idleEnv, "100ms")
	second, s, users := start()
	if err := old.Ping(t.Context()); err == nil {
		t.Error("the first server still runs")
	}
	c, err := pgx.Connect(t.Context(), s.urls("scratch").Owner)
	if err != nil {
		t.Error(err)
	} else {
		c.Close(t.Context())
	}
	data, err := os.ReadFile(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	unlock(users)
	reap(t, second)
	for _, path := range []string{dir, strings.TrimSpace(string(data))} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if _, err := pgx.Connect(t.Context(), s.super.String()); err == nil {
		t.Error("the second server still runs")
	}
}

// reap waits for a child to end.
func reap(t *testing.T, pid int) {
	t.Helper()
	for {
		_, err := syscall.Wait4(pid, nil, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
}

func TestKeeperThatCannotStartSaysWhy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	t.Setenv(binEnv, "/nowhere")
	t.Cleanup(func() { os.RemoveAll(dir) })
	if _, err := join(dir); err == nil || !strings.Contains(err.Error(), "--postgres-bin=/nowhere") {
		t.Errorf("join = %v, want the reason", err)
	}
}

func BenchmarkDatabase(b *testing.B) {
	s, err := shared()
	if err != nil {
		b.Fatal(err)
	}
	template, err := s.template()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.exec(b.Context(), cloneSQL("b", template)...); err != nil {
			b.Fatal(err)
		}
		if err := s.exec(b.Context(), "DROP DATABASE b WITH (FORCE)"); err != nil {
			b.Fatal(err)
		}
	}
}
