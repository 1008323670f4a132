package nhn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/providers"
)

// The samples of NHN's guides, one hook each, with the spellings of the table
// and those of the sample.
const (
	smsWebhook = `{"hooksId":"20261122101512QwErTy0","webhookConfigId":"cfg-1","productName":"Sms","appKey":"a","event":"MESSAGE_RESULT_UPDATE",
	"hooks":[{"hookId":"20261122101512ZxCv00","senderType":"NORMAL_SMS","requestId":"20261122101505aB3dE5fG7h0","recipientSeq":1,
	"requestDate":"2026-11-22T10:15:05","receiveDate":"2026-11-22T10:15:08","sendNo":"025550100","recipientNo":"01000000000",
	"messageStatus":"COMPLETED","recipientGroupingKey":"root:sms","senderGroupingKey":"g","resultCode":"1000","messageCount":1,
	"_links":{"self":{"href":"http://169.254.169.254/"}}}]}`
	alimtalkWebhook = `{"hooksId":"h","productName":"KakaoTalk Bizmessage","appKey":"a","event":"MESSAGE_RESULT_UPDATE",
	"hooks":[{"hookId":"H1","kakaoMessageType":"ALIMTALK_NORMAL","requestId":"R1","recipientSeq":1,"requestDate":"2026-11-22 10:15:05.0",
	"createDate":"2026-11-22 10:15:05.0","receiveDate":"2026-11-22 10:15:08.0","recipientNo":"01000190000","resultCode":"3019",
	"recipientGropuingKey":"root:kakao","isAddedChannel":null,"_link":{"self":{"href":"x"}}}]}`
)

func TestBothSpellingsOfBothProductsAreRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 10, 15, 8, 0, kst)
	for _, tt := range []struct {
		channel event.Channel
		body    string
		want    providers.Report
	}{
		{event.SMS, smsWebhook, providers.Report{HookID: "20261122101512ZxCv00", Key: "root:sms", RequestID: "20261122101505aB3dE5fG7h0", Seq: 1, State: providers.Delivered, Code: "1000", At: at}},
		{event.Kakao, alimtalkWebhook, providers.Report{HookID: "H1", Key: "root:kakao", RequestID: "R1", Seq: 1, State: providers.Failed, Code: "3019", At: at}},
	} {
		typos := strings.NewReplacer("recipientGroupingKey", "recipientGropuingKey", "_links", "_link", "recipientGropuingKey", "recipientGroupingKey", "_link", "_links")
		for _, body := range []string{tt.body, typos.Replace(tt.body)} {
			got, unusable, err := Reports(tt.channel, []byte(body))
			if diff := cmp.Diff([]providers.Report{tt.want}, got); err != nil || unusable != 0 || diff != "" {
				t.Errorf("%s: %d unusable, %v (-want +got):\n%s", tt.channel, unusable, err, diff)
			}
		}
	}
}

func TestOurStatesFollowTheProductsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		channel      event.Channel
		status, code string
		want         providers.State
	}{
		{event.SMS, "COMPLETED", "1000", providers.Delivered},
		{event.SMS, "FAILED", "3019", providers.Failed},
		{event.SMS, "FAILED", "", providers.Failed},
		{event.SMS, "CANCEL", "", providers.Failed},
		{event.SMS, "FAILED_AD", "E919", providers.Failed},
		{event.SMS, "DUPLICATED", "E915", providers.Unconfirmed},
		{event.SMS, "COMPLETED", "3001", providers.Unconfirmed}, // it contradicts itself
		{event.SMS, "FAILED", "1000", providers.Unconfirmed},
		{event.SMS, "", "", providers.Pending},
		{event.Kakao, "", "1000", providers.Delivered},
		{event.Kakao, "", "3018", providers.Failed},
		{event.Kakao, "", "3005", providers.Unconfirmed}, // may still arrive; at SMS it is a failure
		{event.SMS, "FAILED", "3005", providers.Failed},
		{event.Kakao, "", "9999", providers.Failed}, // worth asking; alone it is no evidence
		{event.Kakao, "", "7777", providers.Unconfirmed},
		{event.Kakao, "", "", providers.Pending},
	} {
		body := `{"event":"MESSAGE_RESULT_UPDATE","hooks":[{"hookId":"h","requestId":"r","resultCode":"` + tt.code + `","messageStatus":"` + tt.status + `"}]}`
		got, _, err := Reports(tt.channel, []byte(body))
		if err != nil || len(got) != 1 || got[0].State != tt.want {
			t.Errorf("%s %q %q: %+v, %v; want state %d", tt.channel, tt.status, tt.code, got, err, tt.want)
		}
	}
}

