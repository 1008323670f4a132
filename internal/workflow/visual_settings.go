package workflow

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

// Awaited are the events that a wait can be for: what becomes of the run's
// messages. A wait for what nothing tells of would only ever time out.
var Awaited = []string{"delivered", "failed", Clicked}

func (c *visualChecker) settings(n *Node) {
	at := n.Pointer + "/data"
	read := func(into any) bool {
		if settings(*n, into) != nil {
			c.add(at, "a setting of this node has the wrong type", "이 노드의 설정값 형식이 올바르지 않습니다")
			return false
		}
		return true
	}
	switch n.Kind {
	case KindTrigger:
		var d TriggerData
		read(&d)
	case KindMessage:
		var d MessageData
		if read(&d) {
			c.messageNode(n, at, d)
		}
		c.handles(n, "")
	case KindDelay:
		var d DelayData
		if read(&d) {
			c.keep(n.ID, c.delay(at, d))
		}
		c.handles(n, "")
	case KindCondition:
		var d ConditionData
		if read(&d) {
			c.condition(n, at, d)
		}
	case KindWait:
		var d WaitData
		if read(&d) {
			if !slices.Contains(Awaited, d.Event) {
				c.add(at+"/event", fmt.Sprintf("a wait is for one of %v", Awaited), fmt.Sprintf("기다릴 수 있는 이벤트: %v", Awaited))
			}
			c.keep(n.ID, c.delay(at+"/timeout", d.Timeout))
		}
		c.handles(n, "event", "timeout")
	case KindSplit:
		var d SplitData
		if read(&d) {
			c.split(n, at, d)
		}
	case KindExit, KindNote:
	}
}

func (c *visualChecker) keep(id string, d time.Duration) {
	if c.length == nil {
		c.length = map[string]time.Duration{}
	}
	c.length[id] = d
}

func (c *visualChecker) messageNode(n *Node, at string, d MessageData) {
	c.link(at, d.link())
	switch m, known := c.templates[d.Template]; {
	case d.Message != nil:
		m = d.Message.WithLink(d.link())
		c.message(at+"/message", m, false)
		c.asks(n, at, m)
	case d.Template == "":
		c.add(at+"/template", "choose a template, or write the message", "템플릿을 선택하거나 메시지를 작성하세요")
	case c.templates != nil && !known:
		c.add(at+"/template", fmt.Sprintf("there is no template %q", d.Template), fmt.Sprintf("템플릿 %q이(가) 없습니다", d.Template))
	case known:
		m.Variables = d.Variables
		m = m.WithLink(d.link())
		c.message(at+"/template", m, false)
		c.asks(n, at, m)
	}
	if d.ExpiresAfter < 0 || time.Duration(d.ExpiresAfter) > MaxDelay {
		c.add(at+"/expires_after", "a step stays valid between 0 and 400 days", "유효 기간은 0~400일입니다")
	}
	if !slices.Contains([]Late{"", LateSend, LateSkip, LateExpire}, d.Late) {
		c.add(at+"/late", "late is send, skip or expire", "late는 send, skip, expire 중 하나입니다")
	}
	if !slices.Contains([]OnUnknown{"", Park, Resend, Fallback}, d.OnUnknown) {
		c.add(at+"/on_unknown", "on_unknown is park, resend or fallback", "on_unknown은 park, resend, fallback 중 하나입니다")
	}
}

// units are the lengths that a delay may have.
var units = []struct {
	name string
	of   func(DelayData) *int
	unit time.Duration
}{
	{"seconds", func(d DelayData) *int { return d.Seconds }, time.Second},
	{"minutes", func(d DelayData) *int { return d.Minutes }, time.Minute},
	{"hours", func(d DelayData) *int { return d.Hours }, time.Hour},
	{"days", func(d DelayData) *int { return d.Days }, 24 * time.Hour},
	// Weekends and a week of holidays: two calendar days for each.
	{"business_days", func(d DelayData) *int { return d.BusinessDays }, 48 * time.Hour},
}

