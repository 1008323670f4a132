package simulator

import "strings"

// route is one endpoint of a gateway.
type route struct {
	method string
	// pattern is the path after the app key; a star is one segment.
	pattern string
	handle  func(*Simulator, *call) answer
	// sends marks the endpoints whose recipients decide about faults.
	sends bool
	parts []string
}

var alimtalkRoutes = routes(
	route{method: "POST", pattern: "messages", handle: sendAlimtalk(kindAlimtalk, false), sends: true},
	route{method: "POST", pattern: "raw-messages", handle: sendAlimtalk(kindAlimtalk, true), sends: true},
	route{method: "POST", pattern: "auth/messages", handle: sendAlimtalk(kindAlimtalkAuth, false), sends: true},
	route{method: "POST", pattern: "auth/raw-messages", handle: sendAlimtalk(kindAlimtalkAuth, true), sends: true},
	route{method: "GET", pattern: "message-results", handle: (*Simulator).alimtalkUpdates},
	route{method: "GET", pattern: "messages", handle: listAlimtalk(kindAlimtalk)},
	route{method: "GET", pattern: "messages/*/*", handle: oneAlimtalk(kindAlimtalk)},
	route{method: "GET", pattern: "auth/messages", handle: listAlimtalk(kindAlimtalkAuth)},
	route{method: "GET", pattern: "auth/messages/*/*", handle: oneAlimtalk(kindAlimtalkAuth)},
	route{method: "DELETE", pattern: "messages/*", handle: (*Simulator).cancelAlimtalk},
	route{method: "GET", pattern: "senders", handle: (*Simulator).listSenders},
	route{method: "GET", pattern: "senders/*", handle: (*Simulator).oneSender},
	route{method: "GET", pattern: "senders/*/templates", handle: (*Simulator).listTemplates},
	route{method: "GET", pattern: "senders/*/templates/*", handle: (*Simulator).oneTemplate},
	route{method: "POST", pattern: "failback", handle: (*Simulator).setFailback},
	route{method: "POST", pattern: "failback/appkey", handle: (*Simulator).linkFailback},
)

var smsRoutes = routes(
	route{method: "POST", pattern: "sender/sms", handle: sendSMS(kindSMS, false), sends: true},
	route{method: "POST", pattern: "sender/mms", handle: sendSMS(kindLMS, false), sends: true},
	route{method: "POST", pattern: "sender/auth/sms", handle: sendSMS(kindAuth, false), sends: true},
	route{method: "POST", pattern: "sender/ad-sms", handle: sendSMS(kindSMS, true), sends: true},
	route{method: "POST", pattern: "sender/ad-mms", handle: sendSMS(kindLMS, true), sends: true},
	route{method: "GET", pattern: "message-results", handle: (*Simulator).smsUpdates},
	route{method: "GET", pattern: "sender/sms", handle: listSMS(kindSMS)},
	route{method: "GET", pattern: "sender/mms", handle: listSMS(kindLMS)},
	route{method: "GET", pattern: "sender/auth/sms", handle: listSMS(kindAuth)},
	route{method: "GET", pattern: "sender/sms/*", handle: oneSMS(kindSMS)},
	route{method: "GET", pattern: "sender/mms/*", handle: oneSMS(kindLMS)},
	route{method: "GET", pattern: "sender/auth/sms/*", handle: oneSMS(kindAuth)},
	route{method: "GET", pattern: "sendNos", handle: (*Simulator).listSendNos},
	route{method: "GET", pattern: "blockservice/unsubscribe-nos", handle: (*Simulator).listUnsubscribeNos},
	route{method: "GET", pattern: "blockservice/unsubscribe-nos/*", handle: (*Simulator).oneUnsubscribeNo},
	route{method: "POST", pattern: "blockservice/recipients", handle: (*Simulator).blockRecipients},
	route{method: "GET", pattern: "blockservice/recipients", handle: (*Simulator).listBlocked},
	route{method: "DELETE", pattern: "blockservice/recipients/removes", handle: (*Simulator).unblockRecipients},
	route{method: "GET", pattern: "reservations", handle: (*Simulator).listReservations},
	route{method: "GET", pattern: "reservations/*/*", handle: (*Simulator).oneReservation},
	route{method: "PUT", pattern: "reservations/cancel", handle: (*Simulator).cancelReservations},
)

func routes(rs ...route) []route {
	for i := range rs {
		rs[i].parts = strings.Split(rs[i].pattern, "/")
	}
	return rs
}

// find sets the call's product, app key and route from its path; it reports
// false where no such API exists. Names are case-sensitive: the app key's
// segment is "appkeys" at Alimtalk and "appKeys" at SMS.
func (c *call) find() bool {
	rest, ok := strings.CutPrefix(c.req.path, "/sms/")
	table := smsRoutes
	c.product = SMS
	if ok {
		rest, ok = strings.CutPrefix(rest, "v3.0/appKeys/")
	} else if rest, ok = strings.CutPrefix(c.req.path, "/alimtalk/v2."); ok {
		c.product, table = Alimtalk, alimtalkRoutes
		ok = rest != "" && rest[0] >= '0' && rest[0] <= '3'
		if ok {
			rest, ok = strings.CutPrefix(rest[1:], "/appkeys/")
		}
	} else if strings.HasPrefix(c.req.path, "/alimtalk/") {
		c.product = Alimtalk
	}
	if !ok {
		return false
	}
	c.app, rest, ok = strings.Cut(rest, "/")
	if !ok {
		return false
	}
	for i := range table {
		if table[i].method == c.req.method && c.match(&table[i], rest) {
			c.route = &table[i]
			return true
		}
	}
	return false
}

func (c *call) match(r *route, rest string) bool {
	stars := 0
	for i, want := range r.parts {
		part, tail, more := strings.Cut(rest, "/")
		if more != (i < len(r.parts)-1) || part == "" {
			return false
		}
		if want == "*" {
			c.args[stars] = part
			stars++
		} else if part != want {
			return false
		}
		rest = tail
	}
	return true
}
