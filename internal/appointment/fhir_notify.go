package appointment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Notification is what a FHIR server says of a subscription to its topics, as
// R5 has it (a Bundle of type subscription-notification that begins with a
// SubscriptionStatus) or the Subscriptions R5 Backport for R4 (a history that
// begins with Parameters, in R4B with a SubscriptionStatus).
// https://hl7.org/fhir/R5/subscriptionstatus.html,
// https://hl7.org/fhir/uv/subscriptions-backport/notifications.html
type Notification struct {
	// Kind is handshake, heartbeat, event-notification, query-status or
	// query-event.
	Kind string
	// Subscription is the server's resource: Subscription/123.
	Subscription string
	// Events is how many there were since it began; -1 where it is not said.
	Events int64
	// Named are the events that it tells of.
	Named []Notified
	// Included are the references of the resources in it.
	Included []string
}

// Notified is one event.
type Notified struct {
	Number int64
	// Focus is what it is about: Appointment/123, or "" where it is something
	// else. Silent says that what it is about was not said.
	Focus  string
	Silent bool
}

// The kinds of notification.
const (
	NotifyHandshake = "handshake"
	NotifyHeartbeat = "heartbeat"
	NotifyEvent     = "event-notification"
	NotifyStatus    = "query-status"
	NotifyQuery     = "query-event"
)

// integer64 is written as a string, and by some servers as a number.
type integer64 int64

// UnmarshalJSON reads either form.
func (n *integer64) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(s) > 1 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return errors.New("not a number")
	}
	*n = integer64(v)
	return nil
}

type subscriptionStatus struct {
	ResourceType string        `json:"resourceType"`
	Type         string        `json:"type"`
	Events       *integer64    `json:"eventsSinceSubscriptionStart"`
	Subscription fhirReference `json:"subscription"`
	Named        []struct {
		Number integer64      `json:"eventNumber"`
		Focus  *fhirReference `json:"focus"`
	} `json:"notificationEvent"`
	Parameter []statusParameter `json:"parameter"`
}

// statusParameter is the status as R4 has it.
type statusParameter struct {
	Name      string            `json:"name"`
	Reference *fhirReference    `json:"valueReference"`
	Code      string            `json:"valueCode"`
	String    *integer64        `json:"valueString"`
	Integer   *integer64        `json:"valueInteger"`
	Unsigned  *integer64        `json:"valueUnsignedInt"`
	Part      []statusParameter `json:"part"`
}

func (p statusParameter) number() *integer64 {
	for _, n := range []*integer64{p.String, p.Integer, p.Unsigned} {
		if n != nil {
			return n
		}
	}
	return nil
}

