package edge

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarded is the header in which each proxy appends whom it answers.
const forwarded = "X-Forwarded-For"

// Proxies are the addresses whose word on whom they speak for is believed.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks such as 10.0.0.7 or 10.0.0.0/8. A
// network of every address is refused: anybody could then claim any.
func ParseProxies(list []string) (Proxies, error) {
	var out Proxies
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", s)
			}
			p = netip.PrefixFrom(plain(a), plain(a).BitLen())
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is an IPv4 network written as IPv6: write it as IPv4", s)
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("%q is every address: name the proxies alone", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p Proxies) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(a) })
}

// client returns where a request comes from: the last address that no trusted
// proxy has. What stands before it in the header is anybody's claim.
func (p Proxies) client(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	a := plain(at.Addr())
	if err != nil || !p.trusts(a) {
		return a
	}
	for _, line := range slices.Backward(r.Header[forwarded]) {
		for rest := line; rest != ""; {
			cut := strings.LastIndexByte(rest, ',')
			hop, err := netip.ParseAddr(strings.TrimSpace(rest[cut+1:]))
			if err != nil {
				return a // the proxy that wrote this is the last one known
			}
			if a = plain(hop); !p.trusts(a) {
				return a
			}
			rest = rest[:max(cut, 0)]
		}
	}
	return a
}

// plain is an address in the one form in which it is compared.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// household is the smallest network that one customer of a provider has: an
// IPv4 address, or the /64 of an IPv6 address (RFC 6177), in which each device
// may take as many as it likes.
func household(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	n, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all of those share a rate
	}
	return n
}
