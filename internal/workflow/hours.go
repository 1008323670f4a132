package workflow

import (
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// AllClasses is the key of send windows that hold for every class but auth.
const AllClasses Class = "all"

// Hours is when messages may go: what the law, the clinic and the workflow
// say, which all must let a message pass. A clinic's alone has no workflow's
// part. It is a value; nobody changes it.
type Hours struct {
	Zone *time.Location
	// Quiet is the clinic's daily span in which nothing goes but what cannot
	// wait (class auth); nil is none.
	Quiet *Window
	// IgnoreQuiet lifts it for what is not advertising.
	IgnoreQuiet bool
	// Clinic are the clinic's windows by class; those of [AllClasses] hold
	// besides. A class without windows may go at any time.
	Clinic map[Class][]Window
	// Workflow are the workflow's own.
	Workflow []Window
}

// In returns the hours of a message of d in a clinic of hours h.
func (d *Definition) In(h Hours) Hours {
	h.IgnoreQuiet, h.Workflow = d.IgnoreQuietHours, d.SendWindows
	return h
}

// night is when the law forbids advertising without a separate consent:
// 정보통신망법 §50③, 시행령 §61②.
var night = &Window{From: Clock{Hour: 21}, Until: Clock{Hour: 8}}

// never is how far ahead Next looks: rules that repeat by the week and let
// nothing pass until then never do. It spares a week in which clocks change.
const never = 22 * 24 * time.Hour

// Next returns the first instant from t on at which a message of the class may
// go, and what set it: "" where that is t itself, else [event.QuietHours] or
// [event.SendWindow]. It is pure. Not ok means that there is none.
func (h Hours) Next(t time.Time, class Class) (at time.Time, why event.Reason, ok bool) {
	at = t
	for at.Sub(t) < never {
		next, held := h.quiet(at, class)
		if held {
			at, why = next, event.QuietHours
			continue
		}
		next, open := h.open(at, class)
		if !open {
			return t, event.SendWindow, false
		}
		if next.Equal(at) {
			return at, why, true
		}
		at, why = next, event.SendWindow
	}
	return t, why, false
}

// quiet reports whether t is quiet, and until when.
func (h Hours) quiet(t time.Time, class Class) (until time.Time, held bool) {
	if class == Marketing {
		if until, held = night.contains(t, h.Zone); held {
			return until, true
		}
	}
	if h.Quiet == nil || class == Auth || h.IgnoreQuiet && class != Marketing {
		return time.Time{}, false
	}
	return h.Quiet.contains(t, h.Zone)
}

// open returns when the windows that have the last word at t let pass; another
// may still be closed then.
func (h Hours) open(t time.Time, class Class) (at time.Time, ok bool) {
	if class == Auth {
		return t, true
	}
	at = t
	for _, windows := range [...][]Window{h.Clinic[AllClasses], h.Clinic[class], h.Workflow} {
		if len(windows) == 0 {
			continue
		}
		from, some := open(windows, t, h.Zone)
		if !some {
			return t, false
		}
		if from.After(at) {
			at = from
		}
	}
	return at, true
}
