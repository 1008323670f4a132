package simulator

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// The 080 numbers by which patients refuse advertisements.

func adNoFields(a *adNo) map[string]any {
	return map[string]any{
		"unsubscribeNo": a.no, "enterpriseName": "simulator", "requestDateTime": since, "startDateTime": since,
		"status": a.status, "shareType": "MASTER",
	}
}

// allAdNos returns copies of the refusal numbers in their order.
func (f *fixtures) allAdNos() []adNo {
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := make([]adNo, 0, len(f.adNos))
	for _, a := range f.adNos {
		list = append(list, adNo{no: a.no, status: a.status})
	}
	slices.SortFunc(list, func(a, b adNo) int { return strings.Compare(a.no, b.no) })
	return list
}

func (s *Simulator) listUnsubscribeNos(c *call) answer {
	no, size, ok := c.page()
	if !ok {
		return c.refuse(-1005)
	}
	all := []map[string]any{}
	for _, a := range s.fixtures.allAdNos() {
		all = append(all, adNoFields(&a))
	}
	return reply(0, smsPage(no, size, len(all), listed(all, no, size)))
}

func (s *Simulator) oneUnsubscribeNo(c *call) answer {
	for _, a := range s.fixtures.allAdNos() {
		if a.no == strings.ReplaceAll(c.args[0], "-", "") {
			return reply(0, smsData(adNoFields(&a)))
		}
	}
	return c.refuse(-6004)
}

func (s *Simulator) blockRecipients(c *call) answer {
	var adNo string
	var nos []string
	r, ok := newReader(c.req.body)
	if !ok {
		return c.refuse(-9997)
	}
	r.object("body", func(name string) {
		switch name {
		case "unsubscribeNo":
			adNo = strings.ReplaceAll(r.text(name), "-", "")
		case "recipientNoList":
			r.array(name, func() { nos = append(nos, strings.Clone(r.text(name))) })
		default:
			r.other(name)
		}
	})
	switch {
	case r.bad != "":
		return c.invalid(r.bad)
	case len(nos) == 0:
		return c.refuse(-2001)
	case len(nos) > 10:
		return c.invalid("recipientNoList")
	case slices.ContainsFunc(nos, func(no string) bool { return !mobile(national(no)) }):
		return c.refuse(-2019)
	case !s.fixtures.block(adNo, nos, time.Unix(0, s.clock.stamp(c.at))):
		return c.refuse(-6004)
	}
	return c.refuse(0)
}

func (s *Simulator) listBlocked(c *call) answer {
	from, to, ok := c.span("startRequestDate", "endRequestDate", formSecond)
	no, size, okPage := c.page()
	switch {
	case !ok:
		return c.refuse(-2000)
	case !okPage || c.arg("unsubscribeNo") == "":
		return c.refuse(-1005)
	}
	adNo, one := strings.ReplaceAll(c.arg("unsubscribeNo"), "-", ""), national(c.arg("recipientNo"))
	f := s.fixtures
	f.mu.RLock()
	a, known := f.adNos[adNo]
	all := []map[string]any{}
	if known {
		for recipient, t := range a.blocked {
			if (one == "" || recipient == one) && within(t.UnixNano(), from, to) {
				all = append(all, map[string]any{"unsubscribeNo": adNo, "recipientNo": recipient, "requestDate": at(t.UnixNano(), formTenth)})
			}
		}
	}
	f.mu.RUnlock()
	if !known {
		return c.refuse(-6004)
	}
	slices.SortFunc(all, func(a, b map[string]any) int {
		return strings.Compare(a["recipientNo"].(string), b["recipientNo"].(string))
	})
	return reply(0, smsPage(no, size, len(all), listed(all, no, size)))
}

func (s *Simulator) unblockRecipients(c *call) answer {
	adNo, user := strings.ReplaceAll(c.arg("unsubscribeNo"), "-", ""), c.arg("updateUser")
	nos := c.arg("recipientNoList")
	switch {
	case adNo == "" || user == "" || nos == "":
		return c.refuse(-1005)
	case !s.fixtures.unblock(adNo, strings.Split(nos, ",")):
		return c.refuse(-2019)
	}
	return c.refuse(0)
}

// Unsubscribe plays a patient who calls a refusal number: the block list
// grows and the webhooks of SMS apps hear of it.
func (s *Simulator) Unsubscribe(adNo, recipientNo string) error {
	adNo, no := strings.ReplaceAll(adNo, "-", ""), national(recipientNo)
	if !mobile(no) {
		return errors.New("simulator: only a mobile number can refuse advertisements")
	}
	now := time.Unix(0, s.clock.stampNow())
	if !s.fixtures.block(adNo, []string{no}, now) {
		return errors.New("simulator: no such refusal number; add it with POST /__sim/unsubscribenos")
	}
	apps := []string{}
	for key, w := range s.set.Load().webhooks {
		if app := s.apps[key]; w.URL != "" && app.Product != Alimtalk {
			apps = append(apps, key)
		}
	}
	slices.Sort(apps)
	for _, app := range apps {
		s.mu.Lock()
		s.count.hookIDs++
		id := now.In(kst).Format(formID) + token(mix(s.seed+s.count.hookIDs))
		s.mu.Unlock()
		s.outbox.put(&hook{app: app, product: SMS, to: s.set.Load().webhooks[app], event: "UNSUBSCRIBE", fields: map[string]any{
			"hookId": id, "recipientNo": no, "unsubscribeNo": adNo, "enterpriseName": "simulator",
			"createdDateTime": now.In(kst).Format("2006-01-02T15:04:05.000-07:00"),
		}})
	}
	return nil
}
