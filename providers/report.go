package providers

import (
	"errors"
	"time"
)

// Why the body of a gateway's webhook holds no reports.
var (
	ErrReportShape   = errors.New("not of the documented shape")
	ErrReportProduct = errors.New("of another product than the account")
	ErrReportEvent   = errors.New("of another kind than message results")
	ErrReportSize    = errors.New("too many reports at once")
)

// Report is what a gateway's webhook says about one message. It is a hint and
// proves nothing: whoever knows the webhook's address and token can write one.
// What is to be believed is asked of the gateway.
type Report struct {
	// HookID is the gateway's own id of this report, the same when it is
	// told again; 1 to 64 characters of A–Z a–z 0–9 _ -.
	HookID string
	// Key is the grouping key as told, "" where it was not.
	Key string
	// RequestID and Seq name the message at the gateway; "" where not told.
	RequestID string
	Seq       int
	// State is what the product's own code and status mean.
	State State
	// Code is the product's own result code, "" or a word of at most 16
	// characters.
	Code string
	// At is when the gateway says that it happened.
	At time.Time
}
