package simulator

import (
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"
)

// Entry is one accepted message: what the handset shows, or would.
type Entry struct {
	At          time.Time `json:"at"`
	AppKey      string    `json:"app_key"`
	RecipientNo string    `json:"recipient_no"`
	// Channel is "kakao" or "sms"; Product is alimtalk, alimtalk_auth, sms,
	// lms or auth.
	Channel   string `json:"channel"`
	Product   string `json:"product"`
	Sender    string `json:"sender"`
	Template  string `json:"template,omitempty"`
	Title     string `json:"title,omitempty"`
	Text      string `json:"text"`
	Bytes     int    `json:"bytes,omitempty"`
	Ad        bool   `json:"ad,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
	ViaResend bool   `json:"via_resend,omitempty"`
	RequestID string `json:"request_id"`
	Seq       int    `json:"seq"`
	Group     string `json:"sender_grouping_key,omitempty"`
	// GroupingKey is recipientGroupingKey.
	GroupingKey string `json:"grouping_key,omitempty"`
	// Status is open, delivered, unconfirmed, failed, duplicated, failed_ad,
	// reserved, waiting or cancelled.
	Status   string    `json:"status"`
	Code     string    `json:"code,omitempty"`
	ResultAt time.Time `json:"result_at,omitzero"`
}

var stateNames = [...]string{
	open: "open", reserved: "reserved", waiting: "waiting", delivered: "delivered", unconfirmed: "unconfirmed",
	failed: "failed", duplicated: "duplicated", failedAd: "failed_ad", cancelled: "cancelled",
}

// Visible reports whether the patient has the message or may yet get it.
func (e *Entry) Visible() bool {
	switch e.Status {
	case "failed", "duplicated", "failed_ad", "cancelled":
		return false
	}
	return true
}

// entry describes a stored message. mu is held.
func (s *Simulator) entry(m *message) Entry {
	e := Entry{
		At: time.Unix(0, m.created).In(kst), AppKey: m.app, RecipientNo: m.recipient,
		Channel: "kakao", Product: kindNames[m.kind], Sender: m.sender, Template: m.template,
		Title: m.title, Text: m.text, Bytes: int(m.bytes), Ad: m.ad, Truncated: m.truncated, ViaResend: m.viaResend,
		RequestID: s.store.requestID(m.created, m.first), Seq: int(m.seq), Group: m.senderGroup, GroupingKey: m.key,
		Status: stateNames[m.state], Code: m.code,
	}
	if m.kind.product() == SMS {
		e.Channel = "sms"
	}
	if m.updated != 0 {
		e.ResultAt = time.Unix(0, m.updated).In(kst)
	}
	return e
}

// Ledger returns every accepted message that is kept, oldest first.
func (s *Simulator) Ledger() []Entry {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries(func(*message) bool { return true })
}

func (s *Simulator) entries(want func(*message) bool) []Entry {
	var es []Entry
	for n := s.store.dropped; n < s.store.next; n++ {
		if m := s.store.get(n); m != nil && m.state != void && want(m) {
			es = append(es, s.entry(m))
		}
	}
	return es
}

// line is one line of the ledger's file: an Entry, and what a restart needs
// besides. Result lines hold only the request id, seq and the result.
type line struct {
	Event string `json:"event"` // open, accepted, result, reset
	Entry
	Restore restore `json:"restore"`
}

// restore is what a restart needs to go on as if it had not happened. Times
// are nanoseconds since 1970; Virtual and Due are virtual.
type restore struct {
	N         uint32     `json:"n"`
	First     uint32     `json:"first"`
	Virtual   int64      `json:"virtual,omitempty"`
	Salt      uint64     `json:"salt,omitempty"` // of the open line
	User      string     `json:"user,omitempty"`
	Requested int64      `json:"requested,omitempty"`
	Base      int64      `json:"base,omitempty"`
	Due       []due      `json:"due,omitempty"`
	Hook      anomaly    `json:"hook,omitempty"`
	Key       string     `json:"key,omitempty"`
	KeyGlobal bool       `json:"key_global,omitempty"`
	KeyUntil  int64      `json:"key_until,omitempty"`
	Source    uint32     `json:"source,omitempty"`
	Resend    *resendRow `json:"resend,omitempty"`
}

type due struct {
	After time.Duration `json:"after"`
	Code  string        `json:"code"`
}

type resendRow struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title,omitempty"`
	Text   string `json:"text,omitempty"`
	SendNo string `json:"send_no,omitempty"`
}

