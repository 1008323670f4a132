package simulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const adTail = "\n무료거부 0808880000"

func TestSMSRequestsAreChecked(t *testing.T) {
	t.Parallel()
	many := make([]any, 1001)
	for i := range many {
		many[i] = obj{"recipientNo": "01012345678"}
	}
	sms, lms := smsBody("01012345678", "r1:sms"), lmsBody("01012345678", "r1:sms")
	to := func(r obj) obj { return with(sms, "recipientList", []any{r}) }
	tests := []struct {
		name, path string
		body       obj
		header     string
		recipient  string
	}{
		{"sms", "sms", sms, "0", "0"},
		{"lms", "mms", lms, "0", "0"},
		{"no_recipients", "sms", with(sms, "recipientList", nil), "-2001", ""},
		{"too_many", "sms", with(sms, "recipientList", many), "-2016", ""},
		{"no_body", "sms", with(sms, "body", ""), "-2014", ""},
		{"no_title", "mms", sms, "-2014", ""},
		{"body_255", "sms", with(sms, "body", strings.Repeat("a", 255)), "0", "0"},
		{"body_256", "sms", with(sms, "body", strings.Repeat("a", 256)), "-2015", ""},
		{"lms_4000", "mms", with(lms, "body", strings.Repeat("a", 4000)), "0", "0"},
		{"lms_4001", "mms", with(lms, "body", strings.Repeat("a", 4001)), "-2015", ""},
		{"title_121", "mms", with(lms, "title", strings.Repeat("a", 121)), "-2015", ""},
		{"emoji", "sms", with(sms, "body", "예약 😀"), "-2023", ""},
		{"emoji_in_title", "mms", with(lms, "title", "✅"), "-2023", ""},
		{"no_sender", "sms", with(sms, "sendNo", nil), "-2312", ""},
		{"unregistered_sender", "sms", with(sms, "sendNo", "15889990"), "-2312", ""},
		{"blocked_sender", "sms", with(sms, "sendNo", "15889991"), "-2313", ""},
		{"hyphens_in_sender", "sms", with(sms, "sendNo", "1588-0000"), "0", "0"},
		{"long_sender", "sms", with(sms, "sendNo", "15880000000000"), "4", ""},
		{"long_group", "sms", with(sms, "senderGroupingKey", strings.Repeat("가", 101)), "4", ""},
		{"long_key", "sms", to(obj{"recipientNo": "01012345678", "recipientGroupingKey": strings.Repeat("k", 101)}), "4", ""},
		{"long_user", "sms", with(sms, "userId", strings.Repeat("u", 101)), "4", ""},
		{"long_stats", "sms", with(sms, "statsId", "12345678901"), "4", ""},
		{"template", "sms", with(sms, "templateId", "T"), "-2110", ""},
		{"attachment", "mms", with(lms, "attachFileIdList", []any{1}), "-2004", ""},
		{"bad_date", "sms", with(sms, "requestDate", "tomorrow"), "-2000", ""},
		{"past_date", "sms", with(sms, "requestDate", "1999-01-01 10:00"), "-2022", ""},
		{"empty_number", "sms", to(obj{"recipientNo": ""}), "0", "-2018"},
		{"landline", "sms", to(obj{"recipientNo": "025550100"}), "0", "-2019"},
		{"representative", "sms", to(obj{"recipientNo": "15880000"}), "0", "-2019"},
		{"long_number", "sms", to(obj{"recipientNo": strings.Repeat("0", 21)}), "0", "-2019"},
		{"international_korean", "sms", to(obj{"internationalRecipientNo": "821012345678"}), "0", "0"},
		{"abroad", "sms", to(obj{"recipientNo": "4155550100", "countryCode": "1"}), "0", "0"},
		{"abroad_lms", "mms", with(lms, "recipientList", []any{obj{"internationalRecipientNo": "14155550100"}}), "0", "-2024"},
		{"auth_without_word", "auth/sms", sms, "-8000", ""},
		{"auth", "auth/sms", with(sms, "body", "[미소치과] 인증번호 1234"), "0", "0"},
		{"ad", "ad-sms", with(sms, "body", "(광고)행사"+adTail), "0", "0"},
		{"ad_with_brackets", "ad-sms", with(sms, "body", "(광고)행사\n[무료 수신거부]080-888-0000"), "0", "0"},
		{"ad_lms", "ad-mms", with(lms, "body", "(광고)행사\n무료수신거부 0808880000"), "0", "0"},
		{"ad_without_word", "ad-sms", with(sms, "body", "행사"+adTail), "-6003", ""},
		{"ad_without_number", "ad-sms", with(sms, "body", "(광고)행사"), "-6003", ""},
		{"ad_ended_number", "ad-sms", with(sms, "body", "(광고)행사\n무료거부 0808889990"), "-6004", ""},
		{"ad_foreign_number", "ad-sms", with(sms, "body", "(광고)행사\n무료거부 0801112222"), "-6004", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Config{Apps: map[string]App{"k": {Secret: "secret-of-k"}}})
				a := g.do("POST", smsBase+"sender/"+tt.path, js(tt.body))
				if a.code() != tt.header {
					t.Fatalf("header = %s, want %s: %s", a.code(), tt.header, a.raw)
				}
				if got := a.at("body.data.sendResultList.0.resultCode"); tt.recipient != "" && got != tt.recipient {
					t.Errorf("recipient = %s, want %s", got, tt.recipient)
				}
				if got, want := len(g.Ledger()) == 1, tt.recipient == "0"; got != want {
					t.Errorf("accepted = %v, want %v", got, want)
				}
				if want := map[bool]string{true: "2", false: "3"}[tt.recipient == "0"]; tt.recipient != "" && a.at("body.data.statusCode") != want {
					t.Errorf("statusCode = %s, want %s", a.at("body.data.statusCode"), want)
				}
			})
		})
	}
}

