package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

// settings is a start without configuration, changed.
func settings(t *testing.T, change func(*serveFlags)) *serveFlags {
	t.Helper()
	f := &serveFlags{
		Roles: roles, HTTPAddr: "127.0.0.1:8080", NATSListen: "127.0.0.1:4222", Replicas: 1, PollEvery: 15 * time.Second,
		Slots: 256, Grace: 20 * time.Second, DatabaseConns: 8, TimeScale: 1, AuditRetention: 3 * 8760 * time.Hour,
	}
	f.Data = filepath.Join(t.TempDir(), "data")
	if change != nil {
		change(f)
	}
	return f
}

// masterFile is a file with a fresh master key.
func masterFile(t *testing.T, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master.key")
	key := seal.NewKey()
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key[:])), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// refusal is a start that a safeguard refuses, and what the sentence offers.
type refusal struct {
	name, id string
	change   func(*serveFlags)
	mend     string
}

func settingsRefusals(t *testing.T) []refusal {
	key := masterFile(t, 0o600)
	external := func(url string) func(*serveFlags) {
		return func(f *serveFlags) { f.DatabaseURL, f.MasterKeyFile = url, key }
	}
	nats := func(url string) func(*serveFlags) {
		return func(f *serveFlags) { f.NATSURL, f.NATSUser, f.NATSPass = url, "app", "long-enough-to-be-one" }
	}
	simulated := func(url string) func(*serveFlags) {
		return func(f *serveFlags) { external(url)(f); f.Simulator = "127.0.0.1:0" }
	}
	return []refusal{
		{"sample_nats_flag", "secrets", func(f *serveFlags) { nats("nats://127.0.0.1:1")(f); f.NATSPass = "changeme" }, "openssl rand"},
		{"sample_in_url", "secrets", external("postgres://app:password@127.0.0.1/x"), "openssl rand"},
		{"sample_in_query", "secrets", external("postgres:///x?host=/tmp&password=Secret"), "openssl rand"},
		{"sample_in_nats_url", "secrets", nats("nats://app:secret@127.0.0.1:1"), "openssl rand"},
		{"no_seed", "secrets", func(f *serveFlags) { f.NATSCalloutSeed = "changeme" }, "doctorsflow tenant nats-creds issuer"},
		{"no_master_key", "master-key-missing", func(f *serveFlags) { f.DatabaseURL = "postgres://app@127.0.0.1/x" }, "set MASTER_KEY_FILE"},
		{"open_master_key", "master-key-file", func(f *serveFlags) { f.MasterKeyFile = masterFile(t, 0o644) }, "chmod 600"},
		{"open_master_key_to_group", "master-key-file", func(f *serveFlags) { f.MasterKeyFile = masterFile(t, 0o640) }, "chmod 600"},
		{"no_key", "master-key-file", func(f *serveFlags) { f.MasterKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }, "openssl rand"},
		{"postgres_prefer", "postgres-plaintext", external("postgres://app@db.example/x"), "sslmode=verify-full"},
		{"postgres_require", "postgres-plaintext", external("postgres://app@db.example/x?sslmode=require"), "sslmode=verify-full"},
		{"postgres_verify_ca", "postgres-plaintext", external("postgres://app@10.0.0.9/x?sslmode=verify-ca"), "sslmode=verify-full"},
		{"postgres_in_query", "postgres-plaintext", external("postgres:///x?host=db.example&sslmode=disable"), "sslmode=verify-full"},
		{"postgres_second_host", "postgres-plaintext", external("postgres://app@127.0.0.1:5432,db.example:5432/x"), "sslmode=verify-full"},
		{"postgres_hostaddr", "postgres-plaintext", external("postgres://app@localhost/x?hostaddr=10.0.0.9"), "sslmode=verify-full"},
		{"postgres_worker", "postgres-plaintext", func(f *serveFlags) {
			external("postgres://app@127.0.0.1/x")(f)
			f.DatabaseWorkerURL = "postgres://app@db.example/x"
		}, "DATABASE_WORKER_URL"},
		{"nats_plain", "nats-plaintext", nats("nats://nats.example:4222"), "tls://nats.example:4222"},
		{"nats_bare", "nats-plaintext", nats("ws://10.0.0.9:4222"), "tls://"},
		{"nats_second", "nats-plaintext", nats("nats://127.0.0.1:4222,nats://nats.example:4222"), "tls://nats.example:4222"},
		{"nats_nobody", "nats-credentials", func(f *serveFlags) { f.NATSURL = "nats://127.0.0.1:1" }, "NATS_USER and NATS_PASSWORD"},
		{"nats_no_password", "nats-credentials", func(f *serveFlags) { f.NATSURL = "nats://app@127.0.0.1:1" }, "NATS_USER and NATS_PASSWORD"},
		{"nats_no_user", "nats-credentials", func(f *serveFlags) { f.NATSURL, f.NATSPass = "nats://127.0.0.1:1", "long-enough-to-be-one" }, "NATS_USER and NATS_PASSWORD"},
		{"nats_listens", "nats-listen", func(f *serveFlags) { f.NATSListen = "0.0.0.0:4222" }, "NATS_TLS_CERT and NATS_TLS_KEY"},
		{"nats_listens_everywhere", "nats-listen", func(f *serveFlags) { f.NATSListen = ":4222" }, "NATS_TLS_CERT and NATS_TLS_KEY"},
		{"nats_half_a_certificate", "nats-listen", func(f *serveFlags) { f.NATSTLSCert = "cert.pem" }, "NATS_TLS_CERT and NATS_TLS_KEY"},
		{"http", "http-plaintext", func(f *serveFlags) { f.HTTPAddr = "0.0.0.0:8080" }, "BEHIND_TLS_PROXY=true"},
		{"http_everywhere", "http-plaintext", func(f *serveFlags) { f.HTTPAddr = ":8080" }, "BEHIND_TLS_PROXY=true"},
		{"http_name", "http-plaintext", func(f *serveFlags) { f.HTTPAddr = "flow.example:8080" }, "--http-addr=127.0.0.1:8080"},
		{"simulator_open", "simulator", func(f *serveFlags) { f.Simulator = "0.0.0.0:8090" }, "--simulator=off"},
		{"simulator_beside", "simulator", simulated("postgres://app@db.example/x?sslmode=verify-full"), "--simulator=off"},
		{"data_open", "data-open", func(f *serveFlags) { makeFolder(t, f.Data, 0o755) }, "chmod go-rw"},
		{"data_writable", "data-open", func(f *serveFlags) { makeFolder(t, f.Data, 0o722) }, "chmod go-rw"},
	}
}

