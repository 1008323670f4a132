package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/natsauth"
)

// weakSecrets are values from tutorials and samples. Whoever finds one of
// them in use owns the clinic.
var weakSecrets = []string{
	"demo-secret", "changeme", "change-me", "secret", "password", "passw0rd", "admin", "test", "example", "default",
	"postgres", "nats", "xxx", "your-random-secret-here", "your-secret", "your-secret-key", "your-app-key", "your-api-key", "replace-me",
}

func weak(s string) bool { return slices.Contains(weakSecrets, strings.ToLower(strings.TrimSpace(s))) }

// secretName is a variable that holds a secret, ours or another program's that
// runs with our environment.
var secretName = regexp.MustCompile(`(^|_)(SECRET|PASSWORD|PASSWD|TOKEN|SEED|MASTER_KEY|APP_KEY|API_KEY|SECRET_KEY)$`)

// shortest is how long a secret of ours must be: 32 where it signs or opens
// something by itself, 16 where whoever tries it is slowed down.
var shortest = map[string]int{"CRON_SECRET": 32, "MASTER_KEY": 32, "NATS_CALLOUT_SEED": 32, "NATS_PASSWORD": 16}

func goodSecrets(f *serveFlags) error {
	var errs []error
	bad := func(name string, least int) {
		errs = append(errs, fmt.Errorf("%s is a sample value or shorter than %d characters; make one with `openssl rand -base64 32`", name, least))
	}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		least := shortest[name]
		if value != "" && secretName.MatchString(name) && (weak(value) || len(value) < least) {
			bad(name, max(least, 16))
		}
	}
	if f.NATSPass != "" && f.NATSPass != os.Getenv("NATS_PASSWORD") && weak(f.NATSPass) {
		bad("--nats-password", 16)
	}
	for _, u := range []struct{ name, raw string }{{"DATABASE_URL", f.DatabaseURL}, {"DATABASE_WORKER_URL", f.DatabaseWorkerURL}, {"NATS_URL", f.NATSURL}} {
		for one := range strings.SplitSeq(u.raw, ",") {
			if parsed, err := url.Parse(strings.TrimSpace(one)); err == nil {
				inURL, _ := parsed.User.Password()
				if weak(inURL) || weak(parsed.Query().Get("password")) {
					bad("the password in "+u.name, 16)
				}
			}
		}
	}
	if f.NATSCalloutSeed != "" {
		errs = append(errs, natsauth.CheckSeed(f.NATSCalloutSeed))
	}
	return errors.Join(errs...)
}

func masterKeyGiven(f *serveFlags) error {
	if !f.embedded() && f.MasterKey == "" && f.MasterKeyFile == "" {
		return errors.New("an external Postgres needs a master key that outlives this machine: set MASTER_KEY_FILE (make one with `openssl rand -base64 32`, mode 0600)")
	}
	return nil
}

func masterKeyReadable(f *serveFlags) error {
	if f.MasterKey == "" && f.MasterKeyFile == "" {
		if _, err := os.Stat(filepath.Join(f.Data, "master.key")); !f.embedded() || err != nil {
			return nil // it is made at the first start
		}
	}
	_, err := f.masters()
	return err
}

// machine reports whether a host is this machine. A name counts only if it is
// localhost, and a path is a Unix socket.
func machine(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "" || host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || err == nil && ip.Unmap().IsLoopback()
}

// postgresHosts is where a connection URL leads, and how it is protected. What
// it leaves out comes from libpq's variables, as everywhere.
func postgresHosts(raw string) (hosts []string, sslmode string) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, ""
	}
	q := u.Query()
	list := orElse(q.Get("host"), orElse(u.Host, os.Getenv("PGHOST")))
	for one := range strings.SplitSeq(list+","+q.Get("hostaddr"), ",") {
		if host, _, err := net.SplitHostPort(one); err == nil {
			one = host
		}
		hosts = append(hosts, one)
	}
	return hosts, orElse(q.Get("sslmode"), os.Getenv("PGSSLMODE"))
}

// remotePostgres is the first host of a URL that is another machine, or "".
func remotePostgres(raw string) string {
	hosts, _ := postgresHosts(raw)
	for _, h := range hosts {
		if !machine(h) {
			return h
		}
	}
	return ""
}

