package nhn_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/providers/providertest"
)

const (
	appKey    = "canaryAppKey1234"
	secret    = "canarySecret5678"
	senderKey = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sendNo    = "15880000"
)

// scenarios are the digits of the magic numbers; those from 910 on are free in
// the simulator's table.
var scenarios = map[providertest.Scenario]string{
	providertest.OK:                "000",
	providertest.AcceptedThenHang:  "504",
	providertest.AcceptedThenReset: "506",
	providertest.ResetBefore:       "505",
	providertest.ServerError:       "500",
	providertest.BadGateway:        "501",
	providertest.Truncated:         "507",
	providertest.Empty:             "508",
	providertest.NoID:              "509",
	providertest.Throttled:         "701",
	providertest.Garbage:           "910",
	providertest.Huge:              "911",
	providertest.Redirect:          "912",
	providertest.DropIdle:          "913",
}

// alimtalkNumbers and smsNumbers place the digits where each product's are.
func alimtalkNumbers() map[providertest.Scenario]string {
	ns := map[providertest.Scenario]string{providertest.RejectedAtOnce: "01001160000", providertest.FailedByReport: "01000190000"}
	for s, d := range scenarios {
		ns[s] = "0100" + d + "0000"
	}
	return ns
}

func smsNumbers() map[providertest.Scenario]string {
	ns := map[providertest.Scenario]string{providertest.RejectedAtOnce: "01000001120", providertest.FailedByReport: "01000000310"}
	for s, d := range scenarios {
		ns[s] = "0100000" + d + "0"
	}
	return ns
}

// fake is as much of one of NHN's gateways as the suite asks for, on a socket
// that can do what no real server does on demand.
type fake struct {
	*providertest.Server
	alimtalk bool
	trap     string
	numbers  map[string]providertest.Scenario

	mu       sync.Mutex
	accepted []accepted
}

type accepted struct {
	id, key, kind, code string
	at                  time.Time
}

func startFake(t *testing.T, alimtalk bool, trap string) *fake {
	f := &fake{alimtalk: alimtalk, trap: trap, numbers: map[string]providertest.Scenario{}}
	ns := smsNumbers()
	if alimtalk {
		ns = alimtalkNumbers()
	}
	for s, n := range ns {
		f.numbers[n] = s
	}
	f.Server = providertest.NewServer(t, f.answer)
	return f
}

// sends are the requests of a wire that are sends.
func sends(all []providertest.Request) []providertest.Request {
	return slices.DeleteFunc(all, func(r providertest.Request) bool { return r.Method != "POST" })
}

func reply(format string, args ...any) providertest.Reply {
	return providertest.Reply{
		Header: map[string]string{"Content-Type": "application/json;charset=UTF-8"},
		Body:   fmt.Appendf(nil, format, args...),
	}
}

func (f *fake) refuse(code int) providertest.Reply {
	return reply(`{"header":{"isSuccessful":false,"resultCode":%d,"resultMessage":"refused 01000000000"}}`, code)
}

func (f *fake) answer(r providertest.Request) providertest.Reply {
	if r.Header.Get("X-Secret-Key") != secret || !strings.Contains(r.Path, "/"+appKey+"/") {
		if f.alimtalk {
			return f.refuse(-1001)
		}
		return f.refuse(-1000)
	}
	q, err := url.ParseQuery(r.Query)
	switch {
	case err != nil:
		return f.refuse(-9997)
	case r.Method == "POST":
		return f.send(r)
	case strings.HasSuffix(r.Path, "/message-results"):
		return f.list(func(a accepted) bool { return f.alimtalk || a.kind == q.Get("messageType") }, "messages")
	}
	kind := map[bool]string{true: "LMS", false: "SMS"}[strings.HasSuffix(r.Path, "/sender/mms")]
	return f.list(func(a accepted) bool {
		return a.key == q.Get("recipientGroupingKey") && (f.alimtalk || a.kind == kind)
	}, "messageSearchResultResponse")
}

