package simulator

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestOracleKnowsKakaoAndSMSAsOneMessage(t *testing.T) {
	t.Parallel()
	type step struct {
		channel, no string
		wait        time.Duration
	}
	const silent, notUser, unsure, ok = "01004004000", "01000190000", "01000050000", "01000000000"
	tests := []struct {
		name  string
		steps []step
		want  []Breach
	}{
		{"fallback_after_failure", []step{{"kakao", notUser, time.Hour}, {"sms", ok, 0}}, nil},
		{"fallback_before_the_report", []step{{"kakao", notUser, 0}, {"sms", ok, 0}}, []Breach{DoubleDelivery}},
		{"fallback_on_silence", []step{{"kakao", silent, 100 * time.Hour}, {"sms", ok, 0}}, []Breach{DoubleDelivery}},
		{"fallback_on_unconfirmed", []step{{"kakao", unsure, time.Hour}, {"sms", ok, 0}}, []Breach{DoubleDelivery}},
		{"fallback_after_delivery", []step{{"kakao", ok, time.Hour}, {"sms", ok, 0}}, []Breach{DoubleDelivery}},
		{"kakao_again_after_failure", []step{{"kakao", notUser, time.Hour}, {"kakao", ok, 0}}, []Breach{DoubleAccept}},
		{"kakao_twice", []step{{"kakao", ok, 0}, {"kakao", ok, 0}}, []Breach{DoubleAccept, DoubleDelivery}},
		{"sms_twice_after_failure", []step{{"kakao", notUser, time.Hour}, {"sms", "01000000310", time.Hour}, {"sms", ok, 0}}, []Breach{DoubleAccept}},
		{"refused_at_once", []step{{"kakao", "01001160000", 0}, {"sms", ok, 0}}, nil},
		{"failed_then_delivered", []step{{"kakao", "01006050000", 20 * time.Second}, {"sms", ok, time.Hour}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Config{Open: true, ReportDelay: time.Second})
				for _, s := range tt.steps {
					if s.channel == "kakao" {
						g.kakao(s.no, "root:kakao")
					} else {
						g.sms(s.no, "root:sms")
					}
					time.Sleep(s.wait)
				}
				if diff := cmp.Diff(tt.want, g.breaches()); diff != "" {
					t.Errorf("violations (-want +got):\n%s", diff)
				}
				visible := 0
				for _, e := range g.Ledger() {
					if e.Visible() {
						visible++
					}
				}
				doubled := slices.Contains(tt.want, DoubleDelivery) || tt.name == "failed_then_delivered"
				if tt.name != "fallback_before_the_report" && (visible > 1) != doubled {
					t.Errorf("%d on the handset", visible)
				}
			})
		})
	}
}

func TestOtherRootsDoNotMeet(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	g.mustOK(g.kakao("01012345678", "root1:kakao"))
	g.mustOK(g.sms("01012345678", "root2:sms"))
	g.mustOK(g.do("POST", smsBase+"sender/sms", js(smsBody("01012345678", ""))))
	g.mustOK(g.do("POST", smsBase+"sender/sms", js(smsBody("01012345678", ""))))
	if got := g.breaches(); len(got) != 0 {
		t.Errorf("violations = %v", got)
	}
}

// However sends and failures interleave, the oracle speaks up exactly when a
// message is accepted that the rules forbid.
func TestOracleAgreesWithItsRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := newOracle()
		var ms []*message
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			if len(ms) > 0 && rapid.Bool().Draw(t, "report") {
				m := ms[rapid.IntRange(0, len(ms)-1).Draw(t, "which")]
				to := rapid.SampledFrom([]state{delivered, failed, unconfirmed, duplicated}).Draw(t, "to")
				was := m.state
				m.state = to
				o.changed(m, was, to)
				continue
			}
			k := rapid.SampledFrom([]kind{kindAlimtalk, kindSMS, kindLMS}).Draw(t, "kind")
			var again, live bool
			for _, m := range ms {
				again = again || m.kind.channel() == k.channel()
				live = live || m.state.live()
			}
			m := &message{kind: k, key: "root:x", root: o.rootHash("root:x")}
			got := o.accepted(m)
			ms = append(ms, m)
			var want []Breach
			if again {
				want = append(want, DoubleAccept)
			}
			if live {
				want = append(want, DoubleDelivery)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("accepted (-want +got):\n%s", diff)
			}
		}
	})
}

