package simulator

import (
	"testing"
)

// Each row breaks everything from its own check on: the first check in NHN's
// order must be the one that answers.
func TestChecksComeInOrder(t *testing.T) {
	t.Parallel()
	config := Config{Apps: map[string]App{"k": {Secret: "secret-of-k"}, "smsOnly": {Secret: "secret-of-k", Product: SMS}, "simIp": {Secret: "secret-of-k"}}}
	type row struct {
		name, method, path, body string
		heads                    []string
		want                     string
	}
	noSecret := []string{"X-Secret-Key", ""}
	text := []string{"Content-Type", "text/plain", "X-Secret-Key", "wrong"}
	rows := []row{
		{"kakao_unknown_path", "POST", "/alimtalk/v2.3/appkeys/k/mass-messages", "x", text, "-9998"},
		{"kakao_unknown_version", "POST", "/alimtalk/v2.4/appkeys/k/messages", "x", text, "-9998"},
		{"kakao_wrong_case", "POST", "/alimtalk/v2.3/appKeys/k/messages", "x", text, "-9998"},
		{"kakao_wrong_method", "PUT", kakaoBase + "messages", "x", text, "-9998"},
		{"kakao_content_type", "POST", "/alimtalk/v2.3/appkeys/nobody/messages", "x", text, "-9996"},
		{"kakao_unknown_app", "POST", "/alimtalk/v2.3/appkeys/nobody/messages", "x", noSecret, "-4004"},
		{"kakao_other_products_app", "POST", "/alimtalk/v2.3/appkeys/smsOnly/messages", "x", nil, "-4004"},
		{"kakao_disabled_app", "POST", "/alimtalk/v2.3/appkeys/simExpired/messages", "x", noSecret, "-4005"},
		{"kakao_no_secret", "POST", kakaoBase + "messages", "x", noSecret, "-1001"},
		{"kakao_broken_json", "POST", kakaoBase + "messages", "x", nil, "-9997"},
		{"kakao_wrong_type", "POST", kakaoBase + "messages", `{"senderKey":1}`, nil, "4"},
		{"kakao_empty", "POST", kakaoBase + "messages", `{}`, nil, "-2001"},
		{"sms_unknown_path", "POST", "/sms/v3.0/appKeys/k/sender/fax", "x", text, "-9998"},
		{"sms_unknown_version", "POST", "/sms/v2.4/appKeys/k/sender/sms", "x", text, "-9998"},
		{"sms_wrong_case", "POST", "/sms/v3.0/appkeys/k/sender/sms", "x", text, "-9998"},
		{"sms_content_type", "POST", "/sms/v3.0/appKeys/nobody/sender/sms", "x", text, "-9996"},
		{"sms_unknown_app", "POST", "/sms/v3.0/appKeys/nobody/sender/sms", "x", noSecret, "-1001"},
		{"sms_expired_app", "POST", "/sms/v3.0/appKeys/simExpired/sender/sms", "x", noSecret, "-1002"},
		{"sms_blocked_app", "POST", "/sms/v3.0/appKeys/simBlocked/sender/sms", "x", noSecret, "-1008"},
		{"sms_no_secret", "POST", smsBase + "sender/sms", "x", noSecret, "-1000"},
		{"sms_address", "POST", "/sms/v3.0/appKeys/simIp/sender/sms", "x", nil, "-1004"},
		{"sms_broken_json", "POST", smsBase + "sender/sms", `{"body":"x"`, nil, "-9997"},
		{"sms_wrong_type", "POST", smsBase + "sender/sms", `{"recipientList":{}}`, nil, "4"},
		{"sms_no_recipients", "POST", smsBase + "sender/sms", `{"body":"x"}`, nil, "-2001"},
		{"nowhere", "GET", "/favicon.ico", "", nil, "-9998"},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, config)
			a := g.do(tt.method, tt.path, tt.body, tt.heads...)
			if a.code() != tt.want || a.at("header.isSuccessful") != "false" || a.status != 200 {
				t.Errorf("answer = %d %s, want code %s", a.status, a.raw, tt.want)
			}
		})
	}
}

func TestEmptyAppKeyIsInvalid(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	if got := g.do("POST", "/sms/v3.0/appKeys//sender/sms", "{}").code(); got != "-1000" {
		t.Errorf("code = %s, want -1000", got)
	}
}

func TestErrorStatusAndSecretCodeAreSwitches(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Rules: Rules{ErrorStatus: 400, SMSSecretCode: -1003}, Apps: map[string]App{"k": {Secret: "other"}}})
	a := g.sms("01012345678", "r1:sms")
	if a.status != 400 || a.code() != "-1003" {
		t.Errorf("answer = %d %s, want 400 and -1003", a.status, a.raw)
	}
}

func TestSecretInTheQueryIsAViolation(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"?secretKey=x", "?x=secret-of-k", "?X-Secret-Key=y"} {
		g := newGateway(t, Config{Open: true})
		g.do("GET", kakaoBase+"senders"+query, "")
		if got := g.breaches(); len(got) != 1 || got[0] != SecretInQuery {
			t.Errorf("%s: violations = %v", query, got)
		}
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{})
	if a := g.do("GET", "/healthz", ""); a.status != 200 || a.raw != "ok\n" {
		t.Errorf("answer = %d %q", a.status, a.raw)
	}
}

func TestOlderAlimtalkVersionsAnswer(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	for _, v := range []string{"v2.0", "v2.1", "v2.2", "v2.3"} {
		g.mustOK(g.do("POST", "/alimtalk/"+v+"/appkeys/k/messages", js(kakaoBody("01012345678", v+":kakao"))))
	}
}
