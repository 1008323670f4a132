package nhn

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/template"
	"github.com/doctorsflow/doctorsflow/providers"
)

// SMS sends texts over SMS v3.0: as SMS up to 90 bytes of EUC-KR, as LMS up to
// 2,000. It has no idempotency key; only [SMS.Find] tells what became of a
// request without an answer (TOAST-DOCS/SMS ko/api-guide.md).
type SMS struct {
	c           *client
	short, long *url.URL
	sender      string
}

var _ providers.Gateway = (*SMS)(nil)

// NewSMS returns the account's SMS; acct.Sender is the registered sender
// number. Pass one client of [HTTPClient] to all accounts. What is wrong with
// the account is told by each call.
func NewSMS(acct providers.Account, hc *http.Client) *SMS {
	c := newClient(acct, hc, "sms/v3.0/appKeys")
	s := &SMS{c: c, sender: digits(acct.Sender)}
	if c.err == nil && s.sender == "" {
		c.err = errors.New("the account's sender number has no digits; enter it again")
	}
	if c.err == nil {
		s.short, s.long = c.base.JoinPath("sender/sms"), c.base.JoinPath("sender/mms")
	}
	return s
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// smsRequest is the body of POST /sender/sms and /sender/mms, for one
// recipient.
type smsRequest struct {
	Title      string          `json:"title,omitempty"`
	Body       string          `json:"body"`
	Sender     string          `json:"sendNo"`
	Group      string          `json:"senderGroupingKey,omitempty"`
	Recipients [1]smsRecipient `json:"recipientList"`
}

type smsRecipient struct {
	Number string `json:"recipientNo,omitempty"`
	Abroad string `json:"internationalRecipientNo,omitempty"`
	Key    string `json:"recipientGroupingKey"`
}

// Send implements [providers.Gateway].
func (s *SMS) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	req, u, e := s.request(&m)
	if e != nil {
		return providers.Receipt{}, e
	}
	body, err := encode(&req)
	if err != nil {
		return providers.Receipt{}, refused(providers.Request, codeMessage, err.Error())
	}
	ans, e := s.c.post(ctx, u, "", m.WriteBy, body)
	if e != nil {
		return providers.Receipt{}, e
	}
	defer ans.release()
	receipt, e := judge(ans, m.Key, smsRefusals, decodeSMS)
	if e != nil {
		return providers.Receipt{}, e
	}
	return receipt, nil
}

// request makes the message's request and chooses where it goes. NHN does not
// turn a long SMS into an LMS; it cuts its tail.
func (s *SMS) request(m *providers.Message) (smsRequest, *url.URL, *providers.SendError) {
	if e := s.c.check(m); e != nil {
		return smsRequest{}, nil, e
	}
	kind, err := template.SMSKind(m.Body)
	if err != nil {
		return smsRequest{}, nil, unsendable(err)
	}
	req := smsRequest{
		Body: m.Body, Sender: s.sender, Group: group(m),
		Recipients: [1]smsRecipient{{Number: m.To.National(), Key: m.Key}},
	}
	if m.To.Foreign() {
		req.Recipients[0].Number, req.Recipients[0].Abroad = "", abroad(m.To)
	}
	if kind == template.SMS {
		return req, s.short, nil
	}
	if m.To.Foreign() {
		return smsRequest{}, nil, refused(providers.Request, codeAbroad, "a long message cannot go abroad; shorten it to 90 bytes")
	}
	req.Title = m.Title
	if req.Title == "" {
		req.Title = firstLine(m.Body) // NHN requires one
	}
	if err := template.CheckTitle(req.Title); err != nil {
		return smsRequest{}, nil, unsendable(err)
	}
	return req, s.long, nil
}

func unsendable(err error) *providers.SendError {
	code := codeMessage
	var size *template.SizeError
	var bad *template.UnencodableError
	switch {
	case errors.As(err, &size):
		code = codeTooLong
	case errors.As(err, &bad):
		code = codeCharacters
	}
	return &providers.SendError{Kind: providers.Rejected, Scope: providers.Request, Code: code, Err: err}
}

// firstLine is the beginning of a body, as far as a title holds it.
func firstLine(body string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	line = strings.Join(strings.Fields(line), " ")
	n := 0
	for i, r := range line {
		n++
		if r > 0x7F {
			n++
		}
		if n > template.MaxTitle {
			return strings.TrimSpace(line[:i])
		}
	}
	return line
}

func decodeSMS(b []byte) (sent, error) {
	var v struct {
		envelope
		Body struct {
			Data struct {
				ID      word      `json:"requestId"`
				Status  word      `json:"statusCode"`
				Results []verdict `json:"sendResultList"`
			} `json:"data"`
		} `json:"body"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return sent{}, err
	}
	d := &v.Body.Data
	return sent{header: v.Header, id: d.ID, failed: d.Status == "3", verdicts: d.Results}, nil
}

// Find implements [providers.Gateway]. It asks the lists of SMS and of LMS; the
// window is widened by ten minutes at both ends and may have any length.
func (s *SMS) Find(ctx context.Context, key string, from, to time.Time) ([]providers.Result, error) {
	if err := checkWindow(from, to, 0); err != nil {
		return nil, err
	}
	if s.c.err != nil {
		return nil, unavailable("sms list", s.c.err)
	}
	var rows []row
	for _, w := range newWindow(from.Add(-slack), to.Add(slack), bySecond).split(searchSpan) {
		for _, path := range []string{"sender/sms", "sender/mms"} {
			q := url.Values{
				"recipientGroupingKey": {key}, "startRequestDate": {w.start()}, "endRequestDate": {w.end()},
			}
			more, err := pages(listPage, true, func(n int) (page, error) {
				paging(q, n, listPage)
				p, known, err := s.list(ctx, path, q)
				if err == nil && !known {
					err = errUnreadable
				}
				return p, err
			})
			if err != nil {
				return nil, unavailable("sms list", err)
			}
			rows = append(rows, more...)
		}
	}
	rs, err := found(rows, key, smsReading)
	if err != nil {
		return nil, unavailable("sms list", err)
	}
	return rs, nil
}
