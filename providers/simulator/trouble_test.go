package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenBucketRefillsInVirtualTime(t *testing.T) {
	t.Parallel()
	for _, penalty := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, Config{Open: true, Scale: 10, Rules: Rules{RPS: 10, Burst: 3, Penalty: penalty}})
			for i := range 5 {
				a := g.kakao("01012345678", fmt.Sprintf("r%d:kakao", i))
				if want := map[bool]int{true: 200, false: 429}[i < 3]; a.status != want || a.header.Get("Retry-After") != "" {
					t.Errorf("request %d = %d, want %d", i, a.status, want)
				}
			}
			// Asking again too early costs what has dribbled in, if there is a penalty.
			time.Sleep(6 * time.Millisecond)
			g.findKakao("x")
			time.Sleep(6 * time.Millisecond)
			if got, want := g.kakao("01012345678", "next:kakao").status, map[bool]int{false: 200, true: 429}[penalty]; got != want {
				t.Errorf("penalty %v: after 0.12 virtual seconds = %d, want %d", penalty, got, want)
			}
			if got := g.do("GET", "/sms/v3.0/appKeys/other/sendNos", "").status; got != 200 {
				t.Errorf("another app = %d, want 200", got)
			}
		})
	}
}

func TestOutagesHitTheirProductForTheirTime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode     string
		status   int // 0: no answer
		accepted int
		took     time.Duration
	}{
		{"refuse", 0, 0, 0},
		{"reset", 0, 0, 0},
		{"tls", 0, 0, 0},
		{"hang", 0, 0, hangFor},
		{"http500", 500, 0, 0},
		{"http502html", 502, 0, 0},
		{"http503", 503, 0, 0},
		{"accept_then_lose", 0, 1, 0},
		{"slow", 200, 1, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Config{Open: true})
				now := g.Now()
				if err := g.AddOutage(Outage{Product: Alimtalk, Mode: tt.mode, From: now.Add(time.Minute), To: now.Add(2 * time.Minute)}); err != nil {
					t.Fatal(err)
				}
				g.mustOK(g.kakao("01012345678", "before:kakao"))
				time.Sleep(time.Minute)
				g.mustOK(g.sms("01012345678", "other:sms"))
				start := time.Now()
				a := g.kakao("01012345678", "during:kakao", idempotencyField, "x")
				if a.status != tt.status || (a.err != nil) != (tt.status == 0) || time.Since(start) != tt.took {
					t.Errorf("answer = %d %v after %v", a.status, a.err, time.Since(start))
				}
				if got := len(g.Ledger()) - 2; got != tt.accepted {
					t.Errorf("%d accepted, want %d", got, tt.accepted)
				}
				if a := g.do("GET", kakaoBase+"senders", ""); (a.err == nil && a.status == 200) != (tt.mode == "slow") {
					t.Errorf("query = %d %v", a.status, a.err)
				}
				time.Sleep(time.Minute)
				if tt.accepted == 0 {
					g.mustOK(g.kakao("01012345678", "during:kakao", idempotencyField, "x"))
				}
			})
		})
	}
}

func TestOutagesEndAndAreChecked(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	for _, o := range []Outage{{Mode: "party"}, {Mode: "reset", Product: "fax"}, {Mode: "reset", From: g.Now(), To: g.Now().Add(-time.Hour)}} {
		if g.AddOutage(o) == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if err := g.AddOutage(Outage{Mode: "http503"}); err != nil {
		t.Fatal(err)
	}
	if got := g.sms("01012345678", "r1:sms").status; got != 503 {
		t.Errorf("status = %d, want 503", got)
	}
	g.EndOutages()
	g.mustOK(g.sms("01012345678", "r1:sms"))
}

func TestScriptsAnswerTheNextMatchingRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		for _, x := range []Script{
			{Path: "/messages", RecipientNo: "01012345678", Times: 2, Status: 418, Body: `{"tea":true}`, Headers: map[string]string{"X-Tea": "green"}, Delay: Duration(time.Second)},
			{Path: "/sender/sms", Process: true, Reset: true},
			{Method: "GET", Path: "/sendNos", Body: "not json"},
		} {
			if err := g.AddScript(x); err != nil {
				t.Fatal(err)
			}
		}
		g.mustOK(g.kakao("01099999999", "other:kakao"))
		for range 2 {
			start := time.Now()
			a := g.kakao("01012345678", "r1:kakao")
			if a.status != 418 || a.at("tea") != "true" || a.header.Get("X-Tea") != "green" || time.Since(start) != time.Second {
				t.Errorf("answer = %d %s after %v", a.status, a.raw, time.Since(start))
			}
		}
		g.mustOK(g.kakao("01012345678", "r1:kakao"))
		if a := g.sms("01012345678", "r2:sms"); a.err == nil {
			t.Errorf("answer = %s, want a reset", a.raw)
		}
		if got := g.findSMS("r2:sms").at("body.totalCount"); got != "1" {
			t.Errorf("%s texts, want the processed one", got)
		}
		if a := g.do("GET", smsBase+"sendNos", ""); a.raw != "not json" {
			t.Errorf("answer = %s", a.raw)
		}
		for _, x := range []Script{{Times: -1}, {Status: 99}} {
			if g.AddScript(x) == nil {
				t.Errorf("%+v is taken", x)
			}
		}
	})
}

func TestHeldRequestsArriveAfterTheClientGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		if err := g.AddScript(Script{Method: "POST", Path: "/messages", Hold: Duration(20 * time.Second), Times: 2}); err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: g.Transport(), Timeout: 10 * time.Second}
		if _, err := sendTo(t.Context(), c, "http://gw.invalid", "01012345678"); err == nil {
			t.Fatal("want a timeout")
		}
		for _, want := range []string{"0", "1"} {
			time.Sleep(5 * time.Second)
			if got := g.findKakao("01012345678:kakao").at(kakaoList + "totalCount"); got != want {
				t.Errorf("found %s, want %s", got, want)
			}
			time.Sleep(time.Second)
		}
		start := time.Now()
		g.mustOK(g.kakao("01012345678", "patient:kakao")) // who waits gets the gateway's own answer
		if got := time.Since(start); got != 20*time.Second {
			t.Errorf("answered after %v, want 20s", got)
		}
	})
}

func TestProfilesOfTheWire(t *testing.T) {
	t.Parallel()
	const n = 1000
	tests := []struct {
		profile string
		percent map[string]float64 // of Alimtalk requests, by what came back
	}{
		{"ideal", map[string]float64{"200": 100}},
		{"badday", map[string]float64{"200": 90, "500": 5, "429": 5}},
		{"kakao_down", map[string]float64{"503": 100}},
		{"flaky_net", map[string]float64{"200": 96, "lost": 4}},
	}
	for _, tt := range tests {
		t.Run(tt.profile, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Config{Open: true, Profile: tt.profile, KeepRequests: n})
				count := make(map[string]int)
				for i := range n {
					a := g.kakao("01012345678", fmt.Sprintf("r%d:kakao", i))
					if a.err != nil {
						count["lost"]++
						continue
					}
					count[fmt.Sprint(a.status)]++
				}
				for what, p := range tt.percent {
					if got := float64(count[what]) / n * 100; got < p*0.7-0.5 || got > p*1.3+0.5 {
						t.Errorf("%s = %.1f %%, want about %v", what, got, p)
					}
				}
				if tt.profile == "flaky_net" {
					if got := len(g.Ledger()) - count["200"]; got < n/100 || got > n*3/100 {
						t.Errorf("%d accepted without an answer, want about 2 %%", got)
					}
				}
			})
		})
	}
}

func TestLatencyIsDrawnAroundItsMedian(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			profile  string
			from, to time.Duration
		}{{"healthy", 165 * time.Millisecond, 195 * time.Millisecond}, {"slow", 1650 * time.Millisecond, 1950 * time.Millisecond}} {
			g := newGateway(t, Config{Open: true, Profile: tt.profile})
			took := make([]time.Duration, 400)
			for i := range took {
				start := time.Now()
				g.kakao("01012345678", fmt.Sprintf("r%d:kakao", i))
				took[i] = time.Since(start)
			}
			slices.Sort(took)
			if median := took[len(took)/2]; median < tt.from || median > tt.to {
				t.Errorf("%s: median latency %v, want %v to %v", tt.profile, median, tt.from, tt.to)
			}
			if longest := took[len(took)-1]; longest > 12*time.Second {
				t.Errorf("%s: longest latency %v", tt.profile, longest)
			}
		}
		g := newGateway(t, Config{Open: true, Latency: 50 * time.Millisecond})
		start := time.Now()
		g.kakao("01012345678", "r1:kakao")
		if got := time.Since(start); got != 50*time.Millisecond {
			t.Errorf("fixed latency = %v", got)
		}
		if New(Config{}).SetProfile("party") == nil {
			t.Error("an unknown profile is taken")
		}
	})
}
