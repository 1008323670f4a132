package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	goodSender = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	kakaoBase  = "/alimtalk/v2.3/appkeys/k/"
	smsBase    = "/sms/v3.0/appKeys/k/"
)

// gateway talks to a simulator as a client would, without sockets.
type gateway struct {
	t *testing.T
	*Simulator
}

func newGateway(t *testing.T, c Config) *gateway {
	t.Helper()
	return &gateway{t, New(c)}
}

// got is an answer: its status and its JSON.
type got struct {
	status int
	header http.Header
	raw    string
	v      any
	err    error
}

// at digs into the answer: "message.sendResults.0.resultCode". Numbers come
// as strings of digits.
func (g got) at(path string) string {
	v := g.v
	for p := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(x) {
				return "<none>"
			}
			v = x[i]
		default:
			return "<none>"
		}
	}
	switch x := v.(type) {
	case nil:
		return "<null>"
	case string:
		return x
	case []any:
		return "[" + strconv.Itoa(len(x)) + "]"
	default:
		b, _ := json.Marshal(x)
		return string(b)
	}
}

func (g got) code() string { return g.at("header.resultCode") }

// do makes one request; heads are pairs of header names and values.
func (g *gateway) do(method, target, body string, heads ...string) got {
	g.t.Helper()
	u, err := url.Parse("http://gw.invalid" + target)
	if err != nil {
		g.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(g.t.Context(), method, u.String(), strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	r.Header.Set("X-Secret-Key", "secret-of-k")
	for i := 0; i < len(heads); i += 2 {
		r.Header.Set(heads[i], heads[i+1])
	}
	return g.send(r)
}

func (g *gateway) send(r *http.Request) got {
	g.t.Helper()
	resp, err := g.Transport().RoundTrip(r)
	if err != nil {
		return got{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	a := got{status: resp.StatusCode, header: resp.Header, raw: string(b)}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	_ = d.Decode(&a.v) // some answers are meant not to be JSON
	return a
}

// obj and list write JSON by hand, so that a test shows what goes over the wire.
type obj map[string]any

func js(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// kakaoBody is a valid request to send one Alimtalk.
func kakaoBody(no, key string) obj {
	return obj{
		"senderKey": goodSender, "templateCode": "SIM_OK", "senderGroupingKey": "clinic:wf",
		"recipientList": []any{kakaoTo(no, key)},
	}
}

func kakaoTo(no, key string) obj {
	return obj{"recipientNo": no, "recipientGroupingKey": key, "templateParameter": obj{"이름": "김하늘"}, "resendParameter": obj{"isResend": false}}
}

// smsBody is a valid request to send one text.
func smsBody(no, key string) obj {
	return obj{
		"body": "내일 14:30 예약입니다", "sendNo": "15880000", "senderGroupingKey": "clinic:wf",
		"recipientList": []any{obj{"recipientNo": no, "recipientGroupingKey": key}},
	}
}

func lmsBody(no, key string) obj {
	b := smsBody(no, key)
	b["title"] = "예약 안내"
	return b
}

// with returns a copy of b with a field replaced; nil removes it.
func with(b obj, field string, v any) obj {
	c := maps.Clone(b)
	c[field] = v
	if v == nil {
		delete(c, field)
	}
	return c
}

func (g *gateway) kakao(no, key string, heads ...string) got {
	g.t.Helper()
	return g.do("POST", kakaoBase+"messages", js(kakaoBody(no, key)), heads...)
}

// kakaoMany sends n messages to numbers in 010-1xxx, a thousand per request.
func (g *gateway) kakaoMany(n int) {
	g.t.Helper()
	for from := 0; from < n; from += maxRecipients {
		var to []any
		for i := from; i < min(from+maxRecipients, n); i++ {
			to = append(to, kakaoTo(fmt.Sprintf("0101%07d", i), fmt.Sprintf("r%d:kakao", i)))
		}
		g.mustOK(g.do("POST", kakaoBase+"messages", js(with(kakaoBody("", ""), "recipientList", to))))
	}
}

func (g *gateway) sms(no, key string) got {
	g.t.Helper()
	return g.do("POST", smsBase+"sender/sms", js(smsBody(no, key)))
}

// findKakao and findSMS are the look-up after an ambiguous send.
func (g *gateway) findKakao(key string) got {
	g.t.Helper()
	return g.do("GET", kakaoBase+"messages?"+g.lastDay(formMinute)+"&recipientGroupingKey="+url.QueryEscape(key), "")
}

func (g *gateway) findSMS(key string) got {
	g.t.Helper()
	return g.do("GET", smsBase+"sender/sms?"+g.lastDay(formSecond)+"&recipientGroupingKey="+url.QueryEscape(key), "")
}

// lastDay is a range of request dates around the virtual present.
func (g *gateway) lastDay(form string) string {
	now := g.Now().In(kst)
	return url.Values{
		"startRequestDate": {now.Add(-30 * time.Hour).Format(form)}, "endRequestDate": {now.Add(time.Hour).Format(form)},
	}.Encode()
}

// breaches lists what was violated.
func (g *gateway) breaches() []Breach {
	var bs []Breach
	for _, v := range g.Violations() {
		bs = append(bs, v.Breach)
	}
	return bs
}

func (g *gateway) mustOK(a got) got {
	g.t.Helper()
	if a.err != nil || a.code() != "0" {
		g.t.Fatalf("answer = %v %s, want success", a.err, a.raw)
	}
	return a
}
