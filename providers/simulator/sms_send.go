package simulator

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// sendSMS serves the five ways to send a text.
func sendSMS(k kind, ad bool) func(*Simulator, *call) answer {
	return func(s *Simulator, c *call) answer {
		q, ok := readSMS(c.req.body)
		if len(q.recipients) > 0 {
			c.first = q.recipients[0].number()
		}
		if a, hit := s.recipientFault(c, q.numbers); hit {
			return a
		}
		// SMS v3.0 has no idempotency key: the header means nothing here.
		if c.req.header.Get(idempotencyField) != "" {
			c.warn(idempotencyField)
		}
		if !ok {
			return c.refuse(-9997)
		}
		b, a, ok := s.smsBatch(c, k, ad, &q)
		if !ok {
			return a
		}
		id, accepted := s.accept(c, &b)
		return c.smsAnswer(&b, &q, id, accepted)
	}
}

// smsBatch validates a request; the answer counts when it reports false.
func (s *Simulator) smsBatch(c *call, k kind, ad bool, q *smsRequest) (b batch, a answer, ok bool) {
	if q.bad != "" {
		return b, c.invalid(q.bad), false
	}
	c.warnings = append(c.warnings, q.unknown...)
	if field := q.tooLong(); field != "" {
		return b, c.invalid(field), false
	}
	key := ""
	if len(q.recipients) > 0 {
		key = q.recipients[0].key
	}
	wait, code := s.schedulable(c, q.requestDate)
	if code == 0 {
		code = s.smsText(c, k, q, key)
	}
	adNo := ""
	if code == 0 {
		code, adNo = s.adText(c, k, ad, q, key)
	}
	if code != 0 {
		return b, c.refuse(code), false
	}
	text, title, cut := q.shown(k)
	size, _ := eucBytes(text)
	b.drafts = make([]draft, len(q.recipients))
	accepted, sendAt := 0, c.at.Add(wait)
	for i := range q.recipients {
		p, d := &q.recipients[i], &b.drafts[i]
		d.m = message{
			kind: k, ad: ad, sender: q.sendNo, senderGroup: q.senderGroup, user: q.userID,
			recipient: p.number(), key: p.key, title: title, text: text, bytes: uint16(size), truncated: cut,
		}
		if cut {
			d.breach = append(d.breach, Truncated)
		}
		d.refuse = s.smsRecipient(sendAt, d, p, adNo)
		if d.refuse == 0 {
			d.plan = s.planFor(c, k, d.m.recipient)
			d.refuse = d.plan.refuse
		}
		if d.refuse == 0 {
			accepted++
			s.smsBlocks(c, d, q, sendAt)
		}
		d.plan.release += wait
		if wait > 0 {
			d.m.state, d.m.requested = reserved, c.scheduled(q.requestDate)
		}
	}
	if !s.quotas.take("sms/"+c.app, c.at.In(kst).Format("2006-01"), accepted, c.set.rules.SMSMonthly) {
		return b, c.refuse(-2052), false
	}
	return b, a, true
}

// tooLong names the first field beyond its documented length (code 4).
func (q *smsRequest) tooLong() string {
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"sendNo", q.sendNo, 13},
		{"senderGroupingKey", q.senderGroup, 100},
		{"userId", q.userID, 100},
		{"statsId", q.statsID, 10},
		{"templateId", q.templateID, 50},
		{"originCode", q.originCode, 9},
	} {
		if len(f.value) > f.limit && utf8.RuneCountInString(f.value) > f.limit {
			return f.name
		}
	}
	for i := range q.recipients {
		if p := &q.recipients[i]; len(p.key) > 100 && utf8.RuneCountInString(p.key) > 100 {
			return "recipientGroupingKey"
		}
	}
	return ""
}

// smsText checks the parts of a request that all its recipients share.
func (s *Simulator) smsText(c *call, k kind, q *smsRequest, key string) int {
	chars := smsChars
	if k == kindLMS {
		chars = lmsChars
	}
	if c.set.rules.AltChars {
		q.body, q.title = eucReplace(q.body), eucReplace(q.title)
	}
	_, bodyOK := eucBytes(q.body)
	_, titleOK := eucBytes(q.title)
	no, known := s.fixtures.sendNo(strings.ReplaceAll(q.sendNo, "-", ""))
	switch {
	case len(q.recipients) == 0:
		return -2001
	case len(q.recipients) > maxRecipients:
		c.violate(s, TooManyRecipients, key)
		return -2016
	case q.attachments > 0:
		return -2004
	case q.templateID != "":
		return -2110
	case q.body == "" || k == kindLMS && q.title == "":
		return -2014
	case utf8.RuneCountInString(q.body) > chars || utf8.RuneCountInString(q.title) > titleChars:
		return -2015
	case !bodyOK || k == kindLMS && !titleOK:
		c.violate(s, Unencodable, key)
		return -2023
	case !known:
		c.violate(s, UnregisteredSendNo, key)
		return -2312
	case no.Blocked:
		return -2313
	}
	q.sendNo = no.No
	return 0
}