func makeFolder(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(path, 0o700), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// others are the safeguards that no settings alone can show, by the test that
// does.
var others = map[string]string{
	"master-key-wrong": "TestAnUnsafeLedgerIsNotServed", "postgres-login": "TestAnUnsafeLedgerIsNotServed", "schema": "TestAnUnsafeLedgerIsNotServed",
	"row-security": "TestErrorsAreOfOneSafeguard", "nats-version": "TestErrorsAreOfOneSafeguard", "data-in-use": "TestAFolderInUseIsSeen",
	"time-scale": "TestAnUnsafeLedgerIsNotServed", "gateway-plaintext": "TestAnUnsafeLedgerIsNotServed", "gateway-secrets": "TestAnUnsafeLedgerIsNotServed",
	"clock": "TestClocksMayBeSecondsApart",
}

func TestUnsafeSettingsAreRefusedInASentenceThatMends(t *testing.T) {
	tried := maps.Clone(others)
	for _, tt := range settingsRefusals(t) {
		f := settings(t, tt.change)
		at := slices.IndexFunc(safeguards, func(g safeguard) bool { return g.id == tt.id })
		if at < 0 {
			t.Fatalf("%s: there is no safeguard %s", tt.name, tt.id)
		}
		if err := safeguards[at].settings(f); err == nil || !strings.Contains(err.Error(), tt.mend) {
			t.Errorf("%s: %s = %v, want a refusal with %q", tt.name, tt.id, err, tt.mend)
		}
		if err := f.check(); err == nil || !strings.Contains(err.Error(), tt.mend) {
			t.Errorf("%s: check = %v, want a refusal with %q", tt.name, err, tt.mend)
		}
		tried[tt.id] = "here"
	}
	for _, g := range safeguards {
		if tried[g.id] == "" {
			t.Errorf("no test shows that %s is refused", g.id)
		}
	}
	if len(safeguards) < 12 {
		t.Errorf("%d safeguards, want 12 or more", len(safeguards))
	}
}

func TestSafeSettingsAreNotRefused(t *testing.T) {
	t.Parallel()
	key := masterFile(t, 0o600)
	seed, _, err := natsauth.NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*serveFlags){
		"none":         nil,
		"ipv6":         func(f *serveFlags) { f.HTTPAddr, f.NATSListen = "[::1]:8080", "[::1]:0" },
		"localhost":    func(f *serveFlags) { f.HTTPAddr = "localhost:8080" },
		"proxy":        func(f *serveFlags) { f.HTTPAddr, f.BehindTLSProxy = "0.0.0.0:8080", true },
		"nats_tls":     func(f *serveFlags) { f.NATSListen, f.NATSTLSCert, f.NATSTLSKey = "0.0.0.0:4222", "c", "k" },
		"unix_socket":  func(f *serveFlags) { f.DatabaseURL, f.MasterKeyFile = "postgresql:///x?host=/run/postgresql", key },
		"this_machine": func(f *serveFlags) { f.DatabaseURL, f.MasterKeyFile = "postgres://a@[::1]:5432/x?sslmode=disable", key },
		"verify_full": func(f *serveFlags) {
			f.DatabaseURL, f.MasterKeyFile = "postgres://a@db.example/x?sslmode=verify-full", key
		},
		"compose": func(f *serveFlags) {
			f.DatabaseURL, f.MasterKeyFile, f.NATSURL, f.NATSUser, f.NATSPass = "postgres://a@postgres/x", key, "nats://nats:4222", "app", "p0123456789abcdef"
			f.PlaintextNetwork, f.BehindTLSProxy, f.HTTPAddr, f.NATSCalloutSeed = true, true, "0.0.0.0:8080", seed
		},
		"cluster": func(f *serveFlags) {
			f.DatabaseURL, f.MasterKeyFile, f.NATSURL = "postgres://a@db.example/x?sslmode=verify-full", key, "tls://app:p0123456789abcdef@a.example:4222,tls://b.example:4222"
		},
		"simulator_with_own_postgres": func(f *serveFlags) {
			f.DatabaseURL, f.MasterKeyFile, f.Simulator = "postgres:///x?host=/tmp", key, "127.0.0.1:0"
		},
		"passable_folder": func(f *serveFlags) { makeFolder(t, f.Data, 0o711) },
	} {
		if err := settings(t, change).check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSampleSecretsInTheEnvironmentAreRefused(t *testing.T) {
	for name, value := range map[string]string{
		"CRON_SECRET": "tooshort", "NATS_PASSWORD": "changeme", "NATS_CALLOUT_SEED": "xxx", "MASTER_KEY": "Password",
		"CLERK_WEBHOOK_SECRET": "your-random-secret-here", "NHN_APP_KEY": "your-app-key", "SOME_TOKEN": " demo-secret ", "POSTGRES_PASSWORD": "postgres",
	} {
		t.Setenv(name, value)
		if err := goodSecrets(settings(t, nil)); err == nil || !strings.Contains(err.Error(), name+" is a sample value") || strings.Contains(err.Error(), value+" ") && value != "xxx" {
			t.Errorf("%s: %v, want a refusal that names it and does not repeat it", name, err)
		}
		t.Setenv(name, "")
	}
	t.Setenv("MONKEY", "secret")
	t.Setenv("PASSWORD_POLICY", "default")
	if err := goodSecrets(settings(t, nil)); err != nil {
		t.Errorf("variables that hold no secret: %v", err)
	}
}

func TestAnUnsafeLedgerIsNotServed(t *testing.T) {
	t.Parallel()
	urls := storetest.Database(t)
	key := masterFile(t, 0o600)
	const file = `
tenant: {slug: miso, name: 미소치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: nhn, base_url: %q, app_key: %q, secret: %q, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: nhn, base_url: %q, app_key: %q, secret: %q, sender: "15880000"}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "안녕", sms_text: "안녕"}
workflows:
  - {name: aftercare, steps: [{seconds: 0, template: care}]}
webhooks:
  - {name: booking, workflow: aftercare}
`
	ledger := []string{"--database-url", urls.API, "--database-worker-url", urls.Worker, "--master-key-file", key}
	account := func(base, app, secret string) {
		path := filepath.Join(t.TempDir(), "clinic.yaml")
		if err := os.WriteFile(path, fmt.Appendf(nil, file, base, app, secret, base, app, secret), 0o600); err != nil {
			t.Fatal(err)
		}
		command(t, append([]string{"apply", "-f", path}, ledger...)...)
	}
	look := func(change func(*serveFlags)) map[string]string {
		f := settings(t, func(f *serveFlags) {
			f.DatabaseURL, f.DatabaseWorkerURL, f.MasterKeyFile = urls.API, urls.Worker, key
			if change != nil {
				change(f)
			}
		})
		said := map[string]string{}
		for _, v := range f.verdicts(t.Context()) {
			if v.err != nil {
				said[v.id] = v.err.Error()
			}
		}
		return said
	}
	refuses := func(name, id, mend string, said map[string]string) {
		t.Helper()
		if len(said) != 1 || !strings.Contains(said[id], mend) {
			t.Errorf("%s: refused %v, want only %s with %q", name, said, id, mend)
		}
	}
	account("https://api-alimtalk.cloud.toast.com", "9c5f0b", "s3cr3t-of-nhn")
	if said := look(nil); len(said) != 0 {
		t.Errorf("a good ledger is refused: %v", said)
	}
	refuses("shortened times", "time-scale", "--time-scale=1", look(func(f *serveFlags) { f.TimeScale = 10 }))
	refuses("another key", "master-key-wrong", "MASTER_KEY_FILE", look(func(f *serveFlags) { f.MasterKeyFile = masterFile(t, 0o600) }))
	refuses("superuser", "postgres-login", "use a login that is only a member", look(func(f *serveFlags) { f.DatabaseWorkerURL = urls.Super }))
	refuses("owner", "postgres-login", "doctorsflow migrate", look(func(f *serveFlags) { f.DatabaseURL = urls.Owner }))

	urls.Exec(t, `UPDATE provider_accounts SET base_url = 'http://gateway.example'`) // applying a file refuses it
	refuses("plain http", "gateway-plaintext", "https://", look(nil))
	account("http://127.0.0.1:1", "your-app-key", "s3cr3t-of-nhn")
	urls.Exec(t, `UPDATE provider_accounts SET base_url = 'https://api-alimtalk.cloud.toast.com'`) // applying a file refuses it
	refuses("sample credentials", "gateway-secrets", "doctorsflow apply", look(nil))
	// The process itself refuses too, before it listens.
	var out strings.Builder
	args := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--http-addr", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0"}, ledger...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // or it serves for ever
	defer cancel()
	if code := run(ctx, args, &out, &out); code != 1 || !strings.Contains(out.String(), "has a sample value as app_key or secret") || strings.Contains(out.String(), "s3cr3t") {
		t.Errorf("serve: exit %d, %s", code, &out)
	}
	out.Reset()
	args[0] = "check"
	if code := run(t.Context(), args, &out, &out); code != 1 || !regexp.MustCompile(`(?m)^refused +gateway-secrets .*doctorsflow apply`).MatchString(out.String()) || strings.Count(out.String(), "\n") != len(safeguards) {
		t.Errorf("check: exit %d\n%s", code, &out)
	}
}

func TestAFileWithSampleCredentialsIsNotApplied(t *testing.T) {
	t.Parallel()
	for secret, refused := range map[string]bool{"s3cr3t-of-nhn": false, "changeme": true, " Your-Secret-Key": true} {
		f := &clinic.File{Accounts: []clinic.Account{{Channel: "sms", Vendor: "nhn", BaseURL: "https://api-sms.cloud.toast.com", AppKey: "9c5f0b", Secret: secret}}}
		if err := noSamples(f); (err != nil) != refused || refused && !strings.Contains(err.Error(), "accounts[0]: the sms account has a sample value") {
			t.Errorf("%q: %v, want refused %v", secret, err, refused)
		}
	}
}

func TestGatewaysElsewhereNeedTLS(t *testing.T) {
	t.Parallel()
	for base, refused := range map[string]bool{
		"https://api-alimtalk.cloud.toast.com": false, "http://127.0.0.1:8090": false, "http://[::1]:8090": false, "http://localhost:1": false,
		"http://gateway.example": true, "http://10.0.0.9:80": true, "http://127.0.0.1.example": true, "HTTP://gateway.example": true,
	} {
		if err := plaintextGateway(store.Account{BaseURL: base}); (err != nil) != refused || refused && !strings.Contains(err.Error(), "https://") {
			t.Errorf("%s: %v, want refused %v", base, err, refused)
		}
	}
}

func TestErrorsAreOfOneSafeguard(t *testing.T) {
	t.Parallel()
	for id, err := range map[string]error{
		"master-key-wrong": fmt.Errorf("open: %w", store.ErrWrongMaster),
		"postgres-login":   &store.UnsafeLoginError{Login: "x", Why: "it is a superuser, for whom row-level security does not hold", Mend: "use another"},
		"schema":           fmt.Errorf("open: %w", store.ErrSchemaOlder),
		"row-security":     &store.UnsafeSchemaError{Relation: "patients", Why: "row-level security is off", Mend: "run doctorsflow migrate"},
		"nats-version":     fmt.Errorf("connect: %w", stream.ErrServerTooOld),
		"data-in-use":      fmt.Errorf("lock: %w", local.ErrLocked),
	} {
		var found []string
		for _, g := range safeguards {
			if g.told != nil && g.told(err) {
				found = append(found, g.id)
			}
			if g.told != nil && g.told(nil) {
				t.Errorf("%s takes no error for one", g.id)
			}
		}
		if !slices.Equal(found, []string{id}) {
			t.Errorf("%v is of %v, want %s", err, found, id)
		}
	}
	if !is(store.ErrSchemaOlder, store.ErrSchemaNewer)(store.ErrSchemaNewer) {
		t.Error("a newer schema is not refused")
	}
}

func TestAFolderInUseIsSeen(t *testing.T) {
	t.Parallel()
	f := settings(t, nil)
	if err := folderInUse(f); err != nil || exists(f.Data) {
		t.Errorf("no folder: %v; want nothing said and nothing made", err)
	}
	lock, err := local.Lock(f.Data)
	if err != nil {
		t.Fatal(err)
	}
	if err := folderInUse(f); !errors.Is(err, local.ErrLocked) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a folder in use: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if err := folderInUse(f); err != nil {
		t.Errorf("a folder that was given back: %v", err)
	}
}

func TestClocksMayBeSecondsApart(t *testing.T) {
	t.Parallel()
	for skew, refused := range map[time.Duration]bool{
		0: false, time.Second: false, -5 * time.Second: false, 5 * time.Second: false, 5*time.Second + 1: true, -6 * time.Second: true, 9 * time.Hour: true,
	} {
		if err := skewed(skew); (err != nil) != refused || refused && !strings.Contains(err.Error(), "timedatectl") {
			t.Errorf("%v apart: %v", skew, err)
		}
	}
}

func TestOperationsListsEverySafeguard(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## What a start refuses\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var told, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(section, -1) {
		told = append(told, m[1])
	}
	for _, g := range safeguards {
		want = append(want, g.id)
	}
	if !slices.Equal(told, want) {
		t.Errorf("docs/operations.md lists %v, want %v", told, want)
	}
}

