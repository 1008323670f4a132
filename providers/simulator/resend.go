package simulator

import "time"

// Provider resend: where it is wanted, NHN sends an SMS for an Alimtalk that
// failed, in the linked SMS app, with the grouping keys copied.

// followUp starts provider resend for an Alimtalk that failed, and tells an
// Alimtalk what became of the text that stands for it. mu is held.
func (s *Simulator) followUp(n uint32, m *message, due time.Time) {
	s.resent(m, s.clock.stamp(due))
	r := m.resend
	if r == nil || r.status != 2 || m.kind.product() != Alimtalk {
		return
	}
	if m.state != failed && (m.state != unconfirmed || !s.set.Load().rules.ResendOnUnconfirmed) {
		return
	}
	r.status = 3
	when := due.Add(s.resendDelay(m))
	s.schedule(when.UnixNano(), func(int64) {
		if m := s.store.get(n); m != nil {
			s.sendInstead(m, n+1, when)
		}
	})
}

func (s *Simulator) resendDelay(m *message) time.Duration {
	if d := s.set.Load().rules.ResendDelay; d > 0 {
		return time.Duration(d)
	}
	return uniform(s.dice(drawResend, m.app, m.recipient, uint32(m.root)), 5*time.Second, 30*time.Second)
}

// sendInstead sends the text. source is the number of m + 1, or 0 where m was
// refused and is not stored. mu is held.
func (s *Simulator) sendInstead(m *message, source uint32, when time.Time) {
	sender, _ := s.fixtures.sender(m.sender)
	r := m.resend
	text := r.text
	if text == "" {
		text = m.text
	}
	k := kindSMS
	if n, _ := eucBytes(text); r.typ == "LMS" || r.typ == "" && n > smsBytes {
		k = kindLMS
	}
	title := r.title
	if title == "" {
		title = plusFriend(m.sender)
	}
	no := r.sendNo
	if no == "" {
		no = sender.ResendSendNo
	}
	q := smsRequest{title: title, body: text, sendNo: no}
	app := sender.ResendAppKey
	if app == "" {
		app = s.fixtures.link(m.app)
	}
	_, encodable := eucBytes(text)
	known, registered := s.fixtures.sendNo(no)
	if app == "" || !encodable || !registered || known.Blocked {
		r.status = 5
		return
	}
	c := &call{set: s.set.Load(), product: SMS, app: app, at: when}
	d := draft{m: message{kind: k, sender: known.No, senderGroup: m.senderGroup, recipient: m.recipient, key: m.key, viaResend: true}}
	d.m.text, d.m.title, d.m.truncated = q.shown(k)
	n, _ := eucBytes(d.m.text)
	d.m.bytes = uint16(n)
	if d.m.truncated {
		d.breach = append(d.breach, Truncated)
	}
	d.plan = s.planFor(c, k, m.recipient)
	if d.refuse = d.plan.refuse; d.refuse != 0 {
		r.status = 5
	}
	b := batch{drafts: []draft{d}, source: source}
	id, accepted := s.acceptLocked(c, &b)
	if accepted > 0 && r.status == 3 {
		r.requestID = id
	}
}

// resent notes at the Alimtalk what became of its text. mu is held.
func (s *Simulator) resent(text *message, stamp int64) {
	if text.source == 0 || !text.state.settled() {
		return
	}
	m := s.store.get(text.source - 1)
	if m == nil || m.resend == nil {
		return
	}
	m.resend.status, m.resend.code = 5, text.code
	if text.state == delivered {
		m.resend.status = 4
	}
	m.resend.requestID = s.store.requestID(text.created, text.first)
	s.store.settle(text.source-1, m, m.state, stamp)
}

// resendRefused sends texts for recipients that were refused because their
// text does not match the template: NHN resends for those as well.
func (s *Simulator) resendRefused(c *call, b *batch, sender string) {
	for i := range b.drafts {
		d := &b.drafts[i]
		if d.refuse != -3010 || d.m.resend == nil {
			continue
		}
		m := d.m
		m.app, m.sender = c.app, sender
		s.mu.Lock()
		when := c.at.Add(s.resendDelay(&m))
		s.schedule(when.UnixNano(), func(int64) { s.sendInstead(&m, 0, when) })
		s.mu.Unlock()
	}
}

// link returns the SMS app that is linked to an Alimtalk app, "" if none is.
func (f *fixtures) link(app string) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.linked[app]
}

// linkFailback links the SMS app of provider resend. NHN resets the setting
// of every channel with it.
func (s *Simulator) linkFailback(c *call) answer {
	var app string
	r, ok := newReader(c.req.body)
	if !ok {
		return c.refuse(-9997)
	}
	r.object("body", func(name string) {
		if name != "resendAppKey" {
			r.other(name)
			return
		}
		app = r.text(name)
	})
	switch {
	case r.bad != "":
		return c.invalid(r.bad)
	case app == "":
		return c.refuse(-2001)
	}
	if known, ok := s.apps[app]; !s.open && (!ok || known.Product == Alimtalk) {
		return c.refuse(-1002)
	}
	f := s.fixtures
	f.mu.Lock()
	defer f.mu.Unlock()
	f.linked[c.app] = app
	for k, x := range f.senders {
		x.Resend, x.ResendAppKey, x.ResendSendNo = false, "", ""
		f.senders[k] = x
	}
	return c.refuse(0)
}

// setFailback switches provider resend of one channel.
func (s *Simulator) setFailback(c *call) answer {
	var key, no string
	var on tri
	r, ok := newReader(c.req.body)
	if !ok {
		return c.refuse(-9997)
	}
	r.object("body", func(name string) {
		switch name {
		case "senderKey":
			key = r.text(name)
		case "isResend":
			on = r.boolean(name)
		case "resendSendNo":
			no = r.text(name)
		default:
			r.other(name)
		}
	})
	if r.bad != "" {
		return c.invalid(r.bad)
	}
	x, known := s.fixtures.sender(key)
	switch {
	case key == "" || on == unset:
		return c.refuse(-2001)
	case !known:
		return c.refuse(-2017)
	}
	if _, registered := s.fixtures.sendNo(no); on == yes && !registered {
		return c.refuse(-1003)
	}
	x.Resend, x.ResendSendNo, x.ResendAppKey = on == yes, no, s.fixtures.link(c.app)
	if err := s.fixtures.addSender(x); err != nil {
		return c.refuse(-2017)
	}
	return c.refuse(0)
}
