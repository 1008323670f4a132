package streamtest_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServersAreSeparate(t *testing.T) {
	t.Parallel()
	for range 2 {
		n := streamtest.NATS(t)
		nc, err := nats.Connect("", nats.InProcessServer(n.InProcess()), nats.UserInfo(local.AppUser, streamtest.Password))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Stream(t.Context(), "S"); err == nil {
			t.Error("a new server has a stream")
		}
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
			t.Error(err)
		}
	}
}
