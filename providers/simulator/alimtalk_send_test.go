package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// demoTemplate is a registered template with a real text.
var demoTemplate = Template{Code: "APPT", Content: "#{환자명}님, #{일시} 예약입니다."}

func TestAlimtalkRequestsAreChecked(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("가", 101)
	many := make([]any, 1001)
	for i := range many {
		many[i] = kakaoTo("01012345678", fmt.Sprintf("r%d:kakao", i))
	}
	base := kakaoBody("01012345678", "r1:kakao")
	to := func(field string, v any) obj {
		return with(base, "recipientList", []any{with(kakaoTo("01012345678", "r1:kakao"), field, v)})
	}
	appt := func(params obj) obj {
		return with(with(base, "templateCode", "APPT"), "recipientList", []any{with(kakaoTo("01012345678", "r1:kakao"), "templateParameter", params)})
	}
	tests := []struct {
		name      string
		body      obj
		header    string
		recipient string // of the first; "" where the header says it all
	}{
		{"ok", base, "0", "0"},
		{"no_sender_key", with(base, "senderKey", nil), "-2001", ""},
		{"no_template_code", with(base, "templateCode", ""), "-2001", ""},
		{"no_recipients", with(base, "recipientList", []any{}), "-2001", ""},
		{"long_sender_key", with(base, "senderKey", strings.Repeat("a", 41)), "-2000", ""},
		{"long_template_code", with(base, "templateCode", "SIM_OK"+strings.Repeat("X", 20)), "-2000", ""},
		{"long_group", with(base, "senderGroupingKey", long), "-2000", ""},
		{"long_stats_id", with(base, "statsId", "123456789"), "-2000", ""},
		{"long_grouping_key", to("recipientGroupingKey", long), "-2000", ""},
		{"too_many", with(base, "recipientList", many), "-2004", ""},
		{"bad_date", with(base, "requestDate", "2026-11-22"), "-2027", ""},
		{"past_date", with(base, "requestDate", "1999-01-01 10:00"), "-2025", ""},
		{"far_date", with(base, "requestDate", "2000-04-01 10:00"), "-2026", ""},
		{"unknown_sender", with(base, "senderKey", strings.Repeat("x", 40)), "-2017", ""},
		{"dormant_sender", with(base, "senderKey", strings.Repeat("d", 40)), "-1014", ""},
		{"unknown_template", with(base, "templateCode", "NOPE"), "-3003", ""},
		{"requested_template", with(base, "templateCode", "SIM_REQ"), "-3005", ""},
		{"reviewed_template", with(base, "templateCode", "SIM_REV"), "-3005", ""},
		{"rejected_template", with(base, "templateCode", "SIM_REJ"), "-3005", ""},
		{"dormant_template", with(base, "templateCode", "SIM_DORM"), "-3005", ""},
		{"blocked_template", with(base, "templateCode", "SIM_BLOCK"), "-3005", ""},
		{"resend_not_set_up", to("resendParameter", obj{"isResend": true}), "-2502", ""},
		{"bad_number", to("recipientNo", "02123456"), "-1031", "-5000"},
		{"no_number", to("recipientNo", ""), "-1031", "-5000"},
		{"missing_parameter", appt(obj{"환자명": "김하늘"}), "-1031", "-3049"},
		{"no_parameters", appt(nil), "-1031", "-3049"},
		{"empty_parameter", appt(obj{"환자명": "", "일시": "x"}), "-1031", "-3004"},
		{"long_parameter", appt(obj{"환자명": strings.Repeat("가", 1301), "일시": "x"}), "-1031", "-3048"},
		{"long_text", appt(obj{"환자명": strings.Repeat("가", 1295), "일시": "x"}), "-1031", "-2019"},
		{"all_parameters", appt(obj{"환자명": "김하늘", "일시": "내일"}), "0", "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // 2000-01-01 09:00 in Korea
				g := newGateway(t, Config{Apps: map[string]App{"k": {Secret: "secret-of-k"}}, Templates: []Template{demoTemplate}})
				a := g.do("POST", kakaoBase+"messages", js(tt.body))
				if a.code() != tt.header {
					t.Fatalf("header = %s, want %s: %s", a.code(), tt.header, a.raw)
				}
				if tt.recipient != "" && a.at("message.sendResults.0.resultCode") != tt.recipient {
					t.Errorf("recipient = %s, want %s", a.at("message.sendResults.0.resultCode"), tt.recipient)
				}
				if got := len(g.Ledger()); (got == 1) != (tt.header == "0") {
					t.Errorf("%d accepted", got)
				}
				if utf8.RuneCountInString(a.at("header.resultMessage")) < 3 {
					t.Errorf("no message: %s", a.raw)
				}
			})
		})
	}
}

