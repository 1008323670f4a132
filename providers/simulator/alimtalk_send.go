package simulator

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the Alimtalk guide.
const (
	maxRecipients    = 1000
	alimtalkChars    = 1300 // release notes of 2025-10-28
	maxAhead         = 60 * 24 * time.Hour
	firstUserGrowth  = 14                         // characters a value may outgrow its placeholder by
	idempotencyField = "X-Nc-Api-Idempotency-Key" // in the canonical form of net/http
)

// sendResult is the answer's word on one recipient, the same in both products.
type sendResult struct {
	No      string `json:"recipientNo"`
	Code    int    `json:"resultCode"`
	Message string `json:"resultMessage"`
	Seq     int    `json:"recipientSeq"`
	Key     string `json:"recipientGroupingKey,omitempty"`
}

// sendAlimtalk serves the four ways to send: parameters or whole text, normal
// or authentication.
func sendAlimtalk(k kind, raw bool) func(*Simulator, *call) answer {
	return func(s *Simulator, c *call) answer {
		q, ok := readAlimtalk(c.req.body)
		if len(q.recipients) > 0 {
			c.first = national(q.recipients[0].no)
		}
		if a, hit := s.recipientFault(c, q.numbers); hit {
			return a
		}
		key := c.req.header.Get(idempotencyField)
		scoped := c.app + "\x00" + key
		if c.set.rules.KeyGlobal {
			scoped = key
		}
		if key != "" && !s.keys.take(scoped, c.at, c.set.rules.keyWindow()) {
			return c.refuse(-1005)
		}
		if !ok {
			return s.refused(c, key, scoped, c.refuse(-9997))
		}
		b, a, ok := s.alimtalkBatch(c, k, raw, &q)
		if !ok {
			return s.refused(c, key, scoped, a)
		}
		b.idempotencyKey = key
		id, accepted := s.accept(c, &b)
		s.resendRefused(c, &b, q.senderKey)
		a = c.alimtalkAnswer(&b, &q, id, accepted)
		if accepted == 0 {
			return s.refused(c, key, scoped, a)
		}
		return a
	}
}

// refused frees the request's idempotency key, unless refusals use keys up.
func (s *Simulator) refused(c *call, key, scoped string, a answer) answer {
	if key != "" && !c.set.rules.ConsumeOnReject {
		s.keys.release(scoped)
	}
	return a
}

// alimtalkBatch validates a request; the answer counts when it reports false.
func (s *Simulator) alimtalkBatch(c *call, k kind, raw bool, q *alimtalkRequest) (b batch, a answer, ok bool) {
	if q.bad != "" {
		return b, c.invalid(q.bad), false
	}
	c.warnings = append(c.warnings, q.unknown...)
	if code := q.limits(); code != 0 {
		if code == -2004 && len(q.recipients) > maxRecipients {
			c.violate(s, TooManyRecipients, q.recipients[0].key)
		}
		return b, c.refuse(code), false
	}
	wait, code := s.schedulable(c, q.requestDate)
	if code != 0 {
		return b, c.refuse(code), false
	}
	sender, known := s.fixtures.sender(q.senderKey)
	switch {
	case !known:
		return b, c.refuse(-2017), false
	case sender.Dormant:
		return b, c.refuse(-1014), false
	}
	t, known := s.templates.find(q.senderKey, q.templateCode)
	switch {
	case !known:
		return b, c.refuse(-3003), false
	case !t.sendable():
		return b, c.refuse(-3005), false
	}
	b.drafts = make([]draft, len(q.recipients))
	for i := range q.recipients {
		p, d := &q.recipients[i], &b.drafts[i]
		d.m = message{
			kind: k, sender: q.senderKey, template: q.templateCode, senderGroup: q.senderGroup, user: q.createUser,
			recipient: national(p.no), key: p.key,
		}
		if p.resend.isResend == unset {
			d.breach = append(d.breach, MissingIsResend)
		}
		if p.resend.isResend == yes && !sender.Resend {
			return b, c.refuse(-2502), false
		}
		if p.resend.isResend == yes || p.resend.isResend == unset && sender.Resend {
			d.m.resend = &resending{want: true, typ: p.resend.typ, title: p.resend.title, text: p.resend.content, sendNo: p.resend.sendNo, status: 2}
		}
		d.m.text, d.refuse = t.render(p, raw, sender.FirstUser)
		switch {
		case d.refuse != 0:
		case k == kindAlimtalkAuth && !authText(d.m.text):
			d.refuse = -8006
		case !mobile(d.m.recipient) && !foreign(d.m.recipient) || len(p.no) > 15:
			d.refuse = -5000
		default:
			s.alimtalkPlan(c, d, sender, t)
		}
		d.plan.release = wait
		if wait > 0 {
			d.m.state, d.m.requested = reserved, c.scheduled(q.requestDate)
		}
	}
	return b, a, true
}

