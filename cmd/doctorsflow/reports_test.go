package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// Without a poll, every way in which the simulator spoils its webhooks ends
// right, each report is done with, and nothing is sent twice.
func TestReportsByWebhookSettleWhatWasSent(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]simulator.Webhook{
		"as_documented": {},
		"worst_day":     {DupRate: 0.5, TypoRate: 0.5, Conflict: true, Batch: 3},
		"before_answer": {BeforeResponse: true, DupRate: 1, Retries: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newReportWorld(t, simulator.Config{ReportDelay: 30 * time.Millisecond}, hook)
			c := w.clinic("miso")
			wants := map[uuid.UUID]string{}
			for number, want := range map[string]string{
				"010-0000-0000": "kakao delivered",
				"010-0019-0000": "kakao failed:fell_back, sms delivered", // 3019
				"010-0020-0310": "kakao failed:fell_back, sms failed:rejected:3001",
				"010-0022-0000": "kakao failed:rejected:3022", // hours: never another channel
				"010-0005-0000": "kakao sent",                 // 3005: may still arrive
				"010-0600-0000": "kakao delivered",            // three times the same hook
				"010-0601-0000": "kakao delivered",            // before the answer
				"010-0603-0000": "kakao sent",                 // never; the poll's
				"010-0604-0000": "kakao delivered",            // NHN's own misspellings
				"010-0606-0000": "kakao sent",                 // forged signature: not heard
				"010-0607-0000": "kakao delivered",            // beside one of an unknown request
			} {
				wants[c.visit(number)] = want
			}
			for trigger, want := range wants {
				c.becomes(trigger, want)
			}
			w.reports("unknown", 1)
			if n := w.texts(); n != 2 {
				t.Errorf("%d texts, want 2", n)
			}
			if got := w.anomalies(); hook.Conflict == (got == "") || strings.ReplaceAll(strings.ReplaceAll(got, store.RefutedReport, ""), ", ", "") != "" {
				t.Errorf("anomalies: %q", got)
			}
			if strings.Contains(w.logged.String(), "0100") || strings.Contains(w.logged.String(), "김하늘") {
				t.Errorf("the log names a patient:\n%s", w.logged)
			}
			w.holds()
		})
	}
}

// What a leaked token can do: write reports. It sends nothing and hides
// nothing.
func TestForgedReportsChangeNothing(t *testing.T) {
	t.Parallel()
	w := newReportWorld(t, simulator.Config{ReportDelay: 30 * time.Millisecond}, simulator.Webhook{})
	c, other := w.clinic("miso"), w.clinic("other")
	delivered := c.becomes(c.visit("010-0000-0000"), "kakao delivered")[0]
	silent := c.becomes(c.visit("010-0400-0000"), "kakao sent")[0]
	failed := c.becomes(c.visit("010-0022-0001"), "kakao failed:rejected:3022")[0]
	w.reports("confirmed", 2)

	forge := func(id string, s store.StoryStep, code string) map[string]any {
		return map[string]any{
			"hookId": id, "requestId": s.RequestID, "recipientSeq": 1, "resultCode": code, "recipientGroupingKey": event.Key(s.Root, event.Kakao),
			"_links": map[string]any{"self": map[string]any{"href": "http://127.0.0.1:1/"}},
		}
	}
	// By key and request, by key with another message's request, by request.
	mixed, byRequest := forge("f2", delivered, "3019"), forge("f3", delivered, "3019")
	mixed["requestId"] = failed.RequestID
	delete(byRequest, "recipientGroupingKey")
	status, answer := c.report(event.Kakao, forge("f1", delivered, "3019"), mixed, byRequest, forge("f4", failed, "1000"))
	if status != http.StatusOK || answer != `{"kept":4,"duplicates":0}` {
		t.Fatalf("%d %s", status, answer)
	}
	w.reports("refuted", 4)
	if n := strings.Count(w.anomalies(), store.RefutedReport); n != 4 {
		t.Errorf("anomalies %q, want 4 refuted reports", w.anomalies())
	}

	// A failure of what the gateway has not settled yet is believed no sooner.
	// Another's message is nobody's, whoever tells it, and so is a text.
	if status, _ := c.report(event.Kakao, forge("f5", silent, "3019")); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	other.report(event.Kakao, forge("f1", delivered, "3019"), forge("o2", silent, "3019"))
	c.report(event.SMS, map[string]any{"hookId": "s1", "requestId": delivered.RequestID, "recipientSeq": 1, "messageStatus": "FAILED", "resultCode": "3001"})
	c.report(event.Kakao, map[string]any{"hookId": "u1", "requestId": "nobodys", "recipientSeq": 1, "resultCode": "3019"},
		map[string]any{"hookId": "u2", "requestId": delivered.RequestID, "recipientSeq": 2, "resultCode": "3019"},
		map[string]any{"hookId": "u3", "recipientGroupingKey": event.Key(uuid.Must(uuid.NewV7()), event.Kakao), "resultCode": "3019"},
		map[string]any{"hookId": "u4", "recipientGroupingKey": "somebody elses key", "requestId": "nobodys", "resultCode": "1000"})
	w.reports("unknown", 7)
	w.reports("given_up", 1)
	if n := w.texts(); n != 0 {
		t.Errorf("%d texts were sent", n)
	}
	for s, want := range map[uuid.UUID]string{delivered.ID: "delivered", silent.ID: "sent", failed.ID: "failed"} {
		var state string
		if w.urls.Scan(t, `SELECT state FROM steps WHERE id = $1`, []any{s}, &state); state != want {
			t.Errorf("a forged report made a step %s that was %s", state, want)
		}
	}
	for name, want := range map[string]float64{"confirmed": 2, "refuted": 4, "unknown": 7, "given_up": 1} {
		if got := w.settled(name); got != want {
			t.Errorf("%v reports counted as %s, want %v", got, name, want)
		}
	}
	w.holds()
}

