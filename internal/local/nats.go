package local

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"
)

// The users of account APP.
const (
	// AppUser is the pipeline: it may do everything in its account.
	AppUser = "app"
	// OpsUser may watch delivery.> and publish nothing.
	OpsUser = "ops"
	// ClinicUser is a clinic's own system at a leaf.
	ClinicUser = "clinic"
)

// accounts are there from the start, so that leaf nodes and clusters can join
// without moving a stream from one account to another. Clinics are in one of
// their own, which has no JetStream and imports nothing. The pipeline may list
// its connections and end them; it may do nothing else to the server.
const accounts = `
accounts {
  APP {
    jetstream: enabled
    imports: [
      { service: { account: SYS, subject: "$SYS.REQ.ACCOUNT.CLINICS.CONNZ" } }
      { service: { account: SYS, subject: "$SYS.REQ.SERVER.*.KICK" } }
    ]
  }
  CLINICS { limits { max_connections: 512, max_subscriptions: 8192, max_payload: 64KB } }
  SYS {
    exports: [
      { service: "$SYS.REQ.ACCOUNT.CLINICS.CONNZ", response_type: stream, accounts: [APP] }
      { service: "$SYS.REQ.SERVER.*.KICK", accounts: [APP] }
    ]
  }
}
system_account: SYS
`

// NATSConfig says what an in-process NATS server keeps and who may connect.
type NATSConfig struct {
	// Dir is JetStream's store. It must be this server's alone; see [Lock].
	Dir string
	// Listen is host:port. Port 0 is any free one, and so is a port that is
	// taken. Empty listens nowhere: [NATS.InProcess] is then the only way in.
	Listen string
	// AppPassword and OpsPassword are the users' passwords, of at most 72
	// bytes. An empty OpsPassword leaves that user out.
	AppPassword, OpsPassword string
	// ClinicPassword lets in [ClinicUser], who may say what happened to the
	// appointments of Clinic, a tenant's id, and read its receipts. Empty leaves
	// that user out.
	ClinicPassword, Clinic string
	// SyncAlways has every message on disk before it is acknowledged: where
	// nobody else has it.
	SyncAlways bool
	// ClinicIssuer is the public key that vouches for clinics' connections: the
	// server asks the account APP on $SYS.REQ.USER.AUTH about everyone it does
	// not know, and believes an answer that this key signed. Empty lets no
	// clinic in.
	ClinicIssuer string
	// TLSCert and TLSKey are PEM files with which clients outside this process
	// are served; needed where Listen is not loopback.
	TLSCert, TLSKey string
	// Logger gets the server's warnings and errors; nil discards them.
	Logger *slog.Logger
}

// NATS is a running in-process server.
type NATS struct {
	server *server.Server
	scheme string
	log    *natsLog
}

// StartNATS starts the server with what Dir holds and returns when it accepts
// connections.
func StartNATS(cfg NATSConfig) (*NATS, error) {
	opts, err := natsOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("local: start nats: %w", err)
	}
	return startServer(opts, cfg.Logger)
}

func startServer(opts *server.Options, log *slog.Logger) (*NATS, error) {
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("local: start nats: %w", err)
	}
	n := &NATS{server: s, scheme: "nats", log: newNATSLog(log)}
	if opts.TLS {
		n.scheme = "tls"
	}
	s.SetLoggerV2(n.log, false, false, false)
	s.Start()
	if !s.ReadyForConnections(30*time.Second) || n.log.fatal() != "" {
		n.Shutdown()
		return nil, fmt.Errorf("local: start nats: %s", cmp.Or(n.log.fatal(), "the server was not ready within 30 s"))
	}
	return n, nil
}

