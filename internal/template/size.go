package template

import (
	"errors"
	"fmt"
	"strings"
)

// What one message can carry.
const (
	// MaxSMS is the most bytes of a short message's body (NHN SMS v3.0). The
	// gateway stores more and cuts the tail, so that we must not send more.
	MaxSMS = 90
	// MaxLMS is the most bytes of a long message's body.
	MaxLMS = 2000
	// MaxTitle is the most bytes of a long message's title.
	MaxTitle = 40
	// MaxAlimtalk is the most characters of an Alimtalk body (Kakao's policy).
	MaxAlimtalk = 1000
)

// Kind is how a text message is sent, which is also what it costs.
type Kind string

// The kinds of text message.
const (
	SMS Kind = "sms" // up to 90 bytes
	LMS Kind = "lms" // up to 2,000 bytes, with a title
)

// Why a text is no message at all.
var (
	// ErrEmpty means that there is nothing to see.
	ErrEmpty = errors.New("template: the message is empty; write some text")
	// ErrLines means a title of several lines.
	ErrLines = errors.New("template: a title is one line; remove line breaks and tabs")
)

// SizeError means that a message, after substitution, is longer than its
// channel carries. Nothing is ever cut.
type SizeError struct {
	Part  string // "text message", "title" or "Alimtalk"
	Unit  string // "bytes" (EUC-KR) or "characters"
	Size  int
	Limit int
}

// Error says by how much to shorten what.
func (e *SizeError) Error() string {
	return fmt.Sprintf("template: the %s is %d %s long; shorten it to %d", e.Part, e.Size, e.Unit, e.Limit)
}

// UnencodableError means that a text message contains characters that SMS
// cannot carry. Runes may come from a patient's data: show them to the author,
// never log them; the error's text only counts them.
type UnencodableError struct {
	Runes []rune // distinct, in the order of appearance
}

// Error counts the characters.
func (e *UnencodableError) Error() string {
	return fmt.Sprintf("template: %d different characters cannot be sent by SMS (EUC-KR); replace them", len(e.Runes))
}

// SMSKind chooses how to send body, as it stands after substitution and with
// its (광고) furniture: [SMS] up to 90 bytes of EUC-KR, [LMS] up to 2,000. It
// returns [ErrEmpty], an [*UnencodableError] or a [*SizeError]. Pass body
// through [Sanitize] first.
func SMSKind(body string) (Kind, error) {
	n, err := measure(body)
	switch {
	case err != nil:
		return "", err
	case n <= MaxSMS:
		return SMS, nil
	case n <= MaxLMS:
		return LMS, nil
	}
	return "", &SizeError{"text message", "bytes", n, MaxLMS}
}

// CheckTitle reports why title cannot be the title of an [LMS]: it must be one
// line of at most 40 bytes. Its errors are those of [SMSKind] and [ErrLines].
func CheckTitle(title string) error {
	n, err := measure(title)
	switch {
	case err != nil:
		return err
	case strings.ContainsAny(title, "\n\r\t"):
		return ErrLines
	case n > MaxTitle:
		return &SizeError{"title", "bytes", n, MaxTitle}
	}
	return nil
}

// CheckAlimtalk reports why body, after substitution, cannot be an Alimtalk: it
// must not be blank nor longer than 1,000 characters. Kakao does not say what
// one is; UTF-16 units never count too few.
func CheckAlimtalk(body string) error {
	if isBlank(body) {
		return ErrEmpty
	}
	n := 0
	for _, r := range body {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	if n > MaxAlimtalk {
		return &SizeError{"Alimtalk", "characters", n, MaxAlimtalk}
	}
	return nil
}

// measure returns the EUC-KR size of a text that SMS can carry.
func measure(s string) (int, error) {
	if isBlank(s) {
		return 0, ErrEmpty
	}
	n, bad := EUCKRBytes(s)
	if len(bad) > 0 {
		return 0, &UnencodableError{bad}
	}
	return n, nil
}