func TestOnlyTheAccountsTokenOpensItsDoor(t *testing.T) {
	t.Parallel()
	w := newReportWorld(t, simulator.Config{}, simulator.Webhook{})
	c, other := w.clinic("miso"), w.clinic("other")
	account, token := c.account[event.Kakao].String(), c.token[event.Kakao]
	body := `{"event":"MESSAGE_RESULT_UPDATE","hooks":[{"hookId":"h","requestId":"r","resultCode":"1000"}]}`
	var first string
	for _, tt := range [][2]string{
		{account, ""},
		{account, "wrong"},
		{account, token + "x"},
		{account, strings.ToLower(token)},
		{account, other.token[event.Kakao]},
		{account, c.token[event.SMS]},
		{uuid.NewString(), token},
		{uuid.NewString(), ""},
		{"x", token},
		{strings.ToUpper(account), token},
		{uuid.Nil.String(), ""},
	} {
		status, answer := w.post(tt[0], tt[1], []byte(body))
		answer = answer[:strings.Index(answer, `"instance"`)]
		if first == "" {
			first = answer
		}
		if status != http.StatusUnauthorized || answer != first {
			t.Errorf("%v: %d %s, want 401 and the same answer as the others", tt, status, answer)
		}
	}
	for name, tt := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"not_json":      {`{"event":`, http.StatusBadRequest, "malformed-json"},
		"empty":         {``, http.StatusBadRequest, "malformed-json"},
		"other_shape":   {`[1]`, http.StatusUnprocessableEntity, "schema"},
		"other_product": {`{"productName":"SMS","event":"MESSAGE_RESULT_UPDATE","hooks":[]}`, http.StatusUnprocessableEntity, "another product"},
		"other_event":   {`{"event":"UNSUBSCRIBE","hooks":[]}`, http.StatusUnprocessableEntity, "other events off"},
		"too_large":     {`"` + strings.Repeat("x", 1<<20) + `"`, http.StatusRequestEntityTooLarge, "payload-too-large"},
	} {
		if status, answer := w.post(account, token, []byte(tt.body)); status != tt.status || !strings.Contains(answer, tt.says) {
			t.Errorf("%s: %d %s, want %d %s", name, status, answer, tt.status, tt.says)
		}
	}
	w.reports("pending", 0)
	for want, answer := range []string{`{"kept":1,"duplicates":0}`, `{"kept":0,"duplicates":1}`} {
		if status, got := w.post(account, token, []byte(body)); status != http.StatusOK || got != answer {
			t.Errorf("time %d: %d %s, want %s", want, status, got, answer)
		}
	}
}

