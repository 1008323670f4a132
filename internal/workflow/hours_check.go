package workflow

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CheckWindows returns the problems of a list of send windows that stands at
// pointer.
func CheckWindows(pointer string, windows []Window) []Problem {
	var c checker
	c.windows(pointer, windows)
	return c.problems
}

func (c *checker) windows(at string, windows []Window) {
	if len(windows) > MaxWindows {
		c.add(at, fmt.Sprintf("at most %d send windows are allowed", MaxWindows), fmt.Sprintf("발송 시간대는 최대 %d개입니다", MaxWindows))
		return
	}
	for i, w := range windows {
		at := at + "/" + strconv.Itoa(i)
		if w.From == w.Until {
			c.add(at, "from and until are the same, so that the window is never open; write from: \"09:00\" and until: \"18:00\"", "시작과 끝 시각이 같아 발송할 수 없습니다. 예: from: \"09:00\", until: \"18:00\"")
		}
		for _, d := range w.Days {
			c.weekday(at+"/days", d)
		}
	}
}

func (c *checker) weekday(at, d string) {
	if !slices.Contains(weekdays, d) {
		c.add(at, fmt.Sprintf("%q is not a day; write mon, tue, wed, thu, fri, sat or sun", d), fmt.Sprintf("%q은(는) 요일이 아닙니다. mon, tue, wed, thu, fri, sat, sun 중에서 쓰세요", d))
	}
}

// CheckHours returns the problems of a definition's times in a clinic of hours
// h: messages that could never go. The workflow's own part of h is d's.
func CheckHours(d *Definition, h Hours) []Problem {
	var c checker
	h = d.In(h)
	told := map[Class]bool{}
	for _, m := range d.messages() {
		if told[m.Class] || h.Passes(m.Class) {
			continue
		}
		told[m.Class] = true
		c.add("/send_windows", fmt.Sprintf("a %s message can never pass: quiet hours and the send windows of the clinic and the workflow are never open together", m.Class),
			fmt.Sprintf("%s 메시지를 보낼 수 있는 시간이 없습니다: 야간 제한과 병원·워크플로의 발송 시간대가 겹치지 않습니다", m.Class))
	}
	return c.problems
}

// Passes reports whether a message of the class may ever go.
func (h Hours) Passes(class Class) bool {
	_, _, ok := h.Next(time.Date(2026, time.January, 5, 0, 0, 0, 0, time.UTC), class)
	return ok
}

// messages are the texts of a definition, in the order of its steps, or of the
// names of a drawing's nodes.
func (d *Definition) messages() (list []Message) {
	for _, s := range d.Steps {
		list = append(list, s.Message)
	}
	if d.Drawing != nil {
		for _, node := range slices.Sorted(maps.Keys(d.Drawing.Messages)) {
			list = append(list, d.Drawing.Messages[node])
		}
	}
	return list
}

// ownHours finds what is wrong with a definition's windows in any clinic.
func (c *checker) ownHours(d *Definition) {
	sound := len(c.problems)
	c.windows("/send_windows", d.SendWindows)
	if len(d.SendWindows) > 0 && len(c.problems) == sound {
		c.problems = append(c.problems, CheckHours(d, Hours{Zone: time.UTC})...)
	}
}

// CheckClinicHours returns the problems of a clinic's own send windows and
// quiet hours, whose pointers begin with a key of the clinic's file.
func CheckClinicHours(h Hours) []Problem {
	var c checker
	for _, class := range slices.Sorted(maps.Keys(h.Clinic)) {
		at := "/send_windows/" + string(class)
		if !slices.Contains([]Class{AllClasses, Transactional, CareFollowup, Marketing}, class) {
			c.add(at, "send windows are of all, transactional, care_followup or marketing; auth goes at any time", "send_windows에는 all, transactional, care_followup, marketing만 쓸 수 있습니다. auth는 항상 발송됩니다")
		}
		if len(h.Clinic[class]) == 0 {
			c.add(at, "the list of windows is empty; leave the key out, or name a window", "발송 시간대 목록이 비어 있습니다. 키를 지우거나 시간대를 지정하세요")
		}
		c.windows(at, h.Clinic[class])
	}
	if h.Zone == nil || len(c.problems) > 0 {
		return c.problems
	}
	var closed []string
	for _, class := range []Class{Transactional, CareFollowup, Marketing} {
		if len(h.Clinic) > 0 && !h.Passes(class) {
			closed = append(closed, string(class))
		}
	}
	if len(closed) > 0 {
		names := strings.Join(closed, ", ")
		c.add("/send_windows", "messages of these classes can never pass, for the windows are open only in quiet hours or never together: "+names,
			"다음 종류의 메시지를 보낼 수 있는 시간이 없습니다(발송 시간대가 야간 제한과만 겹치거나 서로 겹치지 않음): "+names)
	}
	return c.problems
}
