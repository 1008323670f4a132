package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// played is one tale and what came of it.
type played struct {
	tale
	chapter chapter
	got     []leg
	logs    []string
	anomaly string
	// open is set while anything of it may still change.
	open    bool
	took    time.Duration
	handset string // what the patient's phone shows
}

// look reads what has come of every tale, and returns the results that the
// gateway gives and the ledger does not know yet.
func (s *stage) look(ctx context.Context, r store.Rehearsal) (behind []string, err error) {
	var entries []simulator.Entry
	if err := s.sim(ctx, http.MethodGet, "ledger", nil, &entries); err != nil {
		return nil, err
	}
	for id, cast := range s.casts {
		story, err := s.db.Stories(ctx, id)
		if err != nil {
			return nil, err
		}
		logs, err := s.db.MessageLogs(ctx, id, store.LogQuery{Limit: store.MaxPage})
		if err != nil {
			return nil, err
		}
		status := map[uuid.UUID]string{}
		for _, l := range logs.Rows {
			status[l.ID] = l.Status
		}
		for _, t := range story.Triggers {
			if p := cast[t.PatientName]; p != nil {
				behind = append(behind, p.learn(t, r.Now.Sub(s.begin), r.Anomalies, entries, status)...)
			}
		}
	}
	return slices.DeleteFunc(behind, func(k string) bool { return s.untold[k] }), nil
}

// learn takes over what is known of a tale when so much time has passed.
func (p *played) learn(t store.StoryTrigger, passed time.Duration, anomalies map[uuid.UUID]string, entries []simulator.Entry, status map[uuid.UUID]string) (behind []string) {
	wasOpen := p.open
	p.got, p.logs, p.anomaly, p.open = nil, nil, "", t.State == "pending" || len(t.Steps) == 0
	shown := map[event.Channel]string{}
	for _, st := range t.Steps {
		l := leg{channel: st.Channel, state: st.State, reason: st.Reason, code: st.Code}
		waits := st.State == store.StateSent && st.Reason == ""
		waits = waits || !event.Status(st.State).Terminal() && st.State != store.StateSent
		for _, e := range entries {
			if e.GroupingKey != event.Key(st.Root, st.Channel) {
				continue
			}
			l.accepted++
			switch {
			case e.Status == "delivered":
				shown[st.Channel] = channelName(st.Channel)
			case e.Visible():
				shown[st.Channel] = channelName(st.Channel) + "?"
			}
			if waits && (e.Status == "delivered" || e.Status == "failed") {
				behind = append(behind, e.RequestID+e.Status)
			}
		}
		p.open = p.open || waits
		p.got, p.logs = append(p.got, l), append(p.logs, status[st.ID])
		if kind := anomalies[st.ID]; kind != "" {
			p.anomaly = kind
		}
	}
	p.handset = orElse(strings.Trim(shown[event.Kakao]+"+"+shown[event.SMS], "+"), "–")
	p.open = p.open || p.tale.anomaly != p.anomaly && passed < p.tale.latest()
	if wasOpen {
		p.took = passed
	}
	return behind
}

func (s *stage) open() (n int) {
	for _, p := range s.plays {
		if p.open {
			n++
		}
	}
	return n
}

// wrong says in what way the tale ended otherwise, or "".
func (p *played) wrong() string {
	switch want, got := legs(p.want, leg.String), legs(p.got, leg.String); {
	case want != got:
		return fmt.Sprintf("ended as %q, not as %q", got, want)
	case p.anomaly != p.tale.anomaly:
		return fmt.Sprintf("anomaly %q, not %q", p.anomaly, p.tale.anomaly)
	case p.took < p.ends:
		return fmt.Sprintf("ended after %v, which is before %v", p.took, p.ends)
	case p.took > p.latest():
		return fmt.Sprintf("ended only after %v, not by %v", p.took, p.latest())
	}
	for i, l := range p.got {
		if p.logs[i] != l.log() {
			return fmt.Sprintf("message_logs.status of %s is %q, not %q", l.channel, p.logs[i], l.log())
		}
	}
	return ""
}