func TestAlimtalkAnswerHasTheGuidesShape(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		body := with(kakaoBody("", ""), "recipientList", []any{kakaoTo("01012345678", "r1:kakao"), kakaoTo("0212", "r2:kakao")})
		a := g.do("POST", kakaoBase+"messages", js(body))
		id := a.at("message.requestId")
		if len(id) != 25 || !strings.HasPrefix(id, "20000101090000") {
			t.Errorf("requestId = %q, want 25 characters from the time in Korea", id)
		}
		var got, want any
		_ = json.Unmarshal([]byte(a.raw), &got)
		_ = json.Unmarshal([]byte(`{
			"header": {"resultCode": 0, "resultMessage": "SUCCESS", "isSuccessful": true},
			"message": {"requestId": "`+id+`", "senderGroupingKey": "clinic:wf", "sendResults": [
				{"recipientSeq": 1, "recipientNo": "01012345678", "resultCode": 0, "resultMessage": "SUCCESS", "recipientGroupingKey": "r1:kakao"},
				{"recipientSeq": 2, "recipientNo": "0212", "resultCode": -5000, "resultMessage": "RecipientNo is invalid.", "recipientGroupingKey": "r2:kakao"}]}}`), &want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if got := a.header.Get("Content-Type"); got != "application/json;charset=UTF-8" {
			t.Errorf("content type = %q", got)
		}
	})
}

func TestTemplatesAreSubstituted(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, Templates: []Template{demoTemplate, {SenderKey: goodSender, Code: "OWN", Content: "#{a}#{b}!"}}})
	send := func(code string, params obj) string {
		b := with(with(kakaoBody("", ""), "templateCode", code), "recipientList", []any{with(kakaoTo("01012345678", code+":kakao"), "templateParameter", params)})
		g.mustOK(g.do("POST", kakaoBase+"messages", js(b)))
		es := g.Ledger()
		return es[len(es)-1].Text
	}
	for _, tt := range []struct {
		code   string
		params obj
		want   string
	}{
		{"APPT", obj{"환자명": "김하늘", "일시": "#{일시}", "남는것": "x"}, "김하늘님, #{일시} 예약입니다."},
		{"OWN", obj{"a": "1", "b": "2"}, "12!"},
		{"SIM_OK_7", obj{"이름": "김"}, "[SIM_OK_7] 이름=김"},
	} {
		if got := send(tt.code, tt.params); got != tt.want {
			t.Errorf("%s = %q, want %q", tt.code, got, tt.want)
		}
	}
}

func TestRawTextMustMatchItsTemplate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		content, text string
		ok            bool
	}{
		{"안녕하세요", "안녕하세요", true},
		{"안녕하세요", "안녕하세요!", false},
		{"#{a}님", "김님", true},
		{"#{a}님", "님", false},
		{"#{a}님 #{b}에", "김님 내일에", true},
		{"#{a}님 #{b}에", "김님 에", false},
		{"b#{x}b#{y}c", "bXbYbZc", true},
		{"#{x}#{y}", "12", true},
		{"#{x}#{y}", "1", false},
		{"", "무엇이든", true},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			code := "T"
			g := newGateway(t, Config{Open: true, Templates: []Template{{Code: code, Content: tt.content}}})
			b := with(with(kakaoBody("", ""), "templateCode", code), "recipientList", []any{
				obj{"recipientNo": "01012345678", "content": tt.text, "resendParameter": obj{"isResend": false}, "recipientGroupingKey": "r:kakao"},
			})
			a := g.do("POST", kakaoBase+"raw-messages", js(b))
			want := "0"
			if !tt.ok {
				want = "-3010"
			}
			if got := a.at("message.sendResults.0.resultCode"); got != want {
				t.Errorf("%q against %q = %s, want %s", tt.text, tt.content, got, want)
			}
		})
	}
}

