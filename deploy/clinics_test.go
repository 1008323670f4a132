package deploy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// talk is a connection in NATS' own protocol.
type talk struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func connectTo(t *testing.T, s *server.Server, user, password string) *talk {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	k := &talk{t, c, bufio.NewReader(c)}
	k.send(`CONNECT {"verbose":false,"user":%q,"pass":%q}`, user, password)
	return k
}

func (k *talk) send(format string, args ...any) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k, format+"\r\nPING\r\n", args...); err != nil {
		k.t.Fatal(err)
	}
}

// wait reads until a line contains one of the texts, and returns it.
func (k *talk) wait(texts ...string) string {
	k.t.Helper()
	for {
		line, err := k.in.ReadString('\n')
		for _, text := range texts {
			if strings.Contains(line, text) {
				return line
			}
		}
		if err != nil {
			k.t.Fatalf("waiting for %q: %v", texts, err)
		}
	}
}

// TestNATSAsksThePipelineAboutClinics starts a node with nats.conf: only app may
// answer who a connection is, list clinics' connections and end them.
func TestNATSAsksThePipelineAboutClinics(t *testing.T) {
	s, passwords := startNode(t)
	app := connectTo(t, s, "app", passwords["app"])
	app.send("SUB $SYS.REQ.USER.AUTH 1\r\nSUB _INBOX.> 2")
	app.wait("PONG")

	stranger := connectTo(t, s, "01a20593-b71d-7e17-9d71-4ed06464e819", "dfn_x")
	stranger.send("SUB > 1")
	if asked := app.wait("MSG $SYS.REQ.USER.AUTH", "-ERR"); !strings.HasPrefix(asked, "MSG") {
		t.Errorf("a clinic's connection is not asked about: %s", asked)
	}
	stranger.wait("-ERR 'Authorization Violation'") // nobody answered
	if rest, err := io.ReadAll(stranger.in); strings.Contains(string(rest), "PONG") {
		t.Errorf("a stranger was served: %q, %v", rest, err)
	}

	app.send("PUB $SYS.REQ.ACCOUNT.CLINICS.CONNZ _INBOX.list 0\r\n")
	if got := app.wait("MSG _INBOX.list", "-ERR"); !strings.HasPrefix(got, "MSG") {
		t.Errorf("app lists clinics' connections: %s", got)
	}
	app.send("PUB $SYS.REQ.SERVER.%s.KICK _INBOX.end 12\r\n{\"cid\":9999}", s.ID())
	if got := app.wait("MSG _INBOX.end", "-ERR"); !strings.HasPrefix(got, "MSG") {
		t.Errorf("app ends a connection: %s", got)
	}
	for _, subject := range []string{"$SYS.REQ.USER.AUTH", "$SYS.REQ.ACCOUNT.CLINICS.CONNZ", "$SYS.REQ.SERVER." + s.ID() + ".KICK"} {
		ops := connectTo(t, s, "ops", passwords["ops"])
		ops.send("PUB %s 0\r\n", subject)
		ops.wait(`-ERR 'Permissions Violation for Publish to "` + subject)
	}
}
