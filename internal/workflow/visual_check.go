package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// CheckVisual returns every problem of a drawing, or none. What it passes ends
// for every patient, sends every node's message at most once in a run, and
// reaches no further than [MaxDelay]. templates are the clinic's messages by
// name; where it is nil, names are not looked up.
func CheckVisual(v *Visual, templates map[string]Message) []Problem {
	c := &visualChecker{v: v, templates: templates, nodes: map[string]*Node{}, out: map[string][]*Edge{}}
	c.ids()
	c.edges()
	for i := range v.Nodes {
		c.about = v.Nodes[i].ID
		c.settings(&v.Nodes[i])
	}
	c.about = ""
	if c.expressions > MaxExpressions || c.asked > MaxAsked {
		c.add("/nodes", fmt.Sprintf("a drawing asks at most %d questions, of %d KiB together; this one asks %d, of %d KiB", MaxExpressions, MaxAsked>>10, c.expressions, c.asked>>10),
			fmt.Sprintf("조건식은 한 그림에 최대 %d개, 합계 %d KiB까지입니다", MaxExpressions, MaxAsked>>10))
	}
	c.shape()
	return c.problems
}

type visualChecker struct {
	checker
	v         *Visual
	templates map[string]Message
	nodes     map[string]*Node
	out       map[string][]*Edge // by source
	length    map[string]time.Duration
	// expressions counts the drawing's, asked their bytes.
	expressions, asked int
}

func (c *visualChecker) ids() {
	for i := range c.v.Nodes {
		n := &c.v.Nodes[i]
		if c.nodes[n.ID] != nil {
			c.about = n.ID
			c.add(n.Pointer+"/id", "another node has the same id", "같은 id의 노드가 이미 있습니다")
			continue
		}
		c.nodes[n.ID] = n
	}
	c.about = ""
}

func (c *visualChecker) edges() {
	for i := range c.v.Edges {
		e := &c.v.Edges[i]
		from, to := c.nodes[e.Source], c.nodes[e.Target]
		c.about = e.Source
		switch {
		case from == nil || to == nil:
			c.about = ""
			c.add(e.Pointer, "this edge leads from or to a node that is not there", "존재하지 않는 노드에 연결된 선입니다")
			continue
		case from.Kind == KindNote || to.Kind == KindNote:
			c.add(e.Pointer, "a note is a remark; nothing leads through it", "메모에는 선을 연결할 수 없습니다")
			continue
		case to.Kind == KindTrigger:
			c.about = to.ID
			c.add(e.Pointer, "a trigger begins a run; nothing leads into it", "트리거로 들어가는 선은 있을 수 없습니다")
			continue
		case from.Kind == KindExit:
			c.add(e.Pointer, "an exit ends the run; nothing leads out of it", "종료 노드에서 나가는 선은 있을 수 없습니다")
			continue
		}
		c.out[e.Source] = append(c.out[e.Source], e)
	}
	c.about = ""
}

// shape looks at the whole: it begins, ends, and everything in it is reached.
func (c *visualChecker) shape() {
	var starts []string
	for i := range c.v.Nodes {
		if c.v.Nodes[i].Kind == KindTrigger {
			starts = append(starts, c.v.Nodes[i].ID)
		}
	}
	if len(starts) == 0 {
		c.add("/nodes", "a drawing needs a trigger, where its runs begin", "시작점인 트리거 노드가 필요합니다")
	}
	reached := map[string]bool{}
	messages := 0
	for queue := slices.Clone(starts); len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if reached[id] {
			continue
		}
		reached[id] = true
		if c.nodes[id].Kind == KindMessage {
			messages++
		}
		for _, e := range c.out[id] {
			queue = append(queue, e.Target)
		}
	}
	if len(starts) > 0 && messages == 0 {
		c.add("/nodes", "no message is reached from a trigger", "트리거에서 이어지는 메시지가 없습니다")
	}
	if messages > MaxSteps {
		c.add("/nodes", fmt.Sprintf("a run sends at most %d messages", MaxSteps), fmt.Sprintf("한 번의 실행에서 보낼 수 있는 메시지는 최대 %d개입니다", MaxSteps))
	}
	for i := range c.v.Nodes {
		n := &c.v.Nodes[i]
		if n.Kind != KindNote && len(starts) > 0 && c.nodes[n.ID] == n && !reached[n.ID] {
			c.about = n.ID
			c.add(n.Pointer, "no trigger leads to this node", "트리거에서 이 노드로 이어지는 선이 없습니다")
		}
	}
	c.about = ""
	c.waits(reached)
	c.loops()
}

// loops finds cycles and, where there are none, the longest way.
func (c *visualChecker) loops() {
	const (
		open = 1
		done = 2
	)
	state := map[string]int{}
	longest := map[string]time.Duration{}
	var path []string
	looped := false
	var visit func(id string)
	visit = func(id string) {
		state[id] = open
		path = append(path, id)
		for _, e := range c.out[id] {
			switch state[e.Target] {
			case open:
				if !looped {
					loop := path[slices.Index(path, e.Target):]
					c.about = id
					c.add(e.Pointer, "these nodes lead in a circle: "+named(loop), "순환하는 연결이 있습니다: "+named(loop))
					c.about = ""
				}
				looped = true
			case 0:
				visit(e.Target)
			}
			longest[id] = max(longest[id], longest[e.Target])
		}
		longest[id] += c.length[id]
		path = path[:len(path)-1]
		state[id] = done
	}
	for i := range c.v.Nodes {
		if id := c.v.Nodes[i].ID; state[id] == 0 {
			visit(id)
		}
	}
	if looped {
		return
	}
	for i := range c.v.Nodes {
		if n := &c.v.Nodes[i]; n.Kind == KindTrigger && longest[n.ID] > MaxDelay {
			c.about = n.ID
			c.add(n.Pointer, "the delays on one way add up to more than 400 days", "한 경로의 지연 합계가 400일을 넘습니다")
			c.about = ""
		}
	}
}

func named(ids []string) string {
	if len(ids) > 8 {
		ids = append(slices.Clone(ids[:8]), "…")
	}
	return strings.Join(ids, " → ")
}
