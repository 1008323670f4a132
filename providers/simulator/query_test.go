package simulator

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestListsAreFiltered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		other := with(with(kakaoBody("01000190000", "r2:kakao"), "templateCode", "SIM_OK2"), "senderGroupingKey", "other")
		first := g.mustOK(g.kakao("01012345678", "r1:kakao"))
		g.mustOK(g.do("POST", kakaoBase+"messages", js(with(other, "createUser", "me"))))
		g.mustOK(g.kakao("01004000000", "r3:kakao"))
		g.mustOK(g.do("POST", "/alimtalk/v2.3/appkeys/else/messages", js(kakaoBody("01012345678", "r1:kakao"))))
		time.Sleep(time.Hour)
		tests := []struct {
			query string
			want  []string // grouping keys, newest first
		}{
			{"", []string{"r3:kakao", "r2:kakao", "r1:kakao"}},
			{"recipientGroupingKey=r1:kakao", []string{"r1:kakao"}},
			{"recipientGroupingKey=r9:kakao", nil},
			{"recipientGroupingKey=r1", nil},
			{"recipientNo=01012345678", []string{"r1:kakao"}},
			{"recipientNo=010-1234-5678", []string{"r1:kakao"}},
			{"senderKey=" + goodSender, []string{"r3:kakao", "r2:kakao", "r1:kakao"}},
			{"senderKey=x", nil},
			{"templateCode=SIM_OK2", []string{"r2:kakao"}},
			{"senderGroupingKey=other", []string{"r2:kakao"}},
			{"createUser=me", []string{"r2:kakao"}},
			{"messageStatus=COMPLETED", []string{"r1:kakao"}},
			{"messageStatus=FAILED", []string{"r2:kakao"}},
			{"resultCode=MRC01", []string{"r1:kakao"}},
			{"resultCode=MRC02", []string{"r2:kakao"}},
			{"pageSize=2", []string{"r3:kakao", "r2:kakao"}},
			{"pageSize=2&pageNum=2", []string{"r1:kakao"}},
			{"requestId=" + first.at("message.requestId"), []string{"r1:kakao"}},
		}
		for _, tt := range tests {
			a := g.mustOK(g.do("GET", kakaoBase+"messages?"+g.lastDay(formMinute)+"&"+tt.query, ""))
			var got []string
			for i := range 3 {
				if k := a.at(fmt.Sprintf(kakaoList+"messages.%d.recipientGroupingKey", i)); !strings.HasPrefix(k, "<") {
					got = append(got, k)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.query, diff)
			}
		}
	})
}

