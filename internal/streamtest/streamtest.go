// Package streamtest gives a test a NATS server of its own. It must not know
// which streams or subjects there are.
package streamtest

import (
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

// Password is that of every user of a server from [NATS].
const Password = "streamtest"

// The users that a test may be.
const (
	AppUser    = local.AppUser
	ClinicUser = local.ClinicUser
)

// NATS starts a server with JetStream that ends with the test. It listens
// nowhere: connect through InProcess, as local.AppUser with [Password].
func NATS(t testing.TB) *local.NATS { return NATSIn(t, t.TempDir()) }

// NATSIn is [NATS] with its files in dir.
func NATSIn(t testing.TB, dir string) *local.NATS {
	t.Helper()
	return start(t, local.NATSConfig{Dir: dir})
}

// ClinicNATS is a server that listens on loopback and lets clinics in whom
// issuer, a public account key, vouches for.
func ClinicNATS(t testing.TB, issuer string) *local.NATS {
	t.Helper()
	return start(t, local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0", ClinicIssuer: issuer})
}

func start(t testing.TB, cfg local.NATSConfig) *local.NATS {
	t.Helper()
	cfg.AppPassword, cfg.OpsPassword = Password, Password
	n, err := local.StartNATS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Shutdown)
	return n
}

// HubNATS is [NATS] that listens on loopback.
func HubNATS(t testing.TB) *local.NATS {
	t.Helper()
	return start(t, local.NATSConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
}

// LeafNATS is a clinic's own server, with its files in dir.
func LeafNATS(t testing.TB, dir, clinic string) *local.NATS {
	t.Helper()
	return start(t, local.NATSConfig{Dir: dir, Listen: "127.0.0.1:0", Clinic: clinic, ClinicPassword: Password, SyncAlways: true})
}
