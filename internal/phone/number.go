// Package phone is the phone number of a patient: read strictly, kept as E.164
// and shown masked. It must not know who the number belongs to, whether they
// may be messaged, or what gateway dials it.
package phone

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Why a number was refused. No error of this package repeats the input.
var (
	// ErrInvalid means that the text is not one phone number, or that it uses
	// characters, extensions or a length that no number of ours has.
	ErrInvalid = errors.New("phone: not a phone number; write one number in plain digits, such as 010-1234-5678")
	// ErrNotMobile means a number that exists but takes no text message: a
	// landline, an internet or toll-free number, a pager or a short code.
	ErrNotMobile = errors.New("phone: not a mobile number; messages reach 010 numbers only")
	// ErrForeign means a number outside Korea without [Options].International.
	ErrForeign = errors.New("phone: a number outside Korea; allow international numbers for this clinic first")
	// ErrTestBand means 010-0 or 010-1, blocks that Korea does not assign,
	// without [Options].AllowTestBands.
	ErrTestBand = errors.New("phone: 010-0 and 010-1 are test numbers; they are allowed outside production only")
)

// Number is a mobile number that may be sent to. It is comparable; the zero
// Number is none. Every fmt verb and slog show it masked, but neither can call
// a method on an unexported field: do not print a struct that hides one.
type Number struct {
	e164 string // "+" and 8 to 15 digits
}

// korea begins the E.164 form of every Korean number.
const korea = "+82"

// E164 returns the number in full, such as +821012345678; "" for the zero
// Number. This is patient data: seal it, never log it.
func (n Number) E164() string { return n.e164 }

// National returns the digits as dialled in Korea, such as 01012345678, which
// is what Korean gateways take. A foreign number has no such form and returns
// its E.164 form; see [Number.Split].
func (n Number) National() string {
	if rest, ok := strings.CutPrefix(n.e164, korea); ok {
		return "0" + rest
	}
	return n.e164
}

// Last4 returns the last four digits, which is as much as may be shown to tell
// two numbers apart; "" for the zero Number.
func (n Number) Last4() string {
	return n.e164[max(0, len(n.e164)-4):]
}

// IsZero reports whether n is no number.
func (n Number) IsZero() bool { return n.e164 == "" }

// Foreign reports whether the number lies outside Korea. No LMS can be sent to
// it (NHN SMS v3.0, -2024).
func (n Number) Foreign() bool { return n.e164 != "" && !strings.HasPrefix(n.e164, korea) }

// Legacy reports a 011, 016, 017, 018 or 019 number. That service ended in
// 2021; such a number is probably stale and worth a warning.
func (n Number) Legacy() bool {
	return strings.HasPrefix(n.e164, "+821") && !strings.HasPrefix(n.e164, "+8210")
}

// TestBand reports a number in 010-0 or 010-1. Korea assigns neither, so that
// nobody is reached if one leaks to a real gateway.
func (n Number) TestBand() bool {
	return strings.HasPrefix(n.e164, "+82100") || strings.HasPrefix(n.e164, "+82101")
}

// String returns the number masked, such as 010****5678. A foreign number
// shows its last four digits only.
func (n Number) String() string {
	switch {
	case n.IsZero():
		return ""
	case n.Foreign():
		return "+****" + n.Last4()
	}
	return n.National()[:3] + "****" + n.Last4()
}

// Format writes the masked form whatever the verb, so that no %d or %#v
// uncovers the digits.
func (n Number) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, n.String()) // fmt reports what its writer fails at
}

// LogValue gives slog the masked form.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// MarshalText gives encoding/json and its like the masked form. There is no
// way back: store and send E164.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }
