package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// tale is one patient on a magic number of the gateway simulator, sent one
// Alimtalk with a text for SMS, and how that has to end.
type tale struct {
	number string // as the simulator's documentation writes it
	// want is every step, Kakao first.
	want []leg
	// ends is the earliest time after the trigger by which it may have ended;
	// it may not take much longer either.
	ends time.Duration
	// anomaly is the contradiction that is kept for a human, or "".
	anomaly string
	why     string
}

// leg is how one step ends, and how many requests for it the gateway accepted.
type leg struct {
	channel  event.Channel
	state    store.State
	reason   event.Reason
	code     string // the gateway's last one
	accepted int
}

// String says how the leg ended in words that are stable enough to compare.
func (l leg) String() string {
	s := fmt.Sprintf("%s %s, %s", l.channel, l.state, l.reason)
	if l.code != "" && l.reason.Code() == "" {
		s += " (" + l.code + ")"
	}
	return fmt.Sprintf("%s, log %s, accepted %d", s, l.log(), l.accepted)
}

// log is what message_logs.status has to show, by the table of the design.
func (l leg) log() string {
	switch l.state {
	case store.StateSent, store.StateDelivered:
		return string(l.state)
	case store.StatePlanned, store.StateClaimed, store.StateUnknown:
		return "pending"
	}
	return "failed"
}

// brief is the leg in a few columns: "카톡 ✘3019".
func (l leg) brief() string {
	name := channelName(l.channel)
	switch l.state {
	case store.StateDelivered:
		return name + " ✔"
	case store.StateFailed:
		return name + " ✘" + orElse(orElse(l.reason.Code(), l.code), string(l.reason))
	}
	return name + " …" + string(l.reason)
}

// legs joins what came of a message: "카톡 ✘3019 → 문자 ✔".
func legs(list []leg, one func(leg) string) string {
	parts := make([]string, len(list))
	for i, l := range list {
		parts[i] = one(l)
	}
	return strings.Join(parts, " → ")
}

// The legs that most tales are made of.
var (
	kakaoArrived = leg{event.Kakao, store.StateDelivered, event.ConfirmedByReport, "1000", 1}
	smsArrived   = leg{event.SMS, store.StateDelivered, event.ConfirmedByReport, "1000", 1}
)

// kakaoFailed is an accepted Alimtalk that a report proves failed.
func kakaoFailed(code string) leg {
	return leg{event.Kakao, store.StateFailed, event.FellBack, code, 1}
}

// kakaoRefused is an Alimtalk that the gateway never took.
func kakaoRefused(code string) leg {
	return leg{event.Kakao, store.StateFailed, event.FellBack, code, 0}
}

func smsFailed(code string) leg {
	return leg{event.SMS, store.StateFailed, event.Rejected(code), code, 1}
}

func smsRefused(code string) leg {
	return leg{event.SMS, store.StateFailed, event.Rejected(code), code, 0}
}

// unproven is an accepted message of which nothing was ever proven.
func unproven(c event.Channel) leg {
	return leg{c, store.StateSent, event.ReportTimeout, "", 1}
}

// gateway says what the gateways do to this number: Kakao's unless the tale is
// about the SMS that follows a plain failure.
func (t tale) gateway() string {
	kakao, _ := simulator.ScenarioOf(simulator.Alimtalk, t.number)
	sms, _ := simulator.ScenarioOf(simulator.SMS, t.number)
	switch {
	case sms.Digits() == "000":
		return kakao.String()
	case kakao.Digits() == "019":
		return sms.String()
	}
	return kakao.String() + ", SMS " + strings.TrimPrefix(sms.String(), "reports ")
}

// latest is when the tale must have ended: time passes in leaps, and a slow
// machine may lose a request that is then found absent and sent again.
func (t tale) latest() time.Duration { return 2*t.ends + 10*time.Minute }

// chapter is a group of tales with one thing in common.
type chapter struct {
	slug, title, note string
	// apart gives each tale a clinic of its own, so that what one does to its
	// gateway's breaker is not felt by the others.
	apart bool
	tales []tale
}

// clinics are the tales of a chapter by the slug of the clinic they play in.
func (c chapter) clinics() map[string][]tale {
	if !c.apart {
		return map[string][]tale{c.slug: c.tales}
	}
	all := map[string][]tale{}
	for _, t := range c.tales {
		all[c.slug+"-"+t.number] = []tale{t}
	}
	return all
}
