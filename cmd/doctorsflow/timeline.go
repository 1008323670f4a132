package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// timeline prints a line whenever a step moves, above a progress bar where
// the output is a terminal.
type timeline struct {
	out   io.Writer
	tty   bool
	seen  map[uuid.UUID]store.State
	bar   bool
	width int
	// types names each node by what its author calls it.
	types map[string]string
}

func newTimeline(out io.Writer, tty bool, w clinic.Workflow) *timeline {
	t := &timeline{out: out, tty: tty, seen: map[uuid.UUID]store.State{}, width: 32, types: map[string]string{}}
	for _, s := range w.Steps {
		t.types[s.Node] = s.Type
	}
	return t
}

// show prints what is new and reports whether every step has ended.
func (t *timeline) show(st store.Story) (finished bool) {
	type moved struct {
		patient string
		step    store.StoryStep
	}
	var news []moved
	ended, all, open := 0, 0, 0
	for _, trigger := range st.Triggers {
		if trigger.State == "pending" {
			open++
		}
		for _, s := range trigger.Steps {
			all++
			if event.Status(s.State).Terminal() {
				ended++
			}
			if t.seen[s.ID] != s.State {
				t.seen[s.ID] = s.State
				if _, _, quiet := move(s); !quiet {
					news = append(news, moved{trigger.PatientName, s})
				}
			}
		}
	}
	slices.SortFunc(news, func(a, b moved) int {
		return cmp.Or(a.step.Updated.Compare(b.step.Updated), strings.Compare(a.patient, b.patient))
	})
	if t.bar && len(news) > 0 {
		fmt.Fprint(t.out, "\r\x1b[K")
		t.bar = false
	}
	for _, m := range news {
		mark, text, _ := move(m.step)
		fmt.Fprintf(t.out, "%s  %s  %s  %s  %s %s\n", m.step.Updated.In(st.Zone).Format("15:04:05.0"),
			pad(m.patient, 8), pad("#"+m.step.Node+" "+t.types[m.step.Node], 9), pad(channelName(m.step.Channel), 6), t.colour(m.step.State, mark), text)
	}
	if t.tty && all > 0 {
		full := t.width * ended / all
		fmt.Fprintf(t.out, "\r\x1b[K[%s%s] %d/%d", strings.Repeat("█", full), strings.Repeat("·", t.width-full), ended, all)
		t.bar = true
	}
	if finished = len(st.Triggers) > 0 && open == 0 && ended == all; finished && t.bar {
		fmt.Fprintln(t.out)
	}
	return finished
}

// move says what happened to a step, in Korean and English; quiet states pass
// without a line.
func move(s store.StoryStep) (mark, text string, quiet bool) {
	switch s.State {
	case store.StateSent:
		if s.Parent != uuid.Nil {
			return "→", "문자로 대체 발송, 접수됨  fallback accepted by the gateway", false
		}
		return "→", "접수됨, 결과 대기  accepted by the gateway", false
	case store.StateDelivered:
		return "✔", "도착 확인  delivered", false
	case store.StateFailed:
		text = s.Reason.Korean() + "  " + s.Reason.English()
		if s.Reason == event.FellBack && s.Code != "" {
			text += " (" + s.Code + ")"
		}
		return "✘", text, false
	case store.StateUnknown:
		return "?", "결과 확인 중  outcome unknown, being found out", false
	case store.StatePlanned, store.StateClaimed:
		return "", "", true
	}
	return "–", s.Reason.Korean() + "  " + s.Reason.English(), false
}

func (t *timeline) colour(s store.State, mark string) string {
	if !t.tty {
		return mark
	}
	code := "36"
	switch s {
	case store.StateDelivered:
		code = "32"
	case store.StateFailed, store.StateParked:
		code = "31"
	case store.StateSkipped, store.StateUnknown, store.StateCancelled, store.StateExpired:
		code = "33"
	}
	return "\x1b[" + code + "m" + mark + "\x1b[0m"
}

func channelName(c event.Channel) string {
	if c == event.Kakao {
		return "카톡"
	}
	return "문자"
}

// printTable shows for each patient what came of each step.
func printTable(w io.Writer, st store.Story, f *clinic.File) {
	byName := map[string][]store.StoryStep{}
	for _, t := range st.Triggers {
		byName[t.PatientName] = append(byName[t.PatientName], t.Steps...)
	}
	nodes := f.Workflows[0].Steps
	fmt.Fprint(w, pad("환자 patient", 14))
	for _, n := range nodes {
		fmt.Fprint(w, pad(fmt.Sprintf("#%s %s", n.Node, n.Type), 22))
	}
	fmt.Fprintln(w)
	for _, p := range f.Patients {
		fmt.Fprint(w, pad(p.Name, 14))
		for _, n := range nodes {
			fmt.Fprint(w, pad(cell(byName[p.Name], n.Node), 22))
		}
		fmt.Fprintln(w)
	}
}

// cell joins a step and its fallback: "카톡 3019 → 문자 ✔".
func cell(steps []store.StoryStep, node string) string {
	var parts []string
	for _, s := range steps {
		if s.Node != node {
			continue
		}
		part := channelName(s.Channel) + " "
		switch s.State {
		case store.StateDelivered:
			part += "✔"
		case store.StateFailed:
			part += "✘" + orElse(s.Code, string(s.Reason))
		case store.StateSkipped:
			part = "– " + string(s.Reason)
		default:
			part += string(s.State)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " → ")
}

// pad fills s with spaces to n columns; Hangul takes two.
func pad(s string, n int) string {
	w := 0
	for _, r := range s {
		w++
		if r >= 0x1100 && r <= 0x115f || r >= 0x2e80 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xff00 && r <= 0xff60 {
			w++
		}
	}
	return s + strings.Repeat(" ", max(1, n-w))
}
