package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/leaf"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// leafCommand runs on the clinic's own computer: it knows NATS, and no ledger.
type leafCommand struct {
	Data         string `type:"path" default:"${data}-leaf" env:"LEAF_DATA" help:"Where events are kept until there is a receipt for them."`
	Hub          string `required:"" env:"NATS_URL" help:"Where the pipeline's NATS is: tls://…, or nats:// on this computer."`
	Tenant       string `required:"" env:"TENANT" help:"The clinic's id, as nats-creds prints it."`
	User         string `required:"" env:"NATS_USER" help:"The credential's user."`
	Password     string `env:"NATS_PASSWORD" help:"The credential's password; better in the environment or in --password-file."`
	PasswordFile string `type:"path" env:"NATS_PASSWORD_FILE" help:"A file with the password."`
	Listen       string `default:"127.0.0.1:4222" env:"LEAF_LISTEN" help:"Where the clinic's system finds this."`
	TLSCert      string `name:"tls-cert" env:"LEAF_TLS_CERT" help:"A certificate, needed where --listen is not this computer alone."`
	TLSKey       string `name:"tls-key" env:"LEAF_TLS_KEY" help:"Its key."`
	LogFormat    string `default:"auto" enum:"auto,text,json" env:"LOG_FORMAT" help:"How to log."`
}

// Run keeps and carries until it is stopped.
func (c *leafCommand) Run(ctx context.Context, o output) error {
	id, err := tenant.Parse(c.Tenant)
	if err != nil {
		return errors.New("--tenant is the clinic's id, such as 0198c0de-…; `doctorsflow tenant nats-creds create` prints it in the subject")
	}
	password, err := c.secret()
	if err != nil {
		return err
	}
	if err := checkHub(c.Hub); err != nil {
		return err
	}
	lock, err := local.Lock(c.Data)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }() // the kernel does otherwise
	file := filepath.Join(c.Data, "clinic-password")
	clinic, err := keptSecret(file)
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(o.err, c.LogFormat, "info")
	own := rand.Text()
	server, err := local.StartNATS(local.NATSConfig{
		Dir: filepath.Join(c.Data, "jetstream"), Listen: c.Listen, AppPassword: own, ClinicPassword: clinic, Clinic: id.String(), SyncAlways: true,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, Logger: log,
	})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	relay, err := leaf.New(ctx, leaf.Config{
		Tenant: id, Local: server.InProcess(), LocalUser: local.AppUser, LocalKey: own, Hub: c.Hub, User: c.User, Password: password, Logger: log,
	})
	if err != nil {
		return err
	}
	defer relay.Close()
	fmt.Fprintf(o.out, "%s\n", server.URL())
	fmt.Fprintf(o.err, `The clinic's system publishes here, whether the line is up or down; what is acknowledged is on disk:
  nats --server %s --user %s --password "$(cat %s)" request clinic.%s.appointment.booked '{"id": "evt-1", …}'
Receipts come on clinic.%s.receipt.<event id>, and stay in the stream %s for thirty days.
`, server.URL(), local.ClinicUser, file, id, id, leaf.Receipts)
	if n, err := relay.Kept(ctx); err == nil && n > 0 {
		log.Info("events of before are waiting", "events", n)
	}
	return relay.Run(ctx)
}

func (c *leafCommand) secret() (string, error) {
	if c.PasswordFile == "" {
		if c.Password == "" {
			return "", errors.New("no password: make a credential with `doctorsflow tenant nats-creds create --tenant CLINIC`, and give its password as NATS_PASSWORD or --password-file")
		}
		return c.Password, nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	return strings.TrimSpace(string(b)), err
}

// checkHub refuses to send patients' data in the clear to another computer.
func checkHub(hub string) error {
	u, err := url.Parse(hub)
	if err == nil && u.Host != "" && u.User == nil && (u.Scheme == "tls" || u.Scheme == "nats" && local.Loopback(u.Host)) {
		return nil
	}
	return errors.New("--hub must be tls://host:port, or nats:// on this computer, without a user: appointments are patients' data")
}

// keptSecret is the secret in a file, made at the first start.
func keptSecret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil {
		if s := strings.TrimSpace(string(b)); len(s) >= 16 {
			return s, nil
		}
		return "", fmt.Errorf("%s is no password of at least 16 letters; delete it, and one is made", file)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	s := "p" + rand.Text() + strings.ToLower(rand.Text())
	return s, os.WriteFile(file, []byte(s+"\n"), 0o600)
}