func (f *fake) send(r providertest.Request) providertest.Reply {
	var body struct {
		Recipients []struct {
			Number string `json:"recipientNo"`
			Key    string `json:"recipientGroupingKey"`
		} `json:"recipientList"`
	}
	if json.Unmarshal(r.Body, &body) != nil || len(body.Recipients) != 1 {
		return f.refuse(-9997)
	}
	to := body.Recipients[0]
	s := f.numbers[to.Number]
	switch s {
	case providertest.ResetBefore:
		return providertest.Reply{Fault: providertest.Reset}
	case providertest.ServerError:
		a := f.refuse(-9999)
		a.Status = 500
		return a
	case providertest.BadGateway:
		return providertest.Reply{Status: 502, Body: []byte("<html>502 01000000000</html>")}
	case providertest.Garbage:
		return providertest.Reply{Body: []byte("<html>200 01000000000</html>")}
	case providertest.Huge:
		return providertest.Reply{Body: []byte(`{"header":{"isSuccessful":true,"resultCode":0},"pad":" `), Fault: providertest.Endless}
	case providertest.Throttled:
		return providertest.Reply{Status: 429, Header: map[string]string{"Retry-After": "7"}, Body: []byte("slow down")}
	case providertest.Redirect:
		return providertest.Reply{Status: 307, Header: map[string]string{"Location": f.trap + "/elsewhere"}}
	case providertest.NoID:
		return reply(`{"header":{"isSuccessful":true,"resultCode":0,"resultMessage":"SUCCESS"}}`)
	case providertest.RejectedAtOnce:
		if f.alimtalk {
			return reply(`{"header":{"isSuccessful":false,"resultCode":-1031,"resultMessage":"x"},"message":{"requestId":"20261122000000none","sendResults":[{"recipientSeq":1,"resultCode":-3010,"recipientGroupingKey":%q}]}}`, to.Key)
		}
		return f.refuse(-2019)
	}
	a, fresh := f.accept(r, to.Key, s)
	if !fresh {
		return f.refuse(-1005)
	}
	out := f.receipt(a, to.Number)
	switch s {
	case providertest.AcceptedThenHang:
		out.Fault = providertest.Hang
	case providertest.AcceptedThenReset:
		out.Fault = providertest.Reset
	case providertest.Truncated:
		out.Fault = providertest.Halve
	case providertest.DropIdle:
		out.Fault = providertest.DropNext
	case providertest.Empty:
		out.Body = nil
	}
	return out
}

func (f *fake) accept(r providertest.Request, key string, s providertest.Scenario) (accepted, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := r.Header.Get("X-NC-API-IDEMPOTENCY-KEY"); k != "" && slices.ContainsFunc(f.accepted, func(a accepted) bool { return a.key == k }) {
		return accepted{}, false
	}
	a := accepted{key: key, kind: "SMS", code: "1000", at: time.Now(), id: fmt.Sprintf("20261122101500test%07d", len(f.accepted))}
	if strings.HasSuffix(r.Path, "/sender/mms") {
		a.kind = "LMS"
	}
	if s == providertest.FailedByReport {
		a.code = map[bool]string{true: "3019", false: "3001"}[f.alimtalk]
	}
	f.accepted = append(f.accepted, a)
	return a, true
}

func (f *fake) receipt(a accepted, number string) providertest.Reply {
	result := fmt.Sprintf(`[{"recipientSeq":1,"recipientNo":%q,"resultCode":0,"resultMessage":"SUCCESS","recipientGroupingKey":%q}]`, number, a.key)
	if f.alimtalk {
		return reply(`{"header":{"isSuccessful":true,"resultCode":0,"resultMessage":"SUCCESS"},"message":{"requestId":%q,"sendResults":%s}}`, a.id, result)
	}
	return reply(`{"header":{"isSuccessful":true,"resultCode":0,"resultMessage":"SUCCESS"},"body":{"data":{"requestId":%q,"statusCode":"2","sendResultList":%s}}}`, a.id, result)
}

// list answers a query with the messages that match.
func (f *fake) list(match func(accepted) bool, name string) providertest.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	rows := []string{}
	kst := time.FixedZone("", 9*3600)
	for _, a := range f.accepted {
		if !match(a) {
			continue
		}
		at := a.at.In(kst).Format("2006-01-02 15:04:05") + ".0"
		if f.alimtalk {
			status := map[bool]string{true: "COMPLETED", false: "FAILED"}[a.code == "1000"]
			key := ""
			if name != "messages" { // message-results has no key
				key = fmt.Sprintf(`"recipientGroupingKey":%q,`, a.key)
			}
			rows = append(rows, fmt.Sprintf(`{"requestId":%q,"recipientSeq":1,%s"requestDate":%q,"receiveDate":%q,"resendStatus":"RSC01","messageStatus":%q,"resultCode":%q}`, a.id, key, at, at, status, a.code))
			continue
		}
		status := map[bool]string{true: "3", false: "0"}[a.code == "1000"]
		rows = append(rows, fmt.Sprintf(`{"requestId":%q,"recipientSeq":1,"recipientGroupingKey":%q,"requestDate":%q,"resultDate":%q,"msgStatus":%q,"resultCode":%q}`, a.id, a.key, at, at, status, a.code))
	}
	array := "[" + strings.Join(rows, ",") + "]"
	switch {
	case !f.alimtalk:
		return reply(`{"header":{"isSuccessful":true,"resultCode":0},"body":{"pageNum":1,"pageSize":15,"totalCount":%d,"data":%s}}`, len(rows), array)
	case name == "messages":
		return reply(`{"header":{"isSuccessful":true,"resultCode":0},"messages":%s}`, array)
	}
	return reply(`{"header":{"isSuccessful":true,"resultCode":0},"messageSearchResultResponse":{"messages":%s,"totalCount":%d}}`, array, len(rows))
}
