package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// receiver is the platform's end of webhooks, without sockets.
type receiver struct {
	mu     sync.Mutex
	posts  []delivery
	status []int // answers to come; then 200
}

type delivery struct {
	at        time.Time
	signature string
	envelope  map[string]any
	hooks     []map[string]any
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	var v struct {
		Hooks []map[string]any `json:"hooks"`
	}
	var all map[string]any
	b := new(strings.Builder)
	buf := make([]byte, 1<<16)
	for {
		n, err := req.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	_ = req.Body.Close()
	if err := json.Unmarshal([]byte(b.String()), &v); err != nil {
		return nil, err
	}
	_ = json.Unmarshal([]byte(b.String()), &all)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts = append(r.posts, delivery{time.Now(), req.Header.Get("X-Toast-Webhook-Signature"), all, v.Hooks})
	w := httptest.NewRecorder()
	if len(r.status) > 0 {
		w.WriteHeader(r.status[0])
		r.status = r.status[1:]
	}
	return w.Result(), nil
}

// take returns the posts so far and forgets them.
func (r *receiver) take() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	ps := r.posts
	r.posts = nil
	return ps
}

// codes lists what the hooks of all posts say.
func codes(ps []delivery) []string {
	var cs []string
	for _, p := range ps {
		for _, h := range p.hooks {
			cs = append(cs, fmt.Sprint(h["resultCode"]))
		}
	}
	return cs
}

// hooked runs a simulator that posts to a receiver for the length of f.
func hooked(t *testing.T, c Config, w Webhook, f func(g *gateway, r *receiver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		w.URL, w.Signature = "http://platform.invalid/reports", "typed-in-the-console"
		c.Open, c.Client, c.Webhooks = true, &http.Client{Transport: r}, map[string]Webhook{"": w}
		if c.ReportDelay == 0 {
			c.ReportDelay = time.Second
		}
		g := newGateway(t, c)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx) }()
		f(g, r)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestReportsArePostedInTheGuidesShape(t *testing.T) {
	t.Parallel()
	hooked(t, Config{}, Webhook{}, func(g *gateway, r *receiver) {
		k := g.mustOK(g.kakao("01000190000", "r1:kakao")).at("message.requestId")
		time.Sleep(2 * time.Second)
		ps := r.take()
		if len(ps) != 1 || len(ps[0].hooks) != 1 || ps[0].signature != "typed-in-the-console" {
			t.Fatalf("posts = %+v", ps)
		}
		h := ps[0].hooks[0]
		id, _ := h["hookId"].(string)
		if len(id) != 25 {
			t.Errorf("hookId = %q", id)
		}
		want := map[string]any{
			"kakaoMessageType": "ALIMTALK_NORMAL", "requestId": k, "recipientSeq": 1.0, "recipientNo": "01000190000", "hookId": id,
			"requestDate": "2000-01-01 09:00:00", "createDate": "2000-01-01 09:00:00", "receiveDate": "2000-01-01 09:00:01",
			"resultCode": "3019", "senderGroupingKey": "clinic:wf", "recipientGroupingKey": "r1:kakao", "isAddedChannel": nil,
			"_links": map[string]any{"self": map[string]any{"href": "https://kakaotalk-bizmessage.api.nhncloudservice.com/alimtalk/v2.3/appkeys/k/messages/" + k + "/1"}},
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("hook (-want +got):\n%s", diff)
		}
		e := ps[0].envelope
		if e["productName"] != "KakaoTalk Bizmessage" || e["appKey"] != "k" || e["event"] != "MESSAGE_RESULT_UPDATE" || e["hooksId"] == "" {
			t.Errorf("envelope = %v", e)
		}

		x := g.mustOK(g.sms("01012345678", "r2:sms")).at("body.data.requestId")
		time.Sleep(2 * time.Second)
		ps = r.take()
		h = ps[0].hooks[0]
		id, _ = h["hookId"].(string)
		want = map[string]any{
			"senderType": "NORMAL_SMS", "requestId": x, "recipientSeq": 1.0, "recipientNo": "01012345678", "hookId": id, "sendNo": "15880000",
			"requestDate": "2000-01-01T09:00:02", "receiveDate": "2000-01-01T09:00:03", "messageStatus": "COMPLETED", "messageCount": 1.0,
			"resultCode": "1000", "senderGroupingKey": "clinic:wf", "recipientGroupingKey": "r2:sms",
			"_links": map[string]any{"self": map[string]any{"href": "https://sms.api.nhncloudservice.com/sms/v3.0/appKeys/k/sender/sms/" + x + "?recipientSeq=1"}},
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("hook (-want +got):\n%s", diff)
		}
		if ps[0].envelope["productName"] != "SMS" {
			t.Errorf("productName = %v", ps[0].envelope["productName"])
		}
	})
}

