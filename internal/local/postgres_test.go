package local_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

// victimDir makes the test binary a process that starts a server in the folder
// it names and is then killed; see TestServerOfAKilledProcessIsStoppedAndRecovered.
const victimDir = "LOCAL_TEST_VICTIM_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
	}
	goleak.VerifyTestMain(m)
}

const database = "ledger"

func passwords(secret string) map[string]string {
	return map[string]string{"owner": secret, "app_api": secret, "app_worker": secret + "'\\x한"}
}

// folder is a data folder that is removed with all that belongs to it.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	t.Cleanup(func() {
		if err := local.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, cfg local.PostgresConfig) *local.Postgres {
	t.Helper()
	p, err := local.StartPostgres(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, p) })
	if err := p.Bootstrap(t.Context(), database, passwords("one")); err != nil {
		t.Fatal(err)
	}
	return p
}

func stop(t *testing.T, p *local.Postgres) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func run(t *testing.T, c *pgx.Conn, sql string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scan[T any](t *testing.T, c *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func socketDir(t *testing.T, p *local.Postgres) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(p.SuperURL())
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Host
}

func TestSecondStartFindsTheData(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	p := start(t, local.PostgresConfig{Dir: dir, Durable: true})
	c := connect(t, p.URL("owner", "one", database))
	run(t, c, "CREATE TABLE kept AS SELECT 42 AS n")
	socket := socketDir(t, p)
	stop(t, p)
	if _, ok := <-p.Wait(); ok {
		t.Error("Wait reports a server that was stopped")
	}
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", p.Pid(), err)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket folder %s is still there: %v", socket, err)
	}

	p = start(t, local.PostgresConfig{Dir: dir, Durable: true})
	if err := p.Bootstrap(t.Context(), database, passwords("two")); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(t.Context(), p.URL("owner", "one", database)); err == nil {
		t.Error("the password of the first start still works")
	}
	c = connect(t, p.URL("owner", "two", database))
	if got := scan[int](t, c, "SELECT n FROM kept"); got != 42 {
		t.Errorf("kept = %d, want 42", got)
	}
	if got := socketDir(t, p); got != socket {
		t.Errorf("socket folder %s, want %s as before", got, socket)
	}
}

// TestServer runs the guarantees that need no start of their own on one server.
func TestServer(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	p := start(t, local.PostgresConfig{Dir: dir, Settings: map[string]string{"work_mem": "5MB"}})
	t.Run("is_safe_to_run_beside_others", func(t *testing.T) { testBesideOthers(t, dir, p) })
	t.Run("gives_roles_no_more_than_theirs", func(t *testing.T) { testRoles(t, p) })
	t.Run("keeps_patient_data_out_of_its_log", func(t *testing.T) { testLog(t, dir, p) })
	t.Run("is_reported_when_lost", func(t *testing.T) { testLoss(t, dir, p) })
}

