package nhn

import (
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/providers"
)

// maxKey is NHN's limit for both grouping keys, in characters.
const maxKey = 100

// Codes of messages that are refused here, before anything is written, because
// the gateway could only refuse them or would spoil them. They are not NHN's.
const (
	codeAccount    = "bad_account"
	codeMessage    = "bad_message"
	codeNumber     = "bad_number"
	codeTooLong    = "too_long"
	codeCharacters = "bad_characters"
	codeAbroad     = "lms_abroad"
)

// refused is the error for a message that is not written.
func refused(scope providers.Scope, code, why string) *providers.SendError {
	return &providers.SendError{Kind: providers.Rejected, Scope: scope, Code: code, Err: errors.New(why)}
}

// check refuses what neither product can send.
func (c *client) check(m *providers.Message) *providers.SendError {
	switch {
	case c.err != nil:
		return &providers.SendError{Kind: providers.Rejected, Scope: providers.Sender, Code: codeAccount, Err: c.err}
	case m.To.IsZero():
		return refused(providers.Recipient, codeNumber, "the message has no recipient")
	case m.Key == "" || len(m.Key) > maxKey || strings.ContainsFunc(m.Key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return refused(providers.Request, codeMessage, "the key is not 1 to 100 printable ASCII characters")
	}
	return nil
}

// group is the message's group within NHN's limit. It serves statistics only,
// so that a long one is cut rather than refused.
func group(m *providers.Message) string {
	if len(m.Group) <= maxKey {
		return m.Group
	}
	n := 0
	for i := range m.Group {
		if n++; n > maxKey {
			return m.Group[:i]
		}
	}
	return m.Group
}

// abroad is a foreign number as NHN takes it: its digits with country code.
func abroad(n phone.Number) string { return strings.TrimPrefix(n.E164(), "+") }

// validText reports whether no text would be altered on its way into JSON,
// where invalid UTF-8 silently becomes U+FFFD.
func validText(texts ...string) bool {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}