func TestQueriesNeedTheirRange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Start: time.Date(2026, 11, 22, 10, 0, 0, 0, kst)})
		q := func(pairs ...string) string {
			v := url.Values{}
			for i := 0; i < len(pairs); i += 2 {
				v.Set(pairs[i], pairs[i+1])
			}
			return v.Encode()
		}
		tests := []struct{ path, query, want string }{
			{kakaoBase + "messages", "", "-4103"},
			{kakaoBase + "messages", q("startRequestDate", "2026-11-22 09:00"), "-4103"},
			{kakaoBase + "messages", q("startRequestDate", "2026-11-22", "endRequestDate", "2026-11-22"), "-4103"},
			{kakaoBase + "messages", q("startRequestDate", "2026-10-01 00:00", "endRequestDate", "2026-11-22 00:00"), "-4003"},
			{kakaoBase + "messages", q("startCreateDate", "2026-08-01 00:00", "endCreateDate", "2026-08-02 00:00"), "-4017"},
			{kakaoBase + "messages", q("requestId", "x", "pageSize", "1001"), "-2005"},
			{kakaoBase + "messages", q("requestId", "x", "pageNum", "0"), "-2005"},
			{kakaoBase + "messages", q("requestId", "nobody's"), "0"},
			{kakaoBase + "messages/20261122100000AAAAAAAAAAA/1", "", "-1016"},
			{kakaoBase + "messages/x/y", "", "-1016"},
			{kakaoBase + "message-results", "", "-4000"},
			{kakaoBase + "message-results", q("startUpdateDate", "2026-11-22 09:00", "endUpdateDate", "2026-11-22 08:00"), "-4000"},
			{kakaoBase + "message-results", q("startUpdateDate", "2026-11-22 09:00", "endUpdateDate", "2026-11-22 10:00", "alimtalkMessageType", "X"), "-4000"},
			{kakaoBase + "message-results", q("startUpdateDate", "2026-11-22 09:00", "endUpdateDate", "2026-11-22 10:00"), "0"},
			{smsBase + "sender/sms", "", "-2011"},
			{smsBase + "sender/sms", q("startRequestDate", "2026-11-22 09:00", "endRequestDate", "2026-11-22 10:00"), "-2000"},
			{smsBase + "sender/sms", q("startRequestDate", "2026-10-01 00:00:00", "endRequestDate", "2026-11-22 00:00:00"), "-4000"},
			{smsBase + "sender/sms", q("requestId", "x", "pageSize", "x"), "-1005"},
			{smsBase + "sender/sms", q("requestId", "x"), "0"},
			{smsBase + "sender/sms/x", "recipientSeq=1", "-2008"},
			{smsBase + "sender/sms/x", "", "-2012"},
			{smsBase + "message-results", "", "-2000"},
			{smsBase + "message-results", q("startUpdateDate", "2026-11-20 00:00:00", "endUpdateDate", "2026-11-22 00:00:00"), "-1005"},
			{smsBase + "message-results", q("startUpdateDate", "2026-11-22 00:00:00", "endUpdateDate", "2026-11-22 10:00:00"), "0"},
		}
		for _, tt := range tests {
			if got := g.do("GET", tt.path+"?"+tt.query, "").code(); got != tt.want {
				t.Errorf("%s?%s = %s, want %s", tt.path, tt.query, got, tt.want)
			}
		}
	})
}

// Ends are taken as written: a minute's end is its first second.
func TestRangesIncludeTheirEndsAsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: -1, Start: time.Date(2026, 11, 22, 10, 0, 30, 5e8, kst)})
		g.mustOK(g.kakao("01012345678", "r1:kakao"))
		g.mustOK(g.sms("01012345678", "r2:sms"))
		count := func(path, fromName, from, toName, to, total string) string {
			v := url.Values{fromName: {from}, toName: {to}}
			return g.mustOK(g.do("GET", path+"?"+v.Encode(), "")).at(total)
		}
		for _, tt := range []struct{ from, to, want string }{
			{"2026-11-22 10:00", "2026-11-22 10:01", "1"}, {"2026-11-22 09:00", "2026-11-22 10:00", "0"}, {"2026-11-22 10:01", "2026-11-22 11:00", "0"},
		} {
			if got := count(kakaoBase+"messages", "startCreateDate", tt.from, "endCreateDate", tt.to, kakaoList+"totalCount"); got != tt.want {
				t.Errorf("messages %v = %s", tt, got)
			}
			if got := count(kakaoBase+"message-results", "startUpdateDate", tt.from, "endUpdateDate", tt.to, "messages"); got != "["+tt.want+"]" {
				t.Errorf("message-results %v = %s", tt, got)
			}
		}
		for _, tt := range []struct{ from, to, want string }{
			{"2026-11-22 10:00:30", "2026-11-22 10:00:30", "1"}, {"2026-11-22 10:00:00", "2026-11-22 10:00:29", "0"}, {"2026-11-22 10:00:31", "2026-11-22 11:00:00", "0"},
		} {
			if got := count(smsBase+"sender/sms", "startCreateDate", tt.from, "endCreateDate", tt.to, "body.totalCount"); got != tt.want {
				t.Errorf("sender/sms %v = %s", tt, got)
			}
			if got := count(smsBase+"message-results", "startUpdateDate", tt.from, "endUpdateDate", tt.to, "body.totalCount"); got != tt.want {
				t.Errorf("message-results %v = %s", tt, got)
			}
		}
	})
}

func TestUpdatesComeInOrderAndOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: time.Second})
		late := g.mustOK(g.kakao("01006050000", "r0:kakao")).at("message.requestId") // 3012 after 1 s, 1000 after 31 s
		time.Sleep(10 * time.Second)
		next := g.mustOK(g.kakao("01000190000", "r1:kakao")).at("message.requestId")
		time.Sleep(time.Hour)
		from := url.Values{"startUpdateDate": {g.Now().Add(-2 * time.Hour).In(kst).Format(formMinute)}, "endUpdateDate": {g.Now().In(kst).Format(formMinute)}}
		a := g.mustOK(g.do("GET", kakaoBase+"message-results?"+from.Encode(), ""))
		if a.at("messages") != "[2]" || a.at("messages.0.requestId") != next || a.at("messages.1.requestId") != late || a.at("messages.1.resultCode") != "1000" {
			t.Errorf("updates = %s", a.raw)
		}
		if strings.Contains(a.raw, "roupingKey") {
			t.Error("Alimtalk's updates show no grouping key")
		}
		page := g.mustOK(g.do("GET", kakaoBase+"message-results?pageSize=1&pageNum=2&"+from.Encode(), ""))
		if page.at("messages") != "[1]" || page.at("messages.0.requestId") != late {
			t.Errorf("second page = %s", page.raw)
		}
		auth := g.mustOK(g.do("GET", kakaoBase+"message-results?alimtalkMessageType=AUTH&"+from.Encode(), ""))
		if auth.at("messages") != "[0]" {
			t.Errorf("authentications = %s", auth.raw)
		}
	})
}

func TestSMSUpdatesHaveBothShapes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: -1})
		g.mustOK(g.sms("01012345678", "r1:sms"))
		g.mustOK(g.do("POST", smsBase+"sender/mms", js(lmsBody("01012345678", "r2:sms"))))
		q := url.Values{"startUpdateDate": {g.Now().Add(-time.Hour).In(kst).Format(formSecond)}, "endUpdateDate": {g.Now().In(kst).Format(formSecond)}}
		a := g.mustOK(g.do("GET", smsBase+"message-results?"+q.Encode(), ""))
		if a.at("body.data") != "[2]" || a.at("body.data.0.recipientGroupingKey") != "r1:sms" || a.at("body.data.0.resultCode") != "1000" {
			t.Errorf("flat = %s", a.raw)
		}
		if a := g.mustOK(g.do("GET", smsBase+"message-results?messageType=LMS&"+q.Encode(), "")); a.at("body.totalCount") != "1" {
			t.Errorf("LMS = %s", a.raw)
		}
		if err := g.SetRules(Rules{SMSNested: true}); err != nil {
			t.Fatal(err)
		}
		if a := g.mustOK(g.do("GET", smsBase+"message-results?"+q.Encode(), "")); a.at("body.data.resultUpdateList") != "[2]" {
			t.Errorf("nested = %s", a.raw)
		}
	})
}

