package workflow

import "sync"

// ways is a drawing as it is walked: read and compiled once, at the first walk.
type ways struct {
	once  sync.Once
	nodes map[string]*way
}

// way is one node with what its kind says and where it leads.
type way struct {
	Node
	// sound says that the settings can be read; what is not is passed as its
	// kind says.
	sound     bool
	message   MessageData
	delay     DelayData
	wait      WaitData
	split     SplitData
	condition []choice
	otherwise string // the handle where no branch of a condition holds
	edges     []Edge
}

// choice is a branch of a condition; one without an expression never holds.
type choice struct {
	handle string
	*Expression
}

func (v *Visual) way(id string) (*way, bool) {
	v.ways.once.Do(func() {
		v.ways.nodes = make(map[string]*way, len(v.Nodes))
		for _, n := range v.Nodes {
			v.ways.nodes[n.ID] = newWay(n)
		}
		for _, e := range v.Edges {
			if w := v.ways.nodes[e.Source]; w != nil {
				w.edges = append(w.edges, e)
			}
		}
	})
	w, ok := v.ways.nodes[id]
	return w, ok
}

func newWay(n Node) *way {
	w := &way{Node: n}
	switch n.Kind {
	case KindMessage:
		w.sound = settings(n, &w.message) == nil
	case KindDelay:
		w.sound = settings(n, &w.delay) == nil
	case KindWait:
		w.sound = settings(n, &w.wait) == nil
	case KindSplit:
		w.sound = settings(n, &w.split) == nil && len(w.split.Branches) > 0
	case KindCondition:
		var d ConditionData
		w.sound, w.otherwise = settings(n, &d) == nil, "else"
		if len(d.Branches) == 0 && w.sound {
			d.Branches, w.otherwise = []WhenBranch{{Handle: "true", Expression: d.Expression}}, "false"
		}
		for _, b := range d.Branches {
			e, err := CompileExpression(b.Expression)
			if err != nil {
				e = nil
			}
			w.condition = append(w.condition, choice{b.Handle, e})
		}
	case KindTrigger, KindExit, KindNote:
		w.sound = true
	}
	return w
}
