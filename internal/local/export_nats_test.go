package local

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// StartNATSWithListener is [StartNATS] with one more user, who may do
// everything in the clinics' account: what a clinic's message arrives at.
func StartNATSWithListener(t *testing.T, cfg NATSConfig, user, password string) *NATS {
	t.Helper()
	opts, err := natsOptions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range opts.Accounts {
		if a.Name == "CLINICS" {
			opts.Users = append(opts.Users, &server.User{Username: user, Password: password, Account: a})
		}
	}
	opts.AuthCallout.AuthUsers = append(opts.AuthCallout.AuthUsers, user)
	n, err := startServer(opts, cfg.Logger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Shutdown)
	return n
}
