package clinic

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

var (
	slug      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	eventType = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}$`)
	// reportToken is sent as a header by the gateway and cannot be guessed.
	reportToken = regexp.MustCompile(`^([A-Za-z0-9_-]{20,100})?$`)
)

// Check returns every problem of the file, joined, or nil. Phone numbers are
// named by the patient's external_id, never shown. What a workflow or a
// webhook refers to may also be in the ledger already: known tells.
func (f *File) Check(phones phone.Options, known func(kind, name string) bool) error {
	var c checks
	c.tenant(f.Tenant)
	channels := map[event.Channel]bool{}
	for i, a := range f.Accounts {
		c.account(i, a, channels)
	}
	templates := map[string]Template{}
	for _, t := range f.Templates {
		c.unique("template", t.Name, func() bool { _, dup := templates[t.Name]; return dup })
		templates[t.Name] = t
		if !oneOf(t.KakaoStatus, "", workflow.Approved, workflow.Pending, workflow.Rejected) {
			c.add("template %q: kakao_status is approved, pending or rejected", t.Name)
		}
	}
	workflows := map[string]bool{}
	for _, w := range f.Workflows {
		c.unique("workflow", w.Name, func() bool { return workflows[w.Name] })
		workflows[w.Name] = true
		c.workflow(w, templates)
	}
	names := map[string]bool{}
	for _, w := range f.Webhooks {
		c.unique("webhook", w.Name, func() bool { return names[w.Name] })
		names[w.Name] = true
		c.webhook(w, func(name string) bool { return workflows[name] || known("workflow", name) })
	}
	ids := map[string]bool{}
	for i, p := range f.Patients {
		c.patient(i, p, phones, ids)
	}
	return errors.Join(c...)
}

type checks []error

func (c *checks) add(format string, args ...any) { *c = append(*c, fmt.Errorf(format, args...)) }

func (c *checks) unique(kind, name string, seen func() bool) {
	switch {
	case name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		c.add("a %s needs a name of 1 to 100 bytes", kind)
	case seen():
		c.add("%s %q is there twice", kind, name)
	}
}

func (c *checks) tenant(t Tenant) {
	if !slug.MatchString(t.Slug) {
		c.add("tenant.slug: write 1 to 63 lower-case letters, digits and dashes")
	}
	if t.Name == "" {
		c.add("tenant.name: the clinic's name is missing")
	}
	if !validZone(t.TimeZone) {
		c.add("tenant.time_zone: %q is not an IANA zone such as Asia/Seoul", t.TimeZone)
	}
	if q := t.QuietHours; q != nil && q.From == q.Until {
		c.add("tenant.quiet_hours: from and until are the same")
	}
	zone, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		zone = nil
	}
	for _, p := range slices.Concat(workflow.CheckClinicHours(t.Hours(zone)), workflow.CheckCaps(t.FrequencyCaps), workflow.CheckCalendar(t.Calendar)) {
		c.add("tenant%s: %s (%s)", strings.ReplaceAll(p.Pointer, "/", "."), p.English, p.Korean)
	}
}

func (c *checks) account(i int, a Account, seen map[event.Channel]bool) {
	at := fmt.Sprintf("accounts[%d]", i)
	if !a.Channel.Valid() {
		c.add("%s.channel: write kakao or sms", at)
	}
	if seen[a.Channel] {
		c.add("%s: there is another %s account; one per channel is used", at, a.Channel)
	}
	seen[a.Channel] = true
	switch a.Vendor {
	case "simulator":
	case "nhn":
		u, err := url.Parse(a.BaseURL)
		if err != nil || u.Host == "" || !oneOf(u.Scheme, "http", "https") || u.RawQuery != "" {
			c.add("%s.base_url: write scheme and host of the gateway, such as https://sms.api.nhncloudservice.com", at)
		} else if u.Scheme == "http" && !oneOf(u.Hostname(), "127.0.0.1", "::1", "localhost") {
			c.add("%s.base_url: patient data leaves only over https", at)
		}
		if a.AppKey == "" || a.Secret == "" {
			c.add("%s: app_key and secret are needed", at)
		}
	default:
		c.add("%s.vendor: write nhn, or simulator for the built-in gateway", at)
	}
	if a.Sender == "" {
		c.add("%s.sender: the Kakao sender key or the registered sender number is missing", at)
	}
	if a.RatePerSecond < 1 {
		c.add("%s.rate_per_second: at least 1", at)
	}
	if !reportToken.MatchString(a.ReportToken) {
		c.add("%s.report_token: write 20 to 100 letters, digits, - or _, such as `openssl rand -hex 20` prints, or leave it out", at)
	}
}

func (c *checks) workflow(w Workflow, templates map[string]Template) {
	if !oneOf(w.TriggerType, TriggerTypes...) {
		c.add("workflow %q: trigger_type is one of %s", w.Name, strings.Join(TriggerTypes, ", "))
	}
	if w.TriggerType == "appointment" && w.VisualData == "" {
		c.add("workflow %q: %s", w.Name, anyEvent.English)
	}
	d, err := w.Definition(templates)
	if err != nil {
		*c = append(*c, err)
		return
	}
	for _, p := range workflow.Check(d) {
		c.add("workflow %q%s: %s (%s)", w.Name, p.Pointer, p.English, p.Korean)
	}
}

func (c *checks) webhook(w Webhook, workflowKnown func(string) bool) {
	if w.Workflow == "" && len(w.Routes) == 0 {
		c.add("webhook %q: give workflow or routes, or nothing would start", w.Name)
	}
	if w.Workflow != "" && !workflowKnown(w.Workflow) {
		c.add("webhook %q: there is no workflow named %q", w.Name, w.Workflow)
	}
	for _, t := range slices.Sorted(maps.Keys(w.Routes)) {
		if !eventType.MatchString(t) {
			c.add("webhook %q: event type %q: write 1 to 64 letters, digits, or _.:-", w.Name, t)
		}
		for i, n := range w.Routes[t] {
			if slices.Contains(w.Routes[t][:i], n) {
				c.add("webhook %q: route %s: workflow %q is there twice; a trigger starts it once", w.Name, t, n)
			}
			if !workflowKnown(n) {
				c.add("webhook %q: route %s: there is no workflow named %q", w.Name, t, n)
			}
		}
	}
	for _, p := range []string{w.EventIDPointer, *w.PatientPointer, *w.TypePointer} {
		if err := strictjson.ValidPointer(p); err != nil {
			c.add("webhook %q: %q is not a JSON pointer such as /patient", w.Name, p)
		}
	}
	if w.RatePerMinute < 1 {
		c.add("webhook %q: rate_per_minute is at least 1", w.Name)
	}
}

func (c *checks) patient(i int, p Patient, phones phone.Options, seen map[string]bool) {
	at := fmt.Sprintf("patients[%d]", i)
	if p.ExternalID == "" || len(p.ExternalID) > 64 {
		c.add("%s.external_id: the clinic's own number is missing or longer than 64 bytes", at)
	} else if seen[p.ExternalID] {
		c.add("%s.external_id: another patient in the file has it", at)
	}
	seen[p.ExternalID] = true
	if p.Name == "" {
		c.add("%s.name is missing", at)
	}
	if _, err := phone.Parse(p.Phone, phones); err != nil {
		c.add("%s.phone: %w", at, err)
	}
	if p.BirthDate != "" {
		if _, err := time.Parse(time.DateOnly, p.BirthDate); err != nil {
			c.add("%s.birth_date: write it as 1990-12-31", at)
		}
	}
}
