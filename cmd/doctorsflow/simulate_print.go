package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/simulate"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// simulatePrinter prints in the clinic's zone.
type simulatePrinter struct {
	w     io.Writer
	zone  *time.Location
	ko    bool
	until time.Time
}

func (p simulatePrinter) say(en, ko string) string {
	if p.ko {
		return ko
	}
	return en
}

func (p simulatePrinter) reason(r event.Reason) string { return p.say(r.English(), r.Korean()) }

// at is a time with its weekday, which is what people check.
func (p simulatePrinter) at(t time.Time) string {
	l := t.In(p.zone)
	day := l.Format("Mon")
	if p.ko {
		day = []string{"일", "월", "화", "수", "목", "금", "토"}[l.Weekday()]
	}
	return l.Format("2006-01-02 ") + day + l.Format(" 15:04:05")
}

// run prints one subject's messages, in the order of their times.
func (p simulatePrinter) run(s *simulation, r simulate.Run) {
	fmt.Fprintf(p.w, "%s (%s) · %s · %s %s\n", s.name, s.label, r.Subject.ExternalID, p.say("event at", "이벤트"), p.at(r.Subject.At))
	for _, m := range r.Steps {
		p.message(m)
	}
	if len(r.Passed) > 0 {
		fmt.Fprintf(p.w, "  %s: %s\n", p.say("way", "경로"), strings.Join(r.Passed, " → "))
	}
	for _, w := range r.Rests {
		if w.Outcome != "reached" { // the way has it
			p.rest(w)
		}
	}
	if len(r.Steps)+len(r.Rests) == 0 {
		p.nothing(s)
	}
	fmt.Fprintln(p.w)
}

// nothing tells why no run began.
func (p simulatePrinter) nothing(s *simulation) {
	fmt.Fprintf(p.w, "  %s: %s\n", p.say("nothing: no trigger of the drawing fits the event; give --type, or a type in --event, that fits", "없음: 이벤트에 맞는 트리거가 없습니다. --type 또는 --event의 type을 지정하세요"),
		strings.Join(s.now.Events(), ", "))
}

func (p simulatePrinter) message(m simulate.Step) {
	head := fmt.Sprintf("#%s %s", m.Node, m.Channel)
	if m.Fallback {
		head += p.say(" (instead of Kakao)", " (대체 발송)")
	}
	if m.State == store.StatePlanned {
		fmt.Fprintf(p.w, "  %s  %s  %s\n", p.at(m.Due), head, p.say("planned, after the end of the simulation", "예정(시뮬레이션 기간 이후)"))
		return
	}
	if !m.Sent() {
		fmt.Fprintf(p.w, "  %s  %s  %s: %s (%s)\n", p.at(m.At), head, p.say("not sent", "발송 안 함"), p.reason(m.Reason), m.Reason)
		return
	}
	n, unit, kind := m.Size()
	size := fmt.Sprintf("%d %s", n, unit)
	if kind != "" {
		size = strings.ToUpper(string(kind)) + ", " + size
	}
	outcome := string(m.State)
	if m.State == store.StateFailed {
		outcome = p.reason(m.Reason)
	}
	fmt.Fprintf(p.w, "  %s  %s  %s  [%s]\n", p.at(m.At), head, outcome, size)
	if m.Held != "" {
		fmt.Fprintf(p.w, "      %s %s: %s\n", p.say("due", "예정"), p.at(m.Due), p.reason(m.Held))
	}
	if m.Title != "" {
		fmt.Fprintf(p.w, "      %s\n", m.Title)
	}
	for line := range strings.Lines(m.Text) {
		fmt.Fprintf(p.w, "      │ %s\n", strings.TrimRight(line, "\n"))
	}
}

func (p simulatePrinter) rest(w simulate.Rest) {
	what := p.say("the question", "조건 확인")
	if w.Event != "" {
		what = p.say("the wait for "+w.Event, w.Event+" 대기")
	}
	if w.Outcome == "" {
		fmt.Fprintf(p.w, "  #%s %s: %s %s\n", w.Node, what, p.say("still open, until", "진행 중, 기한"), p.at(w.At))
		return
	}
	fmt.Fprintf(p.w, "  #%s %s: %s, %s\n", w.Node, what, w.Outcome, p.at(w.Left))
}