func TestSingleQueriesShowWhatWasSent(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, ReportDelay: -1})
	k := g.mustOK(g.kakao("01012345678", "r1:kakao")).at("message.requestId")
	a := g.mustOK(g.do("GET", kakaoBase+"messages/"+k+"/1", ""))
	for path, want := range map[string]string{
		"requestId": k, "recipientSeq": "1", "senderKey": goodSender, "templateCode": "SIM_OK", "recipientNo": "01012345678",
		"content": "[SIM_OK] 이름=김하늘", "resendStatus": "RSC01", "messageStatus": "COMPLETED", "resultCode": "1000",
		"senderGroupingKey": "clinic:wf", "recipientGroupingKey": "r1:kakao", "resendRequestId": "<null>",
	} {
		if got := a.at("message." + path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	x := g.mustOK(g.do("POST", smsBase+"sender/mms", js(lmsBody("01012345678", "r2:sms")))).at("body.data.requestId")
	for _, seq := range []string{"recipientSeq=1", "mtPr=1"} {
		a = g.mustOK(g.do("GET", smsBase+"sender/mms/"+x+"?"+seq, ""))
		for path, want := range map[string]string{
			"requestId": x, "recipientSeq": "1", "title": "예약 안내", "body": "내일 14:30 예약입니다", "msgStatus": "3", "resultCode": "1000",
			"messageType": "LMS", "sendType": "1", "adYn": "N", "recipientGroupingKey": "r2:sms", "telecomCode": "10003",
		} {
			if got := a.at("body.data." + path); got != want {
				t.Errorf("%s = %s, want %s", path, got, want)
			}
		}
	}
	for _, path := range []string{
		smsBase + "sender/sms/" + x + "?recipientSeq=1", smsBase + "sender/mms/" + x + "?recipientSeq=2",
		"/sms/v3.0/appKeys/else/sender/mms/" + x + "?recipientSeq=1", kakaoBase + "auth/messages/" + k + "/1",
	} {
		if got := g.do("GET", path, "").code(); got == "0" {
			t.Errorf("%s is found", path)
		}
	}
}

func TestQueryLagHidesWhatIsFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: 10 * time.Second, Rules: Rules{QueryLag: Duration(4 * time.Second), KakaoPending: "SENDING"}})
		g.mustOK(g.kakao("01012345678", "r1:kakao"))
		for _, tt := range []struct {
			wait          time.Duration
			total, status string
		}{{3 * time.Second, "0", "<none>"}, {time.Second, "1", "SENDING"}, {9 * time.Second, "1", "SENDING"}, {time.Second, "1", "COMPLETED"}} {
			time.Sleep(tt.wait)
			a := g.findKakao("r1:kakao")
			if a.at(kakaoList+"totalCount") != tt.total || a.at(kakaoList+"messages.0.messageStatus") != tt.status {
				t.Errorf("found %s %s, want %v", a.at(kakaoList+"totalCount"), a.at(kakaoList+"messages.0.messageStatus"), tt)
			}
		}
	})
}

func TestOldSettledMessagesMakeRoom(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, KeepMessages: 1000, KeepRequests: -1})
	g.mustOK(g.kakao("01004000000", "pending:kakao"))
	g.kakaoMany(4000)
	if got := g.findKakao("pending:kakao").at(kakaoList + "totalCount"); got != "1" {
		t.Error("an open message was dropped")
	}
	if n := len(g.Ledger()); n > 1000+3*chunkSize {
		t.Errorf("%d kept: one open message holds the others", n)
	}
	old := g.mustOK(g.kakao("01012345678", "old:kakao")).at("message.requestId")
	g.Reset()
	if again := g.mustOK(g.kakao("01012345678", "old:kakao")).at("message.requestId"); again == old {
		t.Errorf("%s is given out twice", old)
	}
	first := g.mustOK(g.kakao("01012345678", "first:kakao")).at("message.requestId")
	g.kakaoMany(4000)
	if n := len(g.Ledger()); n < 1000 || n > 1000+2*chunkSize {
		t.Errorf("%d kept, want about 1000", n)
	}
	if got := g.do("GET", kakaoBase+"messages/"+first+"/1", "").code(); got != "-1016" {
		t.Errorf("the oldest is still found: %s", got)
	}
	if got := g.findKakao("r3999:kakao").at(kakaoList + "totalCount"); got != "1" {
		t.Errorf("the newest is not found: %s", got)
	}
	g.mustOK(g.kakao("01012345678", "first:kakao"))
	if got := g.breaches(); len(got) != 2 {
		t.Errorf("violations = %v: the oracle forgot a dropped message", got)
	}
}

func TestRequestIDsAreTheirRequestsOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		st := newStore(rapid.Uint64().Draw(t, "seed"), 0)
		n := rapid.IntRange(1, 1500).Draw(t, "messages")
		created := rapid.Int64Range(0, 4e18).Draw(t, "created")
		for i := range n {
			st.add(message{created: created, first: uint32(i), seq: 1})
		}
		i := uint32(rapid.IntRange(0, n-1).Draw(t, "one"))
		id := st.requestID(created, i)
		if got, m := st.lookup(id); m == nil || got != i || len(id) != 25 {
			t.Fatalf("lookup(%s) = %d, want %d", id, got, i)
		}
		b := []byte(id)
		at := rapid.IntRange(0, 24).Draw(t, "at")
		c := alphabet[rapid.IntRange(0, 61).Draw(t, "char")]
		if b[at] != c {
			b[at] = c
			if _, m := st.lookup(string(b)); m != nil {
				t.Fatalf("the forged id %s is found", b)
			}
		}
	})
}
