package workflow

import (
	"fmt"
	"net/url"
	"strings"
)

// Clicked is what a drawing asks for to know whether a message's link was
// opened: a wait for it, or happened.NODE.clicked in an expression.
const Clicked = "clicked"

// maxPublic bounds the public address: it is paid for in every SMS.
const maxPublic = 100

// ValidPublic reports whether links may begin with this address: https, or
// http for a rehearsal on one machine, of plain characters, with nothing after
// the path.
func ValidPublic(address string) bool {
	u, err := url.Parse(address)
	plain := !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' })
	return err == nil && plain && len(address) <= maxPublic && (u.Scheme == "https" || u.Scheme == "http") &&
		u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && !strings.ContainsAny(address, "?#")
}

// asksClicked is the first node that asks whether a link was opened, or nil.
func (v *Visual) asksClicked() *Node {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		switch n.Kind {
		case KindWait:
			var d WaitData
			if settings(*n, &d) == nil && d.Event == Clicked {
				return n
			}
		case KindCondition:
			var d ConditionData
			if settings(*n, &d) != nil {
				continue
			}
			for _, b := range append([]WhenBranch{{Expression: d.Expression}}, d.Branches...) {
				if strings.Contains(b.Expression, Clicked) {
					return n
				}
			}
		}
	}
	return nil
}

// follow lets the links of a drawing lead past us, where it asks whether they
// were opened.
func (d *Definition) follow(public string) []Problem {
	asks := d.visual.asksClicked()
	if asks == nil {
		return nil
	}
	var c checker
	c.about = asks.ID
	if public = strings.TrimRight(public, "/"); !ValidPublic(public) {
		c.add(asks.Pointer, fmt.Sprintf("whether a link was clicked is found out by links that lead past this server: set NEXT_PUBLIC_APP_URL to the address by which patients reach it, such as https://flow.example.com, of at most %d characters", maxPublic),
			fmt.Sprintf("링크 클릭을 확인하려면 환자가 접속할 수 있는 이 서버의 주소가 필요합니다. NEXT_PUBLIC_APP_URL을 설정하세요 (예: https://flow.example.com, %d자 이하)", maxPublic))
		return c.problems
	}
	d.Drawing.Follow = public + "/l/"
	for _, m := range d.Drawing.Messages {
		if m.followable() {
			return nil
		}
	}
	c.add(asks.Pointer, "no message has a link that could be clicked: give one a link, the same for everybody", "클릭할 링크가 있는 메시지가 없습니다. 메시지 노드에 link를 지정하세요")
	return c.problems
}

// followable reports whether the message has a link that is the same for every
// patient: nobody can put another one in its place.
func (m Message) followable() bool {
	_, mapped := m.Variables[Link]
	return !mapped && validLink(m.Values[Link])
}

// Follows reports whether a definition wants to know of opened links.
func (d *Definition) Follows() bool { return d.Drawing != nil && d.Drawing.Follow != "" }
