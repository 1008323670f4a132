package simulator

import (
	"strings"
	"time"
)

// state is what the gateway knows of an accepted message.
type state uint8

const (
	open        state = iota
	reserved          // accepted for later
	waiting           // an ad text held back until the ad hours
	delivered         // 1000
	unconfirmed       // may still arrive
	failed            // definitely not delivered
	duplicated        // suppressed by the duplicate block
	failedAd          // suppressed by the ad hours
	cancelled         // cancelled while reserved
	void              // an unused number: every recipient was refused
)

// settled reports whether no further result is expected.
func (st state) settled() bool { return st > waiting }

// live reports whether the handset has the message or may yet get it.
func (st state) live() bool { return st <= unconfirmed }

// kind is what was sent, in the terms of the two products.
type kind uint8

const (
	kindAlimtalk kind = iota
	kindAlimtalkAuth
	kindSMS
	kindLMS
	kindAuth
)

func (k kind) product() Product {
	if k <= kindAlimtalkAuth {
		return Alimtalk
	}
	return SMS
}

// channel is 0 for Kakao and 1 for SMS, for the oracle.
func (k kind) channel() int {
	if k.product() == Alimtalk {
		return 0
	}
	return 1
}

// Names of kinds: in the ledger, as SMS's messageType, sendType and webhook
// senderType.
var (
	kindNames     = [...]string{"alimtalk", "alimtalk_auth", "sms", "lms", "auth"}
	messageTypes  = [...]string{"NORMAL", "AUTH", "SMS", "LMS", "AUTH"}
	sendTypes     = [...]string{"", "", "0", "1", "2"}
	senderTypes   = [...]string{"ALIMTALK_NORMAL", "ALIMTALK_AUTH", "NORMAL_SMS", "NORMAL_LMS", "AUTH_SMS"}
	senderAdTypes = [...]string{"", "", "AD_SMS", "AD_LMS", ""}
)

// resending is the state of provider resend of one Alimtalk message.
type resending struct {
	want   bool
	typ    string // SMS, LMS or "" for by length
	title  string
	text   string
	sendNo string

	status    uint8  // the n of RSC0n
	code      string // of the text
	requestID string // of the text
}

var resendNames = [...]string{"", "대체 발송 미대상", "대체 발송 대상", "대체 발송 중", "대체 발송 성공", "대체 발송 실패"}

// message is one accepted message to one recipient. Times are what the wire
// shows, in nanoseconds since 1970. Guarded by Simulator.mu once stored.
type message struct {
	created   int64
	requested int64 // created, or the time it is scheduled for
	updated   int64 // 0 while there is no result
	root      uint64
	older     uint32 // message with the same grouping key before this one, + 1
	first     uint32 // first message of the request
	seq       uint16
	bytes     uint16
	kind      kind
	state     state
	ad        bool
	truncated bool
	viaResend bool

	app         string
	sender      string // sender key or number
	template    string
	senderGroup string
	user        string
	recipient   string
	key         string // recipientGroupingKey
	title       string
	text        string
	code        string
	resend      *resending // nil where provider resend is not wanted
	source      uint32     // the Alimtalk that this text stands for, + 1
}

// held reports whether the message has not gone out yet.
func (m *message) held() bool { return m.state == reserved || m.state == waiting }

// pack copies the strings that are the message's own into one allocation, so
// that it does not keep the whole request alive.
func (m *message) pack() {
	s := m.recipient + m.key + m.title + m.text
	n1 := len(m.recipient)
	n2 := n1 + len(m.key)
	n3 := n2 + len(m.title)
	m.recipient, m.key, m.title, m.text = s[:n1], s[n1:n2], s[n2:n3], s[n3:]
}

// rootOf returns what Kakao and SMS of one logical message have in common: the
// grouping key up to the first colon.
func rootOf(key string) string {
	root, _, _ := strings.Cut(key, ":")
	return root
}

// The forms of time on NHN's wire.
const (
	formMinute = "2006-01-02 15:04"
	formSecond = "2006-01-02 15:04:05"
	formTenth  = "2006-01-02 15:04:05.0"
	formHook   = "2006-01-02T15:04:05"
	formID     = "20060102150405"
)

// at writes a stamp in Korean time.
func at(stamp int64, form string) string { return time.Unix(0, stamp).In(kst).Format(form) }