func TestNoSpellingOfAURLShowsItsPassword(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"": "none", "postgres://u:hush@db:5432/x?password=hush": "postgres://db:5432/x", "postgres://u:hu,hush@db,db2/x": "postgres://db,db2/x",
		"nats://u:hush@a:4222": "nats://a:4222", "nats://u:p@a:4222,nats://v:hush@b:4222": "nats://a:4222,nats://b:4222",
		"nats://u:p@a, tls://v:hush@b": "nats://a,tls://b", "nats://a:4222,hush@b:4222": "", "nats://u:p@a:4222,v:hush@b:4222": "",
		"nats://a/,v:hush@b:4222": "", "postgres://u:a://,hush@db/x": "",
	} {
		if got := redact(raw, "none"); strings.Contains(got, "hush") || want != "" && got != want {
			t.Errorf("%s is shown as %s", raw, got)
		}
	}
}

func TestAServiceFileHidesNoPostgres(t *testing.T) {
	const mend = "write host and sslmode into the URL itself"
	if err := plaintextPostgres("DATABASE_URL", "postgres://u@/x?service=elsewhere", false); err == nil || !strings.Contains(err.Error(), mend) {
		t.Errorf("in the URL: %v", err)
	}
	t.Setenv("PGSERVICE", "elsewhere")
	if err := plaintextPostgres("DATABASE_URL", "postgres://u@/x", false); err == nil || !strings.Contains(err.Error(), mend) {
		t.Errorf("in the environment: %v", err)
	}
	if err := plaintextPostgres("DATABASE_URL", "", false); err != nil {
		t.Errorf("the embedded one: %v", err)
	}
}