func TestMagicHooksGoWrongAsTheirTableSays(t *testing.T) {
	t.Parallel()
	tests := []struct {
		outcome int
		check   func(t *testing.T, before, after []delivery, answered time.Time)
	}{
		{0, func(t *testing.T, _, ps []delivery, _ time.Time) {
			ids := make(map[any]bool)
			for _, p := range ps {
				for _, h := range p.hooks {
					ids[h["hookId"]] = true
				}
			}
			if got := codes(ps); len(got) != 3 || len(ids) != 1 {
				t.Errorf("hooks = %v with %d ids, want the same three times", got, len(ids))
			}
		}},
		{1, func(t *testing.T, before, after []delivery, _ time.Time) {
			if len(codes(before)) != 1 || len(after) != 0 {
				t.Errorf("%d hooks before the answer, %d after", len(before), len(after))
			}
		}},
		{2, func(t *testing.T, _, ps []delivery, answered time.Time) {
			if len(ps) != 1 || ps[0].at.Sub(answered) != time.Second+heldBack {
				t.Errorf("posts = %+v, want one held back", ps)
			}
		}},
		{3, func(t *testing.T, _, ps []delivery, _ time.Time) {
			if len(ps) != 0 {
				t.Errorf("posts = %+v, want none", ps)
			}
		}},
		{4, func(t *testing.T, _, ps []delivery, _ time.Time) {
			h := ps[0].hooks[0]
			if h["recipientGropuingKey"] != "r1:kakao" || h["_link"] == nil || h["recipientGroupingKey"] != nil || h["_links"] != nil {
				t.Errorf("hook = %v, want the sample's spelling", h)
			}
		}},
		{5, func(t *testing.T, _, ps []delivery, _ time.Time) {
			if diff := cmp.Diff([]string{"3012", "1000"}, codes(ps)); diff != "" {
				t.Errorf("hooks (-want +got):\n%s", diff)
			}
			if ps[0].hooks[0]["hookId"] == ps[1].hooks[0]["hookId"] {
				t.Error("two results share a hookId")
			}
		}},
		{6, func(t *testing.T, _, ps []delivery, _ time.Time) {
			if len(ps) != 1 || ps[0].signature == "typed-in-the-console" {
				t.Errorf("posts = %+v, want a wrong signature", ps)
			}
		}},
		{7, func(t *testing.T, _, ps []delivery, _ time.Time) {
			if len(ps) != 1 || len(ps[0].hooks) != 2 || ps[0].hooks[0]["requestId"] == ps[0].hooks[1]["requestId"] {
				t.Errorf("posts = %+v, want a hook of an unknown request as well", ps)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("60%d", tt.outcome), func(t *testing.T) {
			t.Parallel()
			hooked(t, Config{}, Webhook{}, func(g *gateway, r *receiver) {
				g.mustOK(g.kakao(fmt.Sprintf("010060%d0000", tt.outcome), "r1:kakao"))
				before, answered := r.take(), time.Now()
				time.Sleep(time.Minute)
				tt.check(t, before, r.take(), answered)
				if got := g.findKakao("r1:kakao").at(kakaoList + "messages.0.resultCode"); got != "1000" {
					t.Errorf("result = %s, want 1000 in the end", got)
				}
			})
		})
	}
}

func TestWebhookSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		w     Webhook
		check func(t *testing.T, early int, ps []delivery, sent time.Time)
	}{
		{"duplicates", Webhook{DupRate: 1}, func(t *testing.T, _ int, ps []delivery, _ time.Time) {
			if got := len(codes(ps)); got != 6 {
				t.Errorf("%d hooks of 3 results", got)
			}
		}},
		{"drops", Webhook{DropRate: 1}, func(t *testing.T, _ int, ps []delivery, _ time.Time) {
			if len(ps) != 0 {
				t.Errorf("posts = %v", ps)
			}
		}},
		{"typos", Webhook{TypoRate: 1}, func(t *testing.T, _ int, ps []delivery, _ time.Time) {
			if ps[0].hooks[0]["_link"] == nil {
				t.Errorf("hook = %v", ps[0].hooks[0])
			}
		}},
		{"conflicts", Webhook{Conflict: true}, func(t *testing.T, _ int, ps []delivery, _ time.Time) {
			if got := codes(ps); len(got) != 6 || got[0] != "3012" || got[1] != "1000" {
				t.Errorf("hooks = %v", got)
			}
		}},
		{"forged", Webhook{BadSignature: true}, func(t *testing.T, _ int, ps []delivery, _ time.Time) {
			if ps[0].signature != "forged" {
				t.Errorf("signature = %q", ps[0].signature)
			}
		}},
		{"delayed", Webhook{Delay: Duration(7 * time.Second)}, func(t *testing.T, _ int, ps []delivery, sent time.Time) {
			if got := ps[0].at.Sub(sent); got != 8*time.Second {
				t.Errorf("posted after %v", got)
			}
		}},
		{"held_back", Webhook{ReorderRate: 1}, func(t *testing.T, _ int, ps []delivery, sent time.Time) {
			if got := ps[0].at.Sub(sent); got != time.Second+heldBack {
				t.Errorf("posted after %v", got)
			}
		}},
		{"batches", Webhook{Batch: 2}, func(t *testing.T, _ int, ps []delivery, _ time.Time) {
			n := 0
			for _, p := range ps {
				n += len(p.hooks)
				if len(p.hooks) > 2 {
					t.Errorf("%d hooks in a post", len(p.hooks))
				}
			}
			if n != 3 {
				t.Errorf("%d hooks, want 3", n)
			}
		}},
		{"before_response", Webhook{BeforeResponse: true}, func(t *testing.T, early int, ps []delivery, _ time.Time) {
			if early != 3 || len(ps) != 0 {
				t.Errorf("%d before the answers, %d after", early, len(ps))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hooked(t, Config{}, tt.w, func(g *gateway, r *receiver) {
				sent := time.Now()
				for i := range 3 {
					g.mustOK(g.kakao("01012345678", fmt.Sprintf("r%d:kakao", i)))
				}
				early := len(codes(r.take()))
				time.Sleep(time.Minute)
				tt.check(t, early, r.take(), sent)
			})
		})
	}
}

func TestPostsAreRepeatedUntilTaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		w     Webhook
		fails int
		want  []time.Duration
	}{
		{Webhook{}, 2, []time.Duration{1, 2, 4}},
		{Webhook{}, 9, []time.Duration{1, 2, 4, 8}},
		{Webhook{Retries: -1}, 9, []time.Duration{1}},
		{Webhook{Retries: 1, Backoff: Duration(30 * time.Second)}, 9, []time.Duration{1, 31}},
	} {
		hooked(t, Config{}, tt.w, func(g *gateway, r *receiver) {
			for range tt.fails {
				r.status = append(r.status, 500)
			}
			start := time.Now()
			g.mustOK(g.kakao("01012345678", "r1:kakao"))
			time.Sleep(time.Hour)
			var got []time.Duration
			for _, p := range r.take() {
				got = append(got, p.at.Sub(start)/time.Second)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%+v: seconds of posts (-want +got):\n%s", tt.w, diff)
			}
		})
	}
}

func TestHookIDsDifferOverARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger")
		ids := make(map[any]int)
		for life := range 2 {
			r := &receiver{}
			g := openGateway(t, Config{
				Open: true, Client: &http.Client{Transport: r}, ReportDelay: time.Duration(life+1) * time.Second,
				Webhooks: map[string]Webhook{"": {URL: "http://platform.invalid/", BeforeResponse: life == 0}},
			}, path)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- g.Run(ctx) }()
			g.mustOK(g.kakao("01012345678", fmt.Sprintf("r%d:kakao", life)))
			time.Sleep(time.Duration(life) * 3 * time.Second)
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for _, p := range r.take() {
				ids[p.hooks[0]["hookId"]]++
			}
			_ = g.Close()
		}
		if len(ids) != 2 {
			t.Errorf("hookIds = %v, want two", ids)
		}
	})
}

func TestWebhooksBelongToTheirApp(t *testing.T) {
	t.Parallel()
	hooked(t, Config{}, Webhook{}, func(g *gateway, r *receiver) {
		if err := g.SetWebhook("silent", Webhook{}); err != nil {
			t.Fatal(err)
		}
		g.mustOK(g.do("POST", "/alimtalk/v2.3/appkeys/silent/messages", js(kakaoBody("01012345678", "r1:kakao"))))
		time.Sleep(time.Minute)
		if ps := r.take(); len(ps) != 0 {
			t.Errorf("posts = %v", ps)
		}
		if err := g.SetWebhook("x", Webhook{URL: "/reports"}); err == nil {
			t.Error("a relative URL is taken")
		}
		if err := g.SetWebhook("x", Webhook{DupRate: 2}); err == nil {
			t.Error("a rate of 2 is taken")
		}
	})
}

func TestUnsubscribingIsPosted(t *testing.T) {
	t.Parallel()
	hooked(t, Config{}, Webhook{}, func(g *gateway, r *receiver) {
		if err := g.Unsubscribe("080-888-0000", "010-1234-5678"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ps := r.take()
		if len(ps) != 1 || ps[0].envelope["event"] != "UNSUBSCRIBE" || ps[0].hooks[0]["recipientNo"] != "01012345678" ||
			ps[0].hooks[0]["createdDateTime"] != "2000-01-01T09:00:00.000+09:00" {
			t.Errorf("posts = %+v", ps)
		}
		if g.Unsubscribe(usedAdNo, "021234567") == nil || g.Unsubscribe("0801112222", "01012345678") == nil {
			t.Error("a landline or an unknown number is taken")
		}
	})
}
