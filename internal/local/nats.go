package local

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
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
)

// accounts are there from the start, so that leaf nodes and clusters can join
// without moving a stream from one account to another.
const accounts = `
accounts { APP { jetstream: enabled }, SYS {} }
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
	// Logger gets the server's warnings and errors; nil discards them.
	Logger *slog.Logger
}

// NATS is a running in-process server.
type NATS struct {
	server *server.Server
	log    *natsLog
}

// StartNATS starts the server with what Dir holds and returns when it accepts
// connections.
func StartNATS(cfg NATSConfig) (*NATS, error) {
	opts, err := natsOptions(cfg)
	if err != nil {
		return nil, fmt.Errorf("local: start nats: %w", err)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("local: start nats: %w", err)
	}
	n := &NATS{server: s, log: newNATSLog(cfg.Logger)}
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
	opts.DontListen = cfg.Listen == ""
	if cfg.Listen != "" {
		host, port, err := freeAddress(cfg.Listen)
		if err != nil {
			return nil, err
		}
		opts.Host, opts.Port = host, port
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
	}{{AppUser, cfg.AppPassword, nil}, {OpsUser, cfg.OpsPassword, opsMay()}} {
		if u.password == "" && u.name == OpsUser {
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

// opsMay lets ops watch. Its replies have an inbox prefix of their own: with
// _INBOX.> it could read what JetStream delivers to the pipeline.
func opsMay() *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: []string{">"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"delivery.>", "_INBOX_ops.>"}},
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
	u := url.URL{Scheme: "nats", User: who, Host: addr.String()}
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
