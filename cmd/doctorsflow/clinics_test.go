package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// clinicLine is a clinic system's connection, in NATS' own protocol.
type clinicLine struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func callIn(t *testing.T, server, user, password string) *clinicLine {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may have closed it
	l := &clinicLine{t, c, bufio.NewReader(c)}
	if info, err := l.in.ReadString('\n'); err != nil || !strings.HasPrefix(info, "INFO ") {
		t.Fatalf("the server says %q, %v", info, err)
	}
	hello, err := json.Marshal(map[string]any{"user": user, "pass": password, "protocol": 1, "verbose": false, "lang": "test", "version": "1"})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(l, "CONNECT %s\r\n", hello)
	return l
}

// say sends a command and returns the server's verdict on it.
func (l *clinicLine) say(command string) string {
	l.t.Helper()
	if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.WriteString(l, command+"PING\r\n"); err != nil {
		return err.Error()
	}
	return l.hear()
}

// hear returns the next verdict.
func (l *clinicLine) hear() string {
	for {
		line, err := l.in.ReadString('\n')
		switch {
		case err != nil:
			return err.Error()
		case strings.HasPrefix(line, "INFO"), strings.HasPrefix(line, "PING"):
		default:
			return strings.TrimSpace(line)
		}
	}
}

// TestAClinicSystemConnectsUntilItIsRevoked goes the whole way of a credential
// through the program.
func TestAClinicSystemConnectsUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	_, gw := gateway(t)
	p := start(t, data)
	applied(t, fmt.Sprintf(killClinic, gw), "--data", data)
	where, err := readRunning(data)
	if err != nil {
		t.Fatal(err)
	}
	slug := regexp.MustCompile(`slug: ([a-z0-9-]+)`).FindStringSubmatch(killClinic)[1]
	made := command(t, "tenant", "nats-creds", "create", "--tenant", slug, "--data", data)
	m := regexp.MustCompile(`(?s)^user +([0-9a-f-]{36})\npassword +(dfn_[0-9A-Za-z]{43})\n$`).FindStringSubmatch(made)
	if m == nil {
		t.Fatalf("create printed %q", made)
	}
	id, err := regexp.Compile(`(?m)^([0-9a-f-]{36}) .* ` + slug + ` `)
	if err != nil {
		t.Fatal(err)
	}
	tenants := id.FindStringSubmatch(command(t, "tenant", "list", "--data", data))
	if tenants == nil {
		t.Fatal("the clinic is not listed")
	}
	line := callIn(t, where.NATS, m[1], m[2])
	if got := line.say(""); got != "PONG" {
		t.Fatalf("connect: %s", got)
	}
	if got := line.say("PUB clinic." + tenants[1] + ".appointment.booked 2\r\n{}\r\n"); got != "PONG" {
		t.Errorf("its own subject: %s", got)
	}
	for _, foreign := range []string{"PUB clinic.x.appointment.booked 2\r\n{}\r\n", "PUB step.due.care.x 2\r\n{}\r\n", "SUB > 1\r\n", "SUB _INBOX.> 1\r\n"} {
		// The refusal and the answer to the PING come in either order.
		got := line.say(foreign) + line.hear()
		if !strings.Contains(got, "-ERR 'Permissions Violation") || !strings.Contains(got, "PONG") {
			t.Errorf("%q: %s", foreign, got)
		}
	}
	if got := callIn(t, where.NATS, m[1], "dfn_wrong").say(""); !strings.HasPrefix(got, "-ERR 'Authorization Violation'") {
		t.Errorf("a wrong password: %s", got)
	}
	if list := command(t, "tenant", "nats-creds", "list", "--tenant", slug, "--data", data); !strings.Contains(list, m[1]+"  in force") || strings.Contains(list, m[2]) {
		t.Errorf("list: %s", list)
	}

	command(t, "tenant", "nats-creds", "revoke", m[1], "--tenant", slug, "--data", data)
	revoked := time.Now()
	if err := line.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, line.in); err != nil {
		t.Errorf("the connection goes on after its credential was revoked: %v", err)
	}
	if took := time.Since(revoked); took > 10*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if got := callIn(t, where.NATS, m[1], m[2]).say(""); !strings.HasPrefix(got, "-ERR 'Authorization Violation'") {
		t.Errorf("after the revocation: %s", got)
	}
	p.stop()
	if log := p.log.String(); strings.Contains(log, m[2]) || strings.Contains(log, "dfn_wrong") {
		t.Error("a password is in the log")
	}
	if files, _ := filepath.Glob(filepath.Join(data, "running.json")); len(files) > 0 {
		t.Error("running.json is left behind")
	}
}