// adEnd is the last line that an ad text must have; spaces, hyphens and
// brackets are taken out before.
var (
	adEnd   = regexp.MustCompile(`무료(?:수신)?거부(080\d{7,8})$`)
	adNoise = strings.NewReplacer(" ", "", "-", "", "[", "", "]", "", "\n", "", "\r", "", "\t", "")
)

// adText checks what advertisements and authentications must say.
func (s *Simulator) adText(c *call, k kind, ad bool, q *smsRequest, key string) (code int, adNo string) {
	opened := strings.HasPrefix(q.body, "(광고)")
	switch {
	case k == kindAuth && !authText(q.body):
		return -8000, ""
	case !ad && opened:
		c.violate(s, AdElsewhere, key)
		return 0, ""
	case !ad:
		return 0, ""
	}
	m := adEnd.FindStringSubmatch(adNoise.Replace(q.body))
	if !opened || m == nil {
		c.violate(s, AdFurniture, key)
		return -6003, ""
	}
	if !s.fixtures.adInUse(m[1]) {
		return -6004, ""
	}
	return 0, m[1]
}

// shown returns what a handset shows of the text and whether that is less
// than was asked for.
func (q *smsRequest) shown(k kind) (text, title string, cut bool) {
	if k != kindLMS {
		text = eucCut(q.body, smsBytes)
		return text, "", text != q.body
	}
	text, title = eucCut(q.body, lmsBytes), eucCut(q.title, titleBytes)
	return text, title, text != q.body || title != q.title
}

// smsRecipient checks one recipient and returns the code of its refusal.
func (s *Simulator) smsRecipient(sendAt time.Time, d *draft, p *smsRecipient, adNo string) int {
	no := d.m.recipient
	switch {
	case p.no == "" && p.international == "":
		return -2018
	case len(p.no) > 20 || len(p.international) > 20 || !mobile(no) && !foreign(no):
		return -2019
	case foreign(no) && d.m.kind == kindLMS:
		return -2024
	case !d.m.ad:
		return 0
	}
	if h := sendAt.In(kst).Hour(); (h >= 21 || h < 8) && !s.fixtures.nightConsent(no) {
		d.breach = append(d.breach, AdAtNight)
	}
	if s.fixtures.refuses(adNo, no) {
		d.breach = append(d.breach, AfterUnsubscribe)
		return -6001
	}
	return 0
}

// smsBlocks applies the console's blocks, which strike after acceptance: the
// same text again, and ad texts out of hours.
func (s *Simulator) smsBlocks(c *call, d *draft, q *smsRequest, sendAt time.Time) {
	r := &c.set.rules
	if w := time.Duration(r.SMSDupWindow); w > 0 {
		same := strings.Join([]string{c.app, kindNames[d.m.kind], q.sendNo, d.m.recipient, q.title, q.body}, "\x00")
		if !s.texts.take(same, c.at, w) {
			d.plan = plan{}
			d.plan.report(0, "E915")
			return
		}
	}
	if !d.m.ad || r.AdLimit.From == r.AdLimit.To {
		return
	}
	until, limited := r.AdLimit.until(sendAt)
	switch {
	case !limited:
	case r.AdLimit.Resend:
		d.m.state = waiting
		d.plan.release = until
	default:
		d.plan = plan{}
		d.plan.report(0, "E919")
	}
}

// until returns how long the limit still holds at t.
func (l AdLimit) until(t time.Time) (time.Duration, bool) {
	t = t.In(kst)
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, kst)
	h := t.Hour()
	in := h >= l.From && h < l.To
	if l.From > l.To {
		in = h >= l.From || h < l.To
	}
	if !in {
		return 0, false
	}
	end := midnight.Add(time.Duration(l.To) * time.Hour)
	if !end.After(t) {
		end = end.Add(24 * time.Hour)
	}
	return end.Sub(t), true
}

// smsAnswer tells the outcome of each recipient. The header succeeds even
// when all are refused, unless the rules say otherwise.
func (c *call) smsAnswer(b *batch, q *smsRequest, id string, accepted int) answer {
	type data struct {
		RequestID string       `json:"requestId,omitempty"`
		Status    string       `json:"statusCode"`
		Group     string       `json:"senderGroupingKey,omitempty"`
		Results   []sendResult `json:"sendResultList"`
	}
	var out struct {
		Header header `json:"header"`
		Body   struct {
			Data data `json:"data"`
		} `json:"body"`
	}
	out.Header = headerOf(SMS, 0)
	if accepted == 0 && len(b.drafts) == 1 && c.set.rules.SMSRejectInHeader {
		out.Header = headerOf(SMS, b.drafts[0].refuse)
	}
	d := &out.Body.Data
	if c.fault != faultNoID {
		d.RequestID = id
	}
	d.Status, d.Group = "2", q.senderGroup
	if accepted == 0 {
		d.Status = "3"
	}
	d.Results = make([]sendResult, len(b.drafts))
	for i := range b.drafts {
		x := &b.drafts[i]
		no := q.recipients[i].no
		if no == "" {
			no = q.recipients[i].international
		}
		d.Results[i] = sendResult{no, x.refuse, smsAnswers[x.refuse], i + 1, x.m.key}
	}
	a := reply(out.Header.Code, out)
	if out.Header.Code != 0 {
		return c.failed(a)
	}
	return a
}
