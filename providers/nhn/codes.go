package nhn

import (
	"errors"
	"strconv"

	"github.com/doctorsflow/doctorsflow/providers"
)

// refusals are the codes with which a product answers a send. A code that is
// not listed proves nothing.
type refusals map[int]refusal

type refusal struct {
	kind  providers.Kind
	scope providers.Scope
	// each says that the recipient's own code, where there is one, decides.
	each bool
}

// refuse returns the error of an answer with the code.
func (t refusals) refuse(code int, a *answer) *providers.SendError {
	r, known := t[code]
	e := &providers.SendError{Kind: r.kind, Scope: r.scope, Code: strconv.Itoa(code), After: a.after}
	switch {
	case !known:
		e.Err = errors.New("a code that is not documented")
	case r.kind == providers.Ambiguous:
		e.Err = errors.New("the gateway failed while handling the request")
	case r.kind == providers.Duplicate:
		e.Err = errors.New("the key was used before")
	case r.kind == providers.Throttled:
		e.Err = errors.New("over quota")
	default:
		e.Err = errors.New("refused by the gateway")
	}
	return e
}

// reports are the codes that a product gives as the result of an accepted
// message. A code that is not listed is Unconfirmed: it is final for all we
// know, and proves neither delivery nor failure.
type reports map[string]report

type report struct {
	state providers.State
	// scope says what a failure is about.
	scope providers.Scope
	// weak marks a code whose text reports trouble without saying that the
	// message was not sent. It counts as failure only where the message's own
	// status says so as well, and is Unconfirmed alone.
	weak bool
}