func natsOptions(cfg NATSConfig) (*server.Options, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString(accounts); err != nil {
		return nil, err
	}
	opts.ServerName = "doctorsflow"
	opts.NoSigs = true
	opts.JetStream = true
	opts.StoreDir = cfg.Dir
	opts.SyncAlways = cfg.SyncAlways
	opts.DontListen = cfg.Listen == ""
	if cfg.Listen != "" {
		host, port, err := freeAddress(cfg.Listen)
		if err != nil {
			return nil, err
		}
		opts.Host, opts.Port = host, port
	}
	if err := natsTLS(opts, cfg); err != nil {
		return nil, err
	}
	if cfg.ClinicIssuer != "" {
		opts.AuthCallout = &server.AuthCallout{Issuer: cfg.ClinicIssuer, Account: "APP", AuthUsers: []string{AppUser, OpsUser}}
	}
	var app *server.Account
	for _, a := range opts.Accounts {
		if a.Name == "APP" {
			app = a
		}
	}
	for _, u := range []struct {
		name, password string
		may            *server.Permissions
	}{{AppUser, cfg.AppPassword, nil}, {OpsUser, cfg.OpsPassword, opsMay()}, {ClinicUser, cfg.ClinicPassword, clinicMay(cfg.Clinic)}} {
		if u.password == "" && u.name == OpsUser && opts.AuthCallout != nil {
			opts.AuthCallout.AuthUsers = []string{AppUser}
		}
		if u.password == "" && u.name != AppUser {
			continue
		}
		if u.password == "" {
			return nil, errors.New("no password for user " + u.name)
		}
		// The cheapest cost: these are random secrets, which no one can try out.
		hash, err := bcrypt.GenerateFromPassword([]byte(u.password), bcrypt.MinCost)
		if err != nil {
			return nil, fmt.Errorf("password of user %s: %w", u.name, err)
		}
		opts.Users = append(opts.Users, &server.User{Username: u.name, Password: string(hash), Account: app, Permissions: u.may})
	}
	return opts, nil
}

// natsTLS serves TLS 1.3 if there is a certificate, and refuses to listen in the
// clear where others could listen too.
func natsTLS(opts *server.Options, cfg NATSConfig) error {
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return errors.New("a certificate and its key belong together: set both NATS_TLS_CERT and NATS_TLS_KEY, or neither")
	}
	if cfg.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return fmt.Errorf("NATS_TLS_CERT, NATS_TLS_KEY: %w", err)
		}
		opts.TLS, opts.TLSTimeout = true, 5
		opts.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
		return nil
	}
	if cfg.Listen == "" || Loopback(cfg.Listen) {
		return nil
	}
	return fmt.Errorf("NATS would listen on %s in the clear: set NATS_TLS_CERT and NATS_TLS_KEY, or --nats-listen=127.0.0.1:4222", cfg.Listen)
}

// Loopback reports whether an address, host:port, is reached from this machine
// alone. A name counts only if it is localhost.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// opsMay lets ops watch. Its replies have an inbox prefix of their own: with
// _INBOX.> it could read what JetStream delivers to the pipeline.
func opsMay() *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: []string{">"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"delivery.>", "_INBOX_ops.>"}},
	}
}

// clinicMay lets a clinic's system publish events and read what came of them,
// now and later: direct gets of receipts and of what was rejected.
func clinicMay(clinic string) *server.Permissions {
	subject := "clinic." + clinic
	return &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			subject + ".appointment.*", "$JS.API.INFO", "$JS.API.STREAM.INFO.*",
			"$JS.API.DIRECT.GET.RECEIPTS.>", "$JS.API.DIRECT.GET.REJECTED.>", "$JS.API.DIRECT.GET.RECEIPTS", "$JS.API.DIRECT.GET.REJECTED",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{subject + ".receipt.*", "_INBOX.>"}},
	}
}

// freeAddress tries the address, so that a port which another server has ends
// in another port and not in no server.
func freeAddress(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen address: %w; write it like 127.0.0.1:4222", err)
	}
	port, err = strconv.Atoi(p)
	if err != nil {
		return "", 0, fmt.Errorf("listen address %s: the port is not a number", listen)
	}
	if port <= 0 {
		return host, server.RANDOM_PORT, nil
	}
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return host, server.RANDOM_PORT, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("listen address: %w", err)
	}
	return host, port, l.Close()
}

// URL is where the server listens, without credentials; "" if nowhere.
func (n *NATS) URL() string { return n.url(nil) }

// UserURL is [NATS.URL] with the credentials of a user.
func (n *NATS) UserURL(user, password string) string { return n.url(url.UserPassword(user, password)) }

func (n *NATS) url(who *url.Userinfo) string {
	addr := n.server.Addr()
	if addr == nil {
		return ""
	}
	u := url.URL{Scheme: n.scheme, User: who, Host: addr.String()}
	return u.String()
}

// InProcess connects within this process, for nats.InProcessServer. It takes
// the same credentials as a connection from outside.
func (n *NATS) InProcess() *server.Server { return n.server }

// Shutdown ends the server and waits until its store is closed. Clients should
// have drained.
func (n *NATS) Shutdown() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}
