package simulator

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestControlPlane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Apps: map[string]App{"k": {Secret: "secret-of-k"}}})
		steps := []struct {
			method, path, body string
			status             int
			at, want           string
		}{
			{"GET", "clock", "", 200, "mode", "real"},
			{"POST", "clock", `{"mode":"scaled","scale":100}`, 200, "scale", "100"},
			{"POST", "clock", `{"mode":"manual","advance":"5m"}`, 200, "now", "2000-01-01T09:05:00+09:00"},
			{"POST", "clock", `{"advance":"-5m"}`, 400, "error", "time cannot be moved back; advance by a positive duration"},
			{"POST", "clock", `{"mode":"party"}`, 400, "", ""},
			{"POST", "clock", `{"mode":"real"}`, 200, "mode", "real"},
			{"GET", "config", "", 200, "profile", "ideal"},
			{"PUT", "config", `{"profile":"slow","latency":"20ms","report_delay":"300ms","rules":{"rps":50,"key_window":"1m"}}`, 200, "rules.key_window", "1m0s"},
			{"PUT", "config", `{"rules":{"burst":5}}`, 200, "rules.rps", "50"},
			{"GET", "config", "", 200, "report_delay", "300ms"},
			{"PUT", "config", `{"rules":{"party":true}}`, 400, "", ""},
			{"PUT", "config", `{"profile":"party"}`, 400, "", ""},
			{"PUT", "config", `{"latency":"soon"}`, 400, "", ""},
			{"PUT", "config", `{"latency":"-1s"}`, 400, "", ""},
			{"PUT", "config", `{"latency":"0s","rules":{"rps":0}}`, 200, "rules.rps", "0"},
			{"POST", "profile/ideal", "", 200, "", ""},
			{"POST", "profile/party", "", 400, "", ""},
			{"POST", "outage", `{"product":"sms","mode":"http503"}`, 200, "", ""},
			{"POST", "outage", `{"mode":"party"}`, 400, "", ""},
			{"DELETE", "outage", "", 200, "", ""},
			{"POST", "script", `{"path":"/nowhere","status":500}`, 200, "", ""},
			{"POST", "script", `{"status":1}`, 400, "", ""},
			{"POST", "templates", `{"code":"APPT","content":"#{a}님"}`, 200, "", ""},
			{"POST", "templates", `{"code":""}`, 400, "", ""},
			{"POST", "senders", `{"sender_key":"` + strings.Repeat("q", 40) + `"}`, 200, "", ""},
			{"POST", "sendnos", `{"send_no":"02-555-0100"}`, 200, "", ""},
			{"POST", "unsubscribenos", `{"unsubscribe_no":"080-111-2222"}`, 200, "", ""},
			{"POST", "unsubscribenos", `{"unsubscribe_no":"070-111-2222"}`, 400, "", ""},
			{"POST", "unsubscribenos", `{"unsubscribe_no":"0801112222","status":"PARTY"}`, 400, "", ""},
			{"POST", "unsubscribe", `{"recipient_no":"01012345678","unsubscribe_no":"0801112222"}`, 200, "", ""},
			{"POST", "consents", `{"recipient_no":"01012345678","night":true}`, 200, "", ""},
			{"POST", "consents", `{"recipient_no":"02"}`, 400, "", ""},
			{"PUT", "webhooks", `{"app_key":"k","url":"http://platform.invalid/","batch":5}`, 200, "", ""},
			{"PUT", "webhooks", `{"app_key":"k","url":"platform"}`, 400, "", ""},
			{"GET", "ledger", "", 200, "", ""},
			{"GET", "violations", "", 200, "", ""},
			{"GET", "requests?since=x", "", 400, "", ""},
			{"GET", "party", "", 404, "", ""},
		}
		for _, tt := range steps {
			a := g.do(tt.method, "/__sim/"+tt.path, tt.body)
			if a.status != tt.status || tt.at != "" && a.at(tt.at) != tt.want || tt.status >= 400 && a.at("error") == "<none>" {
				t.Errorf("%s %s %s = %d %s", tt.method, tt.path, tt.body, a.status, a.raw)
			}
		}
		b := with(with(kakaoBody("", ""), "templateCode", "APPT"), "senderKey", strings.Repeat("q", 40))
		g.mustOK(g.do("POST", kakaoBase+"messages", js(with(b, "recipientList", []any{with(kakaoTo("01012345678", "root:kakao"), "templateParameter", obj{"a": "김"})}))))
		g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01099999999", "root:sms"), "sendNo", "025550100"))))
		time.Sleep(time.Second)
		for query, want := range map[string]string{
			"": "2", "?recipientNo=01012345678": "1", "?groupingKey=root": "2", "?groupingKey=root:sms": "1", "?groupingKey=other": "0",
		} {
			if a := g.do("GET", "/__sim/ledger"+query, ""); len(a.v.([]any)) != int(want[0]-'0') {
				t.Errorf("ledger%s = %s, want %s", query, a.raw, want)
			}
		}
		if a := g.do("GET", "/__sim/violations", ""); a.at("0.breach") != string(DoubleDelivery) {
			t.Errorf("violations = %s", a.raw)
		}
		if a := g.do("GET", "/__sim/stats", ""); a.at("accepted.sms") != "1" || a.at("violations.double_delivery") != "1" {
			t.Errorf("stats = %s", a.raw)
		}
		if a := g.do("GET", "/__sim/requests?since=1", ""); len(a.v.([]any)) != 1 || a.at("0.path") != smsBase+"sender/sms" || a.at("0.n") != "2" {
			t.Errorf("requests = %s", a.raw)
		}
		m := g.do("GET", "/__sim/metrics", "").raw
		for _, want := range []string{
			`doctorsflow_simulator_requests_total{code="0",endpoint="messages",method="POST",product="alimtalk"} 1`,
			`doctorsflow_simulator_accepted_total{product="sms"} 1`,
			`doctorsflow_simulator_results_total{code="1000",product="alimtalk"} 1`,
			`doctorsflow_simulator_violations_total{breach="double_delivery"} 1`,
			`doctorsflow_simulator_open_messages 0`,
		} {
			if !strings.Contains(m, want+"\n") {
				t.Errorf("metrics lack %s:\n%s", want, m)
			}
		}
		g.do("POST", "/__sim/reset", "")
		for _, list := range []string{"ledger", "violations", "requests"} {
			if a := g.do("GET", "/__sim/"+list, ""); a.raw != "[]" {
				t.Errorf("%s after the reset = %s", list, a.raw)
			}
		}
		g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01099999999", "root:sms"), "sendNo", "025550100"))))
		if got := g.breaches(); len(got) != 0 {
			t.Errorf("violations after the reset = %v", got)
		}
	})
}

