// Package deploy holds the tests of the files in this folder: that NATS accepts
// its configuration, and that the compose file asks for nothing that the
// program does not have. It has no code and knows no package of the program.
package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

type compose struct {
	Services map[string]service   `yaml:"services"`
	Volumes  map[string]any       `yaml:"volumes"`
	Networks map[string]any       `yaml:"networks"`
	Secrets  map[string]yamlNames `yaml:"secrets"`
}

type yamlNames map[string]string

type service struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Secrets     []string          `yaml:"secrets"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   map[string]any    `yaml:"depends_on"`
	ReadOnly    bool              `yaml:"read_only"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	b, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.AllowDuplicateMapKey()); err != nil { // a key beside << overrides
		t.Fatalf("compose.yaml: %v", err)
	}
	return c
}

func (c compose) ours() map[string]service {
	ours := maps.Clone(c.Services)
	maps.DeleteFunc(ours, func(_ string, s service) bool { return !strings.HasPrefix(s.Image, "doctorsflow:") })
	return ours
}

// source is the command line's source, in which the settings are declared.
func source(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../cmd/doctorsflow/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no command line found: %v", err)
	}
	var all strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

func TestComposeSetsOnlyWhatTheProgramReads(t *testing.T) {
	t.Parallel()
	src := source(t)
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`env:"([A-Z_,]+)"`).FindAllStringSubmatch(src, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			known[name] = true
		}
	}
	for name, s := range readCompose(t).ours() {
		for env := range s.Environment {
			if !known[env] {
				t.Errorf("service %s sets %s, which no flag of the program reads", name, env)
			}
		}
		if len(s.Command) == 0 || !strings.Contains(src, strings.ToUpper(s.Command[0][:1])+s.Command[0][1:]+" ") {
			t.Errorf("service %s runs %q, which is no command of the program", name, s.Command)
		}
	}
}

func TestComposeRunsEveryRole(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`var roles = \[\]string\{([^}]*)\}`).FindStringSubmatch(source(t))
	if m == nil {
		t.Fatal("the program's list of roles was not found")
	}
	var want []string
	for _, q := range regexp.MustCompile(`"([a-z]+)"`).FindAllStringSubmatch(m[1], -1) {
		want = append(want, q[1])
	}
	var got []string
	for _, s := range readCompose(t).ours() {
		for _, arg := range s.Command {
			if list, ok := strings.CutPrefix(arg, "--roles="); ok {
				got = append(got, strings.Split(list, ",")...)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the services run %v, want each role of %v once", got, want)
	}
}

func TestComposeNamesWhatItDeclares(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, declared := c.Volumes[from]
			_, err := os.Stat(from)
			if !declared && (!strings.HasPrefix(from, "./") || err != nil) {
				t.Errorf("service %s mounts %s, which is neither a volume nor a file here", name, from)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret]; !ok {
				t.Errorf("service %s wants secret %s, which is not declared", name, secret)
			}
		}
		for on := range s.DependsOn {
			if _, ok := c.Services[on]; !ok {
				t.Errorf("service %s waits for %s, which is no service", name, on)
			}
		}
	}
	for name, s := range c.ours() {
		if !s.ReadOnly {
			t.Errorf("service %s may write into its image", name)
		}
		owner := strings.Contains(s.Environment["DATABASE_OWNER_URL"], "doctorsflow_owner")
		if owner != (name == "migrate") {
			t.Errorf("service %s: the owner's login is for migrate alone", name)
		}
	}
}

// natsOptions reads nats.conf the way the server does, with a node's
// environment as the compose file has it.
func natsOptions(t *testing.T) *server.Options {
	t.Helper()
	key, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	secret := func(name string) string {
		if name == "NATS_CALLOUT_ISSUER" {
			return issuer
		}
		return "p1e9" + strings.ToLower(name)
	}
	for name, value := range readCompose(t).Services["nats-1"].Environment {
		if strings.Contains(value, "${") {
			value = secret(name)
		}
		t.Setenv(name, value)
	}
	opts, err := server.ProcessConfigFile("nats/nats.conf")
	if err != nil {
		t.Fatalf("nats.conf: %v", err)
	}
	return opts
}

func TestNATSAcceptsItsConfiguration(t *testing.T) {
	opts := natsOptions(t)
	if opts.ServerName != "nats-1" || opts.Cluster.Name != "doctorsflow" || len(opts.Routes) != 3 {
		t.Errorf("server %q, cluster %q, %d routes", opts.ServerName, opts.Cluster.Name, len(opts.Routes))
	}
	for _, r := range opts.Routes {
		if r.Scheme != "nats-route" || r.Port() != "6222" {
			t.Errorf("route %s is not one of the cluster's", r)
		}
	}
	if opts.Cluster.Username == "" || opts.Cluster.Password == "" {
		t.Error("anyone may join the cluster")
	}
	if !opts.JetStream || opts.StoreDir != "/data" || opts.SystemAccount != "SYS" {
		t.Errorf("JetStream %v in %q, system account %q", opts.JetStream, opts.StoreDir, opts.SystemAccount)
	}
	callout := opts.AuthCallout
	if callout == nil || callout.Account != "APP" {
		t.Fatalf("clinics are not asked about: %+v", callout)
	}
	for _, u := range opts.Users {
		if !slices.Contains(callout.AuthUsers, u.Username) {
			t.Errorf("user %s would be asked about, and nobody could answer", u.Username)
		}
		if u.Password == "" || u.Account == nil {
			t.Errorf("user %s has no password or no account", u.Username)
		}
	}
}

// startNode starts one node without its peers, and returns its users' passwords.
func startNode(t *testing.T) (*server.Server, map[string]string) {
	t.Helper()
	opts := natsOptions(t)
	opts.Routes, opts.Cluster = nil, server.ClusterOpts{} // one node without peers elects no leader
	opts.Port, opts.HTTPPort, opts.Host = server.RANDOM_PORT, 0, "127.0.0.1"
	opts.StoreDir, opts.NoLog, opts.NoSigs = t.TempDir(), true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20e9) {
		t.Fatal("the server is not ready")
	}
	passwords := map[string]string{}
	for _, u := range opts.Users {
		passwords[u.Username] = u.Password
	}
	return s, passwords
}

func TestNATSStartsAndOpsMayOnlyWatch(t *testing.T) {
	s, _ := startNode(t)
	opts := natsOptions(t)
	ops := opts.Users[slices.IndexFunc(opts.Users, func(u *server.User) bool { return u.Username == "ops" })]
	if got := ops.Permissions.Publish.Deny; !slices.Equal(got, []string{">"}) {
		t.Errorf("ops may publish: denied is only %v", got)
	}
	if got := ops.Permissions.Subscribe.Allow; !slices.Equal(got, []string{"delivery.>", "_INBOX_ops.>"}) {
		t.Errorf("ops may subscribe to %v", got)
	}
	if app, err := s.LookupAccount("APP"); err != nil || !app.JetStreamEnabled() {
		t.Errorf("account APP has no JetStream: %v", err)
	}
	if clinics, err := s.LookupAccount("CLINICS"); err != nil || clinics.JetStreamEnabled() {
		t.Errorf("account CLINICS has JetStream, or is not there: %v", err)
	}
}