func TestEveryOtherBreachIsRecorded(t *testing.T) {
	t.Parallel()
	noon, night := time.Date(2026, 11, 22, 12, 0, 0, 0, kst), time.Date(2026, 11, 22, 22, 0, 0, 0, kst)
	many := make([]any, 1001)
	for i := range many {
		many[i] = obj{"recipientNo": "01012345678"}
	}
	ad := with(smsBody("01012345678", "r:sms"), "body", "(광고)행사"+adTail)
	kakao := kakaoBody("01012345678", "r:kakao")
	tests := []struct {
		name, path string
		at         time.Time
		body       obj
		want       []Breach
	}{
		{"no_resend_parameter", kakaoBase + "messages", noon, with(kakao, "recipientList", []any{with(kakaoTo("01012345678", "r:kakao"), "resendParameter", nil)}), []Breach{MissingIsResend}},
		{"no_is_resend", kakaoBase + "messages", noon, with(kakao, "recipientList", []any{with(kakaoTo("01012345678", "r:kakao"), "resendParameter", obj{"resendType": "SMS"})}), []Breach{MissingIsResend}},
		{"unregistered", smsBase + "sender/sms", noon, with(smsBody("01012345678", "r:sms"), "sendNo", unregisteredNo), []Breach{UnregisteredSendNo}},
		{"truncated", smsBase + "sender/sms", noon, with(smsBody("01012345678", "r:sms"), "body", fmt.Sprintf("%091d", 0)), []Breach{Truncated}},
		{"unencodable", smsBase + "sender/sms", noon, with(smsBody("01012345678", "r:sms"), "body", "—"), []Breach{Unencodable}},
		{"too_many_texts", smsBase + "sender/sms", noon, with(smsBody("", ""), "recipientList", many), []Breach{TooManyRecipients}},
		{"too_many_alimtalk", kakaoBase + "messages", noon, with(kakao, "recipientList", many), []Breach{TooManyRecipients}},
		{"ad_elsewhere", smsBase + "sender/sms", noon, ad, []Breach{AdElsewhere}},
		{"ad_without_furniture", smsBase + "sender/ad-sms", noon, with(ad, "body", "행사"), []Breach{AdFurniture}},
		{"ad_by_day", smsBase + "sender/ad-sms", noon, ad, nil},
		{"ad_at_night", smsBase + "sender/ad-sms", night, ad, []Breach{AdAtNight}},
		{"ad_with_night_consent", smsBase + "sender/ad-sms", night, with(ad, "recipientList", []any{obj{"recipientNo": "01099999999"}}), nil},
		{"ad_after_refusal", smsBase + "sender/ad-sms", noon, with(ad, "recipientList", []any{obj{"recipientNo": "01088888888"}}), []Breach{AfterUnsubscribe}},
		{"text_after_refusal", smsBase + "sender/sms", noon, smsBody("01088888888", "r:sms"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, Config{Open: true, Start: tt.at, Manual: true})
			g.fixtures.consent("01099999999", true)
			if err := g.Unsubscribe(usedAdNo, "01088888888"); err != nil {
				t.Fatal(err)
			}
			g.do("POST", tt.path, js(tt.body))
			if diff := cmp.Diff(tt.want, g.breaches()); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
			if n := g.Stats().Violations; len(n) != len(tt.want) {
				t.Errorf("stats = %v", n)
			}
		})
	}
}
