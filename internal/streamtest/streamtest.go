// Package streamtest gives a test a NATS server of its own. It must not know
// which streams or subjects there are.
package streamtest

import (
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/local"
)

// Password is that of every user of a server from [NATS].
const Password = "streamtest"

// NATS starts a server with JetStream that ends with the test. It listens
// nowhere: connect through InProcess, as local.AppUser with [Password].
func NATS(t testing.TB) *local.NATS { return NATSIn(t, t.TempDir()) }

// NATSIn is [NATS] with its files in dir.
func NATSIn(t testing.TB, dir string) *local.NATS {
	t.Helper()
	n, err := local.StartNATS(local.NATSConfig{Dir: dir, AppPassword: Password, OpsPassword: Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Shutdown)
	return n
}
