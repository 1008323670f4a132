package simulator

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSendersShowTheirHealth(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Apps: map[string]App{"k": {Secret: "secret-of-k"}}, Senders: []Sender{{Key: strings.Repeat("z", 40)}}})
	for key, want := range map[string]string{
		"a": "A false false", "b": "B true false", "d": "A false true", "z": "A false false",
	} {
		a := g.mustOK(g.do("GET", kakaoBase+"senders/"+strings.Repeat(key, 40), ""))
		got := a.at("sender.kakaoProfileStatus") + " " + a.at("sender.block") + " " + a.at("sender.dormant")
		if got != want || a.at("sender.status") != "YSC03" {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
	if got := g.do("GET", kakaoBase+"senders/"+strings.Repeat("x", 40), "").code(); got != "-2017" {
		t.Errorf("unknown sender = %s", got)
	}
	if got := g.mustOK(g.do("GET", kakaoBase+"senders?pageSize=2&pageNum=3", "")); got.at("senders") != "[1]" || got.at("totalCount") != "5" {
		t.Errorf("senders = %s", got.raw)
	}
	if got := g.mustOK(g.do("GET", kakaoBase+"senders?status=YSC02", "")).at("senders"); got != "[0]" {
		t.Errorf("waiting senders = %s", got)
	}
}

func TestTemplatesShowTheirState(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, Templates: []Template{demoTemplate, {SenderKey: goodSender, Code: "OWN", Status: "TSC04"}}})
	path := kakaoBase + "senders/" + goodSender + "/templates"
	for code, want := range map[string]string{
		"SIM_OK": "TSC03 false false", "SIM_OK_ANY": "TSC03 false false", "SIM_REQ": "TSC01 false false", "SIM_REV": "TSC02 false false",
		"SIM_REJ": "TSC04 false false", "SIM_DORM": "TSC03 false true", "SIM_BLOCK": "TSC03 true false", "APPT": "TSC03 false false", "OWN": "TSC04 false false",
	} {
		a := g.mustOK(g.do("GET", path+"/"+code, ""))
		if got := a.at("template.status") + " " + a.at("template.block") + " " + a.at("template.dormant"); got != want {
			t.Errorf("%s = %s, want %s", code, got, want)
		}
	}
	if got := g.do("GET", path+"/NOPE", "").code(); got != "-3003" {
		t.Errorf("unknown template = %s", got)
	}
	if a := g.mustOK(g.do("GET", path+"?templateStatus=TSC04", "")); a.at("templateListResponse.totalCount") != "2" {
		t.Errorf("rejected templates = %s", a.raw)
	}
	if a := g.mustOK(g.do("GET", path+"?templateCode=APPT", "")); a.at("templateListResponse.templates.0.templateContent") != demoTemplate.Content {
		t.Errorf("template = %s", a.raw)
	}
	for _, bad := range []Template{{}, {Code: strings.Repeat("x", 21)}, {Code: "X", Status: "TSC09"}, {Code: "X", Content: "#{open"}} {
		if g.AddTemplate(bad) == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestSendNumbersShowTheirState(t *testing.T) {
	t.Parallel()
	closed := newGateway(t, Config{Apps: map[string]App{"k": {Secret: "secret-of-k"}}, SendNos: []SendNo{{No: "02-555-0100"}}})
	open := newGateway(t, Config{Open: true})
	for _, tt := range []struct {
		g           *gateway
		query, want string
	}{
		{closed, "", "3"},
		{closed, "?blockYn=Y", "1"},
		{closed, "?useYn=N", "0"},
		{closed, "?sendNo=025550100", "1"},
		{closed, "?sendNo=" + unregisteredNo, "0"},
		{closed, "?sendNo=0212345678", "0"},
		{open, "?sendNo=0212345678", "1"},
		{open, "?sendNo=" + unregisteredNo, "0"},
	} {
		if got := tt.g.mustOK(tt.g.do("GET", smsBase+"sendNos"+tt.query, "")).at("body.totalCount"); got != tt.want {
			t.Errorf("sendNos%s = %s, want %s", tt.query, got, tt.want)
		}
	}
	closed.mustOK(closed.do("POST", smsBase+"sender/sms", js(with(smsBody("01012345678", "r1:sms"), "sendNo", "025550100"))))
	if closed.AddSendNo(SendNo{No: "12"}) == nil || closed.AddSender(Sender{Key: "x"}) == nil {
		t.Error("a malformed fixture is taken")
	}
}

func TestBlockListsAreKept(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	recipients := smsBase + "blockservice/recipients"
	list := func(query string) string {
		return g.mustOK(g.do("GET", recipients+"?unsubscribeNo="+usedAdNo+query, "")).at("body.totalCount")
	}
	for _, tt := range []struct{ method, path, body, want string }{
		{"POST", recipients, `{`, "-9997"},
		{"POST", recipients, `{"unsubscribeNo":1}`, "4"},
		{"POST", recipients, `{"unsubscribeNo":"0808880000"}`, "-2001"},
		{"POST", recipients, `{"unsubscribeNo":"0808880000","recipientNoList":["021234567"]}`, "-2019"},
		{"POST", recipients, `{"unsubscribeNo":"0801112222","recipientNoList":["01012345678"]}`, "-6004"},
		{"POST", recipients, `{"unsubscribeNo":"0808880000","recipientNoList":["1","2","3","4","5","6","7","8","9","10","11"]}`, "4"},
		{"POST", recipients, `{"unsubscribeNo":"0808880000","recipientNoList":["01012345678","010-8765-4321"]}`, "0"},
		{"GET", recipients, "", "-1005"},
		{"GET", recipients + "?unsubscribeNo=0801112222", "", "-6004"},
		{"DELETE", recipients + "/removes?unsubscribeNo=0808880000", "", "-1005"},
		{"DELETE", recipients + "/removes?unsubscribeNo=0808880000&updateUser=me&recipientNoList=01011111111", "", "-2019"},
		{"GET", smsBase + "blockservice/unsubscribe-nos", "", "0"},
		{"GET", smsBase + "blockservice/unsubscribe-nos/0801112222", "", "-6004"},
	} {
		if got := g.do(tt.method, tt.path, tt.body).code(); got != tt.want {
			t.Errorf("%s %s %s = %s, want %s", tt.method, tt.path, tt.body, got, tt.want)
		}
	}
	if list("") != "2" || list("&recipientNo=01087654321") != "1" || list("&pageSize=1&pageNum=9") != "2" {
		t.Error("the list is not what was put on it")
	}
	if a := g.mustOK(g.do("GET", smsBase+"blockservice/unsubscribe-nos/"+endedAdNo, "")); a.at("body.data.status") != "TERMINATE" {
		t.Errorf("ended number = %s", a.raw)
	}
	ad := with(smsBody("01012345678", "r1:sms"), "body", "(광고)행사"+adTail)
	if got := g.do("POST", smsBase+"sender/ad-sms", js(ad)).at("body.data.sendResultList.0.resultCode"); got != "-6001" {
		t.Errorf("ad to a blocked number = %s, want -6001", got)
	}
	g.mustOK(g.do("DELETE", recipients+"/removes?unsubscribeNo=0808880000&updateUser=me&recipientNoList=01012345678,01087654321", ""))
	if list("") != "0" {
		t.Error("the list is not empty")
	}
}

func TestScheduledMessagesGoOutAtTheirTimeUnlessCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: -1})
		at := g.Now().Add(time.Hour).In(kst).Format(formMinute)
		send := func(key string) string {
			return g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01012345678", key), "requestDate", at)))).at("body.data.requestId")
		}
		stays, goes := send("stays:sms"), send("goes:sms")
		kStays := g.mustOK(g.do("POST", kakaoBase+"messages", js(with(kakaoBody("01012345678", "kstays:kakao"), "requestDate", at)))).at("message.requestId")
		kGoes := g.mustOK(g.do("POST", kakaoBase+"messages", js(with(kakaoBody("01012345678", "kgoes:kakao"), "requestDate", at)))).at("message.requestId")

		if a := g.mustOK(g.do("GET", smsBase+"reservations", "")); a.at("body.totalCount") != "2" || a.at("body.data.0.messageStatus") != "RESERVED" {
			t.Errorf("reservations = %s", a.raw)
		}
		cancel := func(id string) string {
			return g.mustOK(g.do("PUT", smsBase+"reservations/cancel", js(obj{"updateUser": "me", "reservationList": []any{obj{"requestId": id, "recipientSeq": 1}}}))).at("body.data.canceledCount")
		}
		if cancel(stays) != "1" || cancel(stays) != "0" || cancel("nobody's") != "0" {
			t.Error("one cancellation counts once")
		}
		if got := g.do("PUT", smsBase+"reservations/cancel", `{}`).code(); got != "-1005" {
			t.Errorf("empty cancellation = %s", got)
		}
		for _, tt := range []struct{ query, want string }{{"?recipientSeq=2", "-2029"}, {"?recipientSeq=x", "-4000"}, {"?recipientSeq=1,2", "0"}, {"", "-2029"}} {
			if got := g.do("DELETE", kakaoBase+"messages/"+kStays+tt.query, "").code(); got != tt.want {
				t.Errorf("cancel%s = %s, want %s", tt.query, got, tt.want)
			}
		}
		time.Sleep(time.Hour)
		for id, want := range map[string]string{stays: "CANCEL", goes: "COMPLETED"} {
			if got := g.do("GET", smsBase+"reservations/"+id+"/1", "").at("body.data.messageStatus"); got != want {
				t.Errorf("text = %s, want %s", got, want)
			}
		}
		for id, want := range map[string]string{kStays: "CANCEL", kGoes: "COMPLETED"} {
			if got := g.do("GET", kakaoBase+"messages/"+id+"/1", "").at("message.messageStatus"); got != want {
				t.Errorf("alimtalk = %s, want %s", got, want)
			}
		}
		if got := g.do("DELETE", kakaoBase+"messages/"+kGoes, "").code(); got != "-2029" {
			t.Errorf("cancelling what went out = %s", got)
		}
		// A cancelled message is no delivery.
		g.mustOK(g.sms("01012345678", "kstays:sms"))
		if got := g.breaches(); len(got) != 0 {
			t.Errorf("violations = %v", got)
		}
	})
}

func TestListsByDateFindWhatWasScheduledLongBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		at := g.Now().Add(48 * time.Hour)
		g.mustOK(g.do("POST", smsBase+"sender/sms", js(with(smsBody("01012345678", "early:sms"), "requestDate", at.In(kst).Format(formMinute)))))
		time.Sleep(48 * time.Hour)
		for i := range 3 {
			g.mustOK(g.sms("01012345678", fmt.Sprintf("r%d:sms", i)))
		}
		q := "startRequestDate=" + strings.ReplaceAll(at.Add(-time.Hour).In(kst).Format(formSecond), " ", "%20") + "&endRequestDate=" + strings.ReplaceAll(at.Add(time.Hour).In(kst).Format(formSecond), " ", "%20")
		if got := g.mustOK(g.do("GET", smsBase+"sender/sms?"+q, "")).at("body.totalCount"); got != "4" {
			t.Errorf("%s texts, want 4", got)
		}
		if got := g.mustOK(g.do("GET", smsBase+"reservations?"+q, "")).at("body.totalCount"); got != "1" {
			t.Errorf("%s reservations, want 1", got)
		}
	})
}
