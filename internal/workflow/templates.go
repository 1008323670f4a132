package workflow

// Templates are the texts that a version pinned, by the names of the templates
// that they came from. A message that a drawing writes itself has none.
func (d *Definition) Templates() map[string]Message {
	out := map[string]Message{}
	for _, s := range d.Steps {
		out[s.Message.Template] = s.Message
	}
	if d.Drawing != nil && d.visual != nil {
		for _, n := range d.visual.Nodes {
			var m MessageData
			if n.Kind == KindMessage && settings(n, &m) == nil && m.Message == nil {
				out[m.Template] = d.Drawing.Messages[n.ID]
			}
		}
	}
	delete(out, "")
	return out
}

// TemplatesOf are the names of the templates that a drawing's messages take, in
// the order of its nodes; none where it cannot be read.
func TemplatesOf(raw string) (names []string) {
	v, problems := ParseVisual([]byte(raw))
	if len(problems) > 0 {
		return nil
	}
	for _, n := range v.Nodes {
		var m MessageData
		if n.Kind == KindMessage && settings(n, &m) == nil && m.Message == nil && m.Template != "" {
			names = append(names, m.Template)
		}
	}
	return names
}
