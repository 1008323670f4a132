package simulator

import "time"

// Alimtalk's queries. Nothing older than 90 days, ranges of at most 31 days,
// times by the minute (alimtalk-api-guide).

const alimtalkMemory = 90 * 24 * time.Hour

// alimtalkStatus is messageStatus; NHN documents no value for a message
// without a result.
func alimtalkStatus(v *view, r *Rules) any {
	switch v.state {
	case delivered:
		return "COMPLETED"
	case cancelled:
		return "CANCEL"
	case open, reserved, waiting:
		return orNull(r.KakaoPending)
	}
	return "FAILED" // 3005 as well: only the code tells that it proves nothing
}

// alimtalkFields is one message; whole adds what lists show and updates do
// not, single what only the single query shows.
func alimtalkFields(v *view, r *Rules, whole, single bool) map[string]any {
	status := uint8(1)
	if v.resend.want {
		status = v.resend.status
	}
	f := map[string]any{
		"requestId": v.id, "recipientSeq": v.seq,
		"requestDate": at(v.requested, formTenth), "createDate": at(v.created, formTenth),
		"receiveDate":  stampOrNull(v.updated, formTenth),
		"resendStatus": "RSC0" + decimal(uint16(status)), "resendStatusName": resendNames[status],
		"messageStatus": alimtalkStatus(v, r), "resultCode": orNull(v.code), "resultCodeName": nil,
	}
	if v.code != "" {
		f["resultCodeName"] = resultName(Alimtalk, v.code)
	}
	if !whole || single {
		f["resendResultCode"], f["resendRequestId"] = orNull(v.resend.code), orNull(v.resend.requestID)
	}
	if whole {
		f["plusFriendId"], f["senderKey"], f["templateCode"] = plusFriend(v.sender), v.sender, v.template
		f["recipientNo"], f["content"] = v.recipient, v.text
		f["createUser"] = orNull(v.user)
		f["senderGroupingKey"], f["recipientGroupingKey"] = orNull(v.senderGroup), orNull(v.key)
	}
	return f
}

// plusFriend is the channel's name.
func plusFriend(sender string) string {
	return "@sim_" + sender[:min(4, len(sender))]
}

func listAlimtalk(k kind) func(*Simulator, *call) answer {
	return func(s *Simulator, c *call) answer {
		f := filter{
			app: c.app, kind: k, id: c.arg("requestId"), recipient: national(c.arg("recipientNo")), sender: c.arg("senderKey"),
			template: c.arg("templateCode"), senderGroup: c.arg("senderGroupingKey"), key: c.arg("recipientGroupingKey"), user: c.arg("createUser"),
		}
		var ok1, ok2, ok3 bool
		f.requestedFrom, f.requestedTo, ok1 = c.span("startRequestDate", "endRequestDate", formMinute)
		f.createdFrom, f.createdTo, ok2 = c.span("startCreateDate", "endCreateDate", formMinute)
		f.page, f.size, ok3 = c.page()
		oldest := s.clock.stampNow() - int64(alimtalkMemory)
		switch {
		case !ok3:
			return c.refuse(-2005)
		case !ok1 || !ok2 || f.id == "" && f.requestedFrom == 0 && f.createdFrom == 0:
			return c.refuse(-4103)
		case f.requestedTo-f.requestedFrom > int64(month) || f.createdTo-f.createdFrom > int64(month):
			return c.refuse(-4003)
		case f.requestedFrom != 0 && f.requestedFrom < oldest || f.createdFrom != 0 && f.createdFrom < oldest:
			return c.refuse(-4017)
		}
		status, result := c.arg("messageStatus"), c.arg("resultCode")
		f.keep = func(v *view) bool {
			return (status == "" || alimtalkStatus(v, &c.set.rules) == status) &&
				(result != "MRC01" || v.state == delivered) && (result != "MRC02" || v.state.settled() && v.state != delivered)
		}
		page, total := s.list(c, &f)
		list := make([]map[string]any, len(page))
		for i := range page {
			list[i] = alimtalkFields(&page[i], &c.set.rules, true, false)
		}
		return c.alimtalk("messageSearchResultResponse", map[string]any{"messages": list, "totalCount": total})
	}
}

func oneAlimtalk(k kind) func(*Simulator, *call) answer {
	return func(s *Simulator, c *call) answer {
		seq, ok := sequence(c.args[1])
		if !ok {
			return c.refuse(-1016)
		}
		v, ok := s.one(c, k, c.args[0], seq)
		if !ok {
			return c.refuse(-1016)
		}
		return c.alimtalk("message", alimtalkFields(&v, &c.set.rules, true, true))
	}
}

// alimtalkUpdates lists by the time of the result. It shows no grouping key.
func (s *Simulator) alimtalkUpdates(c *call) answer {
	from, to, ok := c.span("startUpdateDate", "endUpdateDate", formMinute)
	no, size, okPage := c.page()
	typ := c.arg("alimtalkMessageType")
	switch {
	case !okPage:
		return c.refuse(-2005)
	case !ok || from == 0 || typ != "" && typ != "NORMAL" && typ != "AUTH":
		return c.refuse(-4000)
	case to-from > int64(month):
		return c.refuse(-4003)
	case from < s.clock.stampNow()-int64(alimtalkMemory):
		return c.refuse(-4017)
	}
	page, _ := s.updated(c, from, to, func(v *view) bool { return typ == "" || messageTypes[v.kind] == typ }, no, size)
	list := make([]map[string]any, len(page))
	for i := range page {
		list[i] = alimtalkFields(&page[i], &c.set.rules, false, false)
	}
	return c.alimtalk("messages", list)
}

// cancelAlimtalk cancels what is scheduled of a request.
func (s *Simulator) cancelAlimtalk(c *call) answer {
	var seqs []int
	if v := c.arg("recipientSeq"); v != "" {
		var ok bool
		if seqs, ok = sequences(v); !ok {
			return c.refuse(-4000)
		}
	}
	if s.cancel(c, c.args[0], seqs) == 0 {
		return c.refuse(-2029)
	}
	return c.refuse(0)
}

// alimtalk answers a query with its payload beside the header.
func (c *call) alimtalk(field string, v any) answer {
	return reply(0, map[string]any{"header": headerOf(Alimtalk, 0), field: v})
}
