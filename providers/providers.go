// Package providers is the port to messaging gateways: what a message is,
// what evidence a gateway can give, and how a failed request is classified.
// It must not know any vendor; each vendor is a package below it.
package providers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
)

// Gateway is one account's access to one channel of one vendor. It is safe
// for concurrent use. It never retries, never follows redirects and writes a
// request at most once per call; retrying is the dispatcher's decision.
type Gateway interface {
	// Send asks the gateway to deliver m. A nil error means accepted, with
	// the evidence in the receipt; every error is a [*SendError].
	Send(ctx context.Context, m Message) (Receipt, error)
	// Find returns what the gateway holds under the message's key, newest
	// first, among requests made in the window; empty means it knows of none.
	Find(ctx context.Context, key string, from, to time.Time) ([]Result, error)
	// Results returns every message whose result changed in the window; the
	// window is at most one day (NHN SMS v3.0 message-results).
	Results(ctx context.Context, from, to time.Time) ([]Result, error)
}

// Message is one message to one recipient.
type Message struct {
	// Key is the idempotency and grouping key, see [event.Key].
	Key string
	// Group names tenant and workflow for the vendor's statistics, at most
	// 100 characters.
	Group string
	To    phone.Number
	// WriteBy is the guard: a request whose first byte has not gone out by
	// then is given up as NotWritten. The zero time means no guard.
	WriteBy time.Time
	// TemplateCode and Variables are what an approved Kakao template needs.
	TemplateCode string
	Variables    map[string]string
	// Title and Body are the rendered text of an SMS; Title is used only
	// where the body makes it an LMS.
	Title string
	Body  string
}

// Receipt is the gateway's evidence that it accepted a message.
type Receipt struct {
	RequestID string
	// Seq is the recipient's number within the request.
	Seq int
}

// State is what a gateway says of a message that it accepted.
type State int

// The states. Unconfirmed is a final answer that proves neither delivery nor
// failure (Kakao 3005: "may still arrive within 3 days"): it never permits a
// fallback.
const (
	Pending State = iota
	Delivered
	Failed
	Unconfirmed
)

// Result is what the gateway says about one message.
type Result struct {
	// Key is empty where the vendor's call does not return it (Alimtalk's
	// message-results); then RequestID and Seq identify the message.
	Key       string
	RequestID string
	Seq       int
	State     State
	// Scope says what a failure is about.
	Scope Scope
	// Code is the product's own result code ("1000", "3019", "E915").
	Code string
	At   time.Time
}

// Kind classifies a failed send by what is proven.
type Kind int

// The kinds. Only NotWritten, Rejected and Throttled prove that the gateway
// did not accept the request; a duplicate key proves nothing about which
// request took it.
const (
	// Ambiguous: bytes may have reached the gateway and nothing usable came
	// back (timeout, reset, 5xx, an answer that cannot be read).
	Ambiguous Kind = iota
	// NotWritten: no connection was obtained, or the guard stopped the
	// request before its first byte.
	NotWritten
	// Rejected: a documented refusal of this request.
	Rejected
	// Throttled: refused for rate or quota; the same request may be made
	// again after After.
	Throttled
	// Duplicate: the key was used before; ask by key what became of it.
	Duplicate
)

// String returns the kind's name for logs and metrics.
func (k Kind) String() string {
	switch k {
	case NotWritten:
		return "not_written"
	case Rejected:
		return "rejected"
	case Throttled:
		return "throttled"
	case Duplicate:
		return "duplicate"
	}
	return "ambiguous"
}

// Scope says what a refusal is about, which decides who must act.
type Scope int

// The scopes of a refusal.
const (
	Recipient Scope = iota // this number cannot be reached on this channel
	Request                // our text, template or parameters
	Sender                 // the clinic's channel, number or account
	Policy                 // hours, opt-out, ad rules: never to another channel
)

// SendError is the only error that [Gateway.Send] returns.
type SendError struct {
	Kind  Kind
	Scope Scope
	// Code is the product's own code, "" if none came.
	Code string
	// After is how long to wait before the next request; 0 if not said.
	After time.Duration
	// Err is the cause; it holds no patient data.
	Err error
}

// Error says what happened without any of the message's content.
func (e *SendError) Error() string {
	s := "providers: " + e.Kind.String()
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }

// ErrUnavailable is wrapped by errors of Find and Results when the gateway
// cannot be asked now; nothing may be concluded from it.
var ErrUnavailable = errors.New("providers: gateway cannot be asked")

// Account is one tenant's credentials for one product of one vendor.
type Account struct {
	// ID is the account's in our own ledger; no gateway is told.
	ID      string
	Channel event.Channel
	// BaseURL is scheme and host of the gateway, without a path.
	BaseURL string
	AppKey  string
	Secret  string
	// Sender is the Kakao sender key (40 characters) or the registered
	// sender number of SMS.
	Sender string
}

// String hides the secret.
func (a Account) String() string {
	return fmt.Sprintf("%s account at %s", a.Channel, a.BaseURL)
}