// limits checks the request's own fields and returns the code of the refusal.
func (q *alimtalkRequest) limits() int {
	switch {
	case q.senderKey == "" || q.templateCode == "" || len(q.recipients) == 0:
		return -2001
	case len(q.senderKey) > 40 || utf8.RuneCountInString(q.templateCode) > 20 ||
		utf8.RuneCountInString(q.senderGroup) > 100 || len(q.statsID) > 8:
		return -2000
	case len(q.recipients) > maxRecipients:
		return -2004
	}
	for i := range q.recipients {
		if utf8.RuneCountInString(q.recipients[i].key) > 100 {
			return -2000
		}
	}
	return 0
}

// alimtalkPlan draws what becomes of a recipient whose request is in order.
func (s *Simulator) alimtalkPlan(c *call, d *draft, sender Sender, t *template) {
	d.plan = s.planFor(c, d.m.kind, d.m.recipient)
	d.refuse = d.plan.refuse
	if d.refuse != 0 {
		return
	}
	override := ""
	switch {
	case sender.Blocked:
		override = "1007"
	case t.Stopped:
		override = "4133"
	case !s.quotas.take("kakao/"+d.m.sender, c.at.In(kst).Format(time.DateOnly), 1, c.set.rules.KakaoDaily):
		override = c.set.rules.dailyCode()
	}
	if override != "" {
		d.plan.reports[0].code, d.plan.n = override, 1
	}
}

// alimtalkAnswer tells the outcome of each recipient; when all are refused
// the header says -1031.
func (c *call) alimtalkAnswer(b *batch, q *alimtalkRequest, id string, accepted int) answer {
	out := struct {
		Header  header `json:"header"`
		Message struct {
			RequestID string       `json:"requestId,omitempty"`
			Group     string       `json:"senderGroupingKey,omitempty"`
			Results   []sendResult `json:"sendResults"`
		} `json:"message"`
	}{Header: headerOf(Alimtalk, 0)}
	if accepted == 0 {
		out.Header = headerOf(Alimtalk, -1031)
	}
	if c.fault != faultNoID {
		out.Message.RequestID = id
	}
	out.Message.Group = q.senderGroup
	out.Message.Results = make([]sendResult, len(b.drafts))
	for i := range b.drafts {
		d := &b.drafts[i]
		out.Message.Results[i] = sendResult{q.recipients[i].no, d.refuse, alimtalkAnswers[d.refuse], i + 1, d.m.key}
	}
	a := reply(out.Header.Code, out)
	if accepted == 0 {
		return c.failed(a)
	}
	return a
}

// authWords are what an authentication text must contain one of
// (alimtalk-api-guide; SMS spells "verify" out).
var authWords = []string{"auth", "password", "verif", "にんしょう", "認証", "비밀번호", "인증"}

func authText(s string) bool {
	s = strings.ToLower(s)
	for _, w := range authWords {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// schedulable returns how long, in virtual time, a request for a date waits;
// code is the refusal of a date that is none.
func (s *Simulator) schedulable(c *call, date string) (wait time.Duration, code int) {
	format, past, far := -2027, -2025, -2026
	if c.product == SMS {
		format, past, far = -2000, -2022, -2000
	}
	if date == "" {
		return 0, 0
	}
	t, err := time.ParseInLocation(formMinute, date, kst)
	if err != nil {
		return 0, format
	}
	now := time.Unix(0, s.clock.stamp(c.at))
	ahead := t.Sub(now)
	switch {
	case ahead < -time.Minute: // the date has no seconds: the present minute is not past
		return 0, past
	case ahead > maxAhead:
		return 0, far
	case s.clock.real: // the date is by the wall clock, the wait in virtual time
		return times(max(ahead, 0), s.clock.state.Load().scale), 0
	}
	return max(ahead, 0), 0
}

// scheduled returns the stamp of a date that schedulable has checked.
func (c *call) scheduled(date string) int64 {
	t, _ := time.ParseInLocation(formMinute, date, kst)
	return t.UnixNano()
}
