package nhn

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/providers"
)

func answerOf(status int, body string) *answer {
	b := newBuffer()
	b.WriteString(body)
	return &answer{status: status, body: b}
}

const key = "01930000-0000-7000-8000-000000000000:kakao"

func TestAnAnswerProvesOnlyWhatItDocuments(t *testing.T) {
	t.Parallel()
	const success = `{"header":{"isSuccessful":true,"resultCode":0},"message":{"requestId":"R1","sendResults":[`
	for name, c := range map[string]struct {
		status int
		body   string
		want   string // kind, code and scope, or the receipt
	}{
		"accepted":                        {200, success + `{"recipientSeq":1,"resultCode":0,"recipientGroupingKey":"` + key + `"}]}}`, "R1/1"},
		"accepted, little said":           {200, success + `{}]}}`, "R1/1"},
		"accepted, numbers as texts":      {200, success + `{"recipientSeq":"2","resultCode":"0"}]}}`, "R1/2"},
		"accepted, nulls":                 {200, success + `{"recipientSeq":null,"resultCode":null,"recipientGroupingKey":null}]}}`, "R1/1"},
		"no results":                      {200, `{"header":{"isSuccessful":true,"resultCode":0},"message":{"requestId":"R1","sendResults":[]}}`, "ambiguous"},
		"no message":                      {200, `{"header":{"isSuccessful":true,"resultCode":0}}`, "ambiguous"},
		"two results":                     {200, success + `{},{}]}}`, "ambiguous"},
		"no request id":                   {200, strings.Replace(success, "R1", "", 1) + `{"recipientSeq":1}]}}`, "ambiguous"},
		"request id with a subject":       {200, strings.Replace(success, "R1", "a.>", 1) + `{"recipientSeq":1}]}}`, "ambiguous"},
		"negative recipient":              {200, success + `{"recipientSeq":-1}]}}`, "ambiguous"},
		"another request's answer":        {200, success + `{"recipientSeq":1,"recipientGroupingKey":"other:kakao"}]}}`, "ambiguous"},
		"no header":                       {200, `{"message":{"requestId":"R1","sendResults":[{}]}}`, "ambiguous"},
		"header without isSuccessful":     {200, `{"header":{"resultCode":0},"message":{"requestId":"R1","sendResults":[{}]}}`, "ambiguous"},
		"header without resultCode":       {200, `{"header":{"isSuccessful":false}}`, "ambiguous"},
		"successful with a code":          {200, `{"header":{"isSuccessful":true,"resultCode":-3003}}`, "ambiguous"},
		"unsuccessful without a code":     {200, `{"header":{"isSuccessful":false,"resultCode":0}}`, "ambiguous"},
		"success with a client error":     {400, success + `{}]}}`, "ambiguous"},
		"trailing document":               {200, success + `{}]}}{}`, "ambiguous"},
		"empty":                           {200, ``, "ambiguous"},
		"not found, no envelope":          {404, `<html>`, "ambiguous"},
		"forbidden, no envelope":          {403, `<html>`, "ambiguous"},
		"unauthorized":                    {401, `<html>`, "rejected 401 sender"},
		"unauthorized, duplicate":         {401, `{"header":{"isSuccessful":false,"resultCode":-1005}}`, "duplicate -1005"},
		"server error, refusal inside":    {500, `{"header":{"isSuccessful":false,"resultCode":-3003}}`, "ambiguous"},
		"server error, success inside":    {503, success + `{}]}}`, "ambiguous"},
		"redirect":                        {307, ``, "ambiguous"},
		"too many":                        {429, `{"header":{"isSuccessful":false,"resultCode":-3003}}`, "throttled 429 sender"},
		"refused":                         {200, `{"header":{"isSuccessful":false,"resultCode":-3003}}`, "rejected -3003 request"},
		"refused, client error":           {400, `{"header":{"isSuccessful":false,"resultCode":-3003},"message":null}`, "rejected -3003 request"},
		"refused, code as text":           {200, `{"header":{"isSuccessful":false,"resultCode":"-1001"}}`, "rejected -1001 sender"},
		"undocumented code":               {200, `{"header":{"isSuccessful":false,"resultCode":-31337}}`, "ambiguous -31337"},
		"system error":                    {200, `{"header":{"isSuccessful":false,"resultCode":-9999}}`, "ambiguous -9999"},
		"vendor call failed":              {200, `{"header":{"isSuccessful":false,"resultCode":-7000}}`, "ambiguous -7000"},
		"duplicate":                       {200, `{"header":{"isSuccessful":false,"resultCode":-1005}}`, "duplicate -1005"},
		"duplicate, newer code":           {200, `{"header":{"isSuccessful":false,"resultCode":400305}}`, "duplicate 400305"},
		"recipient refused":               {200, success + `{"recipientSeq":1,"resultCode":-5000}]}}`, "rejected -5000 recipient"},
		"recipient unsubscribed":          {200, success + `{"recipientSeq":1,"resultCode":-3301}]}}`, "rejected -3301 policy"},
		"recipient, undocumented":         {200, success + `{"recipientSeq":1,"resultCode":-31337}]}}`, "ambiguous -31337"},
		"all refused, told why":           {200, `{"header":{"isSuccessful":false,"resultCode":-1031},"message":{"sendResults":[{"resultCode":-3010}]}}`, "rejected -3010 request"},
		"all refused, vendor":             {200, `{"header":{"isSuccessful":false,"resultCode":-1031},"message":{"sendResults":[{"resultCode":-7000}]}}`, "ambiguous -7000"},
		"all refused, not told why":       {200, `{"header":{"isSuccessful":false,"resultCode":-1031}}`, "rejected -1031 request"},
		"all refused, recipient's empty":  {200, `{"header":{"isSuccessful":false,"resultCode":-1031},"message":{"sendResults":[{}]}}`, "rejected -1031 request"},
		"all refused, recipient accepted": {200, `{"header":{"isSuccessful":false,"resultCode":-1031},"message":{"requestId":"R1","sendResults":[{"resultCode":0}]}}`, "ambiguous"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := answerOf(c.status, c.body)
			receipt, e := judge(a, key, alimtalkRefusals, decodeAlimtalk)
			if diff := cmp.Diff(c.want, said(receipt, e)); diff != "" {
				t.Errorf("judge (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnSMSAnswerProvesOnlyWhatItDocuments(t *testing.T) {
	t.Parallel()
	const success = `{"header":{"isSuccessful":true,"resultCode":0},"body":{"data":{"requestId":"R1","statusCode":"2","sendResultList":[`
	for name, c := range map[string]struct{ body, want string }{
		"accepted":                  {success + `{"recipientSeq":1,"resultCode":0}]}}}`, "R1/1"},
		"body is null":              {`{"header":{"isSuccessful":true,"resultCode":0},"body":null}`, "ambiguous"},
		"failed request":            {strings.Replace(success, `"2"`, `"3"`, 1) + `{"recipientSeq":1,"resultCode":0}]}}}`, "ambiguous"},
		"failed recipient":          {strings.Replace(success, `"2"`, `"3"`, 1) + `{"recipientSeq":1,"resultCode":-2019}]}}}`, "rejected -2019 recipient"},
		"-1005 is a bad parameter":  {`{"header":{"isSuccessful":false,"resultCode":-1005}}`, "rejected -1005 request"},
		"-1031 is not documented":   {`{"header":{"isSuccessful":false,"resultCode":-1031}}`, "ambiguous -1031"},
		"400305 is not documented":  {`{"header":{"isSuccessful":false,"resultCode":400305}}`, "ambiguous 400305"},
		"quota":                     {`{"header":{"isSuccessful":false,"resultCode":-2052}}`, "throttled -2052 sender"},
		"sender not registered":     {`{"header":{"isSuccessful":false,"resultCode":-2312},"body":null}`, "rejected -2312 sender"},
		"opted out":                 {`{"header":{"isSuccessful":false,"resultCode":-6001}}`, "rejected -6001 policy"},
		"queue":                     {`{"header":{"isSuccessful":false,"resultCode":-2021}}`, "ambiguous -2021"},
		"refusal in header and row": {`{"header":{"isSuccessful":false,"resultCode":-2019},"body":{"data":{"sendResultList":[{"resultCode":-2019}]}}}`, "rejected -2019 recipient"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receipt, e := judge(answerOf(200, c.body), key, smsRefusals, decodeSMS)
			if diff := cmp.Diff(c.want, said(receipt, e)); diff != "" {
				t.Errorf("judge (-want +got):\n%s", diff)
			}
		})
	}
}

var scopes = map[providers.Scope]string{
	providers.Recipient: "recipient", providers.Request: "request", providers.Sender: "sender", providers.Policy: "policy",
}

// said is an outcome in short.
func said(r providers.Receipt, e *providers.SendError) string {
	if e == nil {
		return r.RequestID + "/" + string(rune('0'+r.Seq))
	}
	parts := []string{e.Kind.String()}
	if e.Code != "" {
		parts = append(parts, e.Code)
	}
	if e.Kind == providers.Rejected || e.Kind == providers.Throttled {
		parts = append(parts, scopes[e.Scope])
	}
	return strings.Join(parts, " ")
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-3": 0, "99999999999999999999": 0, "999999": 24 * time.Hour, "soon": 0,
		"Sun, 22 Nov 2026 01:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 00:59:00 GMT": 0, "Sun, 22 Nov 2099 01:00:30 GMT": 24 * time.Hour,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("retryAfter(%q) = %v; want %v", v, got, want)
		}
	}
}