func TestControlPlaneIsNotForEveryone(t *testing.T) {
	t.Parallel()
	ask := func(token, remote, path string, heads ...string) int {
		r := httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = remote
		for i := 0; i < len(heads); i += 2 {
			r.Header.Set(heads[i], heads[i+1])
		}
		w := httptest.NewRecorder()
		New(Config{ControlToken: token}).ServeHTTP(w, r)
		return w.Code
	}
	for _, tt := range []struct {
		token, remote, path, bearer string
		want                        int
	}{
		{"", "127.0.0.1:1", "/__sim/ledger", "", 200},
		{"", "[::1]:1", "/__sim/ledger", "", 200},
		{"", "192.0.2.1:1", "/__sim/ledger", "", 401},
		{"", "192.0.2.1:1", "/__sim/clock", "", 200},
		{"", "192.0.2.1:1", "/__sim/metrics", "", 200},
		{"tok", "127.0.0.1:1", "/__sim/ledger", "", 401},
		{"tok", "192.0.2.1:1", "/__sim/ledger", "Bearer other", 401},
		{"tok", "192.0.2.1:1", "/__sim/ledger", "Bearer tok", 200},
	} {
		if got := ask(tt.token, tt.remote, tt.path, "Authorization", tt.bearer); got != tt.want {
			t.Errorf("%+v = %d", tt, got)
		}
	}
}

func TestBadConfigurationsAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"profile":   {Profile: "party"},
		"scale":     {Scale: -1},
		"product":   {Apps: map[string]App{"k": {Product: "fax"}}},
		"webhook":   {Webhooks: map[string]Webhook{"": {URL: "x"}}},
		"template":  {Templates: []Template{{Code: ""}}},
		"sender":    {Senders: []Sender{{Key: "x"}}},
		"send_no":   {SendNos: []SendNo{{No: "1"}}},
		"rps":       {Rules: Rules{RPS: -1}},
		"window":    {Rules: Rules{SMSDupWindow: Duration(2 * time.Hour)}},
		"hours":     {Rules: Rules{AdLimit: AdLimit{From: 24}}},
		"status":    {Rules: Rules{ErrorStatus: 99}},
		"durations": {Rules: Rules{QueryLag: -1}},
	} {
		if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), "simulator: ") {
			t.Errorf("%s: Check = %v", name, err)
		}
	}
	if err := new(Config).Check(); err != nil {
		t.Errorf("the zero configuration: %v", err)
	}
}
