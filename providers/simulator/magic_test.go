package simulator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

const (
	kakaoPrefix = "message.sendResults.0."
	kakaoList   = "messageSearchResultResponse."
)

// Every outcome of the table, in every mode that it applies to: what is
// refused at once, and what a query says before and after its delay.
func TestMagicNumbersDoWhatTheirTableSays(t *testing.T) {
	t.Parallel()
	type mode struct {
		digit int
		after time.Duration // when the report is there at the latest
		still time.Duration // when it is not there yet
	}
	modes := []mode{
		{modeReport, 15 * time.Minute, 0},
		{modeReject, 15 * time.Minute, 0},
		{modeLate, lateAfter, lateAfter - time.Second},
		{modeVeryLate, veryLateAfter, veryLateAfter - time.Second},
	}
	tables := map[Product]map[int]outcome{Alimtalk: alimtalkOutcomes, SMS: smsOutcomes}
	for product, table := range tables {
		for n, o := range table {
			for _, m := range modes {
				if product == SMS && m.digit == modeVeryLate {
					m.after, m.still = smsExpiry, smsExpiry-time.Second
				}
				t.Run(fmt.Sprintf("%s_%d%02d", product, m.digit, n), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						g := newGateway(t, Config{Seed: 1, Open: true})
						no := fmt.Sprintf("0100%d%02d0000", m.digit, n)
						send, find, refused, result := g.kakao, g.findKakao, "message.sendResults.0.resultCode", kakaoList+"messages.0.resultCode"
						if product == SMS {
							no = fmt.Sprintf("0100000%d%02d0", m.digit, n)
							send = func(no, key string, _ ...string) got { return g.sms(no, key) }
							find, refused, result = g.findSMS, "body.data.sendResultList.0.resultCode", "body.data.0.resultCode"
						}
						a := send(no, "r1:x")
						if o.refuse != 0 && (m.digit == modeReject || o.report == "") {
							if got, want := a.at(refused), fmt.Sprint(o.refuse); got != want {
								t.Fatalf("recipient's code = %s, want %s", got, want)
							}
							if n := len(g.Ledger()); n != 0 {
								t.Fatalf("%d messages accepted, want none", n)
							}
							return
						}
						g.mustOK(a)
						if m.still > 0 {
							time.Sleep(m.still)
							if got := find("r1:x").at(result); got != "<null>" {
								t.Fatalf("result before its time = %s", got)
							}
						}
						time.Sleep(m.after - m.still)
						want := o.report
						if product == SMS && m.digit == modeVeryLate {
							want = "2000"
						}
						if got := find("r1:x").at(result); got != want {
							t.Fatalf("result = %s, want %s", got, want)
						}
					})
				})
			}
		}
	}
}

func TestLMSExpireLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		id := g.mustOK(g.do("POST", smsBase+"sender/mms", js(lmsBody("01000003000", "r1:sms")))).at("body.data.requestId")
		time.Sleep(lmsExpiry - time.Second)
		for _, want := range []string{"<null>", "2000"} {
			if got := g.do("GET", smsBase+"sender/mms/"+id+"?recipientSeq=1", "").at("body.data.resultCode"); got != want {
				t.Errorf("result = %s, want %s", got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestStatusesFollowTheResult(t *testing.T) {
	t.Parallel()
	tests := []struct{ no, kakao, sms string }{
		{"01000000000", "COMPLETED", "3"},
		{"01000190310", "FAILED", "0"},
		{"01000050950", "FAILED", "5"},
		{"01004004000", "<null>", "2"},
	}
	for _, tt := range tests {
		t.Run(tt.no, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, Config{Open: true})
				g.mustOK(g.kakao(tt.no, "r1:kakao"))
				g.mustOK(g.sms(tt.no, "r2:sms"))
				time.Sleep(time.Hour)
				if got := g.findKakao("r1:kakao").at(kakaoList + "messages.0.messageStatus"); got != tt.kakao {
					t.Errorf("messageStatus = %s, want %s", got, tt.kakao)
				}
				if got := g.findSMS("r2:sms").at("body.data.0.msgStatus"); got != tt.sms {
					t.Errorf("msgStatus = %s, want %s", got, tt.sms)
				}
			})
		})
	}
}

func TestSilentNumbersStayPending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		a := g.mustOK(g.kakao("01004000000", "r1:kakao"))
		time.Sleep(20 * 24 * time.Hour)
		one := g.do("GET", kakaoBase+"messages/"+a.at("message.requestId")+"/1", "")
		if got := one.at("message.resultCode"); got != "<null>" {
			t.Errorf("resultCode = %s, want null", got)
		}
		if got := g.Stats().Open; got != 1 {
			t.Errorf("open = %d, want 1", got)
		}
	})
}

func TestTransportFaultsHitTheFirstRequestOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		outcome  int
		status   int // 0: no answer
		accepted int
		took     time.Duration
	}{
		{0, 500, 0, 0}, {1, 502, 0, 0}, {3, 503, 0, 0}, {4, 0, 1, hangFor}, {5, 0, 0, 0}, {6, 0, 1, 0}, {7, 200, 1, 0}, {8, 200, 1, 0}, {9, 200, 1, 0},
	}
	for _, product := range []Product{Alimtalk, SMS} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s_5%02d", product, tt.outcome), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					g := newGateway(t, Config{Open: true})
					send := func(key string) got { return g.kakao(fmt.Sprintf("01005%02d0000", tt.outcome), key) }
					if product == SMS {
						send = func(key string) got { return g.sms(fmt.Sprintf("01000005%02d0", tt.outcome), key) }
					}
					start := time.Now()
					a := send("r1:x")
					if took := time.Since(start); took != tt.took {
						t.Errorf("took %v, want %v", took, tt.took)
					}
					if a.status != tt.status || (a.err != nil) != (tt.status == 0) {
						t.Fatalf("answer = %d %v, want status %d", a.status, a.err, tt.status)
					}
					if tt.status == 200 && (a.at("message.requestId")[0] != '<' || a.at("body.data.requestId")[0] != '<') {
						t.Errorf("the answer still names its request: %s", a.raw)
					}
					if got := len(g.Ledger()); got != tt.accepted {
						t.Fatalf("%d accepted, want %d", got, tt.accepted)
					}
					g.mustOK(send("r2:x"))
				})
			})
		}
	}
}

