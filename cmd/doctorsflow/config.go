package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// roles lists every role, in the order in which a trigger meets them.
var roles = []string{"ingest", "planner", "dispatcher", "recorder", "api"}

// dataFlags say which data a command works on: a folder of the embedded
// parts, or an external Postgres.
type dataFlags struct {
	Data                  string `help:"Folder of the embedded Postgres, NATS and keys." default:"${data}" env:"DOCTORSFLOW_DATA" type:"path" validate:"required"`
	PostgresBin           string `help:"Folder with postgres and initdb; by default they are looked for, and fetched once if missing." env:"POSTGRES_BIN" type:"path"`
	DatabaseURL           string `name:"database-url" help:"External Postgres in place of the embedded one: a login that is a member of app_api and app_worker." env:"DATABASE_URL" validate:"omitempty,postgres"`
	DatabaseWorkerURL     string `name:"database-worker-url" help:"Login for app_worker, if it is not DATABASE_URL's." env:"DATABASE_WORKER_URL" validate:"omitempty,postgres"`
	MasterKey             string `help:"The master key, base64 of 32 random bytes; better in a file." env:"MASTER_KEY" hidden:""`
	MasterKeyFile         string `help:"File with the master key, mode 0600; by default DATA/master.key, made once." env:"MASTER_KEY_FILE" type:"path"`
	MasterKeyFilePrevious string `help:"File with the master key before it, which still opens while the master key is rotated; by default the master key's file with .previous after its name, if there is one." env:"MASTER_KEY_FILE_PREVIOUS" type:"path"`
	PlaintextNetwork      bool   `help:"Postgres and NATS are reached over a network of one host's own, such as a container bridge: do not ask for TLS." env:"PLAINTEXT_NETWORK"`
	PublicURL             string `name:"public-url" help:"Address under which callers reach the webhooks, and patients the links that drawings follow, such as https://flow.example.com." env:"NEXT_PUBLIC_APP_URL"`
	LogFormat             string `help:"text, json, or auto: text on a terminal." default:"auto" enum:"auto,text,json" env:"LOG_FORMAT"`
	LogLevel              string `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"LOG_LEVEL"`
}

