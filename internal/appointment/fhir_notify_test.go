package appointment

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The same notification as R4 has it, and as R5 does.
const (
	notifyR4 = `{"resourceType":"Bundle","type":"history","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Parameters","parameter":[
	  {"name":"subscription","valueReference":{"reference":"https://emr.example.com/fhir/Subscription/7"}},{"name":"topic","valueCanonical":"http://example.org/topic"},
	  {"name":"status","valueCode":"active"},{"name":"type","valueCode":"event-notification"},{"name":"events-since-subscription-start","valueString":"12"},
	  {"name":"notification-event","part":[{"name":"event-number","valueString":"12"},{"name":"focus","valueReference":{"reference":"https://emr.example.com/fhir/Encounter/9"}}]},
	  {"name":"notification-event","part":[{"name":"event-number","valueString":"11"},{"name":"timestamp","valueInstant":"2026-11-24T10:00:00Z"},{"name":"focus","valueReference":{"reference":"Appointment/5"}}]}]},
	  "request":{"method":"GET","url":"https://emr.example.com/fhir/Subscription/7/$status"},"response":{"status":"200"}},
	  {"fullUrl":"https://emr.example.com/fhir/Appointment/5","resource":{"resourceType":"Appointment","id":"5","status":"cancelled"},"request":{"method":"PUT","url":"Appointment/5"},"response":{"status":"201"}}]}`
	notifyR5 = `{"resourceType":"Bundle","type":"subscription-notification","entry":[{"resource":{"resourceType":"SubscriptionStatus","status":"active","type":"event-notification","eventsSinceSubscriptionStart":"12",
	  "notificationEvent":[{"eventNumber":"11","focus":{"reference":"Appointment/5"}},{"eventNumber":12,"focus":{"reference":"Encounter/9"}}],"subscription":{"reference":"Subscription/7"}}},
	  {"resource":{"resourceType":"Appointment","id":"5","status":"cancelled"}}]}`
)

func TestANotificationSaysTheSameInR4AndR5(t *testing.T) {
	t.Parallel()
	want := &Notification{Kind: NotifyEvent, Subscription: "Subscription/7", Events: 12, Named: []Notified{{11, "Appointment/5", false}, {12, "Encounter/9", false}}, Included: []string{"Appointment/5"}}
	for name, raw := range map[string]string{"r4": notifyR4, "r5": notifyR5} {
		got, problems := ReadNotification([]byte(raw))
		if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
			t.Errorf("%s: %v %s", name, problems, diff)
		}
	}
	// HL7's own: an event of which only the number is told.
	got, problems := ReadNotification(fmt.Appendf(nil, `{"resourceType":"Bundle","type":"subscription-notification","entry":[{"resource":%s}]}`, example(t, "r5/SubscriptionStatus-example.json")))
	want = &Notification{Kind: NotifyEvent, Subscription: "Subscription/123", Events: 1000, Named: []Notified{{Number: 1000, Silent: true}}}
	if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, diff)
	}
}

func TestWhatIsNoNotificationIsRefused(t *testing.T) {
	t.Parallel()
	status := func(s string) string {
		return `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"SubscriptionStatus",` + s + `}}]}`
	}
	const sub = `"subscription":{"reference":"Subscription/1"}`
	for raw, want := range map[string]Problem{
		`{"resourceType":"Bundle","type":"history"}`:                                              {"/entry/0/resource", "not-a-notification"},
		`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}}]}`:             {"/entry/0/resource", "not-a-notification"},
		`{"resourceType":"Appointment","id":"1"}`:                                                 {"/entry/0/resource", "not-a-notification"},
		status(`"type":"handshake"`):                                                              {"/entry/0/resource/subscription", "missing"},
		status(`"type":"handshake","subscription":{"reference":"Patient/1"}`):                     {"/entry/0/resource/subscription", "missing"},
		status(`"type":"sometimes",` + sub):                                                       {"/entry/0/resource/type", "not-in-list"},
		status(`"type":"event-notification",` + sub):                                              {"/entry/0/resource/notificationEvent", "missing"},
		status(`"type":"event-notification","notificationEvent":[{"eventNumber":"0"}],` + sub):    {"/entry/0/resource/notificationEvent", "not-a-number"},
		status(`"type":"event-notification","notificationEvent":[{"eventNumber":"-1"}],` + sub):   {"/entry/0/resource", "wrong-type"},
		status(`"type":"heartbeat","eventsSinceSubscriptionStart":"99999999999999999999",` + sub): {"/entry/0/resource", "wrong-type"},
	} {
		if _, got := ReadNotification([]byte(raw)); !cmp.Equal(got, []Problem{want}) {
			t.Errorf("%s: %v, want %v", raw, got, want)
		}
	}
}

func FuzzReadNotification(f *testing.F) {
	f.Add([]byte(notifyR4))
	f.Add([]byte(notifyR5))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, problems := ReadNotification(raw)
		if (n == nil) != (len(problems) > 0) {
			t.Fatal(n, problems)
		}
		if n == nil {
			return
		}
		for i, e := range n.Named {
			if e.Number < 1 || i > 0 && e.Number < n.Named[i-1].Number {
				t.Fatalf("%+v", n.Named)
			}
		}
	})
}
