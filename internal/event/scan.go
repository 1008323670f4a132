package event

import (
	"encoding/hex"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// The messages read themselves where they are exactly as this version writes
// them. scanJSON reports false for anything else, which encoding/json reads.

func (e *Trigger) scanJSON(b []byte) bool {
	s := scanner{b: b, ok: true}
	e.Tenant = tenant.ID(s.id(`{"tenant":"`))
	e.ID = s.id(`","id":"`)
	e.Kind = Kind(s.word(`","kind":"`))
	s.skip(`"`)
	e.Lease = s.number(`,"lease":`, 64)
	return s.end()
}

func (e *Step) scanJSON(b []byte) bool {
	s := scanner{b: b, ok: true}
	e.Tenant = tenant.ID(s.id(`{"tenant":"`))
	e.ID = s.id(`","id":"`)
	e.Lane = Lane(s.word(`","lane":"`))
	e.Channel = Channel(s.word(`","channel":"`))
	s.skip(`"`)
	e.Attempt = int32(s.number(`,"attempt":`, 32))
	e.PlanEpoch = int32(s.number(`,"plan_epoch":`, 32))
	e.Lease = s.number(`,"lease":`, 64)
	return s.end()
}

func (e *Delivery) scanJSON(b []byte) bool {
	s := scanner{b: b, ok: true}
	e.Tenant = tenant.ID(s.id(`{"tenant":"`))
	e.Step = s.id(`","step":"`)
	e.Channel = Channel(s.word(`","channel":"`))
	s.skip(`"`)
	e.Attempt = int32(s.number(`,"attempt":`, 32))
	e.Status = Status(s.word(`,"status":"`))
	s.skip(`"`)
	if s.at(`,"reason":"`) {
		e.Reason = Reason(s.text(`,"reason":"`))
		s.skip(`"`)
	}
	e.Source = Source(s.word(`,"source":"`))
	s.skip(`"`)
	if s.at(`,"request_id":"`) {
		e.RequestID = s.text(`,"request_id":"`)
		s.skip(`"`)
	}
	e.Seq = int(s.number(`,"seq":`, 32))
	if s.at(`,"code":"`) {
		e.Code = s.text(`,"code":"`)
		s.skip(`"`)
	}
	e.At = s.time(`,"at":"`)
	s.skip(`"`)
	if s.at(`,"final":true`) {
		s.skip(`,"final":true`)
		e.Final = true
	}
	if s.at(`,"retry_at":"`) {
		e.RetryAt = s.time(`,"retry_at":"`)
		s.skip(`"`)
	}
	return s.end()
}

// scanner walks a message; ok turns false at the first surprise.
type scanner struct {
	b  []byte
	ok bool
}

func (s *scanner) at(prefix string) bool {
	return s.ok && len(s.b) >= len(prefix) && string(s.b[:len(prefix)]) == prefix
}

func (s *scanner) skip(prefix string) bool {
	if s.ok = s.at(prefix); s.ok {
		s.b = s.b[len(prefix):]
	}
	return s.ok
}

func (s *scanner) end() bool { return s.skip("}") && len(s.b) == 0 }

// id reads 36 characters in the canonical form.
func (s *scanner) id(prefix string) (id uuid.UUID) {
	if !s.skip(prefix) || len(s.b) < 36 {
		s.ok = false
		return id
	}
	at := 0
	for i, from := range [5]int{0, 9, 14, 19, 24} {
		to := [5]int{8, 13, 18, 23, 36}[i]
		for _, c := range s.b[from:to] {
			if c >= 'A' && c <= 'F' {
				s.ok = false
			}
		}
		if n, err := hex.Decode(id[at:], s.b[from:to]); err != nil || i > 0 && s.b[from-1] != '-' {
			s.ok = false
		} else {
			at += n
		}
	}
	s.b = s.b[36:]
	return id
}

// span is what stands before the next quote, of printable ASCII only.
func (s *scanner) span(prefix string) []byte {
	if !s.skip(prefix) {
		return nil
	}
	for i, c := range s.b {
		switch {
		case c == '"':
			v := s.b[:i]
			s.b = s.b[i:]
			return v
		case c < ' ' || c > '~' || c == '\\':
			s.ok = false
			return nil
		}
	}
	s.ok = false
	return nil
}

func (s *scanner) text(prefix string) string { return string(s.span(prefix)) }

// word is text that is one of the words of this package, which need no copy.
func (s *scanner) word(prefix string) string {
	switch v := s.span(prefix); string(v) {
	case string(Webhook):
		return string(Webhook)
	case string(Kakao):
		return string(Kakao)
	case string(SMS):
		return string(SMS)
	case string(Care):
		return string(Care)
	case string(Bulk):
		return string(Bulk)
	case string(Sent):
		return string(Sent)
	case string(Delivered):
		return string(Delivered)
	case string(Answer):
		return string(Answer)
	case string(Poll):
		return string(Poll)
	default:
		return string(v)
	}
}

// number reads digits after prefix, or 0 where prefix does not stand.
func (s *scanner) number(prefix string, bits int) int64 {
	if !s.at(prefix) {
		return 0
	}
	s.skip(prefix)
	n := 0
	for n < len(s.b) && (s.b[n] >= '0' && s.b[n] <= '9' || n == 0 && s.b[n] == '-') {
		n++
	}
	v, err := strconv.ParseInt(string(s.b[:n]), 10, bits)
	if err != nil || n > 1 && (s.b[0] == '0' || s.b[0] == '-' && s.b[1] == '0') {
		s.ok = false
	}
	s.b = s.b[n:]
	return v
}

func (s *scanner) time(prefix string) (t time.Time) {
	if v := s.span(prefix); s.ok && t.UnmarshalText(v) != nil {
		s.ok = false
	}
	return t
}
