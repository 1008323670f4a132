package main

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/recorder"
)

// Times that tales end by.
const (
	silence = 96 * time.Hour   // what a report may take at most; an LMS is tried for 80 h
	cycles  = 12 * time.Minute // five times absent, each counted after the quiet period
)

func tells(number, why string, want ...leg) tale {
	return tale{number: number, why: why, want: want}
}

func (t tale) after(d time.Duration) tale {
	t.ends = d
	return t
}

func (t tale) contradicted() tale {
	t.anomaly = recorder.LateSuccess
	return t
}

// smsTale is one whose Alimtalk is proven failed (3019), so that the SMS is
// what it is about.
func smsTale(digits, why string, sms leg) tale {
	return tells("010-0019-"+digits+"0", why, kakaoFailed("3019"), sms)
}

// stories are the tales of every magic number, by chapter. They are the
// expectations; the simulator's tables say what the numbers do.
var stories = []chapter{
	{
		slug: "kakao-reports", title: "카톡 결과 보고  Kakao reports",
		note: "A report that proves failure adds the SMS in the same transaction; one that proves nothing never does.",
		tales: []tale{
			tells("010-0000-0000", "a report says so", kakaoArrived),
			tells("010-0005-0000", "may still come: no SMS", unproven(event.Kakao).with("3005")).after(silence),
			tells("010-0008-0000", "number unknown: SMS", kakaoFailed("3008"), smsArrived),
			tells("010-0012-0000", "SMS, never a retry", kakaoFailed("3012"), smsArrived),
			tells("010-0015-0000", "no such template: SMS", kakaoFailed("3015"), smsArrived),
			tells("010-0016-0000", "not the template's: SMS", kakaoFailed("3016"), smsArrived),
			tells("010-0018-0000", "inactive user: SMS", kakaoFailed("3018"), smsArrived),
			tells("010-0019-0000", "not a Kakao user: SMS", kakaoFailed("3019"), smsArrived),
			tells("010-0020-0000", "blocks Alimtalk: SMS", kakaoFailed("3020"), smsArrived),
			tells("010-0020-0310", "blocked; no subscriber", kakaoFailed("3020"), smsFailed("3001")),
			tells("010-0021-0000", "KakaoTalk too old: SMS", kakaoFailed("3021"), smsArrived),
			tells("010-0022-0000", "wrong hours: never SMS", leg{event.Kakao, store.StateFailed, event.Rejected("3022"), "3022", 1}),
			tells("010-0025-0000", "channel sanctioned: SMS", kakaoFailed("1025"), smsArrived),
			tells("010-0028-0000", "first-user limit: SMS", kakaoRefused("-1028"), smsArrived),
			tells("010-0033-0000", "template stopped: SMS", kakaoFailed("4133"), smsArrived),
			tells("010-0061-0000", "result unknown: no SMS", unproven(event.Kakao).with("4161")).after(silence),
			tells("010-0099-0000", "an error, FAILED: SMS", kakaoFailed("9999"), smsArrived),
			tells("010-0812-0000", "not twice on Kakao: SMS", kakaoFailed("3012"), smsArrived),
		},
	},
	{
		slug: "kakao-refusals", title: "카톡 즉시 거절  Kakao refuses",
		note:  "A documented refusal is proof at once. -7000 and -9999 may hide an acceptance: the gateway is asked first.",
		apart: true,
		tales: []tale{
			tells("010-0108-0000", "bad number: SMS", kakaoRefused("-5000"), smsArrived),
			tells("010-0112-0000", "absent five times: SMS", kakaoRefused("-7000"), smsArrived).after(cycles),
			tells("010-0115-0000", "no such template: SMS", kakaoRefused("-3003"), smsArrived),
			tells("010-0116-0000", "not the template's: SMS", kakaoRefused("-3010"), smsArrived),
			tells("010-0199-0000", "absent five times: SMS", kakaoRefused("-9999"), smsArrived).after(cycles),
		},
	},
	{
		slug: "kakao-late", title: "카톡 늦은 보고, 무응답  Kakao late or silent",
		note: "Silence is not failure: the SMS waits for the report, and without one never goes.",
		tales: []tale{
			tells("010-0200-0000", "waits for the report", kakaoArrived).after(5 * time.Minute),
			tells("010-0219-0000", "SMS only after it", kakaoFailed("3019"), smsArrived).after(5 * time.Minute),
			tells("010-0300-0000", "waits for the report", kakaoArrived).after(30 * time.Minute),
			tells("010-0319-0000", "SMS only after it", kakaoFailed("3019"), smsArrived).after(30 * time.Minute),
			tells("010-0400-0000", "no evidence, no SMS", unproven(event.Kakao)).after(silence),
		},
	},
	{
		slug: "kakao-wire", title: "카톡 통신 장애  Kakao on a bad wire",
		note:  "A lost answer is not a failure: the key is looked up, and only a proven absence is sent again.",
		apart: true,
		tales: []tale{
			tells("010-0500-0000", "absent, then sent again", kakaoArrived).after(quiet),
			tells("010-0501-0000", "absent, then sent again", kakaoArrived).after(quiet),
			tells("010-0503-0000", "absent, then sent again", kakaoArrived).after(quiet),
			tells("010-0504-0000", "found by its key", kakaoArrived),
			tells("010-0505-0000", "absent, then sent again", kakaoArrived).after(quiet),
			tells("010-0506-0000", "found by its key", kakaoArrived),
			tells("010-0507-0000", "found by its key", kakaoArrived),
			tells("010-0508-0000", "found by its key", kakaoArrived),
			tells("010-0509-0000", "found by its key", kakaoArrived),
		},
	},
	{
		slug: "kakao-hooks", title: "카톡 웹훅 이상  Kakao's webhook goes wrong",
		note: "A webhook is a hint: results are read from the gateway itself.",
		tales: []tale{
			tells("010-0600-0000", "one change of state", kakaoArrived),
			tells("010-0601-0000", "early or not, once", kakaoArrived),
			tells("010-0602-0000", "order does not matter", kakaoArrived),
			tells("010-0603-0000", "the poll finds it", kakaoArrived),
			tells("010-0604-0000", "both spellings are read", kakaoArrived),
			tells("010-0605-0000", "SMS had gone: anomaly", kakaoFailed("3012"), smsArrived).contradicted(),
			tells("010-0606-0000", "not believed; polled", kakaoArrived),
			tells("010-0607-0000", "not ours: left alone", kakaoArrived),
		},
	},
	{
		slug: "kakao-throttle", title: "카톡 속도 제한  Kakao throttles",
		note:  "429 proves that nothing was taken: the same step is tried again later.",
		apart: true,
		tales: []tale{
			tells("010-0700-0000", "tried again", kakaoArrived),
			tells("010-0701-0000", "backs off", kakaoArrived).after(30 * time.Second),
			tells("010-0702-0000", "over the quota: SMS", kakaoFailed("4156"), smsArrived),
		},
	},
	{
		slug: "sms-reports", title: "문자 결과 보고  SMS reports, after Kakao's 3019",
		note: "The carrier has tried for hours when it says so: an SMS is never tried again by itself.",
		tales: []tale{
			smsTale("011", "carrier busy", smsFailed("1001")),
			smsTale("012", "number format", smsFailed("1002")),
			smsTale("020", "not delivered in time", smsFailed("2000")),
			smsTale("023", "powered off", smsFailed("2003")),
			smsTale("025", "no coverage", smsFailed("2005")),
			smsTale("031", "no subscriber", smsFailed("3001")),
			smsTale("033", "no such number", smsFailed("3003")),
			smsTale("034", "service suspended", smsFailed("3004")),
			smsTale("036", "recipient rejects it", smsFailed("3006")),
			smsTale("040", "handset without MMS", smsFailed("3010")),
			smsTale("042", "counted as spam", smsFailed("3012")),
			smsTale("048", "sender protected", smsFailed("3018")),
			smsTale("049", "sender blocked", smsFailed("3019")),
			smsTale("061", "opted out there", smsRefused("-6001")),
			smsTale("079", "restricted hours", smsFailed("E919")),
			smsTale("095", "its twin may be there", unproven(event.SMS).with("E915")).after(silence),
			smsTale("099", "other error", smsFailed("E999")),
			smsTale("811", "not tried again", smsFailed("1001")),
		},
	},
	{
		slug: "sms-trouble", title: "문자 거절, 지연, 장애  SMS refused, late, on a bad wire",
		note:  "SMS has no key: one request, then questions. It is sent again only when the gateway says it has none.",
		apart: true,
		tales: []tale{
			smsTale("112", "bad number", smsRefused("-2019")),
			smsTale("199", "absent five times", leg{event.SMS, store.StateFailed, event.NotAccepted, "-9999", 0}).after(cycles),
			smsTale("200", "waits for the report", smsArrived).after(5 * time.Minute),
			smsTale("231", "waits for the report", smsFailed("3001")).after(5 * time.Minute),
			smsTale("300", "expired after 25 h", smsFailed("2000")).after(25 * time.Hour),
			smsTale("400", "no report within 4 days", unproven(event.SMS)).after(silence),
			smsTale("500", "absent, then sent again", smsArrived).after(quiet),
			smsTale("501", "absent, then sent again", smsArrived).after(quiet),
			smsTale("503", "absent, then sent again", smsArrived).after(quiet),
			smsTale("504", "found by its key", smsArrived),
			smsTale("505", "absent, then sent again", smsArrived).after(quiet),
			smsTale("506", "found by its key", smsArrived),
			smsTale("507", "found by its key", smsArrived),
			smsTale("508", "found by its key", smsArrived),
			smsTale("509", "found by its key", smsArrived),
		},
	},
	{
		slug: "sms-hooks", title: "문자 웹훅 이상  SMS's webhook goes wrong",
		note: "As with Kakao; an SMS that arrives after all is kept for a human to see.",
		tales: []tale{
			smsTale("600", "one change of state", smsArrived),
			smsTale("601", "early or not, once", smsArrived),
			smsTale("602", "order does not matter", smsArrived),
			smsTale("603", "the poll finds it", smsArrived),
			smsTale("604", "both spellings are read", smsArrived),
			smsTale("605", "late success: anomaly", smsFailed("2003")).contradicted(),
			smsTale("606", "not believed; polled", smsArrived),
			smsTale("607", "not ours: left alone", smsArrived),
		},
	},
	{
		slug: "sms-throttle", title: "문자 속도 제한  SMS throttles",
		note:  "As with Kakao; what the month's quota refuses waits until its validity ends.",
		apart: true,
		tales: []tale{
			smsTale("700", "tried again", smsArrived),
			smsTale("701", "backs off", smsArrived).after(30 * time.Second),
			smsTale("702", "its validity ends", leg{event.SMS, store.StateExpired, event.TimePassed, "-2052", 0}).after(24 * time.Hour),
		},
	},
}

// quiet is how long after a request its absence begins to count.
var quiet = store.DefaultTiming.Quiet()

func (l leg) with(code string) leg {
	l.code = code
	return l
}
