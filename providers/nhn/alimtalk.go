package nhn

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// Alimtalk sends approved Kakao templates over Alimtalk v2.3. A repeated key
// is refused for ten minutes as [providers.Duplicate], whatever became of the
// first request (TOAST-DOCS/Alimtalk ko/alimtalk-api-guide.md).
type Alimtalk struct {
	c        *client
	messages *url.URL
	sender   string
}

var _ providers.Gateway = (*Alimtalk)(nil)

// NewAlimtalk returns the account's Alimtalk; acct.Sender is the sender key.
// Pass one client of [HTTPClient] to all accounts. What is wrong with the
// account is told by each call.
func NewAlimtalk(acct providers.Account, hc *http.Client) *Alimtalk {
	c := newClient(acct, hc, "alimtalk/v2.3/appkeys")
	a := &Alimtalk{c: c, sender: acct.Sender}
	if c.err == nil {
		a.messages = c.base.JoinPath("messages")
	}
	return a
}

// alimtalkRequest is the body of POST /messages, for one recipient.
type alimtalkRequest struct {
	SenderKey    string               `json:"senderKey"`
	TemplateCode string               `json:"templateCode"`
	Group        string               `json:"senderGroupingKey,omitempty"`
	Recipients   [1]alimtalkRecipient `json:"recipientList"`
}

type alimtalkRecipient struct {
	Number    string            `json:"recipientNo"`
	Variables map[string]string `json:"templateParameter,omitempty"`
	// Resend is always written: where it is absent, NHN sends an SMS of its
	// own if the console says so, and ours would be the second.
	Resend struct {
		On bool `json:"isResend"`
	} `json:"resendParameter"`
	Key string `json:"recipientGroupingKey"`
}

// Send implements [providers.Gateway].
func (a *Alimtalk) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	if e := a.check(&m); e != nil {
		return providers.Receipt{}, e
	}
	to := m.To.National()
	if m.To.Foreign() {
		to = abroad(m.To)
	}
	body, err := encode(&alimtalkRequest{
		SenderKey: a.sender, TemplateCode: m.TemplateCode, Group: group(&m),
		Recipients: [1]alimtalkRecipient{{Number: to, Variables: m.Variables, Key: m.Key}},
	})
	if err != nil {
		return providers.Receipt{}, refused(providers.Request, codeMessage, err.Error())
	}
	ans, e := a.c.post(ctx, a.messages, m.Key, m.WriteBy, body)
	if e != nil {
		return providers.Receipt{}, e
	}
	defer ans.release()
	receipt, e := judge(ans, m.Key, alimtalkRefusals, decodeAlimtalk)
	if e != nil {
		return providers.Receipt{}, e
	}
	return receipt, nil
}

func (a *Alimtalk) check(m *providers.Message) *providers.SendError {
	if e := a.c.check(m); e != nil {
		return e
	}
	if m.TemplateCode == "" {
		return refused(providers.Request, codeMessage, "the message has no template code")
	}
	for k, v := range m.Variables {
		if !validText(k, v) {
			return refused(providers.Request, codeCharacters, "a variable is not UTF-8")
		}
	}
	return nil
}

func decodeAlimtalk(b []byte) (sent, error) {
	var v struct {
		envelope
		Message struct {
			ID      word      `json:"requestId"`
			Results []verdict `json:"sendResults"`
		} `json:"message"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return sent{}, err
	}
	return sent{header: v.Header, id: v.Message.ID, verdicts: v.Message.Results}, nil
}

// Find implements [providers.Gateway]. The window is widened by ten minutes at
// both ends and may have any length; NHN knows nothing older than 90 days.
func (a *Alimtalk) Find(ctx context.Context, key string, from, to time.Time) ([]providers.Result, error) {
	if err := checkWindow(from, to, 0); err != nil {
		return nil, err
	}
	if a.c.err != nil {
		return nil, unavailable("alimtalk list", a.c.err)
	}
	var rows []row
	for _, w := range newWindow(from.Add(-slack), to.Add(slack), byMinute).split(searchSpan) {
		q := url.Values{
			"recipientGroupingKey": {key}, "startRequestDate": {w.start()}, "endRequestDate": {w.end()},
		}
		more, err := pages(listPage, true, func(n int) (page, error) {
			paging(q, n, listPage)
			return a.list(ctx, q)
		})
		if err != nil {
			return nil, unavailable("alimtalk list", err)
		}
		rows = append(rows, more...)
	}
	rs, err := found(rows, key, alimtalkReading)
	if err != nil {
		return nil, unavailable("alimtalk list", err)
	}
	return rs, nil
}

func (a *Alimtalk) list(ctx context.Context, q url.Values) (page, error) {
	var v struct {
		envelope
		List *struct {
			Rows  []row  `json:"messages"`
			Total number `json:"totalCount"`
		} `json:"messageSearchResultResponse"`
	}
	if err := a.c.get(ctx, "messages", q, &v); err != nil {
		return page{}, err
	}
	if v.List == nil {
		return page{}, errUnreadable
	}
	return listed(v.List.Rows, v.List.Total)
}

// Results implements [providers.Gateway]. The window is rounded outward to
// whole minutes; results carry no key.
func (a *Alimtalk) Results(ctx context.Context, from, to time.Time) ([]providers.Result, error) {
	if err := checkWindow(from, to, 24*time.Hour); err != nil {
		return nil, err
	}
	if a.c.err != nil {
		return nil, unavailable("alimtalk results", a.c.err)
	}
	w := newWindow(from, to, byMinute)
	q := url.Values{
		"startUpdateDate": {w.start()}, "endUpdateDate": {w.end()}, "alimtalkMessageType": {"NORMAL"},
	}
	rows, err := pages(resultPage, false, func(n int) (page, error) {
		paging(q, n, resultPage)
		var v struct {
			envelope
			Rows []row `json:"messages"`
		}
		err := a.c.get(ctx, "message-results", q, &v)
		return page{rows: v.Rows}, err
	})
	if err != nil {
		return nil, unavailable("alimtalk results", err)
	}
	return changed(rows, alimtalkReading), nil
}

// How the rows of this product are understood.
var alimtalkReading = reading{alimtalkState, alimtalkReports}

// alimtalkState reads one message's result. The code decides; messageStatus
// speaks where there is none, or only a weak one.
func alimtalkState(r *row) providers.State {
	switch r.Resend {
	case "RSC02", "RSC03", "RSC04":
		// NHN sends an SMS of its own, although each request forbids it. A
		// second one must not follow.
		if r.Code != "1000" {
			return providers.Unconfirmed
		}
	}
	if r.Code == "" {
		if r.Status == "FAILED" || r.Status == "CANCEL" {
			return providers.Failed
		}
		return providers.Pending // no value for it is documented; absent, null and others occur
	}
	rep, known := alimtalkReports[string(r.Code)]
	switch {
	case !known, rep.weak && r.Status != "FAILED":
		return providers.Unconfirmed
	case rep.state == providers.Delivered && (r.Status == "FAILED" || r.Status == "CANCEL"):
		return providers.Unconfirmed // it contradicts itself
	}
	return rep.state
}
