package simulator

import (
	"strings"
	"time"
)

// draft is one recipient of a valid request.
type draft struct {
	m      message
	refuse int // the answer's code for this recipient; 0 accepts
	plan   plan
	breach []Breach
}

// batch is a valid request, ready to be accepted.
type batch struct {
	drafts []draft
	// idempotencyKey is kept in the ledger, so that it survives a restart.
	idempotencyKey string
	source         uint32 // see message.source
}

// accept stores what is not refused and returns the request's id. Everything
// that the answer claims is in the ledger when it returns.
func (s *Simulator) accept(c *call, b *batch) (id string, accepted int) {
	s.mu.Lock()
	s.accepting = true
	id, accepted = s.acceptLocked(c, b)
	s.accepting = false
	c.early, s.early = s.early, nil
	mark := s.ledger.mark()
	s.mu.Unlock()
	s.ledger.wait(mark)
	return id, accepted
}

func (s *Simulator) acceptLocked(c *call, b *batch) (id string, accepted int) {
	stamp := s.store.tick(s.clock.stamp(c.at))
	first := s.store.next
	id = s.store.requestID(stamp, first)
	for i := range b.drafts {
		d := &b.drafts[i]
		for _, br := range d.breach {
			s.oracle.violate(s.violation(stamp, br, c.app, d.m.key, id))
		}
		if d.refuse != 0 {
			continue
		}
		accepted++
		d.m.created, d.m.first, d.m.seq, d.m.source = stamp, first, uint16(i+1), b.source
		d.m.app = c.app
		if d.m.requested == 0 {
			d.m.requested = stamp
		}
		s.admit(c.at, id, d, b.idempotencyKey)
	}
	if accepted == 0 {
		s.store.add(message{created: stamp, first: first, state: void})
	}
	return id, accepted
}

func (s *Simulator) violation(stamp int64, b Breach, app, key, id string) Violation {
	return Violation{At: time.Unix(0, stamp).In(kst), Breach: b, AppKey: app, GroupingKey: strings.Clone(key), RequestID: id}
}

// admit stores one accepted message, judges it and starts its plan.
func (s *Simulator) admit(at time.Time, id string, d *draft, key string) {
	m := &d.m
	m.app, m.sender, m.template = s.names.get(m.app), s.names.get(m.sender), s.names.get(m.template)
	m.senderGroup, m.user = s.names.get(m.senderGroup), s.names.get(m.user)
	m.pack()
	if m.key != "" {
		m.root = s.oracle.rootHash(m.key)
	}
	base := at.Add(d.plan.release)
	n := s.store.add(*m)
	for _, br := range s.oracle.accepted(m) {
		s.oracle.violate(s.violation(m.created, br, m.app, m.key, id))
	}
	s.count.accepted(m.kind)
	s.ledger.accepted(s, at, n, m, d.plan, base, key)
	s.start(n, d.plan, base)
}

// start schedules what a message's plan holds, counted from base.
func (s *Simulator) start(n uint32, p plan, base time.Time) {
	if m := s.store.get(n); m.held() {
		s.schedule(base.UnixNano(), func(int64) {
			if m := s.store.get(n); m != nil && m.held() {
				m.state = open
				s.start(n, p, base)
			}
		})
		return
	}
	for _, r := range p.reports[:p.n] {
		due := base.Add(r.after)
		if r.after <= 0 {
			s.result(n, r.code, p.hook, base)
			continue
		}
		s.schedule(due.UnixNano(), func(int64) { s.result(n, r.code, p.hook, due) })
	}
}

// result applies a report: the message's state, the ledger, the oracle,
// provider resend and the webhook. mu is held.
func (s *Simulator) result(n uint32, code string, hook anomaly, due time.Time) {
	m := s.store.get(n)
	if m == nil || m.state == cancelled {
		return
	}
	was, is := m.state, verdict(m.kind.product(), code)
	if code == "E919" && m.ad {
		is = failedAd
	}
	m.code = code
	s.store.settle(n, m, is, s.clock.stamp(due))
	s.oracle.changed(m, was, is)
	s.count.result(m.kind, code)
	s.ledger.result(s, due, n, m)
	s.followUp(n, m, due)
	s.hook(n, m, hook, due)
}

// names interns the strings that many messages share. Guarded by
// Simulator.mu.
type names map[string]string

const maxNames = 10_000

func (t names) get(s string) string {
	if s == "" {
		return ""
	}
	if v, ok := t[s]; ok {
		return v
	}
	s = strings.Clone(s)
	if len(t) < maxNames {
		t[s] = s
	}
	return s
}
