package streamtest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// Client connects to a server as somebody does who is not of the product, and
// disconnects with the test. Its replies go below inbox.
func Client(t testing.TB, url, user, password, inbox string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo(user, password), nats.CustomInboxPrefix(inbox), nats.Timeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
