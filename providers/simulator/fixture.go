package simulator

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sender is a Kakao channel.
type Sender struct {
	// Key is 40 characters.
	Key string `json:"sender_key"`
	// Blocked channels fail at delivery (1007), Dormant ones are refused
	// (-1014), FirstUser ones may not use long values (-1028).
	Blocked   bool `json:"blocked,omitempty"`
	Dormant   bool `json:"dormant,omitempty"`
	FirstUser bool `json:"first_user,omitempty"`
	// Resend is the console's provider resend: on unless a request says
	// otherwise. ResendAppKey is the SMS app that sends it, ResendSendNo its
	// number.
	Resend       bool   `json:"resend,omitempty"`
	ResendAppKey string `json:"resend_app_key,omitempty"`
	ResendSendNo string `json:"resend_send_no,omitempty"`
}

// SendNo is a sender number of SMS.
type SendNo struct {
	No      string `json:"send_no"`
	Blocked bool   `json:"blocked,omitempty"`
}

// The magic sender keys and numbers. 1588-9990 is not registered.
var (
	magicSenders = []Sender{
		{Key: strings.Repeat("a", 40)},
		{Key: strings.Repeat("b", 40), Blocked: true},
		{Key: strings.Repeat("d", 40), Dormant: true},
		{Key: strings.Repeat("f", 40), FirstUser: true},
	}
	magicSendNos = []SendNo{{No: "15880000"}, {No: "15889991", Blocked: true}}
)

const (
	unregisteredNo = "15889990"
	usedAdNo       = "0808880000" // a magic 080 number in use
	endedAdNo      = "0808889990" // and one that was given up
)

// adNo is a number for refusing advertisements.
type adNo struct {
	no, status string
	blocked    map[string]time.Time // recipients by when they refused
}

// fixtures is what an NHN console would hold.
type fixtures struct {
	open    bool
	mu      sync.RWMutex
	senders map[string]Sender
	sendNos map[string]SendNo
	adNos   map[string]*adNo
	night   map[string]bool   // numbers that consented to ads at night
	linked  map[string]string // SMS app of provider resend by Alimtalk app
}

func newFixtures(c Config) *fixtures {
	f := &fixtures{
		open: c.Open, senders: make(map[string]Sender), sendNos: make(map[string]SendNo),
		night: make(map[string]bool), linked: make(map[string]string),
		adNos: map[string]*adNo{
			usedAdNo:  {no: usedAdNo, status: "USED", blocked: make(map[string]time.Time)},
			endedAdNo: {no: endedAdNo, status: "TERMINATE", blocked: make(map[string]time.Time)},
		},
	}
	for _, x := range slices.Concat(magicSenders, c.Senders) {
		_ = f.addSender(x) // checked by Config.Check
	}
	for _, x := range slices.Concat(magicSendNos, c.SendNos) {
		_ = f.addSendNo(x)
	}
	return f
}

func (x *Sender) check() error {
	if len(x.Key) != 40 {
		return errors.New("simulator: a sender key has 40 characters")
	}
	return nil
}

func (f *fixtures) addSender(x Sender) error {
	if err := x.check(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.senders[x.Key] = x
	return nil
}

func (x *SendNo) check() error {
	if !senderNo(strings.ReplaceAll(x.No, "-", "")) {
		return errors.New("simulator: a sender number has 8 to 11 digits and begins with 0, 15, 16 or 18")
	}
	return nil
}

func (f *fixtures) addSendNo(x SendNo) error {
	if err := x.check(); err != nil {
		return err
	}
	x.No = strings.ReplaceAll(x.No, "-", "")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sendNos[x.No] = x
	return nil
}

func (f *fixtures) addAdNo(no, status string) error {
	no = strings.ReplaceAll(no, "-", "")
	if !digits(no) || !strings.HasPrefix(no, "080") || len(no) < 10 || len(no) > 11 {
		return errors.New("simulator: a refusal number begins with 080 and has 10 or 11 digits")
	}
	if status == "" {
		status = "USED"
	}
	if !slices.Contains([]string{"RESERVE_USE", "USED", "TERMINATE", "EXTERNAL_REGIST", "EXTERNAL_TERMINATE"}, status) {
		return errors.New("simulator: a refusal number's status is RESERVE_USE, USED, TERMINATE, EXTERNAL_REGIST or EXTERNAL_TERMINATE")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, ok := f.adNos[no]; ok {
		a.status = status
		return nil
	}
	f.adNos[no] = &adNo{no: no, status: status, blocked: make(map[string]time.Time)}
	return nil
}

// sender returns a channel; an open gateway knows every well-formed key.
func (f *fixtures) sender(key string) (Sender, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	x, ok := f.senders[key]
	if !ok && f.open && len(key) == 40 {
		return Sender{Key: key}, true
	}
	return x, ok
}

// sendNo returns a sender number; an open gateway knows every well-formed one
// but the magic one that is not registered.
func (f *fixtures) sendNo(no string) (SendNo, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	x, ok := f.sendNos[no]
	if !ok && f.open && senderNo(no) && no != unregisteredNo {
		return SendNo{No: no}, true
	}
	return x, ok
}

// adInUse reports whether a refusal number is in use.
func (f *fixtures) adInUse(no string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	a, ok := f.adNos[no]
	return ok && (a.status == "USED" || a.status == "EXTERNAL_REGIST")
}

// refuses reports whether a number refused the ads of a refusal number.
func (f *fixtures) refuses(adNo, no string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	a, ok := f.adNos[adNo]
	if !ok {
		return false
	}
	_, refused := a.blocked[no]
	return refused
}

// block adds numbers to a refusal number's list; false if there is no such.
func (f *fixtures) block(adNo string, nos []string, at time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.adNos[adNo]
	if !ok {
		return false
	}
	for _, no := range nos {
		if _, known := a.blocked[national(no)]; !known {
			a.blocked[national(no)] = at
		}
	}
	return true
}

// unblock takes numbers off a refusal number's list; false if there is no
// such, or no number was on it.
func (f *fixtures) unblock(adNo string, nos []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.adNos[adNo]
	if !ok {
		return false
	}
	before := len(a.blocked)
	for _, no := range nos {
		delete(a.blocked, national(no))
	}
	return len(a.blocked) < before
}

// consent notes whether a number agreed to ads at night.
func (f *fixtures) consent(no string, night bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.night[national(no)] = night
}

func (f *fixtures) nightConsent(no string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.night[no]
}

// AddSender makes a Kakao channel known, in place of one with the same key.
func (s *Simulator) AddSender(x Sender) error { return s.fixtures.addSender(x) }

// AddSendNo makes a sender number of SMS known, in place of the same number.
func (s *Simulator) AddSendNo(x SendNo) error { return s.fixtures.addSendNo(x) }