func TestAuthenticationNeedsItsWord(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, Templates: []Template{{Code: "OTP", Content: "인증번호 #{n}"}, demoTemplate}})
	for code, want := range map[string]string{"OTP": "0", "APPT": "-8006"} {
		b := with(with(kakaoBody("", ""), "templateCode", code), "recipientList", []any{
			with(kakaoTo("01012345678", code+":kakao"), "templateParameter", obj{"n": "1", "환자명": "김", "일시": "내일"}),
		})
		if got := g.do("POST", kakaoBase+"auth/messages", js(b)).at("message.sendResults.0.resultCode"); got != want {
			t.Errorf("%s = %s, want %s", code, got, want)
		}
	}
	if got := g.Ledger()[0].Product; got != "alimtalk_auth" {
		t.Errorf("product = %s", got)
	}
}

func TestSendersAndTemplatesThatFailLater(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ sender, code, want string }{
		{strings.Repeat("b", 40), "SIM_OK", "1007"},
		{goodSender, "SIM_STOP", "4133"},
	} {
		g := newGateway(t, Config{Open: true})
		g.mustOK(g.do("POST", kakaoBase+"messages", js(with(with(kakaoBody("01012345678", "r:kakao"), "senderKey", tt.sender), "templateCode", tt.code))))
		if got := g.findKakao("r:kakao").at(kakaoList + "messages.0.resultCode"); got != tt.want {
			t.Errorf("%s = %s, want %s", tt.code, got, tt.want)
		}
	}
}

func TestFirstUsersMayNotUseLongValues(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{strings.Repeat("가", 19): "0", strings.Repeat("가", 20): "-1028"} { // #{이름} is 5 characters
		g := newGateway(t, Config{Open: true})
		b := with(with(kakaoBody("", ""), "senderKey", strings.Repeat("f", 40)), "recipientList", []any{
			with(kakaoTo("01012345678", "r:kakao"), "templateParameter", obj{"이름": value}),
		})
		if got := g.do("POST", kakaoBase+"messages", js(b)).at("message.sendResults.0.resultCode"); got != want {
			t.Errorf("%d characters = %s, want %s", utf8.RuneCountInString(value), got, want)
		}
	}
}

func TestKakaoDailyQuotaFailsAtDelivery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Rules: Rules{KakaoDaily: 2, KakaoDailyCode: "4138"}})
		want := []string{"1000", "1000", "4138"}
		for day := range 2 {
			for i, code := range want {
				key := fmt.Sprintf("d%d-%d:kakao", day, i)
				g.mustOK(g.kakao("01012345678", key))
				if got := g.findKakao(key).at(kakaoList + "messages.0.resultCode"); got != code {
					t.Errorf("day %d, message %d = %s, want %s", day, i, got, code)
				}
			}
			time.Sleep(24 * time.Hour)
		}
	})
}

func TestUnknownFieldsAreWarnedOf(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	g.mustOK(g.do("POST", kakaoBase+"messages", js(with(kakaoBody("01012345678", "r:kakao"), "templatecode", "x"))))
	if got := g.Requests(0)[0].Warnings; len(got) != 1 || got[0] != "templatecode" {
		t.Errorf("warnings = %v", got)
	}
}

// FuzzSendAlimtalk: no body makes the gateway panic or answer without an
// envelope, and none is accepted that encoding/json would not read as a
// request with that recipient.
func FuzzSendAlimtalk(f *testing.F) {
	f.Add([]byte(js(kakaoBody("01012345678", "r:kakao"))))
	f.Add([]byte(`{"senderKey":"` + goodSender + `","templateCode":"SIM_OK","recipientList":[{"recipientNo":"010-1234-5678"}]}`))
	f.Add([]byte(`{"recipientList":[null,1,{"resendParameter":[]}]}`))
	f.Add([]byte(`{"senderKey":"\ud800"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g := newGateway(t, Config{Open: true, Scale: 1e6, KeepRequests: -1}) // so that a hanging number does not hang
		a := g.do("POST", kakaoBase+"messages", string(body))
		if a.err == nil && a.status != 200 && a.status != 429 && a.status < 500 {
			t.Fatalf("status %d", a.status)
		}
		for _, e := range g.Ledger() {
			var q struct {
				SenderKey     string
				TemplateCode  string
				RecipientList []struct{ RecipientNo string }
			}
			if err := json.Unmarshal(body, &q); err != nil || len(q.SenderKey) != 40 || len(q.RecipientList) < e.Seq ||
				national(q.RecipientList[e.Seq-1].RecipientNo) != e.RecipientNo {
				t.Fatalf("accepted %q to %s: %v", body, e.RecipientNo, err)
			}
		}
	})
}
