package store

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Refusal says why a decision about a parked step was not carried out. The
// list is closed; callers branch on it.
type Refusal string

// The refusals.
const (
	NotParked      Refusal = "not-parked"      // it never was, or evidence came that settled it
	AlreadyRetried Refusal = "already-retried" // somebody did; it is under way
	AlreadyDropped Refusal = "already-dropped"

	// What keeps a step from being sent again, and may change or not.
	PlanChanged     Refusal = "superseded"
	AppointmentGone Refusal = "appointment-cancelled"
	PatientGone     Refusal = "patient-erased"
	RefusedByWill   Refusal = "opted-out"
	WithoutConsent  Refusal = "no-consent"
	WithoutAccount  Refusal = "no-account"
	PastExpiry      Refusal = "expired" // [Retry.Extend] makes it valid again
	PastPolicy      Refusal = "late"    // its author does not want it late; [Retry.Extend] makes it due now

	// MayBeDuplicate asks for [Retry.AcceptDuplicate]: the gateway may have
	// taken an earlier request.
	MayBeDuplicate Refusal = "may-be-duplicate"
)

// RefusedError is a decision that changed nothing.
type RefusedError struct {
	Why    Refusal
	State  State // the step's, as it stands
	Reason event.Reason
}

// Error is one sentence.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("store: decision refused: %s (the step is %s)", e.Why, e.State)
}

// ErrNote means that a decision's actor or note cannot be kept: the note is
// one line of at most [MaxNote] characters, needed for whatever cannot be
// taken back, and holds no number as long as a telephone's.
var ErrNote = errors.New("store: not a note that can be kept")

// MaxNote bounds the note of a decision, in characters.
const MaxNote = 200

// Hand is who decides, and why.
type Hand struct {
	// Actor is key:<id of an API key>, user:<an issuer's id> or cli:<login>.
	Actor string
	// Note goes into the audit log. It must not tell of a patient: ids do.
	Note string
	// From is the address that the request came from; "" where there is none.
	From string
}

var (
	actor = regexp.MustCompile(`^((key|cli):[A-Za-z0-9@._\\+-]{1,64}|(user|system):[!-~]{1,200})$`)
	// Nine digits, however they are written: more than a date has.
	longNumber = regexp.MustCompile(`\d(?:[ .()/-]*\d){8}`)
)

// check returns [ErrNote] where the audit log could not have it.
func (h *Hand) check(needed bool) error {
	h.Note = strings.TrimSpace(h.Note)
	switch {
	case !actor.MatchString(h.Actor), !utf8.ValidString(h.Note), utf8.RuneCountInString(h.Note) > MaxNote,
		strings.ContainsFunc(h.Note, unicode.IsControl), longNumber.MatchString(h.Note), needed && h.Note == "":
		return ErrNote
	}
	return nil
}

// MaxExtend bounds [Retry.Extend].
const MaxExtend = 7 * 24 * time.Hour

// Retry is what is to be done about a parked step whose outcome matters still.
type Retry struct {
	Hand
	// Resend sends it again, in a new cycle, and may reach the patient twice.
	// Otherwise the gateway is asked again, which sends only what it proves
	// that it never had.
	Resend bool
	// AcceptDuplicate says that the caller knows it.
	AcceptDuplicate bool
	// Extend, with Resend, makes the step due now and valid for at least so
	// long, at most [MaxExtend].
	Extend time.Duration
}

// standing is a step under the hand of whoever decides about it.
type standing struct {
	state             State
	reason            event.Reason
	channel           event.Channel
	node              string
	attempt           int32
	epoch, runEpoch   int32
	due, expires, now time.Time
	zone              *time.Location
	late              workflow.Late
	asked             bool // it is unknown because a human had it asked for
	known             bool // it has been parked before
	erased, cancelled bool
	account           bool
	suppressed        []string
	consented         bool
	class             workflow.Class
	patient           uuid.UUID
}

// held returns nil where a human has the step to decide about: it is parked,
// or it was and is being asked for again.
func (s *standing) held(asking bool) error {
	switch {
	case s.state == StateParked, !asking && s.asked:
		return nil
	case s.state == StateFailed && s.reason == event.Dropped:
		return s.refuse(AlreadyDropped)
	case s.known && (s.state == StatePlanned || s.state == StateClaimed || s.state == StateUnknown):
		return s.refuse(AlreadyRetried)
	}
	return s.refuse(NotParked)
}

func (s *standing) refuse(why Refusal) error {
	return &RefusedError{Why: why, State: s.state, Reason: s.reason}
}

// sendable returns nil where the claim's guards would let the step go, as far
// as they look at what does not pass by itself. They look again at the claim.
func (s *standing) sendable(r Retry) error {
	suppressed := false
	for _, class := range s.suppressed {
		suppressed = suppressed || class == "*" || class == string(s.class)
	}
	switch {
	case s.epoch != s.runEpoch:
		return s.refuse(PlanChanged)
	case s.cancelled:
		return s.refuse(AppointmentGone)
	case s.erased:
		return s.refuse(PatientGone)
	case suppressed:
		return s.refuse(RefusedByWill)
	case s.class == workflow.Marketing && !s.consented:
		return s.refuse(WithoutConsent)
	case !s.account:
		return s.refuse(WithoutAccount)
	case r.Extend == 0 && !s.now.Before(s.expires):
		return s.refuse(PastExpiry)
	case r.Extend == 0 && (s.late == workflow.LateSkip || s.late == workflow.LateExpire) && s.now.Sub(s.due) > workflow.LateGrace:
		return s.refuse(PastPolicy)
	case s.attempt > 0 && !r.AcceptDuplicate:
		return s.refuse(MayBeDuplicate)
	}
	return nil
}
