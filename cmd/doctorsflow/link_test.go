package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

const surveyClinic = `
tenant: {slug: survey, name: 설문치과, phone: "02-555-0100"}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
  - {channel: sms, vendor: simulator, sender: "15880000"}
templates:
  - {name: 설문, class: auth, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님 #{링크}", sms_text: "#{환자명}님 #{링크}"}
  - {name: 감사, class: auth, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님 감사합니다", sms_text: "#{환자명}님 감사합니다"}
workflows:
  - name: 설문
    visual_data: |
      {"nodes": [{"id": "t", "type": "trigger", "data": {}},
                 {"id": "ask", "type": "survey", "data": {"template": "설문", "link": "https://clinic.example/survey?id=7"}},
                 {"id": "wait", "type": "wait", "data": {"event": "clicked", "timeout": {"seconds": %d}}},
                 {"id": "thanks", "type": "message", "data": {"template": "감사"}},
                 {"id": "again", "type": "message", "data": {"template": "감사"}}],
       "edges": [{"source": "t", "target": "ask"}, {"source": "ask", "target": "wait"},
                 {"source": "wait", "target": "thanks", "sourceHandle": "event"}, {"source": "wait", "target": "again", "sourceHandle": "timeout"}]}
webhooks:
  - {name: door, workflow: 설문}
patients:
  - {external_id: S-1, name: 김하늘, phone: "010-0000-0001"}
`

// TestThePatientWhoOpensTheLinkGoesTheOtherWay follows the link of a message as
// the gateway got it: first as a messenger's preview does, then as a patient.
func TestThePatientWhoOpensTheLinkGoesTheOtherWay(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	const public = "https://flow.example.com"
	p := start(t, data, "--poll-every", "200ms", "--public-url", public)
	hook := applied(t, fmt.Sprintf(surveyClinic, 3600), "--data", data, "--public-url", public)
	if status, _ := hook.post(t.Context(), p.http, "visit", []byte(`{"patient":{"external_id":"S-1"}}`)); status != http.StatusAccepted {
		t.Fatalf("accepted with %d", status)
	}
	key := strings.TrimSpace(command(t, "tenant", "key", "survey", "--data", data, "--role", "owner"))
	why := func() string { return command(t, "why", "S-1", "--data", data, "--lang", "ko") }
	until := func(what string, done func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !done(); wait(t.Context(), 100*time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s within 30 s:\n%s\n%s", what, why(), p.log)
			}
		}
	}
	get := func(url, agent string) (status int, to, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", agent)
		req.Header.Set("Authorization", "Bearer "+key)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Location"), string(b)
	}
	var link string
	until("message with a link", func() bool {
		_, _, body := get(p.http+"/api/message-logs", "test")
		link = regexp.MustCompile(regexp.QuoteMeta(public) + `/l/[a-z2-7]{16}`).FindString(body)
		return link != "" && strings.Contains(why(), "clicked 대기")
	})
	own := p.http + strings.TrimPrefix(link, public)
	for _, agent := range []string{"facebookexternalhit/1.1; kakaotalk-scrap/1.0", "Mozilla/5.0 (iPhone) Safari/604.1 KAKAOTALK 25.1"} {
		if strings.Contains(why(), "#thanks") {
			t.Errorf("a preview was taken for a click:\n%s", why())
		}
		if status, to, _ := get(own, agent); status != http.StatusFound || to != "https://clinic.example/survey?id=7" {
			t.Fatalf("%s is answered %d and led to %q", agent, status, to)
		}
	}
	until("branch of a click", func() bool { return strings.Contains(why(), "#thanks") })
	if got := why(); !strings.Contains(got, "#ask 링크 클릭") || strings.Contains(got, "#again") {
		t.Errorf("why says\n%s", got)
	}
	if status, _, body := get(p.http+"/l/aaaaaaaaaaaaaaaa", "Mozilla/5.0"); status != http.StatusNotFound || !strings.Contains(body, "링크가 올바르지 않거나") {
		t.Errorf("a link of nobody: %d %s", status, body)
	}
	var list struct {
		Data []struct{ ID string }
	}
	_, _, body := get(p.http+"/api/workflows/executions", "test")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Data) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	if _, _, body := get(p.http+"/api/workflows/executions/"+list.Data[0].ID+"/plan", "test"); !strings.Contains(body, `"clicks":[{"node":"ask","at":"`) {
		t.Errorf("the run's view does not show the click: %s", body)
	}
	token := link[strings.LastIndex(link, "/")+1:]
	if bytes.Contains(p.log.Bytes(), []byte(token)) {
		t.Error("the token is in the log")
	}
	if out := command(t, "conserve", "--data", data); !strings.Contains(out, "holds") {
		t.Errorf("conserve: %s", out)
	}
}