func TestLostAnswersAreFoundAgainByGroupingKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		if a := g.kakao("01005060000", "r1:kakao", idempotencyField, "r1:kakao"); a.err == nil {
			t.Fatal("want a reset")
		}
		if got := g.kakao("01005060000", "r1:kakao", idempotencyField, "r1:kakao").code(); got != "-1005" {
			t.Errorf("same key again = %s, want -1005", got)
		}
		time.Sleep(time.Hour)
		if got := g.findKakao("r1:kakao").at(kakaoList + "messages.0.resultCode"); got != "1000" {
			t.Errorf("found result = %s, want 1000", got)
		}
		if a := g.sms("01000195040", "r2:sms"); a.err == nil {
			t.Fatal("want no answer")
		}
		time.Sleep(time.Hour)
		if got := g.findSMS("r2:sms").at("body.totalCount"); got != "1" {
			t.Errorf("found %s texts, want 1", got)
		}
	})
}

func TestThrottledNumbers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: -1, Rules: Rules{RetryAfter: Duration(1500 * time.Millisecond)}})
		a := g.kakao("01007000000", "r1:kakao", idempotencyField, "r1")
		if a.status != 429 || a.header.Get("Retry-After") != "2" {
			t.Fatalf("first = %d Retry-After %q, want 429 and 2", a.status, a.header.Get("Retry-After"))
		}
		g.mustOK(g.kakao("01007000000", "r1:kakao", idempotencyField, "r1")) // the key was not used up

		for range 3 {
			if got := g.sms("01000007010", "r2:sms").status; got != 429 {
				t.Fatalf("status = %d, want 429", got)
			}
			time.Sleep(9 * time.Second)
		}
		time.Sleep(3 * time.Second)
		g.mustOK(g.sms("01000007010", "r2:sms"))

		if got := g.sms("01000007020", "r3:sms").code(); got != "-2052" {
			t.Errorf("quota of SMS = %s, want -2052", got)
		}
		g.mustOK(g.kakao("01007020000", "r4:kakao"))
		if got := g.findKakao("r4:kakao").at(kakaoList + "messages.0.resultCode"); got != "4156" {
			t.Errorf("quota of Alimtalk = %s, want 4156 as the result", got)
		}
	})
}

func TestFlakyNumbersFailTwiceThenSucceed(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, ReportDelay: -1})
	for i, want := range []string{"3012", "3012", "1000", "1000"} {
		key := fmt.Sprintf("r%d:kakao", i)
		g.mustOK(g.kakao("01008120000", key))
		if got := g.findKakao(key).at(kakaoList + "messages.0.resultCode"); got != want {
			t.Errorf("request %d = %s, want %s", i+1, got, want)
		}
	}
}

func TestContradictionShowsFailureFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, ReportDelay: time.Second})
		g.mustOK(g.kakao("01006050000", "r1:kakao"))
		for _, want := range []string{"<null>", "3012", "1000"} {
			if got := g.findKakao("r1:kakao").at(kakaoList + "messages.0.resultCode"); got != want {
				t.Errorf("result = %s, want %s", got, want)
			}
			time.Sleep(conflictGap/2 + time.Second)
		}
		if st := g.Stats(); st.Contradictions != 1 || len(st.Violations) != 0 {
			t.Errorf("stats = %+v, want one contradiction and no violation", st)
		}
	})
}

func TestSameSeedSameFate(t *testing.T) {
	t.Parallel()
	fates := func(seed uint64, order []int) map[string]string {
		fate := make(map[string]string)
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, Config{Seed: seed, Open: true, Profile: "healthy"})
			for _, i := range order {
				g.kakao(fmt.Sprintf("0101%07d", i), fmt.Sprintf("r%d:kakao", i))
			}
			time.Sleep(time.Hour)
			for _, e := range g.Ledger() {
				fate[e.RecipientNo] = e.Code + " " + e.ResultAt.Sub(e.At).String()
			}
		})
		return fate
	}
	up, down := make([]int, 60), make([]int, 60)
	for i := range up {
		up[i], down[len(up)-1-i] = i, i
	}
	a, b, other := fates(7, up), fates(7, down), fates(8, up)
	differ := 0
	for no, f := range a {
		if b[no] != f {
			t.Errorf("%s = %q in another order, want %q", no, b[no], f)
		}
		if other[no] != f {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed gives the same fates")
	}
}

func TestProfileShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true, Profile: "healthy", Latency: time.Nanosecond})
		const n = 4000
		g.kakaoMany(n)
		time.Sleep(time.Hour)
		count := make(map[string]int)
		for _, e := range g.Ledger() {
			count[e.Code]++
		}
		if got := count["1000"]; got < n*90/100 || got > n*94/100 {
			t.Errorf("%d of %d delivered, want about 92 %%", got, n)
		}
		if got := count["3018"]; got < n*3/100 || got > n*5/100 {
			t.Errorf("%d of %d with 3018, want about 4 %%", got, n)
		}
	})
}
