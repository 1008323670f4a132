package simulator

import (
	"net/http"
	"testing"
)

func TestArrivalsGoOnWhereTheLastCallEnded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	send := func(key string) {
		t.Helper()
		g.mustOK(g.kakao("01012345678", key))
	}
	send("r1:kakao")
	send("r2:kakao")
	first := g.Arrivals(0)
	if len(first.Key) != 2 || first.Key[0] != "r1:kakao" || first.Channel[1] != "kakao" || first.At[1] < first.At[0] {
		t.Errorf("arrivals %+v", first)
	}
	send("r3:kakao")
	next := g.Arrivals(first.Next)
	if len(next.Key) != 1 || next.Key[0] != "r3:kakao" {
		t.Errorf("arrivals after the first two: %+v", next)
	}
	if last := g.Arrivals(next.Next); len(last.Key) != 0 || last.Next != next.Next {
		t.Errorf("arrivals after all: %+v", last)
	}
	g.Reset()
	if a := g.Arrivals(0); len(a.Key) != 0 {
		t.Errorf("arrivals after a reset: %+v", a)
	}
}

func TestArrivalsNeedANumber(t *testing.T) {
	t.Parallel()
	g := newGateway(t, Config{Open: true})
	if got := g.do(http.MethodGet, "/__sim/arrivals?since=x", ""); got.status != http.StatusBadRequest {
		t.Errorf("since=x: status %d", got.status)
	}
	if got := g.do(http.MethodGet, "/__sim/arrivals?since=0", ""); got.status != http.StatusOK || got.at("key") != "[0]" {
		t.Errorf("no arrivals: %s", got.raw)
	}
}
