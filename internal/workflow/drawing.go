package workflow

import (
	"fmt"
	"maps"
	"slices"
)

// Drawing is a drawn workflow as a version keeps it.
type Drawing struct {
	// VisualData is the document as text: a database that keeps JSON in a form
	// of its own would not give back the bytes that came.
	VisualData string `json:"visual_data"`
	// Messages are the texts of the message nodes, by node, as they were when
	// this version was published.
	Messages map[string]Message `json:"messages"`
	// Follow, if set, is what comes before a token of our own in place of the
	// messages' links: opening that is noted, and leads on to the link.
	Follow string `json:"follow,omitempty"`
}

// Draw makes a definition of a drawing, its templates' texts inside. Any
// problem means that there is none. public is the address by which patients
// reach this server, which only a drawing needs that asks for [Clicked].
func Draw(raw []byte, templates map[string]Message, public string) (*Definition, []Problem) {
	v, problems := ParseVisual(raw)
	if len(problems) > 0 {
		return nil, problems
	}
	if templates == nil {
		templates = map[string]Message{}
	}
	if problems := CheckVisual(v, templates); len(problems) > 0 {
		return nil, problems
	}
	d := &Definition{Drawing: &Drawing{VisualData: string(raw), Messages: map[string]Message{}}, visual: v}
	for _, n := range v.Nodes {
		var m MessageData
		if n.Kind != KindMessage || settings(n, &m) != nil {
			continue
		}
		if m.Message != nil {
			d.Drawing.Messages[n.ID] = m.Message.WithLink(m.link())
		} else {
			text := templates[m.Template]
			text.Variables = m.Variables
			d.Drawing.Messages[n.ID] = text.WithLink(m.link())
		}
	}
	if problems := d.follow(public); len(problems) > 0 {
		return nil, problems
	}
	return d, nil
}

// Visual is the drawing of a drawn workflow, nil for one of days.
func (d *Definition) Visual() *Visual { return d.visual }

// undraw reads the drawing of a stored definition.
func (d *Definition) undraw() error {
	if d.Drawing == nil {
		return nil
	}
	v, problems := ParseVisual([]byte(d.Drawing.VisualData))
	if len(problems) > 0 {
		return fmt.Errorf("drawing: %s: %s", problems[0].Pointer, problems[0].English)
	}
	d.visual = v
	return nil
}

// drawnStep is the step that a message node makes.
func (d *Definition) drawnStep(node string) (Step, bool) {
	message, pinned := d.Drawing.Messages[node]
	if !pinned || d.visual == nil {
		return Step{}, false
	}
	n, ok := d.visual.way(node)
	if !ok || n.Kind != KindMessage || !n.sound {
		return Step{}, false
	}
	kind := string(KindMessage)
	if n.Asks != "" {
		kind = n.Asks
	}
	if message.followable() {
		message.Follow = d.Drawing.Follow
	}
	m := n.message
	return Step{Node: node, Type: kind, ExpiresAfter: m.ExpiresAfter, Late: m.Late, OnUnknown: m.OnUnknown, Message: message}, true
}

// checkDrawing returns the problems of a definition that is drawn.
func (c *checker) checkDrawing(d *Definition) {
	if len(d.Steps) > 0 {
		c.add("/steps", "a workflow is drawn or a list of steps, not both", "워크플로는 그림 또는 단계 목록 중 하나여야 합니다")
	}
	v, problems := ParseVisual([]byte(d.Drawing.VisualData))
	if v != nil {
		problems = CheckVisual(v, nil)
	}
	c.problems = append(c.problems, problems...)
	for _, node := range slices.Sorted(maps.Keys(d.Drawing.Messages)) {
		c.about = node
		c.message("/drawing/messages/"+node, d.Drawing.Messages[node], d.IgnoreQuietHours)
	}
	c.about = ""
	if v == nil {
		return
	}
	for _, n := range v.Nodes {
		if _, ok := d.Drawing.Messages[n.ID]; n.Kind == KindMessage && !ok {
			c.about = n.ID
			c.add(n.Pointer, "the text of this message is missing", "이 메시지의 내용이 없습니다")
		}
	}
	c.about = ""
}

// Starts are the triggers of a drawing that an event begins: those of its name
// and of its surgery, which read finds in what was said of it, and those that
// name none.
func (v *Visual) Starts(event string, read func(pointer string) string) (nodes []string) {
	for _, n := range v.Nodes {
		var d TriggerData
		if n.Kind != KindTrigger || settings(n, &d) != nil {
			continue
		}
		if d.Event != "" && !isEvent(event, d.Event) {
			continue
		}
		if d.SurgeryType != "" && d.SurgeryType != read("/appointment/surgery_type") && d.SurgeryType != read("/appointment/surgery") {
			continue
		}
		nodes = append(nodes, n.ID)
	}
	return nodes
}

// Events are the names of events that begin a drawing; "" stands for any. A
// day list has none: every event begins it.
func (d *Definition) Events() (names []string) {
	if d.visual == nil {
		return nil
	}
	for _, n := range d.visual.Nodes {
		var t TriggerData
		if n.Kind == KindTrigger && settings(n, &t) == nil {
			names = append(names, t.Event)
		}
	}
	return names
}

// isEvent compares an event's name, of which a producer may write a longer form:
// appointment.completed is completed.
func isEvent(event, name string) bool {
	return event == name || len(event) > len(name) && event[len(event)-len(name)-1:] == "."+name
}