// delay returns how long it may last at most, as far as the drawing says.
func (c *visualChecker) delay(at string, d DelayData) (longest time.Duration) {
	lengths := 0
	for _, u := range units {
		n := u.of(d)
		if n == nil {
			continue
		}
		lengths++
		switch {
		case *n < 0:
			c.add(at+"/"+u.name, "a delay cannot lead back in time; for a time before a date use before", "지연은 음수일 수 없습니다")
		case *n > int(MaxDelay/u.unit):
			c.add(at+"/"+u.name, "a delay lasts at most 400 days", "지연은 최대 400일입니다")
		default:
			longest = time.Duration(*n) * u.unit
		}
	}
	ways := lengths
	if d.Until != nil {
		ways++
		longest = 24 * time.Hour
	}
	if d.Field != "" {
		if lengths == 0 {
			ways++
		}
		if strictjson.ValidPointer(d.Field) != nil {
			c.add(at+"/field", "a field is a JSON pointer such as /appointment/date", "필드는 /appointment/date 같은 JSON 포인터여야 합니다")
		}
	}
	if ways != 1 {
		c.add(at, "a delay has exactly one of seconds, minutes, hours, days, business_days, until or field", "지연은 seconds, minutes, hours, days, business_days, until, field 중 하나만 지정하세요")
	}
	if d.Before && d.Field == "" {
		c.add(at+"/before", "before belongs to a delay with a field", "before는 field가 있는 지연에만 쓸 수 있습니다")
	}
	if d.At != nil && d.Days == nil && d.BusinessDays == nil && d.Field == "" {
		c.add(at+"/at", "at belongs to days, business_days or field", "at은 days, business_days, field에만 쓸 수 있습니다")
	}
	return longest
}

func (c *visualChecker) condition(n *Node, at string, d ConditionData) {
	if d.Expression != "" && len(d.Branches) > 0 {
		c.add(at, "a condition has one expression, or branches", "조건식 하나 또는 분기 목록 중 하나만 지정하세요")
		return
	}
	if len(d.Branches) == 0 {
		c.expression(at+"/expression", d.Expression)
		c.handles(n, "true", "false")
		return
	}
	if len(d.Branches) > 20 {
		c.add(at+"/branches", "a condition has at most 20 branches", "분기는 최대 20개입니다")
		return
	}
	known := []string{"else"}
	for i, b := range d.Branches {
		where := at + "/branches/" + strconv.Itoa(i)
		if b.Handle == "" || slices.Contains(known, b.Handle) {
			c.add(where+"/handle", "each branch has a handle of its own, which is not else", "분기마다 서로 다른 handle이 필요합니다 (else 제외)")
		}
		known = append(known, b.Handle)
		c.expression(where+"/expression", b.Expression)
	}
	c.handles(n, known...)
}

func (c *visualChecker) expression(at, source string) {
	if c.expressions, c.asked = c.expressions+1, c.asked+len(source); c.expressions > MaxExpressions || c.asked > MaxAsked {
		return // said once, of the whole
	}
	if _, err := CompileExpression(source); err != nil {
		c.add(at, "the condition cannot be used: "+err.Error(), "조건식을 사용할 수 없습니다: "+err.Error())
	}
}

func (c *visualChecker) split(n *Node, at string, d SplitData) {
	var known []string
	sum := 0
	for i, b := range d.Branches {
		where := at + "/branches/" + strconv.Itoa(i)
		if b.Handle == "" || slices.Contains(known, b.Handle) {
			c.add(where+"/handle", "each branch has a handle of its own", "분기마다 서로 다른 handle이 필요합니다")
		}
		known = append(known, b.Handle)
		if b.Percent < 0 || b.Percent > 100 {
			c.add(where+"/percent", "a share lies between 0 and 100 percent", "비율은 0~100 사이여야 합니다")
		}
		sum += min(max(b.Percent, 0), 100)
	}
	if len(d.Branches) < 2 || len(d.Branches) > 20 || sum != 100 {
		c.add(at+"/branches", "a split has 2 to 20 branches that add up to 100 percent", "분할은 합계가 100%인 2~20개의 분기가 필요합니다")
	}
	c.handles(n, known...)
}

// handles finds edges that leave a node where it has no way out.
func (c *visualChecker) handles(n *Node, known ...string) {
	for _, e := range c.out[n.ID] {
		if slices.Contains(known, e.Handle) || len(known) == 1 && known[0] == "" {
			continue // a node with one way out may call its handle anything
		}
		c.add(e.Pointer+"/sourceHandle", fmt.Sprintf("this edge leaves by the handle %q; the node has %q", e.Handle, known), fmt.Sprintf("이 선의 handle %q은(는) 노드에 없습니다: %q", e.Handle, known))
	}
}