func testBesideOthers(t *testing.T, dir string, p *local.Postgres) {
	c := connect(t, p.SuperURL())
	for name, want := range map[string]string{
		"listen_addresses": "", "password_encryption": "scram-sha-256", "data_checksums": "on", "server_encoding": "UTF8",
		"log_parameter_max_length": "0", "log_parameter_max_length_on_error": "0", "jit": "off", "fsync": "off", "work_mem": "5MB",
	} {
		if got := scan[string](t, c, "SELECT current_setting($1)", name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if socket := filepath.Join(socketDir(t, p), ".s.PGSQL.5432"); len(socket) >= 100 {
		t.Errorf("socket path %s has %d bytes, too many for some systems", socket, len(socket))
	}
	for _, secret := range []string{socketDir(t, p), p.Dir(), filepath.Join(dir, "postgres.password"), filepath.Join(dir, "postgres.log")} {
		fi, err := os.Stat(secret)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", secret, fi.Mode())
		}
	}

	_, err := local.StartPostgres(t.Context(), local.PostgresConfig{Dir: dir})
	if !errors.Is(err, local.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second server on one folder: %v, want ErrLocked with process %d", err, os.Getpid())
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("the first server was disturbed: %v", err)
	}
}

func testRoles(t *testing.T, p *local.Postgres) {
	super := connect(t, p.SuperURL())
	run(t, super, "CREATE ROLE stranger LOGIN PASSWORD 'one'")
	run(t, super, "ALTER ROLE app_api SUPERUSER BYPASSRLS CREATEROLE CREATEDB")
	if err := p.Bootstrap(t.Context(), database, passwords("one")); err != nil {
		t.Fatal(err)
	}
	powers := scan[int](t, super, `SELECT count(*) FROM pg_roles WHERE rolname = ANY($1)
		AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)`, []string{"owner", "app_api", "app_worker"})
	if powers != 0 {
		t.Errorf("%d roles have powers that they should not have", powers)
	}
	if n := scan[int](t, super, `SELECT count(*) FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'`); n != 0 {
		t.Errorf("%d passwords are not SCRAM", n)
	}
	for _, url := range []string{
		p.URL("stranger", "one", database), p.URL("app_api", "one", "postgres"), p.URL("app_api", "wrong", database), p.URL("postgres", "", database),
	} {
		if _, err := pgx.Connect(t.Context(), url); err == nil {
			t.Errorf("could connect with %s", url)
		}
	}
	worker := connect(t, p.URL("app_worker", passwords("one")["app_worker"], database))
	if _, err := worker.Exec(t.Context(), "CREATE TABLE t ()"); err == nil {
		t.Error("app_worker can create tables")
	}
	if err := p.Bootstrap(t.Context(), database, map[string]string{"app_api": "x"}); err == nil {
		t.Error("Bootstrap without an owner succeeded")
	}
}

func testLog(t *testing.T, dir string, p *local.Postgres) {
	c := connect(t, p.URL("owner", "one", database))
	const phone = "01012345678"
	run(t, c, "CREATE TABLE t (phone text UNIQUE, n int CHECK (n < 5))")
	run(t, c, "INSERT INTO t VALUES ('"+phone+"', 1)")
	for _, sql := range []string{
		"INSERT INTO t VALUES ('" + phone + "', 2)", "INSERT INTO t VALUES ('" + phone + "', 9)",
		"SELECT '" + phone + "x'::int", "SELECT 1/0, '" + phone + "'", "DO $$BEGIN RAISE WARNING '" + phone + "'; END$$",
	} {
		_, _ = c.Exec(t.Context(), sql) // most are meant to fail
	}
	if _, err := c.Exec(t.Context(), "SELECT $1::text::int", phone+"y"); err == nil {
		t.Error("a bad parameter was accepted")
	}
	// A crash is reported with the statement that ran.
	super := connect(t, p.SuperURL())
	crashed := make(chan error, 1)
	pid := c.PgConn().PID()
	go func() {
		_, err := c.Exec(context.Background(), "SELECT pg_sleep(60), '"+phone+"'")
		crashed <- err
	}()
	for !scan[bool](t, super, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%')", pid) {
	}
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-crashed; err == nil {
		t.Error("the statement survived its process")
	}
	for super.Ping(t.Context()) == nil { // all are cut off after the report
	}
	log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "was terminated by signal 9") {
		t.Errorf("the log does not tell of the crash:\n%s", log)
	}
	if strings.Contains(string(log), phone) {
		t.Errorf("the log has the patient's number:\n%s", log)
	}
}

func testLoss(t *testing.T, dir string, p *local.Postgres) {
	if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	err := <-p.Wait()
	if err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Wait = %v, want the signal that ended it", err)
	}
	stop(t, p)

	_, err = local.StartPostgres(t.Context(), local.PostgresConfig{Dir: dir, Settings: map[string]string{"work_mem": "much"}})
	if err == nil || !strings.Contains(err.Error(), `parameter "work_mem": "much"`) {
		t.Errorf("start that fails: %v, want Postgres' own reason", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = local.StartPostgres(over, local.PostgresConfig{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("start that is called off: %v, want %v", err, context.Canceled)
	}
	p = start(t, local.PostgresConfig{Dir: dir})
	connect(t, p.SuperURL())
}

func TestServerOfAKilledProcessIsStoppedAndRecovered(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 32)
	n, err := out.Read(said)
	if err != nil {
		t.Fatalf("the victim said nothing: %v", err)
	}
	old, err := strconv.Atoi(strings.TrimSpace(string(said[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := local.Lock(dir); !errors.Is(err, local.ErrLocked) {
		t.Errorf("Lock while the victim lives: %v, want ErrLocked", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if err := syscall.Kill(old, 0); err != nil {
		t.Fatalf("the victim's server did not outlive it, so this test shows nothing: %v", err)
	}

	lock, err := local.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, local.PostgresConfig{Dir: dir, Durable: true})
	if local.Runs(old) {
		t.Errorf("the victim's server, process %d, still runs", old)
	}
	c := connect(t, p.URL("owner", "one", database))
	if got := scan[int](t, c, "SELECT n FROM kept"); got != 42 {
		t.Errorf("kept = %d, want 42", got)
	}
	stop(t, p)
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// victim starts a server, prints its process and waits to be killed.
func victim(dir string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			os.Stderr.WriteString("victim: " + err.Error() + "\n")
			os.Exit(1)
		}
	}
	_, err := local.Lock(dir)
	fail(err)
	p, err := local.StartPostgres(ctx, local.PostgresConfig{Dir: dir, Durable: true})
	fail(err)
	fail(p.Bootstrap(ctx, database, passwords("one")))
	c, err := pgx.Connect(ctx, p.URL("owner", "one", database))
	fail(err)
	_, err = c.Exec(ctx, "CREATE TABLE kept AS SELECT 42 AS n")
	fail(err)
	os.Stdout.WriteString(strconv.Itoa(p.Pid()) + "\n")
	select {}
}