func TestSMSAnswerHasTheGuidesShape(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	a := g.sms("01012345678", "r1:sms")
	var got, want any
	_ = json.Unmarshal([]byte(a.raw), &got)
	_ = json.Unmarshal([]byte(`{"header":{"isSuccessful":true,"resultCode":0,"resultMessage":"SUCCESS"},
		"body":{"data":{"requestId":"`+a.at("body.data.requestId")+`","statusCode":"2","senderGroupingKey":"clinic:wf",
		"sendResultList":[{"recipientNo":"01012345678","resultCode":0,"resultMessage":"SUCCESS","recipientSeq":1,"recipientGroupingKey":"r1:sms"}]}}}`), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestRefusalOfTheOnlyRecipientMayBeInTheHeader(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, Rules: Rules{SMSRejectInHeader: true}})
	if got := g.sms("01000001120", "r1:sms").code(); got != "-2019" {
		t.Errorf("header = %s, want -2019", got)
	}
}

func TestLongTextsAreCutAndFlagged(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path        string
		body, title string
		text        string
		cut         bool
	}{
		{"sms", strings.Repeat("가", 45), "", strings.Repeat("가", 45), false},
		{"sms", strings.Repeat("가", 46), "", strings.Repeat("가", 45), true},
		{"sms", "a" + strings.Repeat("가", 45), "", "a" + strings.Repeat("가", 44), true},
		{"mms", strings.Repeat("가", 1001), "예약", strings.Repeat("가", 1000), true},
		{"mms", "가", strings.Repeat("가", 21), "가", true},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, Config{Open: true})
			b := with(smsBody("01012345678", "r1:sms"), "body", tt.body)
			if tt.title != "" {
				b["title"] = tt.title
			}
			g.mustOK(g.do("POST", smsBase+"sender/"+tt.path, js(b)))
			e := g.Ledger()[0]
			if n, _ := eucBytes(e.Text); e.Text != tt.text || e.Truncated != tt.cut || e.Bytes != n {
				t.Errorf("shown %q (%d bytes, cut %v)", e.Text, e.Bytes, e.Truncated)
			}
			if got := len(g.breaches()) == 1; got != tt.cut {
				t.Errorf("violations = %v", g.breaches())
			}
		})
	}
}

func TestAltCharsReplacesInsteadOfRefusing(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, Rules: Rules{AltChars: true}})
	g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01012345678", "r1:sms"), "body", "비용 ₩5,000 😀"))))
	if got := g.Ledger()[0].Text; got != "비용 ?5,000 ?" {
		t.Errorf("text = %q", got)
	}
}