// ReadNotification reads a notification, or says what keeps it from being one.
func ReadNotification(raw []byte) (*Notification, []Problem) {
	entries, problems := openFHIR(raw)
	if len(problems) > 0 {
		return nil, problems
	}
	var s subscriptionStatus
	if len(entries) > 0 {
		if err := json.Unmarshal(entries[0].Resource, &s); err != nil {
			return nil, []Problem{{"/entry/0/resource", "wrong-type"}}
		}
	}
	n := &Notification{Events: -1}
	switch s.ResourceType {
	case "SubscriptionStatus":
		n.status(s)
	case "Parameters":
		n.parameters(s.Parameter)
	default:
		return nil, []Problem{{"/entry/0/resource", "not-a-notification"}}
	}
	if !slices.Contains([]string{NotifyHandshake, NotifyHeartbeat, NotifyEvent, NotifyStatus, NotifyQuery}, n.Kind) {
		problems = append(problems, Problem{"/entry/0/resource/type", "not-in-list"})
	}
	if n.Subscription == "" {
		problems = append(problems, Problem{"/entry/0/resource/subscription", "missing"})
	}
	if n.Kind == NotifyEvent && len(n.Named) == 0 {
		if n.Events < 0 {
			problems = append(problems, Problem{"/entry/0/resource/notificationEvent", "missing"})
		}
	}
	for _, e := range n.Named {
		if e.Number < 1 || e.Number == math.MaxInt64 {
			problems = append(problems, Problem{"/entry/0/resource/notificationEvent", "not-a-number"})
			break
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	for _, e := range entries[1:] {
		var head fhirHead
		if json.Unmarshal(e.Resource, &head) == nil && head.ID != "" {
			n.Included = append(n.Included, shown(head.ResourceType+"/"+head.ID))
		}
	}
	slices.SortFunc(n.Named, func(a, b Notified) int { return int(min(1, max(-1, a.Number-b.Number))) })
	return n, nil
}

func (n *Notification) status(s subscriptionStatus) {
	n.Kind, n.Subscription = s.Type, s.Subscription.subscription()
	if s.Events != nil {
		n.Events = int64(*s.Events)
	}
	for _, e := range s.Named {
		n.Named = append(n.Named, Notified{int64(e.Number), e.Focus.visit(), e.Focus == nil})
	}
}

func (n *Notification) parameters(list []statusParameter) {
	for _, p := range list {
		switch p.Name {
		case "subscription":
			n.Subscription = p.Reference.subscription()
		case "type":
			n.Kind = p.Code
		case "events-since-subscription-start":
			if v := p.number(); v != nil {
				n.Events = int64(*v)
			}
		case "notification-event":
			e := Notified{Silent: true}
			for _, part := range p.Part {
				switch part.Name {
				case "event-number":
					if v := part.number(); v != nil {
						e.Number = int64(*v)
					}
				case "focus":
					e.Focus, e.Silent = part.Reference.visit(), part.Reference == nil
				}
			}
			n.Named = append(n.Named, e)
		}
	}
}

// subscription is a reference to one, without its server.
func (r *fhirReference) subscription() string {
	if r == nil {
		return ""
	}
	kind, id, ok := r.target()
	if !ok || kind != "Subscription" {
		return ""
	}
	return kind + "/" + id
}

// visit is a reference to what says something of an appointment.
func (r *fhirReference) visit() string {
	if r == nil {
		return ""
	}
	kind, id, ok := r.target()
	if !ok || kind != fhirAppointment && kind != fhirEncounter {
		return ""
	}
	return kind + "/" + id
}

// FHIRPage are the resources of a search's page that say something of an
// appointment, and where its next page is; "" is the last.
func FHIRPage(raw []byte) (refs []string, next string, err error) {
	entries, problems := openFHIR(raw)
	if len(problems) > 0 {
		return nil, "", fmt.Errorf("appointment: no page of resources: %s %s", problems[0].Pointer, problems[0].Code)
	}
	for _, e := range entries {
		var head fhirHead
		if json.Unmarshal(e.Resource, &head) != nil {
			continue
		}
		if ref := (&fhirReference{Reference: head.ResourceType + "/" + head.ID}).visit(); ref != "" {
			refs = append(refs, ref)
		}
	}
	var links struct {
		Link []struct{ Relation, URL string } `json:"link"`
	}
	if err := json.Unmarshal(raw, &links); err != nil {
		return refs, "", nil
	}
	for _, l := range links.Link {
		if l.Relation == "next" {
			next = l.URL
		}
	}
	return refs, next, nil
}

// FHIRPatients are the patients that a resource names and does not contain.
func FHIRPatients(raw []byte) (refs []string) {
	var v fhirVisit
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	list := []*fhirReference{v.Subject}
	for _, p := range v.Participant {
		list = append(list, p.Actor)
	}
	for _, r := range list {
		if r == nil {
			continue
		}
		if kind, id, ok := r.target(); ok && kind == "Patient" && !slices.Contains(refs, kind+"/"+id) {
			refs = append(refs, kind+"/"+id)
		}
	}
	return refs
}

// FHIRBundle puts resources together.
func FHIRBundle(resources ...json.RawMessage) ([]byte, error) {
	type entry struct {
		Resource json.RawMessage `json:"resource"`
	}
	list := make([]entry, len(resources))
	for i, r := range resources {
		list[i].Resource = r
	}
	return json.Marshal(struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Entry        []entry `json:"entry"`
	}{"Bundle", "collection", list})
}
