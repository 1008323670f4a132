package simulator

import (
	"hash/maphash"
	"time"
)

// Breach is a kind of violation.
type Breach string

// The breaches. The first two are the oracle's: Kakao and SMS of one root
// (the grouping key up to its first colon) are one logical message.
const (
	// DoubleDelivery: a message was accepted while another of the same root
	// was delivered, or could still be for all the gateway had said.
	DoubleDelivery Breach = "double_delivery"
	// DoubleAccept: a second message of the same root and channel was
	// accepted, whatever became of the first.
	DoubleAccept Breach = "double_accept"
	// MissingIsResend: an Alimtalk recipient without an explicit
	// resendParameter.isResend, so that the console's setting decides.
	MissingIsResend Breach = "missing_is_resend"
	// UnregisteredSendNo: a text from a number that is not registered.
	UnregisteredSendNo Breach = "unregistered_send_no"
	// Truncated: a text longer than its type carries; the tail is cut.
	Truncated Breach = "truncated"
	// Unencodable: a text with a character that EUC-KR lacks.
	Unencodable Breach = "unencodable"
	// TooManyRecipients: more than 1,000 in one request.
	TooManyRecipients Breach = "too_many_recipients"
	// SecretInQuery: the secret, or a parameter named like it, in the URL.
	SecretInQuery Breach = "secret_in_query"
	// AdElsewhere: an advertisement outside the ad endpoints.
	AdElsewhere Breach = "ad_on_plain_endpoint"
	// AdFurniture: an ad text without (광고) or its 080 line.
	AdFurniture Breach = "ad_without_furniture"
	// AdAtNight: an ad text between 21:00 and 08:00 in Korea to a number
	// without night consent (POST /__sim/consents).
	AdAtNight Breach = "ad_at_night"
	// AfterUnsubscribe: an ad text to a number on the 080 block list.
	AfterUnsubscribe Breach = "after_unsubscribe"
)

// Violation is one breach. It names requests and keys, never a patient.
type Violation struct {
	At          time.Time `json:"at"`
	Breach      Breach    `json:"breach"`
	AppKey      string    `json:"app_key"`
	GroupingKey string    `json:"grouping_key,omitempty"`
	RequestID   string    `json:"request_id,omitempty"`
}

// maxViolations caps what is kept; Stats counts all.
const maxViolations = 10_000

// tally counts the accepted messages of one root by channel, up to maxTally.
type tally struct {
	live, dead [2]uint8
}

const maxTally = 255

// oracle judges acceptances. It keeps a few bytes per root for ever, also
// when the messages are dropped. Guarded by Simulator.mu.
type oracle struct {
	hash       maphash.Seed
	roots      map[uint64]tally
	violations []Violation
	count      map[Breach]int
	anomalies  int
}

func newOracle() *oracle {
	return &oracle{hash: maphash.MakeSeed(), roots: make(map[uint64]tally), count: make(map[Breach]int)}
}

func (o *oracle) rootHash(key string) uint64 { return maphash.String(o.hash, rootOf(key)) }

// accepted judges a message before it is counted among its root's.
func (o *oracle) accepted(m *message) (bs []Breach) {
	if m.key == "" {
		return nil
	}
	t, ch := o.roots[m.root], m.kind.channel()
	if t.live[ch]+t.dead[ch] > 0 {
		bs = append(bs, DoubleAccept)
	}
	if t.live[0]+t.live[1] > 0 {
		bs = append(bs, DoubleDelivery)
	}
	if t.live[ch] < maxTally {
		t.live[ch]++
	}
	o.roots[m.root] = t
	return bs
}

// changed follows a message from one state to another. A message that comes
// back to life after a failure was reported is the gateway contradicting
// itself: an anomaly, not a breach by the client.
func (o *oracle) changed(m *message, was, is state) {
	if m.key == "" || was.live() == is.live() {
		return
	}
	t, ch := o.roots[m.root], m.kind.channel()
	from, to := &t.live[ch], &t.dead[ch]
	if is.live() {
		o.anomalies++
		from, to = to, from
	}
	if *from > 0 && *to < maxTally {
		*from--
		*to++
	}
	o.roots[m.root] = t
}

// violate records a breach.
func (o *oracle) violate(v Violation) {
	o.count[v.Breach]++
	if len(o.violations) < maxViolations {
		o.violations = append(o.violations, v)
	}
}

// Violations returns the breaches so far, oldest first, at most 10,000.
func (s *Simulator) Violations() []Violation {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Violation(nil), s.oracle.violations...)
}

// violate records a breach by a request that names no message yet.
func (c *call) violate(s *Simulator, b Breach, key string) {
	v := Violation{At: time.Unix(0, s.clock.stamp(c.at)).In(kst), Breach: b, AppKey: c.app, GroupingKey: key}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oracle.violate(v)
}