// ledger writes lines as things happen. Its methods but wait are called with
// Simulator.mu held.
type ledger struct {
	w      io.Writer
	file   *os.File // nil without Open
	sync   bool
	failed chan error

	mu      sync.Mutex // guards what follows
	written uint64
	synced  uint64
	syncing chan struct{} // closed when the sync under way ends
}

func newLedger(w io.Writer) *ledger { return &ledger{w: w, failed: make(chan error, 1)} }

func (l *ledger) off() bool { return l.w == nil && l.file == nil }

func (l *ledger) write(v line) {
	b, err := json.Marshal(v)
	if err == nil && l.w != nil {
		_, err = l.w.Write(append(b, '\n'))
	}
	if err == nil && l.file != nil {
		_, err = l.file.Write(append(b, '\n'))
		l.mu.Lock()
		l.written++
		l.mu.Unlock()
	}
	if err != nil {
		l.fail(err)
	}
}

// fail makes Run return the error: a gateway that cannot keep its ledger must
// not go on as if it could.
func (l *ledger) fail(err error) {
	select {
	case l.failed <- err:
	default:
	}
}

func (l *ledger) accepted(s *Simulator, at time.Time, n uint32, m *message, p plan, base time.Time, key string) {
	if l.off() {
		return
	}
	v := line{Event: "accepted", Entry: s.entry(m), Restore: restore{
		N: n, First: m.first, Virtual: at.UnixNano(), User: m.user, Requested: m.requested, Base: base.UnixNano(),
		Hook: p.hook, Source: m.source,
	}}
	for _, r := range p.reports[:p.n] {
		v.Restore.Due = append(v.Restore.Due, due{r.after, r.code})
	}
	if key != "" {
		rules := &s.set.Load().rules
		v.Restore.Key, v.Restore.KeyGlobal = key, rules.KeyGlobal
		v.Restore.KeyUntil = at.Add(rules.keyWindow()).UnixNano()
	}
	if r := m.resend; r != nil {
		v.Restore.Resend = &resendRow{r.typ, r.title, r.text, r.sendNo}
	}
	l.write(v)
}

func (l *ledger) result(s *Simulator, due time.Time, n uint32, m *message) {
	if l.off() {
		return
	}
	v := line{Event: "result", Entry: s.entry(m), Restore: restore{N: n, First: m.first, Virtual: due.UnixNano()}}
	v.Text, v.Title = "", ""
	l.write(v)
}

func (l *ledger) reset() {
	if !l.off() {
		l.write(line{Event: "reset"})
	}
}

// mark names everything written so far, for wait.
func (l *ledger) mark() uint64 {
	if !l.sync {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// wait returns once everything up to mark is on disk. One caller syncs for
// all that wait at that time.
func (l *ledger) wait(mark uint64) {
	for mark > 0 {
		l.mu.Lock()
		if l.synced >= mark {
			l.mu.Unlock()
			return
		}
		if under := l.syncing; under != nil {
			l.mu.Unlock()
			<-under
			continue
		}
		l.syncing = make(chan struct{})
		upto := l.written
		l.mu.Unlock()
		if err := l.file.Sync(); err != nil {
			l.fail(err)
		}
		l.mu.Lock()
		l.synced = upto
		close(l.syncing)
		l.syncing = nil
		l.mu.Unlock()
	}
}
