package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openGateway(t *testing.T, c Config, path string) *gateway {
	t.Helper()
	s, err := Open(c, path)
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{t, s}
}

func TestRestartGoesOnWhereTheLedgerEnds(t *testing.T) {
	t.Parallel()
	for _, sync := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			c := Config{Seed: 1, Open: true, SyncLedger: sync, ReportDelay: time.Second}
			g := openGateway(t, c, path)
			g.kakao("01001160000", "refused:kakao") // takes a number, leaves no message
			done := g.mustOK(g.kakao("01000190000", "done:kakao", idempotencyField, "done:kakao"))
			time.Sleep(2 * time.Second)
			late := g.mustOK(g.kakao("01002190000", "late:kakao"))
			g.mustOK(g.sms("01012345678", "text:sms"))
			g.mustOK(g.kakao("01008120000", "flaky1:kakao"))
			conflict := g.mustOK(g.kakao("01006050000", "conflict:kakao"))
			time.Sleep(2 * time.Second)
			before := g.Ledger()
			// What a crash leaves: the file as it is, and a line cut short.
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(b, `{"event":"accepted","at":"2026`...), 0o600); err != nil {
				t.Fatal(err)
			}

			c.Seed = 2 // ids are the file's, not the seed's
			g = openGateway(t, c, path)
			if diff := cmp.Diff(before, g.Ledger()); diff != "" {
				t.Errorf("ledger after the restart (-before +after):\n%s", diff)
			}
			if got := g.kakao("01012345678", "x:kakao", idempotencyField, "done:kakao").code(); got != "-1005" {
				t.Errorf("key after the restart = %s, want -1005", got)
			}
			if got := g.do("GET", kakaoBase+"messages/"+done.at("message.requestId")+"/1", "").at("message.resultCode"); got != "3019" {
				t.Errorf("result after the restart = %s, want 3019", got)
			}
			time.Sleep(lateAfter)
			for id, want := range map[string]string{late.at("message.requestId"): "3019", conflict.at("message.requestId"): "1000"} {
				if got := g.do("GET", kakaoBase+"messages/"+id+"/1", "").at("message.resultCode"); got != want {
					t.Errorf("report that was due = %s, want %s", got, want)
				}
			}
			g.mustOK(g.kakao("01008120000", "flaky2:kakao"))
			g.mustOK(g.kakao("01008120000", "flaky3:kakao"))
			time.Sleep(2 * time.Second)
			if got := g.findKakao("flaky3:kakao").at(kakaoList + "messages.0.resultCode"); got != "1000" {
				t.Errorf("third try over the restart = %s, want 1000", got)
			}
			g.mustOK(g.sms("01012345678", "text:sms"))
			if diff := cmp.Diff([]Breach{DoubleAccept, DoubleDelivery}, g.breaches()); diff != "" {
				t.Errorf("violations over the restart (-want +got):\n%s", diff)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			g = openGateway(t, c, path) // once more: what the second life wrote reads as well
			if got, want := len(g.Ledger()), len(before)+3; got != want {
				t.Errorf("%d messages after the second restart, want %d", got, want)
			}
			if got := g.breaches(); len(got) != 2 {
				t.Errorf("violations after the second restart = %v", got)
			}
			_ = g.Close()
		})
	}
}

func TestVirtualTimeDoesNotStepBackOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger")
		g := openGateway(t, Config{Open: true, Scale: 1000}, path)
		time.Sleep(time.Minute)
		g.mustOK(g.kakao("01012345678", "r1:kakao"))
		at := g.Now()
		_ = g.Close()
		g = openGateway(t, Config{Open: true}, path)
		if now := g.Now(); now.Before(at) {
			t.Errorf("now is %v before the last message", at.Sub(now))
		}
		_ = g.Close()
	})
}

func TestReservationsAndResendsSurviveARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger")
		c := Config{
			Open: true, ReportDelay: time.Second, Rules: Rules{ResendDelay: Duration(10 * time.Second)},
			Senders: []Sender{{Key: goodSender, Resend: true, ResendAppKey: "k", ResendSendNo: "15880000"}},
		}
		g := openGateway(t, c, path)
		later := g.Now().Add(time.Hour).In(kst).Format(formMinute)
		g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01012345678", "later:sms"), "requestDate", later))))
		g.mustOK(g.do("POST", kakaoBase+"messages", js(with(kakaoBody("", ""), "recipientList", []any{
			with(kakaoTo("01000190000", "r1:kakao"), "resendParameter", obj{"isResend": true}),
		}))))
		time.Sleep(2 * time.Second) // failed, the text not yet sent
		_ = g.Close()
		g = openGateway(t, c, path)
		time.Sleep(15 * time.Second)
		if got := g.findSMS("r1:kakao").at("body.totalCount"); got != "1" {
			t.Errorf("%s texts instead of the Alimtalk, want 1", got)
		}
		if got := g.findSMS("later:sms").at("body.data.0.msgStatus"); got != "1" {
			t.Errorf("reserved text = %s, want 1", got)
		}
		time.Sleep(2 * time.Hour)
		if got := g.findSMS("later:sms").at("body.data.0.msgStatus"); got != "3" {
			t.Errorf("reserved text after its time = %s, want 3", got)
		}
		_ = g.Close()
	})
}

func TestForeignFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"text": "hello\n", "event": `{"event":"party"}` + "\n", "number": `{"event":"accepted","product":"fax"}` + "\n",
	} {
		path := filepath.Join(t.TempDir(), "ledger")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Config{}, path); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: Open = %v, want an error that names line 1", name, err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := Open(Config{Profile: "party"}, filepath.Join(t.TempDir(), "ledger")); err == nil {
		t.Error("a bad configuration is opened")
	}
}

func TestResetIsKeptInTheLedger(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	g := openGateway(t, Config{Open: true}, path)
	g.mustOK(g.kakao("01012345678", "r1:kakao", idempotencyField, "x"))
	g.Reset()
	g.mustOK(g.kakao("01012345678", "r2:kakao"))
	_ = g.Close()
	g = openGateway(t, Config{Open: true}, path)
	if es := g.Ledger(); len(es) != 1 || es[0].GroupingKey != "r2:kakao" {
		t.Errorf("ledger = %v", es)
	}
	_ = g.Close()
}

func TestLedgerIsWrittenBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	g := newGateway(t, Config{Open: true, Ledger: &b})
	id := g.mustOK(g.kakao("01012345678", "r1:kakao")).at("message.requestId")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("lines = %q, want the acceptance and the result", lines)
	}
	var v struct {
		Event string `json:"event"`
		Entry
	}
	for i, want := range []string{"accepted", "result"} {
		if err := json.Unmarshal([]byte(lines[i]), &v); err != nil || v.Event != want || v.RequestID != id {
			t.Errorf("line %d = %s (%v)", i, lines[i], err)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk is gone") }

func TestRunEndsWhenTheLedgerCannotBeWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Ledger: brokenWriter{}})
		done := make(chan error, 1)
		go func() { done <- g.Run(t.Context()) }()
		g.kakao("01012345678", "r1:kakao")
		if err := <-done; err == nil || !strings.Contains(err.Error(), "disk is gone") {
			t.Errorf("Run = %v, want the writer's error", err)
		}
	})
}

func TestConcurrentSyncsLoseNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger")
	g := openGateway(t, Config{Open: true, SyncLedger: true}, path)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				g.kakao("01012345678", fmt.Sprintf("r%d-%d:kakao", i, j))
			}
		})
	}
	wg.Wait()
	if l := g.ledger; l.synced != l.written {
		t.Errorf("synced %d of %d lines", l.synced, l.written)
	}
	_ = g.Close()
	g = openGateway(t, Config{Open: true}, path)
	if got := len(g.Ledger()); got != 80 {
		t.Errorf("%d messages, want 80", got)
	}
	_ = g.Close()
}