func TestDuplicateBlockSuppressesTheSameText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Rules: Rules{SMSDupWindow: Duration(10 * time.Minute)}})
		result := func(key, body string) string {
			g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01012345678", key), "body", body))))
			a := g.findSMS(key)
			return a.at("body.data.0.resultCode") + "/" + a.at("body.data.0.msgStatus")
		}
		for i, tt := range []struct {
			wait time.Duration
			body string
			want string
		}{
			{0, "같은 글", "1000/3"}, {time.Minute, "같은 글", "E915/5"}, {0, "다른 글", "1000/3"}, {9 * time.Minute, "같은 글", "1000/3"},
		} {
			time.Sleep(tt.wait)
			if got := result(fmt.Sprintf("r%d:sms", i), tt.body); got != tt.want {
				t.Errorf("text %d = %s, want %s", i, got, tt.want)
			}
		}
		if got := g.breaches(); len(got) != 0 {
			t.Errorf("violations = %v; a suppressed text reaches nobody", got)
		}
	})
}

func TestSMSMonthlyQuotaCountsAcceptedTexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Rules: Rules{SMSMonthly: 2}})
		for i, want := range []string{"0", "0", "0", "-2052"} {
			no := "01012345678"
			if i == 1 {
				no = "021234567" // refused, so it counts for nothing
			}
			if got := g.sms(no, fmt.Sprintf("r%d:sms", i)).code(); got != want {
				t.Errorf("text %d = %s, want %s", i, got, want)
			}
		}
		time.Sleep(31 * 24 * time.Hour)
		g.mustOK(g.sms("01012345678", "next:sms"))
	})
}

func TestAdHours(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		resend bool
		first  string
		later  string
	}{{false, "6", "6"}, {true, "7", "3"}} {
		synctest.Test(t, func(t *testing.T) {
			night := time.Date(2026, 11, 22, 21, 30, 0, 0, kst)
			g := newGateway(t, Config{Open: true, Start: night, Rules: Rules{AdLimit: AdLimit{From: 21, To: 8, Resend: tt.resend}}})
			g.fixtures.consent("01012345678", true)
			g.mustOK(g.do("POST", smsBase+"sender/ad-sms", js(with(smsBody("01012345678", "r1:sms"), "body", "(광고)행사"+adTail))))
			g.mustOK(g.sms("01012345678", "r2:sms")) // not an ad
			if got := g.findSMS("r1:sms").at("body.data.0.msgStatus"); got != tt.first {
				t.Errorf("at once = %s, want %s", got, tt.first)
			}
			time.Sleep(10*time.Hour + 30*time.Minute)
			if got := g.findSMS("r1:sms").at("body.data.0.msgStatus"); got != tt.later {
				t.Errorf("at 8 = %s, want %s", got, tt.later)
			}
			if got := g.findSMS("r2:sms").at("body.data.0.msgStatus"); got != "3" {
				t.Errorf("other text = %s, want 3", got)
			}
		})
	}
}

// FuzzSendSMS: as FuzzSendAlimtalk.
func FuzzSendSMS(f *testing.F) {
	f.Add([]byte(js(smsBody("01012345678", "r:sms"))))
	f.Add([]byte(`{"body":"\u0000","sendNo":"15880000","recipientList":[{"recipientNo":"+82-10-1234-5678"}]}`))
	f.Add([]byte(`{"body":{},"recipientList":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		g := newGateway(t, Config{Open: true, Scale: 1e6, KeepRequests: -1})
		a := g.do("POST", smsBase+"sender/sms", string(body))
		if a.err == nil && a.status != 200 && a.status != 429 && a.status < 500 {
			t.Fatalf("status %d", a.status)
		}
		for _, e := range g.Ledger() {
			var q struct {
				Body          string
				RecipientList []struct{ RecipientNo, InternationalRecipientNo string }
			}
			if err := json.Unmarshal(body, &q); err != nil || !strings.HasPrefix(q.Body, e.Text) || len(q.RecipientList) < e.Seq {
				t.Fatalf("accepted %q: %v", body, err)
			}
			if n, ok := eucBytes(e.Text); !ok || n > smsBytes {
				t.Fatalf("shown %q of %d bytes", e.Text, n)
			}
		}
	})
}
