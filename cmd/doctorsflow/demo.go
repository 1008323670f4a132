package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"github.com/doctorsflow/doctorsflow/docs/examples"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

type demoCommand struct {
	Keep        bool   `help:"Keep serving afterwards, for curl, psql and nats, until Ctrl-C."`
	Data        string `help:"Folder of the demo; it is emptied first." type:"path" env:"DOCTORSFLOW_DEMO_DATA"`
	PostgresBin string `help:"Folder with postgres and initdb." type:"path" env:"POSTGRES_BIN"`
	HTTPAddr    string `name:"http-addr" help:"Where to serve; a taken port becomes a free one." default:"127.0.0.1:8080"`
	Stories     bool   `help:"Play every magic number of the gateway simulator instead, days in a minute, and check how each ends."`
	Plain       bool   `help:"Plain lines, as when the output is not a terminal."`
}

// Run starts the all-in-one in an empty folder and plays the demo clinic.
func (c *demoCommand) Run(ctx context.Context, o output) (err error) {
	begin := time.Now()
	f := &serveFlags{
		Roles: roles, HTTPAddr: freeAddr(c.HTTPAddr), NATSListen: "127.0.0.1:4222", Replicas: 1, PollEvery: 150 * time.Millisecond,
		Slots: 64, Grace: 5 * time.Second, DatabaseConns: 8, TimeScale: 1, AuditRetention: 3 * 8760 * time.Hour, reportDelay: 400 * time.Millisecond,
	}
	if c.Stories {
		// Reports come when the numbers say; nobody waits 10 s for an answer
		// that is lost on purpose.
		f.reportDelay, f.PollEvery, f.patience = 0, 100*time.Millisecond, time.Second
	}
	f.Data, f.PostgresBin, f.LogFormat, f.LogLevel = c.Data, c.PostgresBin, "auto", "error"
	if f.Data == "" {
		f.Data = filepath.Join(os.TempDir(), "doctorsflow-demo-"+strconv.Itoa(os.Geteuid()))
	}
	if err := emptyDemoFolder(f.Data); err != nil {
		return err
	}
	if c.Keep && !c.Stories {
		end, ierr := startIssuer(f, o)
		if ierr != nil {
			return ierr
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	if err := f.check(); err != nil {
		return err
	}
	d := &demo{demoCommand: c, flags: f, out: o.out, tty: !c.Plain && isTerminal(o.out)}
	d.say("닥터스플로우 Doctor's Flow: starting Postgres, NATS, the gateway simulator and every role …")
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ready, done := make(chan running, 1), make(chan error, 1)
	go func() {
		done <- serve(serving, f, telemetry.NewLogger(o.err, f.LogFormat, f.LogLevel), func(r running) { ready <- r })
	}()
	select {
	case err := <-done:
		return err
	case d.where = <-ready:
	}
	d.say(fmt.Sprintf("ready in %.1f s", time.Since(begin).Seconds()))
	if c.Stories {
		err = d.playStories(ctx)
	} else {
		err = d.play(ctx)
	}
	if err == nil && c.Keep {
		d.say("\nserving until Ctrl-C …")
		select {
		case <-ctx.Done():
		case err = <-done:
			return err
		}
	}
	stop()
	return errors.Join(err, <-done)
}

type demo struct {
	*demoCommand
	flags  *serveFlags
	where  running
	out    io.Writer
	tty    bool
	tenant tenant.ID
}

func (d *demo) say(s string) { fmt.Fprintln(d.out, s) }

// play is the story from the clinic's file to the conservation law.
func (d *demo) play(ctx context.Context) error {
	db, _, closeLedger, err := openLedger(ctx, d.flags.dataFlags, false, telemetry.NewLogger(io.Discard, "json", "error"))
	if err != nil {
		return err
	}
	defer closeLedger()
	f, err := clinic.Parse(examples.MisoDental)
	if err != nil {
		return err
	}
	applied, err := db.ApplyClinic(ctx, f, store.ApplyOptions{Phones: phone.Options{AllowTestBands: true}})
	if err != nil {
		return err
	}
	d.tenant = applied.Tenant
	if err := connect(ctx, db, d.flags, d.tenant); err != nil {
		return err
	}
	hook := applied.Webhooks[0]
	d.say(fmt.Sprintf("%s: %d patients, workflow %q, webhook %q\n", f.Tenant.Name, len(f.Patients), f.Workflows[0].Name, hook.Name))

	var first []byte
	for _, p := range f.Patients {
		body, err := json.Marshal(map[string]any{
			"type":        "appointment.completed",
			"patient":     map[string]string{"external_id": p.ExternalID, "name": p.Name, "phone": p.Phone},
			"appointment": map[string]string{"surgery": "임플란트"},
		})
		if err != nil {
			return err
		}
		if first == nil {
			first = body
		}
		if _, err := d.post(ctx, hook, "visit-"+p.ExternalID, body); err != nil {
			return err
		}
	}
	d.say(fmt.Sprintf("POST %s/api/webhooks/%s  ×%d, signed: 202 Accepted, every one committed", d.where.HTTP, hook.ID, len(f.Patients)))
	again, err := d.post(ctx, hook, "visit-"+f.Patients[0].ExternalID, first)
	if err != nil {
		return err
	}
	d.say(fmt.Sprintf("the first one once more, same id: duplicate=%v, so one run, not two\n", again.Duplicate))

	if err := d.watch(ctx, db, f.Workflows[0]); err != nil {
		return err
	}
	return d.finish(ctx, db, f)
}

type accepted struct {
	TriggerID uuid.UUID `json:"trigger_id"`
	Duplicate bool      `json:"duplicate"`
}

// post makes one call as a booking site would: Standard Webhooks over HTTP.
func (d *demo) post(ctx context.Context, hook store.AppliedWebhook, id string, body []byte) (a accepted, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.where.HTTP+"/api/webhooks/"+hook.ID.String(), bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	sign(req, hook.Secret, id, body)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil {
		return a, err
	}
	if res.StatusCode != http.StatusAccepted {
		return a, fmt.Errorf("the webhook answered %s: %s", res.Status, answer)
	}
	return a, json.Unmarshal(answer, &a)
}

// sign makes a request one that a webhook accepts (Standard Webhooks v1).
func sign(req *http.Request, secret []byte, id string, body []byte) {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	req.Header.Set("content-type", "application/json")
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", stamp)
	req.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// watch shows each step as it moves, until all have ended.
func (d *demo) watch(ctx context.Context, db *store.DB, w clinic.Workflow) error {
	tl := newTimeline(d.out, d.tty, w)
	deadline := time.Now().Add(90 * time.Second)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		st, err := db.Stories(ctx, d.tenant)
		if err != nil {
			return err
		}
		if tl.show(st) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the demo took longer than 90 s: the machine is very busy, or something is wrong; run it again with --keep and look with `doctorsflow why`")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (d *demo) finish(ctx context.Context, db *store.DB, f *clinic.File) error {
	st, err := db.Stories(ctx, d.tenant)
	if err != nil {
		return err
	}
	d.say("")
	printTable(d.out, st, f)
	list, err := db.Conserve(ctx)
	if err != nil {
		return err
	}
	d.say("")
	for _, c := range list {
		printConservation(d.out, c)
		if c.Diff() != 0 {
			return errors.New("the conservation law does not hold: this is a bug in Doctor's Flow")
		}
	}
	d.say("")
	return d.further(ctx, db)
}

// further prints commands that work when pasted.
func (d *demo) further(ctx context.Context, db *store.DB) error {
	self := program()
	d.say("Look further 더 보기:")
	d.say(fmt.Sprintf("  %s why P-1005 --data %s", self, d.flags.Data))
	d.say(fmt.Sprintf("  %s conserve --data %s", self, d.flags.Data))
	if !d.Keep {
		d.say(fmt.Sprintf("  %s demo --keep        # keeps serving, for curl, psql and nats", self))
		return nil
	}
	key, _, err := db.CreateAPIKey(ctx, d.tenant, "demo", "viewer", time.Now().Add(24*time.Hour))
	if err != nil {
		return err
	}
	d.say(fmt.Sprintf("  curl -s -H 'Authorization: Bearer %s' '%s/api/message-logs?limit=5'", key, d.where.HTTP))
	d.say(fmt.Sprintf("  curl -s -H 'Authorization: Bearer %s' '%s/api/workflows/executions?limit=5'", key, d.where.HTTP))
	d.say(fmt.Sprintf("  curl -s -H \"Authorization: Bearer $(curl -s '%s/token?role=owner')\" '%s/api/audit-log?limit=5'   # as the clinic's owner, by a sign-in of five minutes", d.flags.OIDCIssuer, d.where.HTTP))
	d.say(fmt.Sprintf("  curl -s %s/metrics | grep doctorsflow_", d.where.HTTP))
	d.say(fmt.Sprintf("  curl -s %s/__sim/violations", d.where.Simulator))
	psql := "psql"
	if _, err := exec.LookPath(psql); err != nil {
		psql = filepath.Join(d.where.PostgresBin, "psql")
	}
	if _, err := exec.LookPath(psql); err == nil {
		d.say(fmt.Sprintf("  %s '%s&options=-c%%20app.tenant%%3D%s' -c 'SELECT channel, state, reason, count(*) FROM steps GROUP BY 1, 2, 3'", psql, d.where.APIURL, d.tenant))
	}
	nats := "nats"
	if _, err := exec.LookPath(nats); err != nil {
		nats = "go run github.com/nats-io/natscli/nats@v0.5.1"
	}
	d.say(fmt.Sprintf("  %s --server '%s' sub 'delivery.>'", nats, d.where.OpsNATS))
	return nil
}

// program is how this program was called, for commands to paste.
func program() string {
	exe, err := os.Executable()
	if err != nil {
		return "doctorsflow"
	}
	if strings.Contains(exe, "/go-build") {
		return "go run ./cmd/doctorsflow"
	}
	if found, err := exec.LookPath("doctorsflow"); err == nil && found == exe {
		return "doctorsflow"
	}
	return exe
}

// emptyDemoFolder removes what an earlier demo left, and nothing else.
func emptyDemoFolder(dir string) error {
	const mark = ".doctorsflow-demo"
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(dir, mark)); err != nil {
			return fmt.Errorf("%s is not empty and no demo made it; name another folder with --data", dir)
		}
		if err := local.Remove(dir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, mark), []byte("made by doctorsflow demo, which empties it at its next start\n"), 0o600)
}

// freeAddr returns addr, or the same host with any port if addr is taken.
func freeAddr(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		host, _, serr := net.SplitHostPort(addr)
		if serr != nil {
			return addr
		}
		return net.JoinHostPort(host, "0")
	}
	l.Close()
	return addr
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
