package simulator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var resender = Sender{Key: goodSender, Resend: true, ResendAppKey: "smsApp", ResendSendNo: "15880000"}

func (g *gateway) kakaoResend(no, key string, resend obj) got {
	g.t.Helper()
	to := with(kakaoTo(no, key), "resendParameter", resend)
	if resend == nil {
		to = with(to, "resendParameter", nil)
	}
	return g.do("POST", kakaoBase+"messages", js(with(kakaoBody("", ""), "recipientList", []any{to})))
}

func TestProviderResendSendsATextForAFailedAlimtalk(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		no     string
		resend obj
		status string
		text   string // "" for none
		code   string
	}{
		{"asked_for", "01000190000", obj{"isResend": true}, "RSC04", "[SIM_OK] 이름=김하늘", "1000"},
		{"by_default", "01000190000", nil, "RSC04", "[SIM_OK] 이름=김하늘", "1000"},
		{"own_text", "01000190000", obj{"isResend": true, "resendContent": "문자입니다"}, "RSC04", "문자입니다", "1000"},
		{"refused_explicitly", "01000190000", obj{"isResend": false}, "RSC01", "", ""},
		{"delivered", "01000000000", obj{"isResend": true}, "RSC02", "", ""},
		{"unconfirmed", "01000050000", obj{"isResend": true}, "RSC02", "", ""},
		{"text_fails_too", "01000190310", obj{"isResend": true}, "RSC05", "[SIM_OK] 이름=김하늘", "3001"},
		{"text_refused", "01000191120", obj{"isResend": true}, "RSC05", "", ""},
		{"unregistered_number", "01000190000", obj{"isResend": true, "resendSendNo": unregisteredNo}, "RSC05", "", ""},
		{"emoji", "01000190000", obj{"isResend": true, "resendContent": "😀"}, "RSC05", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Config{Open: true, ReportDelay: time.Second, Senders: []Sender{resender}})
				id := g.mustOK(g.kakaoResend(tt.no, "r1:kakao", tt.resend)).at("message.requestId")
				time.Sleep(2 * time.Second)
				time.Sleep(time.Minute)
				a := g.do("GET", kakaoBase+"messages/"+id+"/1", "")
				if got := a.at("message.resendStatus"); got != tt.status {
					t.Errorf("resendStatus = %s, want %s", got, tt.status)
				}
				if got := strings.TrimPrefix(a.at("message.resendResultCode"), "<null>"); got != tt.code {
					t.Errorf("resendResultCode = %s, want %s", got, tt.code)
				}
				var texts []string
				for _, e := range g.Ledger() {
					if e.Channel == "sms" {
						texts = append(texts, e.Text)
						if !e.ViaResend || e.AppKey != "smsApp" || e.GroupingKey != "r1:kakao" || a.at("message.resendRequestId") != e.RequestID {
							t.Errorf("text = %+v, resendRequestId %s", e, a.at("message.resendRequestId"))
						}
					}
				}
				var want []string
				if tt.text != "" {
					want = []string{tt.text}
				}
				if diff := cmp.Diff(want, texts); diff != "" {
					t.Errorf("texts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestResendComesAfterFiveToThirtySeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: -1, Senders: []Sender{resender}})
		g.mustOK(g.kakaoResend("01000190000", "r1:kakao", obj{"isResend": true}))
		time.Sleep(5*time.Second - time.Nanosecond)
		if got := len(g.Ledger()); got != 1 {
			t.Fatalf("%d messages before 5 s", got)
		}
		time.Sleep(25 * time.Second)
		if got := len(g.Ledger()); got != 2 {
			t.Errorf("%d messages after 30 s, want 2", got)
		}
		if err := g.SetRules(Rules{ResendOnUnconfirmed: true, ResendDelay: Duration(time.Second)}); err != nil {
			t.Fatal(err)
		}
		g.mustOK(g.kakaoResend("01000050000", "r2:kakao", obj{"isResend": true}))
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff([]Breach{DoubleDelivery}, g.breaches()); diff != "" {
			t.Errorf("a resend on 3005 (-want +got):\n%s", diff)
		}
	})
}

