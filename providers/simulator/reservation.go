package simulator

import "slices"

// Messages that were requested for later. They go out at their time unless
// they are cancelled before.

// cancel cancels what is still reserved of a request, of the recipients seqs
// or of all, and returns how many were.
func (s *Simulator) cancel(c *call, id string, seqs []int) (n int) {
	s.mu.Lock()
	first, m := s.store.lookup(id)
	for i := first; m != nil && m.first == first; m = s.store.get(i) {
		if m.app == c.app && m.kind.product() == c.product && m.state == reserved &&
			(len(seqs) == 0 || slices.Contains(seqs, int(m.seq))) {
			s.store.settle(i, m, cancelled, s.clock.stamp(c.at))
			s.oracle.changed(m, reserved, cancelled)
			s.ledger.result(s, c.at, i, m)
			n++
		}
		i++
	}
	mark := s.ledger.mark()
	s.mu.Unlock()
	s.ledger.wait(mark)
	return n
}

// reservationStatus is messageStatus of a text that was requested for later.
func reservationStatus(v *view) string {
	switch v.state {
	case reserved:
		return "RESERVED"
	case open, waiting:
		return "SENDING"
	case delivered:
		return "COMPLETED"
	case cancelled:
		return "CANCEL"
	case duplicated:
		return "DUPLICATED"
	}
	return "FAILED"
}

func reservationFields(v *view) map[string]any {
	return map[string]any{
		"requestId": v.id, "recipientSeq": v.seq, "requestDate": at(v.requested, formTenth),
		"sendNo": v.sender, "recipientNo": v.recipient, "countryCode": "82",
		"sendType": sendTypes[v.kind], "messageType": messageTypes[v.kind], "adYn": yn(v.ad),
		"templateId": nil, "templateParameter": nil, "templateName": nil, "title": orNull(v.title), "body": v.text,
		"messageStatus": reservationStatus(v), "createUser": orNull(v.user),
		"createDate": at(v.created, formTenth), "updateDate": stampOrNull(v.updated, formTenth),
	}
}

func (s *Simulator) listReservations(c *call) answer {
	status, sendType := c.arg("messageStatus"), c.arg("sendType")
	f := filter{
		app: c.app, id: c.arg("requestId"), recipient: national(c.arg("recipientNo")), sender: c.arg("sendNo"),
		keep: func(v *view) bool {
			return v.requested > v.created && (status == "" || reservationStatus(v) == status) && (sendType == "" || sendTypes[v.kind] == sendType)
		},
	}
	var ok1, ok2, ok3 bool
	f.requestedFrom, f.requestedTo, ok1 = c.span("startRequestDate", "endRequestDate", formSecond)
	f.createdFrom, f.createdTo, ok2 = c.span("startCreateDate", "endCreateDate", formSecond)
	f.page, f.size, ok3 = c.page()
	switch {
	case !ok1 || !ok2:
		return c.refuse(-2000)
	case !ok3:
		return c.refuse(-1005)
	}
	all := []map[string]any{}
	page, size := f.page, f.size
	f.page, f.size = 1, 1<<30
	for _, f.kind = range []kind{kindSMS, kindLMS, kindAuth} {
		views, _ := s.list(c, &f)
		for i := range views {
			all = append(all, reservationFields(&views[i]))
		}
	}
	return reply(0, smsPage(page, size, len(all), listed(all, page, size)))
}

func (s *Simulator) oneReservation(c *call) answer {
	seq, ok := sequence(c.args[1])
	if !ok {
		return c.refuse(-2012)
	}
	for _, k := range []kind{kindSMS, kindLMS, kindAuth} {
		if v, ok := s.one(c, k, c.args[0], seq); ok && v.requested > v.created {
			f := reservationFields(&v)
			f["attachFileList"] = []any{}
			return reply(0, smsData(f))
		}
	}
	return c.refuse(-2008)
}

func (s *Simulator) cancelReservations(c *call) answer {
	type item struct {
		id  string
		seq int
	}
	var items []item
	user := ""
	r, ok := newReader(c.req.body)
	if !ok {
		return c.refuse(-9997)
	}
	r.object("body", func(name string) {
		switch name {
		case "updateUser":
			user = r.text(name)
		case "reservationList":
			r.array(name, func() {
				var x item
				r.object(name, func(field string) {
					switch field {
					case "requestId":
						x.id = r.text(field)
					case "recipientSeq":
						x.seq = r.integer(field)
					default:
						r.other(field)
					}
				})
				items = append(items, x)
			})
		default:
			r.other(name)
		}
	})
	switch {
	case r.bad != "":
		return c.invalid(r.bad)
	case user == "" || len(items) == 0:
		return c.refuse(-1005)
	}
	n := 0
	for _, x := range items {
		n += s.cancel(c, x.id, []int{x.seq})
	}
	return reply(0, smsData(map[string]any{"requestedCount": len(items), "canceledCount": n}))
}