func TestSeveralReportsAndUnusableOnes(t *testing.T) {
	t.Parallel()
	body := `{"event":"MESSAGE_RESULT_UPDATE","hooks":[
	{"hookId":"a","requestId":"r","recipientSeq":"2","resultCode":1000},
	{"hookId":"b","recipientGroupingKey":"k"},
	{"hookId":"c","requestId":"r","recipientGroupingKey":"` + strings.Repeat("k", 101) + `"},
	{"requestId":"r"},{"hookId":"x y","requestId":"r"},{"hookId":"d"},{"hookId":"e","requestId":"r\n"},7,null]}`
	got, unusable, err := Reports(event.Kakao, []byte(body))
	var ids []string
	for _, r := range got {
		ids = append(ids, r.HookID+"/"+r.Key+"/"+r.RequestID)
	}
	if diff := cmp.Diff([]string{"a//r", "b/k/", "c//r"}, ids); err != nil || unusable != 6 || diff != "" {
		t.Errorf("%d unusable, %v (-want +got):\n%s", unusable, err, diff)
	}
}

func TestWhatIsNoReportIsRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{
		"": providers.ErrReportShape, "{": providers.ErrReportShape, "[]": providers.ErrReportShape, "{}": providers.ErrReportShape, "7": providers.ErrReportShape,
		`{"event":"MESSAGE_RESULT_UPDATE"}`:                                                                       providers.ErrReportShape,
		`{"event":"MESSAGE_RESULT_UPDATE","hooks":{}}`:                                                            providers.ErrReportShape,
		`{"event":"UNSUBSCRIBE","hooks":[]}`:                                                                      providers.ErrReportEvent,
		`{"event":"MESSAGE_RESULT_UPDATE","productName":"KakaoTalk Bizmessage","hooks":[]}`:                       providers.ErrReportProduct,
		`{"event":"MESSAGE_RESULT_UPDATE","hooks":[` + strings.TrimSuffix(strings.Repeat("7,", 5001), ",") + `]}`: providers.ErrReportSize,
	} {
		if _, _, err := Reports(event.SMS, []byte(body)); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", body, err, want)
		}
	}
	if _, _, err := Reports(event.Kakao, []byte(smsWebhook)); !errors.Is(err, providers.ErrReportProduct) {
		t.Errorf("an SMS webhook at a Kakao account: %v", err)
	}
	if list, _, err := Reports(event.SMS, []byte(`{"event":"MESSAGE_RESULT_UPDATE","hooks":[]}`)); err != nil || list != nil {
		t.Errorf("no hooks: %v, %v", list, err)
	}
}

// FuzzReports holds the decoder to what the ledger relies on: it never panics,
// its words are plain and short, and its errors are its own.
func FuzzReports(f *testing.F) {
	f.Add(smsWebhook)
	f.Add(alimtalkWebhook)
	f.Add(`{"event":"MESSAGE_RESULT_UPDATE","hooks":[{"hookId":1,"requestId":2,"recipientSeq":-1},{"hookId":"a","requestId":"b","resultCode":"` + "\u0000" + `"},null]}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, c := range []event.Channel{event.Kakao, event.SMS} {
			list, unusable, err := Reports(c, []byte(body))
			if err != nil && (list != nil || unusable != 0) {
				t.Fatalf("%v with %v", err, list)
			}
			for _, r := range list {
				if !word(r.HookID).plain(maxID) || r.RequestID != "" && !word(r.RequestID).plain(maxID) || r.RequestID == "" && r.Key == "" ||
					r.Code != "" && !word(r.Code).plain(maxCode) || r.Seq < 0 || len(r.Key) > maxKey || r.At.IsZero() {
					t.Fatalf("%+v", r)
				}
			}
		}
	})
}
