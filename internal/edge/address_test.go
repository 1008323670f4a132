package edge

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTheAddressIsWhatTrustedProxiesVouchFor(t *testing.T) {
	t.Parallel()
	const proxy, inner, client, liar = "10.0.0.7:4000", "10.0.0.8", "203.0.113.9", "198.51.100.1"
	for _, tt := range []struct {
		name, trusted, remote string
		lines                 []string
		want                  string
	}{
		{"no_proxy", "", client + ":1", nil, client},
		{"claims_are_not_believed", "", client + ":1", []string{liar}, client},
		{"proxy_without_header", "10.0.0.0/8", proxy, nil, "10.0.0.7"},
		{"one_proxy", "10.0.0.7", proxy, []string{client}, client},
		{"another_is_not_trusted", "10.0.0.9", proxy, []string{client}, "10.0.0.7"},
		{"claim_before_the_proxy", "10.0.0.0/8", proxy, []string{liar + ", " + client}, client},
		{"claim_in_a_line_before", "10.0.0.0/8", proxy, []string{liar, client}, client},
		{"two_proxies", "10.0.0.0/8", proxy, []string{client + "," + inner}, client},
		{"two_proxies_in_two_lines", "10.0.0.0/8", proxy, []string{liar + "," + client, inner}, client},
		{"everything_trusted", "10.0.0.0/8", proxy, []string{inner}, inner},
		{"rubbish", "10.0.0.0/8", proxy, []string{client + ", unknown"}, "10.0.0.7"},
		{"rubbish_before_a_proxy", "10.0.0.0/8", proxy, []string{"unknown," + inner}, inner},
		{"empty_parts", "10.0.0.0/8", proxy, []string{client + ",,"}, "10.0.0.7"},
		{"a_port_is_no_address", "10.0.0.0/8", proxy, []string{client + ":99"}, "10.0.0.7"},
		{"four_in_six", "10.0.0.0/8", "[::ffff:10.0.0.7]:1", []string{"::ffff:" + client}, client},
		{"six", "fd00::/8", "[fd00::1%eth0]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"no_port", "10.0.0.0/8", "pipe", []string{client}, "invalid IP"},
	} {
		var trusted []string
		if tt.trusted != "" {
			trusted = strings.Split(tt.trusted, ",")
		}
		p, err := ParseProxies(trusted)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header[forwarded] = tt.remote, tt.lines
		if got := p.client(r).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Whatever a client writes before what the proxy appends, its address stays.
func TestNoClaimMovesAClient(t *testing.T) {
	t.Parallel()
	p, err := ParseProxies([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		claim := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.1,203.0.113.9", "::1", ", ,", "198.51.100.1"}))).Draw(t, "claim")
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header[forwarded] = "10.0.0.7:1", append(claim, "203.0.113.9")
		if got := p.client(r); got != netip.MustParseAddr("203.0.113.9") {
			t.Errorf("%q: %s", claim, got)
		}
	})
}

func TestProxiesThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "proxy", "0.0.0.0/0", "::/0", "10.0.0.0/33", "::ffff:10.0.0.0/104", "10.0.0", "10.0.0.7:80", " 10.0.0.7"} {
		if p, err := ParseProxies([]string{"10.0.0.7", s}); err == nil {
			t.Errorf("%q became %v", s, p)
		}
	}
}

func TestADeviceHasAsManyAddressesAsItLikesAndOneRate(t *testing.T) {
	t.Parallel()
	same := func(a, b string) bool { return household(netip.MustParseAddr(a)) == household(netip.MustParseAddr(b)) }
	if !same("2001:db8::1", "2001:db8::ffff:2") || same("2001:db8:0:1::1", "2001:db8:0:2::1") || same("203.0.113.1", "203.0.113.2") {
		t.Error("an IPv6 /64 and an IPv4 address are each one household")
	}
	if household(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("no address has a household")
	}
}
