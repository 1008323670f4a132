package workflow

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/template"
)

// The states of an Alimtalk template with Kakao.
const (
	Approved = "approved"
	Pending  = "pending"
	Rejected = "rejected"
)

// Link is the variable that a survey's or a photo request's address takes the
// place of.
const Link = "링크"

// maxLink leaves room for a text beside it: an SMS has 2,000 bytes.
const maxLink = 500

// asks is what a message node of this name asks its reader for.
func asks(name string) string {
	switch strings.ToLower(name) {
	case "survey", "surveynode":
		return "survey"
	case "photo", "photonode":
		return "photo"
	}
	return ""
}

// WithLink is the message with this address behind #{링크}; "" changes nothing.
func (m Message) WithLink(link string) Message {
	if link == "" {
		return m
	}
	values := map[string]string{Link: link}
	for k, v := range m.Values {
		if k != Link {
			values[k] = v
		}
	}
	m.Values = values
	return m
}

// uses reports whether every text of the message has this variable.
func (m Message) uses(name string) bool {
	for _, text := range []string{m.KakaoText, m.SMSText} {
		t, err := template.Compile(text)
		if text != "" && (err != nil || !slices.Contains(t.Variables(), name)) {
			return false
		}
	}
	return m.KakaoText != "" || m.SMSText != ""
}

// link is the address of the node, by either of its names.
func (d MessageData) link() string {
	if d.Link != "" {
		return d.Link
	}
	return d.URL
}

func (c *checker) link(at, link string) {
	if link != "" && !validLink(link) {
		c.add(at+"/link", fmt.Sprintf("a link is an https:// address of at most %d plain characters, the same for everybody; one of the event's own is mapped under variables", maxLink),
			fmt.Sprintf("링크는 %d자 이하의 https:// 주소여야 합니다. 환자마다 다른 주소는 variables에 지정하세요", maxLink))
	}
}

func validLink(link string) bool {
	u, err := url.Parse(link)
	plain := !strings.ContainsFunc(link, func(r rune) bool { return r <= ' ' || r > '~' })
	return err == nil && u.Scheme == "https" && u.Host != "" && len(link) <= maxLink && plain && !strings.Contains(link, "#{")
}

// asks looks whether a survey, a photo request, or a message with a link, shows
// its reader where to go.
func (c *visualChecker) asks(n *Node, at string, m Message) {
	switch {
	case m.uses(Link): // that it has a value is checked with every variable
	case n.Asks != "":
		c.add(at+"/link", "this message asks for something: its texts need #{링크}, and the node a link", "설문·사진 요청 메시지의 본문에는 #{링크}가, 노드에는 link가 필요합니다")
	case m.Values[Link] != "":
		c.add(at+"/link", "the link is nowhere in the text: write #{링크} where it belongs", "본문에 링크가 없습니다: 들어갈 자리에 #{링크}를 쓰세요")
	}
}

// waits finds what nothing can end but its time: where no message comes before.
func (c *visualChecker) waits(reached map[string]bool) {
	after := map[string]bool{}
	var queue []string
	for i := range c.v.Nodes {
		if n := &c.v.Nodes[i]; n.Kind == KindMessage && reached[n.ID] {
			queue = append(queue, n.ID)
		}
	}
	for seen := map[string]bool{}; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		for _, e := range c.out[queue[0]] {
			after[e.Target] = true
			queue = append(queue, e.Target)
		}
	}
	for i := range c.v.Nodes {
		if n := &c.v.Nodes[i]; n.Kind == KindWait && reached[n.ID] && !after[n.ID] {
			c.about = n.ID
			c.add(n.Pointer, "no message comes before this wait: it could only time out", "이 대기 앞에 메시지가 없어 시간 초과만 일어납니다")
		}
	}
	c.about = ""
}