// Three reports about one message, two of them false, each told twice: the
// step and the gateway end alike in every order.
func TestReportsInAnyOrderAndTwiceEndAlike(t *testing.T) {
	t.Parallel()
	w := newReportWorld(t, simulator.Config{ReportDelay: time.Millisecond}, simulator.Webhook{DropRate: 1})
	c := w.clinic("miso")
	codes := []string{"1000", "3019", "3012"}
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	ends := map[string]string{"010-0000-0000": "kakao delivered", "010-0019-0000": "kakao failed:fell_back, sms sent"}
	n := 0
	for number, end := range ends {
		for _, order := range orders {
			n++
			trigger := c.visit(number)
			step := c.becomes(trigger, "kakao sent")[0]
			for _, again := range []bool{false, true} {
				for _, i := range order {
					hook := map[string]any{"hookId": fmt.Sprintf("h-%d-%d", n, i), "recipientGroupingKey": event.Key(step.Root, event.Kakao), "resultCode": codes[i]}
					status, answer := c.report(event.Kakao, hook)
					if want := fmt.Sprintf(`{"kept":%d,"duplicates":%d}`, 1-btoi(again), btoi(again)); status != http.StatusOK || answer != want {
						t.Fatalf("%d %s, want %s", status, answer, want)
					}
				}
			}
			c.becomes(trigger, end)
		}
	}
	w.reports("pending", 0)
	got := map[string]int{}
	for _, state := range []string{"confirmed", "refuted"} {
		var k int
		w.urls.Scan(t, `SELECT count(*) FROM gateway_reports WHERE state = $1`, []any{state}, &k)
		got[state] = k
	}
	// Of a delivered message two reports are false, of a failed one one is.
	if diff := cmp.Diff(map[string]int{"confirmed": 6*1 + 6*2, "refuted": 6*2 + 6*1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if texts := w.texts(); texts != 6 {
		t.Errorf("%d texts for 6 failures", texts)
	}
	w.holds()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A report that comes after three days still counts, and still falls back.
func TestReportAfterThreeDaysCounts(t *testing.T) {
	t.Parallel()
	w := newReportWorld(t, simulator.Config{Manual: true, ReportDelay: 72 * time.Hour}, simulator.Webhook{})
	c := w.clinic("miso")
	fine, lost := c.visit("010-0000-0000"), c.visit("010-0019-0000")
	c.becomes(fine, "kakao sent")
	c.becomes(lost, "kakao sent")
	if err := w.sim.Advance(72*time.Hour + time.Minute); err != nil {
		t.Fatal(err)
	}
	c.becomes(fine, "kakao delivered")
	c.becomes(lost, "kakao failed:fell_back, sms sent")
	w.reports("confirmed", 2)
	w.holds()
}

// Many reports at once are read from the list of results, not asked for one
// by one.
func TestManyReportsShareAQuestion(t *testing.T) {
	t.Parallel()
	const visits = 60
	w := newReportWorld(t, simulator.Config{ReportDelay: time.Millisecond, KeepRequests: 10_000}, simulator.Webhook{DropRate: 1})
	c := w.clinic("miso")
	var triggers []uuid.UUID
	for n := range visits {
		triggers = append(triggers, c.visit(fmt.Sprintf("010-0000-%04d", n%10)))
	}
	var hooks []map[string]any
	for n, id := range triggers {
		step := c.becomes(id, "kakao sent")[0]
		hooks = append(hooks, map[string]any{"hookId": fmt.Sprint("h", n), "requestId": step.RequestID, "recipientSeq": 1, "resultCode": "1000"})
	}
	if status, answer := c.report(event.Kakao, hooks...); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	for _, id := range triggers {
		c.becomes(id, "kakao delivered")
	}
	w.reports("confirmed", visits)
	asked := 0
	for _, r := range w.sim.Requests(0) {
		if r.Method == http.MethodGet {
			asked++
		}
	}
	if asked > 3 {
		t.Errorf("%d questions about %d messages", asked, visits)
	}
}

func TestApplySaysWhereReportsGo(t *testing.T) {
	t.Parallel()
	id := uuid.Must(uuid.NewV7())
	var out bytes.Buffer
	printReports(&out, store.Applied{Accounts: []store.AppliedAccount{
		{Channel: event.Kakao, Vendor: "nhn", ID: id, ReportToken: "TOKEN"}, {Channel: event.SMS, Vendor: "nhn", ID: id}, {Channel: event.SMS, Vendor: "simulator", ID: id, ReportToken: "x"},
	}}, "https://flow.example")
	want := "account kakao: result webhook https://flow.example/api/reports/" + id.String() + "\n        signature for the console (shown once): TOKEN\n" +
		"account sms: result webhook https://flow.example/api/reports/" + id.String() + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOwnListenerIsReachedByLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"0.0.0.0:8080": "http://127.0.0.1:8080", "[::]:8080": "http://127.0.0.1:8080", "127.0.0.1:1": "http://127.0.0.1:1", "10.0.0.7:80": "http://10.0.0.7:80",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := loopback(a); got != want {
			t.Errorf("%s is reached by %s, want %s", addr, got, want)
		}
	}
}
