package appointment

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// cloudAttributes are what is read of a CloudEvent's context; any other
// attribute is somebody else's extension and means nothing here. Names and
// meanings are those of CloudEvents 1.0, sequence those of its extension.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
type cloudAttributes struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            *string         `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Sequence        string          `json:"sequence"`
	SequenceType    string          `json:"sequencetype"`
	Data            json.RawMessage `json:"data"`
	DataBase64      []byte          `json:"data_base64"`
}

// cloudStatus ends the type of a CloudEvent whose data say where an appointment
// stands, and not what happened.
const cloudStatus = "status"

// isCloudEvent reports a CloudEvent in structured mode: nothing else has a
// specversion.
func isCloudEvent(raw []byte) bool {
	var probe struct {
		SpecVersion json.RawMessage `json:"specversion"`
	}
	return json.Unmarshal(raw, &probe) == nil && probe.SpecVersion != nil
}

// IsCloudHeader reports whether a header's name belongs to a CloudEvent in
// binary mode, whatever its case.
func IsCloudHeader(name string) bool {
	return len(name) > 3 && strings.EqualFold(name[:3], "ce-")
}

// DecodeBinary reads a CloudEvent in binary mode: its context is in headers
// with the prefix ce-, as the bindings for HTTP and NATS have it, and its data
// is the body. kind is as in [DecodeAs].
func DecodeBinary(header map[string][]string, contentType string, data []byte, kind Kind) (Event, []Problem) {
	if len(data) > MaxEvent {
		return Event{}, []Problem{{"", "too-large"}}
	}
	a := cloudAttributes{DataContentType: contentType, Data: data}
	fields := map[string]*string{
		"specversion": &a.SpecVersion, "id": &a.ID, "source": &a.Source, "type": &a.Type, "subject": &a.Subject,
		"sequence": &a.Sequence, "sequencetype": &a.SequenceType, "datacontenttype": &a.DataContentType, "time": new(string),
	}
	seen := map[string]bool{}
	for name, values := range header {
		if !IsCloudHeader(name) {
			continue
		}
		attribute := strings.ToLower(name[3:])
		to, ours := fields[attribute]
		if !ours {
			continue
		}
		if len(values) != 1 || seen[attribute] {
			return Event{}, []Problem{{"/" + attribute, "twice"}}
		}
		seen[attribute] = true
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return Event{}, []Problem{{"/" + attribute, "wrong-form"}}
		}
		*to = value
	}
	if seen["time"] {
		a.Time = fields["time"]
	}
	return a.event(kind)
}

func decodeStructured(raw []byte, kind Kind) (Event, []Problem) {
	var a cloudAttributes
	if err := json.Unmarshal(raw, &a); err != nil {
		return Event{}, []Problem{misread(err)}
	}
	if a.DataBase64 != nil {
		if a.Data != nil {
			return Event{}, []Problem{{"/data_base64", "with-data"}}
		}
		a.Data = a.DataBase64
	}
	return a.event(kind)
}

// event makes one of ours of the context and the data. The id is unique within
// the source only, so that both are the event's id here.
func (a cloudAttributes) event(kind Kind) (Event, []Problem) {
	var r reading
	if a.SpecVersion != "1.0" {
		r.fault("/specversion", "not-in-list")
	}
	r.text("/id", a.ID, true, 200)
	r.text("/source", a.Source, true, 200)
	if media, _, _ := strings.Cut(a.DataContentType, ";"); media != "" && media != "application/json" && !strings.HasSuffix(media, "+json") {
		r.fault("/datacontenttype", "not-in-list")
	}
	if len(r.problems) > 0 {
		return Event{}, r.problems
	}
	w, problems := readData(a.Data)
	if len(problems) > 0 {
		return Event{ID: a.name()}, problems
	}
	r.fill(&w, a, kind)
	context := r.problems
	r.problems = nil
	r.event(w)
	for _, p := range r.problems {
		context = append(context, Problem{cloudPointer(p.Pointer), p.Code})
	}
	r.e.Raw = w.canonical()
	return r.e, context
}

func readData(data []byte) (w wire, problems []Problem) {
	if len(data) == 0 {
		return w, []Problem{{"/data", "missing"}}
	}
	if problems = check(data); len(problems) == 0 {
		w, problems = decodeWire(data)
	}
	for i, p := range problems {
		problems[i].Pointer = "/data" + p.Pointer
	}
	return w, problems
}

// name is the event's id here.
func (a cloudAttributes) name() string { return a.Source + "#" + a.ID }

// fill puts the context in the places that it has in an event of ours.
func (r *reading) fill(w *wire, a cloudAttributes, kind Kind) {
	for _, inside := range []struct {
		pointer string
		twice   bool
	}{{"/data/id", w.ID != ""}, {"/data/type", w.Type != ""}, {"/data/at", w.At != nil}, {"/data/sequence", w.Sequence != 0}} {
		if inside.twice {
			r.fault(inside.pointer, "not-the-envelope")
		}
	}
	w.ID, w.At = a.name(), a.Time
	if w.Appointment.ID == "" {
		w.Appointment.ID = a.Subject
	}
	what := a.Type
	if i := strings.LastIndex(what, Prefix); i == 0 || i > 0 && what[i-1] == '.' {
		what = what[i+len(Prefix):]
	} else {
		what = ""
	}
	switch {
	case what == cloudStatus && w.Status == nil:
		r.fault("/data/status", "missing")
	case what != cloudStatus:
		w.Type = Prefix + what
	}
	if kind != "" && what != string(kind) {
		r.fault("/type", "not-the-subject")
	}
	if a.Sequence == "" {
		return
	}
	n, err := strconv.ParseInt(a.Sequence, 10, 64)
	if err != nil || n < 0 || a.SequenceType != "" && a.SequenceType != "Integer" {
		r.fault("/sequence", "not-a-number")
	}
	w.Sequence = n
}

// cloudPointer is where a CloudEvent has what one of ours has at a pointer.
func cloudPointer(p string) string {
	switch p {
	case "/id", "/type", "/sequence", "":
		return p
	case "/at":
		return "/time"
	}
	return "/data" + p
}
