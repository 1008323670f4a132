package simulator

import (
	"fmt"
	"testing"
	"unicode/utf8"
)

// Digits that are not listed play as 000, so that the list is all there is.
func TestEveryNumberPlaysAListedScenario(t *testing.T) {
	t.Parallel()
	listed := map[Product]map[string]bool{Alimtalk: {}, SMS: {}}
	for _, s := range Scenarios() {
		if listed[s.Product][s.Digits()] {
			t.Errorf("%s %s is listed twice", s.Product, s.Digits())
		}
		listed[s.Product][s.Digits()] = true
		if n := utf8.RuneCountInString(s.String()); n == 0 || n > 32 {
			t.Errorf("%s %s: %q has %d characters", s.Product, s.Digits(), s, n)
		}
	}
	for digits := range 1000 {
		for _, p := range []Product{Alimtalk, SMS} {
			d := fmt.Sprintf("%03d", digits)
			number := fmt.Sprintf("010-0%s-0000", d)
			if p == SMS {
				number = fmt.Sprintf("010-0000-%s0", d)
			}
			s, ok := ScenarioOf(p, number)
			if !ok || s.Digits() != d {
				t.Fatalf("%s: %+v, %v; want scenario %s", number, s, ok, d)
			}
			if !listed[p][d] && s.Mode < modeSilent && s.Mode != modeLate && s.Mode != modeVeryLate && s.String() != "reports 1000" {
				t.Errorf("%s %s is not listed and %s", p, d, s)
			}
		}
	}
	if _, ok := ScenarioOf(SMS, "010-2345-6789"); ok {
		t.Error("an ordinary number is no scenario")
	}
}

func TestScenariosSayWhatTheGatewayDoes(t *testing.T) {
	t.Parallel()
	for number, want := range map[string][2]string{
		"010-0000-0000": {"reports 1000", "reports 1000"},
		"010-0019-0310": {"reports 3019", "reports 3001"},
		"010-0028-1120": {"refuses every time, -1028", "refuses every time, -2019"},
		"010-0219-2310": {"reports 3019 after 5 min", "reports 3001 after 5 min"},
		"010-0319-3310": {"reports 3019 after 30 min", "reports 2000 after 25 h"},
		"010-0400-4000": {"accepts, never reports", "accepts, never reports"},
		"010-0504-5050": {"accepts, answers nothing", "resets, takes nothing"},
		"010-0605-6050": {"reports 3012, then 1000", "reports 2003, then 1000"},
		"010-0702-7020": {"reports 4156", "refuses every time, -2052"},
		"010-0812-8110": {"reports 3012 twice, then 1000", "reports 1001 twice, then 1000"},
		"010-0502-6990": {"reports 1000", "reports 1000"},
	} {
		for i, p := range []Product{Alimtalk, SMS} {
			if s, ok := ScenarioOf(p, number); !ok || s.String() != want[i] {
				t.Errorf("%s at %s: %q, %v; want %q", number, p, s, ok, want[i])
			}
		}
	}
}

func TestTheClockSaysWhatIsNext(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true, Manual: true})
	if next := g.Clock().Next; !next.IsZero() {
		t.Errorf("next = %v with nothing accepted", next)
	}
	g.mustOK(g.kakao("01002000000", "k"))
	now := g.Clock()
	if got := now.Next.Sub(now.Now); got != lateAfter {
		t.Errorf("next in %v, want %v", got, lateAfter)
	}
	if err := g.Advance(lateAfter); err != nil {
		t.Fatal(err)
	}
	if next := g.Clock().Next; !next.IsZero() {
		t.Errorf("next = %v with everything reported", next)
	}
}