// serveFlags is every setting of a serving process.
type serveFlags struct {
	dataFlags
	Roles          []string      `help:"Roles to run: ${enum}." default:"ingest,planner,dispatcher,recorder,api" enum:"ingest,planner,dispatcher,recorder,api" env:"ROLES" validate:"min=1"`
	HTTPAddr       string        `name:"http-addr" help:"Where webhooks and the API are served." default:"127.0.0.1:8080" env:"HTTP_ADDR" validate:"listen"`
	BehindTLSProxy bool          `name:"behind-tls-proxy" help:"A proxy before --http-addr ends TLS; needed where that is not on loopback." env:"BEHIND_TLS_PROXY"`
	NATSURL        string        `name:"nats-url" help:"External NATS (2.14.9 or newer) in place of the embedded one." env:"NATS_URL" validate:"omitempty,servers"`
	NATSUser       string        `name:"nats-user" help:"User of the external NATS, if it is not in the URL." env:"NATS_USER"`
	NATSPass       string        `name:"nats-password" help:"Its password." env:"NATS_PASSWORD"`
	NATSListen     string        `name:"nats-listen" help:"Where the embedded NATS listens; a taken port becomes a free one." default:"127.0.0.1:4222" env:"NATS_LISTEN" validate:"listen"`
	NATSTLSCert    string        `name:"nats-tls-cert" help:"Certificate chain (PEM) of the embedded NATS; needed where it is not on loopback." env:"NATS_TLS_CERT" type:"path"`
	NATSTLSKey     string        `name:"nats-tls-key" help:"Its key (PEM)." env:"NATS_TLS_KEY" type:"path"`
	Replicas       int           `help:"Replicas of each stream; 3 in a cluster." default:"1" env:"NATS_REPLICAS" validate:"oneof=1 3 5"`
	Simulator      string        `help:"Where the built-in gateway simulator listens; off runs none. Without configuration it runs; with an external Postgres it does not." env:"SIMULATOR" placeholder:"ADDR|off"`
	PollEvery      time.Duration `help:"How often each gateway account is asked for results." default:"15s" env:"POLL_EVERY" validate:"min=100000000"`
	Slots          int           `help:"Requests under way at once." default:"256" env:"SLOTS" validate:"min=1,max=10000"`
	Grace          time.Duration `help:"How long a stopping process may finish its work." default:"20s" env:"GRACE" validate:"min=1000000000"`
	DatabaseConns  int           `help:"Connections of each Postgres pool." default:"8" env:"DATABASE_CONNS" validate:"min=2,max=200"`

	NATSCalloutSeed string `name:"nats-callout-seed" help:"Seed with which clinics' connections are vouched for to an external NATS; make one with tenant nats-creds issuer." env:"NATS_CALLOUT_SEED"`

	edgeFlags
	CronSecret     string            `name:"cron-secret" help:"What lets cron services in at /api/cron/trigger; better in the environment. Without it nobody is." env:"CRON_SECRET"`
	CronKeyInQuery bool              `name:"cron-key-in-query" help:"Take it as ?key= too; --no-cron-key-in-query takes the header alone." default:"true" negatable:"" env:"CRON_KEY_IN_QUERY"`
	SweepDays      int               `help:"How many days back completed visits are looked for that no workflow has run for." default:"30" env:"SWEEP_DAYS" validate:"omitempty,min=1,max=366"`
	AuditRetention time.Duration     `help:"How long rows of the audit log are kept; at least 8760h, a year, and by default three." default:"26280h" env:"AUDIT_RETENTION" validate:"min=31536000000000000"`
	OIDCIssuer     string            `name:"oidc-issuer" help:"Issuer whose bearer tokens the API takes beside its own keys, such as https://clerk.example.com." env:"OIDC_ISSUER" validate:"omitempty,issuer"`
	OIDCAudience   []string          `name:"oidc-audience" help:"What a token must be for (aud)." env:"OIDC_AUDIENCE"`
	OIDCParties    []string          `name:"oidc-authorized-parties" help:"Where a token must come from (azp); for Clerk, your application's origins." env:"OIDC_AUTHORIZED_PARTIES"`
	OIDCRoles      map[string]string `name:"oidc-roles" help:"The issuer's words for owner, staff, viewer and integration, such as nurse=staff; by default Clerk's." env:"OIDC_ROLES" placeholder:"WORD=ROLE"`
	OIDCOrgClaim   string            `name:"oidc-organization-claim" help:"Claim of the organisation's id; by default Clerk's." env:"OIDC_ORGANIZATION_CLAIM"`
	OIDCRole       string            `name:"oidc-role-claim" help:"Claim of the member's role; by default Clerk's." env:"OIDC_ROLE_CLAIM"`

	TimeScale float64 `help:"Run the send protocol's times this many times as fast, against a simulator that announces the same scale; a real gateway refuses it." default:"1" env:"TIME_SCALE" validate:"min=1,max=1000"`

	reportDelay time.Duration
	patience    time.Duration // 0, or how long a request is waited for in place of R
}

// embedded reports whether Postgres is ours.
func (f *dataFlags) embedded() bool { return f.DatabaseURL == "" }

// runs reports whether any of these roles is to run here.
func (f *serveFlags) runs(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(f.Roles, n) })
}

// simulatorAddr is where the simulator listens, or "" for none. It is the
// default only where everything else is built in too: beside a real database
// it would swallow real messages.
func (f *serveFlags) simulatorAddr() string {
	switch {
	case f.Simulator == "off", f.Simulator == "" && !f.embedded():
		return ""
	case f.Simulator == "":
		return "127.0.0.1:0"
	}
	return f.Simulator
}

// check refuses, before anything opens, what cannot work or is not safe. Each
// error is a sentence that says how to mend it.
func (f *serveFlags) check() error { return errors.Join(f.fits(), unsafeSettings(f)) }