func postgresPrivate(f *serveFlags) error {
	return errors.Join(
		plaintextPostgres("DATABASE_URL", f.DatabaseURL, f.PlaintextNetwork),
		plaintextPostgres("DATABASE_WORKER_URL", f.DatabaseWorkerURL, f.PlaintextNetwork))
}

func plaintextPostgres(name, raw string, declared bool) error {
	if u, err := url.Parse(raw); raw != "" && err == nil && (u.Query().Get("service") != "" || os.Getenv("PGSERVICE") != "") {
		return fmt.Errorf("%s takes its host from a service file (service=…, PGSERVICE), so that nobody sees where it leads: write host and sslmode into the URL itself", name)
	}
	host := remotePostgres(raw)
	if _, mode := postgresHosts(raw); raw == "" || host == "" || mode == "verify-full" || declared {
		return nil
	}
	return fmt.Errorf("%s leads to %s, and anyone between could read along or answer in its place: add ?sslmode=verify-full (and sslrootcert=… for an authority of your own), or declare a network of one host's own with PLAINTEXT_NETWORK=true", name, host)
}

func natsPrivate(f *serveFlags) error {
	for one := range strings.SplitSeq(f.NATSURL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || f.NATSURL == "" || u.Scheme == "tls" || u.Scheme == "wss" || machine(u.Hostname()) || f.PlaintextNetwork {
			continue
		}
		return fmt.Errorf("NATS_URL leads to %s without TLS: write tls://%s and turn TLS on in its configuration, or declare a network of one host's own with PLAINTEXT_NETWORK=true", u.Host, u.Host)
	}
	return nil
}

func natsCredentials(f *serveFlags) error {
	if f.NATSURL == "" || f.NATSPass != "" && f.NATSUser != "" {
		return nil
	}
	for one := range strings.SplitSeq(f.NATSURL, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			if password, _ := u.User.Password(); password != "" {
				return nil // the client takes the first it finds for all
			}
		}
	}
	return errors.New("NATS_URL has no credentials: put user and password into it, or set NATS_USER and NATS_PASSWORD")
}

func natsListensPrivately(f *serveFlags) error {
	if f.NATSURL != "" || !listenable(f.NATSListen) {
		return nil
	}
	if (f.NATSTLSCert == "") != (f.NATSTLSKey == "") {
		return errors.New("a certificate and its key belong together: set both NATS_TLS_CERT and NATS_TLS_KEY, or neither")
	}
	if f.NATSTLSCert != "" || local.Loopback(f.NATSListen) {
		return nil
	}
	return fmt.Errorf("NATS would listen on %s in the clear: set NATS_TLS_CERT and NATS_TLS_KEY, or --nats-listen=127.0.0.1:4222", f.NATSListen)
}

func httpPrivate(f *serveFlags) error {
	if f.BehindTLSProxy || !listenable(f.HTTPAddr) || local.Loopback(f.HTTPAddr) {
		return nil
	}
	return fmt.Errorf("HTTP would be served on %s in the clear: put a proxy that ends TLS before it and say so with BEHIND_TLS_PROXY=true, or set --http-addr=127.0.0.1:8080", f.HTTPAddr)
}

func simulatorApart(f *serveFlags) error {
	addr := f.simulatorAddr()
	if addr == "" || !listenable(addr) {
		return nil
	}
	if !local.Loopback(addr) {
		return fmt.Errorf("the gateway simulator would listen on %s, and shows every message to anyone: set --simulator=127.0.0.1:8090, or --simulator=off", addr)
	}
	for _, raw := range []string{f.DatabaseURL, f.DatabaseWorkerURL} {
		if host := remotePostgres(raw); raw != "" && host != "" {
			return fmt.Errorf("the gateway simulator would run beside the Postgres at %s, and swallow real messages: set --simulator=off", host)
		}
	}
	return nil
}

func dataFolderClosed(f *serveFlags) error {
	if !f.embedded() && f.NATSURL != "" {
		return nil // nothing is kept in it
	}
	info, err := os.Stat(f.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is made for us alone
	}
	if err != nil {
		return fmt.Errorf("the data folder: %w; choose another with --data", err)
	}
	// Others may pass through to the database's own folder, which is closed.
	if mode := info.Mode().Perm(); mode&0o066 != 0 {
		return fmt.Errorf("the data folder %s is open to others (mode %#o): run chmod go-rw %[1]s, or choose another with --data", f.Data, mode)
	}
	return nil
}