func TestLongTextsAreResentAsLMS(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{"": "lms", "LMS": "lms", "SMS": "sms"} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, Config{Open: true, ReportDelay: -1, Senders: []Sender{resender}})
			g.mustOK(g.kakaoResend("01000190000", "r1:kakao", obj{"isResend": true, "resendType": typ, "resendContent": strings.Repeat("가", 50)}))
			time.Sleep(time.Minute)
			e := g.Ledger()[1]
			if e.Product != want || e.Truncated != (want == "sms") || want == "lms" && e.Title == "" {
				t.Errorf("%q: %+v", typ, e)
			}
		})
	}
}

func TestRefusalsForTheTextAreResentToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Senders: []Sender{resender}})
		if got := g.kakaoResend("01001160000", "r1:kakao", obj{"isResend": true}).at("message.sendResults.0.resultCode"); got != "-3010" {
			t.Fatalf("code = %s, want -3010", got)
		}
		time.Sleep(time.Minute)
		if es := g.Ledger(); len(es) != 1 || es[0].Channel != "sms" || !es[0].ViaResend {
			t.Errorf("ledger = %+v, want the text", es)
		}
	})
}

// The console resends by default; a client that also falls back is caught.
func TestOwnFallbackBesidesProviderResendIsAViolation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: -1, Senders: []Sender{resender}})
		g.mustOK(g.kakaoResend("01000190000", "r1:kakao", nil))
		g.mustOK(g.sms("01000190000", "r1:sms"))
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]Breach{MissingIsResend, DoubleAccept, DoubleDelivery}, g.breaches()); diff != "" {
			t.Errorf("violations (-want +got):\n%s", diff)
		}
	})
}

func TestFailbackIsSetUpByRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{ReportDelay: -1, Apps: map[string]App{
			"k": {Secret: "secret-of-k", Product: Alimtalk}, "smsApp": {Secret: "x", Product: SMS},
		}})
		for _, tt := range []struct{ path, body, want string }{
			{"failback/appkey", `{`, "-9997"},
			{"failback/appkey", `{"resendAppKey":1}`, "4"},
			{"failback/appkey", `{}`, "-2001"},
			{"failback/appkey", `{"resendAppKey":"nobody"}`, "-1002"},
			{"failback/appkey", `{"resendAppKey":"smsApp"}`, "0"},
			{"failback", `{}`, "-2001"},
			{"failback", `{"senderKey":"x","isResend":true}`, "-2017"},
			{"failback", js(obj{"senderKey": goodSender, "isResend": true, "resendSendNo": unregisteredNo}), "-1003"},
			{"failback", js(obj{"senderKey": goodSender, "isResend": true, "resendSendNo": "15880000"}), "0"},
		} {
			if got := g.do("POST", kakaoBase+tt.path, tt.body).code(); got != tt.want {
				t.Errorf("%s %s = %s, want %s", tt.path, tt.body, got, tt.want)
			}
		}
		if a := g.do("GET", kakaoBase+"senders/"+goodSender, ""); a.at("sender.alimtalk.isResend") != "true" || a.at("sender.alimtalk.resendAppKey") != "smsApp" {
			t.Errorf("sender = %s", a.raw)
		}
		g.mustOK(g.kakaoResend("01000190000", "r1:kakao", obj{"isResend": true}))
		time.Sleep(time.Minute)
		if got := len(g.Ledger()); got != 2 {
			t.Errorf("%d messages, want the text as well", got)
		}
		// Linking another app resets every channel.
		g.mustOK(g.do("POST", kakaoBase+"failback/appkey", `{"resendAppKey":"smsApp"}`))
		if got := g.kakaoResend("01012345678", "r2:kakao", obj{"isResend": true}).code(); got != "-2502" {
			t.Errorf("code = %s, want -2502", got)
		}
	})
}
