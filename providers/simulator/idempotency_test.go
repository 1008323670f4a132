package simulator

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestKeyIsRefusedForTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, Config{Open: true})
		g.mustOK(g.kakao("01012345678", "r1:kakao", idempotencyField, "r1:kakao"))
		for _, tt := range []struct {
			wait time.Duration
			want string
		}{{0, "-1005"}, {9*time.Minute + 59*time.Second, "-1005"}, {time.Second, "0"}, {0, "-1005"}} {
			time.Sleep(tt.wait)
			// Another number: the key alone decides.
			if got := g.kakao("01087654321", "r2:kakao", idempotencyField, "r1:kakao").code(); got != tt.want {
				t.Errorf("after %v: %s, want %s", tt.wait, got, tt.want)
			}
		}
		g.mustOK(g.kakao("01012345678", "r3:kakao"))
		g.mustOK(g.kakao("01012345678", "r4:kakao")) // without a key nothing is refused
	})
}

func TestRepeatedKeyIsRefusedBeforeItsBodyIsRead(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	g.mustOK(g.kakao("01012345678", "r1:kakao", idempotencyField, "x"))
	if got := g.do("POST", kakaoBase+"messages", "not json", idempotencyField, "x").code(); got != "-1005" {
		t.Errorf("code = %s, want -1005", got)
	}
}

func TestRefusedRequestsUseTheirKeyUpOnlyIfTheRulesSaySo(t *testing.T) {
	t.Parallel()
	for _, consume := range []bool{false, true} {
		for name, body := range map[string]string{
			"broken":            "{",
			"refused_request":   js(with(kakaoBody("01012345678", "r1:kakao"), "templateCode", "NOPE")),
			"refused_recipient": js(kakaoBody("01001160000", "r1:kakao")),
		} {
			t.Run(fmt.Sprintf("%s_%v", name, consume), func(t *testing.T) {
				t.Parallel()
				g := newGateway(t, Config{Open: true, Rules: Rules{ConsumeOnReject: consume}})
				if got := g.do("POST", kakaoBase+"messages", body, idempotencyField, "x").code(); got == "0" {
					t.Fatal("the request was accepted")
				}
				want := map[bool]string{false: "0", true: "-1005"}[consume]
				if got := g.kakao("01012345678", "r1:kakao", idempotencyField, "x").code(); got != want {
					t.Errorf("same key again = %s, want %s", got, want)
				}
			})
		}
	}
}

func TestKeysBelongToTheirAppUnlessGlobal(t *testing.T) {
	t.Parallel()
	for global, want := range map[bool]string{false: "0", true: "-1005"} {
		g := newGateway(t, Config{Open: true, Rules: Rules{KeyGlobal: global}})
		g.mustOK(g.kakao("01012345678", "r1:kakao", idempotencyField, "x"))
		a := g.do("POST", "/alimtalk/v2.3/appkeys/other/messages", js(kakaoBody("01012345678", "r2:kakao")), idempotencyField, "x")
		if got := a.code(); got != want {
			t.Errorf("global %v: %s, want %s", global, got, want)
		}
	}
}

func TestSMSIgnoresTheKey(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	for i := range 2 {
		g.mustOK(g.do("POST", smsBase+"sender/sms", js(smsBody("01012345678", fmt.Sprintf("r%d:sms", i))), idempotencyField, "x"))
	}
	if got := g.Requests(0)[1].Warnings; len(got) != 1 {
		t.Errorf("warnings = %v, want one about the key", got)
	}
}

func TestOneOfManyConcurrentRequestsWithOneKeyIsAccepted(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() { g.kakao("01012345678", "r1:kakao", idempotencyField, "r1:kakao") })
	}
	wg.Wait()
	if got := len(g.Ledger()); got != 1 {
		t.Errorf("%d accepted, want 1", got)
	}
	if got := g.breaches(); len(got) != 0 {
		t.Errorf("violations = %v", got)
	}
}

// The window behaves as a map of keys to their ends would.
func TestWindowAgreesWithItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, model := newWindow(), make(map[string]int64)
		now := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.Int64Range(0, 40).Draw(t, "wait")
			key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
			if rapid.IntRange(0, 9).Draw(t, "release") == 0 {
				w.release(key)
				delete(model, key)
				continue
			}
			d := rapid.Int64Range(1, 100).Draw(t, "for")
			want := model[key] <= now
			if got := w.put(key, now, now+d); got != want {
				t.Fatalf("put(%s) at %d = %v, want %v", key, now, got, want)
			}
			if want {
				model[key] = now + d
			}
		}
	})
}
