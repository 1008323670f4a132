package simulator

import "time"

// SMS's queries. Times by the second, ranges of at most a month; by the time
// of the result at most a day (api-guide v3.0).

var smsStatusNames = map[string]string{
	"0": "실패", "1": "요청", "2": "처리 중", "3": "성공", "4": "예약 취소", "5": "중복 실패",
	"6": "실패(광고 제한)", "7": "재발송 대기(광고 제한)",
}

func smsStatus(v *view, r *Rules) string {
	switch v.state {
	case reserved:
		return "1"
	case open:
		return "2"
	case waiting:
		return "7"
	case delivered:
		return "3"
	case cancelled:
		return "4"
	case duplicated:
		return "5"
	case failedAd:
		return "6"
	}
	if r.SMSFailedStatus != "" {
		return r.SMSFailedStatus
	}
	return "0"
}

func yn(b bool) string {
	if b {
		return "Y"
	}
	return "N"
}

// smsPath is the part of the path that names a kind of text.
func smsPath(k kind) string {
	switch k {
	case kindLMS:
		return "mms"
	case kindAuth:
		return "auth/sms"
	}
	return "sms"
}

func smsFields(v *view, r *Rules) map[string]any {
	code, name := telecom(v.recipient)
	status := smsStatus(v, r)
	f := map[string]any{
		"requestId": v.id, "requestDate": at(v.requested, formTenth), "resultDate": stampOrNull(v.updated, formTenth),
		"templateId": nil, "templateName": nil, "categoryId": 0, "categoryName": nil,
		"body": v.text, "sendNo": v.sender, "countryCode": "82", "recipientNo": v.recipient,
		"msgStatus": status, "msgStatusName": smsStatusNames[status],
		"resultCode": orNull(v.code), "resultCodeName": nil, "telecomCode": nil, "telecomCodeName": nil,
		"recipientSeq": v.seq, "sendType": sendTypes[v.kind], "messageType": messageTypes[v.kind], "messageCount": 1,
		"userId": orNull(v.user), "adYn": yn(v.ad), "originCode": "123456789", "resultMessage": "",
		"senderGroupingKey": orNull(v.senderGroup), "recipientGroupingKey": orNull(v.key),
	}
	if v.kind == kindLMS {
		f["title"] = v.title
	}
	if v.code != "" {
		f["resultCodeName"], f["telecomCode"], f["telecomCodeName"] = resultName(SMS, v.code), code, name
	}
	return f
}

// smsPage is a list under body, as SMS has it.
func smsPage(no, size, total int, data any) map[string]any {
	return map[string]any{
		"header": headerOf(SMS, 0),
		"body":   map[string]any{"pageNum": no, "pageSize": size, "totalCount": total, "data": data},
	}
}

// smsData is one thing under body.data, as SMS has it.
func smsData(data any) map[string]any {
	return map[string]any{"header": headerOf(SMS, 0), "body": map[string]any{"data": data}}
}

func listSMS(k kind) func(*Simulator, *call) answer {
	return func(s *Simulator, c *call) answer {
		f := filter{
			app: c.app, kind: k, id: c.arg("requestId"), recipient: national(c.arg("recipientNo")), sender: c.arg("sendNo"),
			template: c.arg("templateId"), senderGroup: c.arg("senderGroupingKey"), key: c.arg("recipientGroupingKey"),
		}
		var ok1, ok2, ok3, ok4 bool
		f.requestedFrom, f.requestedTo, ok1 = c.span("startRequestDate", "endRequestDate", formSecond)
		f.createdFrom, f.createdTo, ok2 = c.span("startCreateDate", "endCreateDate", formSecond)
		f.updatedFrom, f.updatedTo, ok3 = c.span("startResultDate", "endResultDate", formSecond)
		f.page, f.size, ok4 = c.page()
		switch {
		case !ok1 || !ok2 || !ok3:
			return c.refuse(-2000)
		case !ok4:
			return c.refuse(-1005)
		case f.id == "" && f.requestedFrom == 0 && f.createdFrom == 0:
			return c.refuse(-2011)
		case f.requestedTo-f.requestedFrom > int64(month) || f.createdTo-f.createdFrom > int64(month):
			return c.refuse(-4000)
		}
		if f.createdFrom != 0 { // the guide: then the request dates are ignored
			f.requestedFrom, f.requestedTo = 0, 0
		}
		status, result := c.arg("msgStatus"), c.arg("resultCode")
		f.keep = func(v *view) bool {
			return (status == "" || smsStatus(v, &c.set.rules) == status) && (result == "" || v.code == result)
		}
		page, total := s.list(c, &f)
		list := make([]map[string]any, len(page))
		for i := range page {
			list[i] = smsFields(&page[i], &c.set.rules)
		}
		return reply(0, smsPage(f.page, f.size, total, list))
	}
}

func oneSMS(k kind) func(*Simulator, *call) answer {
	return func(s *Simulator, c *call) answer {
		arg := c.arg("recipientSeq")
		if arg == "" {
			arg = c.arg("mtPr") // the guide's MMS sample
		}
		seq, ok := sequence(arg)
		if !ok {
			return c.refuse(-2012)
		}
		v, ok := s.one(c, k, c.args[0], seq)
		if !ok {
			return c.refuse(-2008)
		}
		return reply(0, smsData(smsFields(&v, &c.set.rules)))
	}
}

// smsUpdates lists by the time of the result.
func (s *Simulator) smsUpdates(c *call) answer {
	from, to, ok := c.span("startUpdateDate", "endUpdateDate", formSecond)
	no, size, okPage := c.page()
	typ := c.arg("messageType")
	switch {
	case !ok || from == 0:
		return c.refuse(-2000)
	case !okPage || to-from > int64(24*time.Hour):
		return c.refuse(-1005)
	}
	page, total := s.updated(c, from, to, func(v *view) bool { return typ == "" || messageTypes[v.kind] == typ }, no, size)
	list := make([]map[string]any, len(page))
	for i := range page {
		v := &page[i]
		code, name := telecom(v.recipient)
		list[i] = map[string]any{
			"messageType": messageTypes[v.kind], "requestId": v.id, "recipientSeq": v.seq,
			"resultCode": v.code, "resultCodeName": resultName(SMS, v.code),
			"requestDate": at(v.requested, formTenth), "resultDate": at(v.updated, formTenth), "updateDate": at(v.updated, formTenth),
			"telecomCode": decimal(uint16(code)), "telecomCodeName": name,
			"senderGroupingKey": orNull(v.senderGroup), "recipientGroupingKey": orNull(v.key),
		}
	}
	if c.set.rules.SMSNested {
		return reply(0, smsPage(no, size, total, map[string]any{"resultUpdateList": list}))
	}
	return reply(0, smsPage(no, size, total, list))
}