// summary prints what many runs come to.
func (p simulatePrinter) summary(s *simulation, sum simulate.Summary) {
	fmt.Fprintf(p.w, "%s (%s): %d %s, %s %s\n\n", s.name, s.label, sum.Runs, p.say("runs", "건"), p.say("until", "기한"), p.at(p.until))
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, p.say("NODE\tSENT\tFAILED\tSMS INSTEAD\tHELD\tNOT SENT\tAFTER THE END\tFIRST\tLAST", "노드\t발송\t실패\t대체 문자\t야간 대기\t미발송\t기간 이후\t처음\t마지막"))
	for _, n := range sum.Nodes {
		first, last := "-", "-"
		if !n.First.IsZero() {
			first, last = p.at(n.First), p.at(n.Last)
		}
		fmt.Fprintf(t, "#%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", n.Node, n.Sent, n.Failed, n.SMS, n.Held, n.Unsent, n.Ahead, first, last)
	}
	fmt.Fprintf(t, "%s\t%d\t%d\t%d\t\t%d\t%d\t\t\n", p.say("all", "합계"), sum.Sent, sum.Failed, sum.SMS, sum.Unsent, sum.Ahead)
	_ = t.Flush()
	for _, n := range sum.Nodes {
		for _, r := range slices.Sorted(maps.Keys(n.Reasons)) {
			fmt.Fprintf(p.w, "#%s: %d %s: %s (%s)\n", n.Node, n.Reasons[r], p.say("not sent", "미발송"), p.reason(r), r)
		}
	}
	if len(sum.Nodes) == 0 && sum.Resting == 0 {
		p.nothing(s)
	}
	if sum.Resting > 0 {
		fmt.Fprintf(p.w, "%d %s\n", sum.Resting, p.say("runs still rest in the drawing at the end", "건이 기간 종료 시점에 대기 중"))
	}
}

// difference prints who would get what more, less, later.
func (p simulatePrinter) difference(s *simulation, d simulate.Difference, each bool) {
	fmt.Fprintf(p.w, "%s: %s %s %s\n%d %s, %d %s, %d %s\n\n", s.name, s.label, p.say("beside", "비교 대상"), s.against,
		d.Unlike, p.say("would be treated differently", "명에게 차이가 있음"), d.Alike, p.say("alike", "명은 동일"), d.Same, p.say("messages stay as they are", "건의 메시지는 그대로"))
	words := map[simulate.ChangeKind][2]string{
		simulate.More: {"more", "추가"}, simulate.Less: {"fewer", "제외"}, simulate.Later: {"later", "늦어짐"},
		simulate.Sooner: {"sooner", "빨라짐"}, simulate.Text: {"another text", "문구 변경"},
	}
	for _, k := range []simulate.ChangeKind{simulate.More, simulate.Less, simulate.Later, simulate.Sooner, simulate.Text} {
		if n, people := d.Count(k); n > 0 {
			fmt.Fprintf(p.w, "%6d %s %s %d %s\n", n, p.say("messages", "건"), p.say(words[k][0]+", for", words[k][1]+":"), people, p.say("people", "명"))
		}
	}
	shown := d.Changes
	if !each && len(shown) > 20 {
		shown = shown[:20]
	}
	if len(shown) > 0 {
		fmt.Fprintln(p.w)
	}
	for _, c := range shown {
		fmt.Fprintf(p.w, "  %s %s: %s\n", c.Subject.ExternalID, p.say(words[c.Kind][0], words[c.Kind][1]), p.change(c))
	}
	if n := len(d.Changes) - len(shown); n > 0 {
		fmt.Fprintf(p.w, "  … %s\n", p.say(fmt.Sprintf("and %d others; --each shows all", n), fmt.Sprintf("외 %d건; --each로 모두 표시", n)))
	}
}

func (p simulatePrinter) change(c simulate.Change) string {
	switch c.Kind {
	case simulate.More:
		return fmt.Sprintf("#%s %s %s", c.After.Node, c.After.Channel, p.at(c.After.At))
	case simulate.Less:
		return fmt.Sprintf("#%s %s %s", c.Before.Node, c.Before.Channel, p.at(c.Before.At))
	case simulate.Later, simulate.Sooner:
		return fmt.Sprintf("#%s %s %s → %s", c.After.Node, c.After.Channel, p.at(c.Before.At), p.at(c.After.At))
	case simulate.Text:
	}
	return fmt.Sprintf("#%s %s %s: %q → %q", c.After.Node, c.After.Channel, p.at(c.After.At), c.Before.Text, c.After.Text)
}