// fits refuses what cannot work.
func (f *serveFlags) fits() error {
	var errs []error
	valid := validator.New()
	for tag, ok := range map[string]func(string) bool{"listen": listenable, "postgres": postgresURL, "servers": natsURLs, "issuer": issuerURL} {
		if err := valid.RegisterValidation(tag, func(l validator.FieldLevel) bool { return ok(l.Field().String()) }); err != nil {
			return err
		}
	}
	if err := valid.Struct(f); err != nil {
		invalid, ok := errors.AsType[validator.ValidationErrors](err)
		if !ok {
			return err
		}
		for _, e := range invalid {
			errs = append(errs, fmt.Errorf("setting %s is not valid (%s %s); see `doctorsflow serve --help`", e.Field(), e.Tag(), e.Param()))
		}
	}
	if s := f.simulatorAddr(); s != "" && !listenable(s) {
		errs = append(errs, errors.New("setting simulator is an address such as 127.0.0.1:8090, or off"))
	}
	if public := strings.TrimRight(f.PublicURL, "/"); public != "" && !workflow.ValidPublic(public) {
		errs = append(errs, errors.New("setting public-url (NEXT_PUBLIC_APP_URL) is an address such as https://flow.example.com, of at most 100 characters, with nothing after its path"))
	}
	errs = append(errs, f.checkIssuer()...)
	errs = append(errs, f.edgeFlags.check()...)
	if !f.embedded() && f.NATSURL == "" && !slices.Equal(f.Roles, roles) {
		errs = append(errs, errors.New("some roles alone need a NATS that the others share: set NATS_URL"))
	}
	if f.embedded() && !slices.Equal(f.Roles, roles) {
		errs = append(errs, errors.New("the embedded Postgres belongs to one process, so that it runs every role: set DATABASE_URL to run some"))
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// listenable reports whether s is host:port; port 0 is any free one.
func listenable(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// postgresURL reports whether s is a connection URL; the host may be a folder
// of a Unix socket in a parameter.
func postgresURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

// natsURLs reports whether s is one address of a NATS server, or several of a
// cluster with commas between them.
func natsURLs(s string) bool {
	for one := range strings.SplitSeq(s, ",") {
		if u, err := url.Parse(strings.TrimSpace(one)); err != nil || u.Host == "" {
			return false
		}
	}
	return true
}

// LogValue lists the settings without a secret in them.
func (f *serveFlags) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("roles", strings.Join(f.Roles, ",")),
		slog.String("data", f.Data),
		slog.String("database_url", redact(f.DatabaseURL, "embedded")),
		slog.String("database_worker_url", redact(f.DatabaseWorkerURL, "as database_url")),
		slog.String("nats_url", redact(f.NATSURL, "embedded")),
		slog.String("http_addr", f.HTTPAddr),
		slog.String("public_url", orElse(redact(f.PublicURL, ""), "none")),
		slog.Bool("behind_tls_proxy", f.BehindTLSProxy),
		slog.Bool("plaintext_network", f.PlaintextNetwork),
		slog.String("trusted_proxies", strings.Join(f.TrustedProxies, ",")),
		slog.String("allowed_hosts", strings.Join(f.AllowedHosts, ",")),
		slog.String("cors_origins", strings.Join(f.CORSOrigins, ",")),
		slog.String("simulator", orElse(f.simulatorAddr(), "off")),
		slog.Int("replicas", f.Replicas),
		slog.String("poll_every", f.PollEvery.String()),
		slog.Int("slots", f.Slots),
		slog.Int("database_conns", f.DatabaseConns),
		slog.String("oidc_issuer", f.OIDCIssuer),
		slog.String("grace", f.Grace.String()),
		slog.String("audit_retention", f.AuditRetention.String()),
		slog.Float64("time_scale", f.TimeScale),
	)
}

// redact shows where a URL, or each of several with commas between them, leads
// and hides who goes there.
func redact(raw, none string) string {
	if raw == "" {
		return none
	}
	list := []string{raw}
	if strings.Count(raw, "://") > 1 {
		list = strings.Split(raw, ",")
	}
	for i, one := range list {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" && len(list) > 1 {
			return "(not a URL)"
		}
		list[i] = u.Scheme + "://" + u.Host + u.Path
	}
	shown := strings.Join(list, ",")
	if strings.Contains(shown, "@") {
		return "(not shown)" // who goes there may be in it yet
	}
	return shown
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// defaultDataDir is where one installation of the all-in-one lives.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/doctorsflow/data"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "doctorsflow")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "doctorsflow")
	}
	return filepath.Join(os.TempDir(), "doctorsflow")
}
