package simulator

import (
	"crypto/subtle"
	"strings"
)

// handle takes a request through the gate, in NHN's order as far as it is
// known: path, content type, app key, secret, address, throttle, outage, and
// then the endpoint.
func (s *Simulator) handle(c *call) answer {
	if !c.find() {
		return c.refuse(-9998)
	}
	if c.req.method != "GET" && c.req.method != "DELETE" && !c.req.json() {
		return c.refuse(-9996)
	}
	if code := s.credentials(c); code != 0 {
		return c.refuse(code)
	}
	if a, ok := s.scripted(c); ok {
		return a
	}
	if !s.buckets.allow(c.app, c.at, &c.set.rules) {
		return c.throttled()
	}
	if f := c.outage(); f != faultNone {
		c.fault = f
		if f.unprocessed() {
			return c.broken(f)
		}
	}
	if c.route.sends {
		return c.route.handle(s, c) // draws its faults once it knows the number
	}
	if a, hit := s.drawFault(c, "query"); hit {
		return a
	}
	return c.route.handle(s, c)
}

// credentials checks app key, secret and address and returns the code of the
// refusal, or 0.
func (s *Simulator) credentials(c *call) int {
	if c.app == "" {
		return -1000
	}
	if codes, ok := refusedApps[c.app]; ok {
		return codes[c.product]
	}
	secret := c.req.header.Get("X-Secret-Key")
	s.secretInQuery(c, secret)
	app, known := s.apps[c.app]
	known = known && (app.Product == "" || app.Product == c.product)
	switch {
	case known:
		if subtle.ConstantTimeCompare([]byte(app.Secret), []byte(secret)) == 1 {
			break
		}
		return c.secretRefused()
	case s.open || c.app == refusedAddress:
		if secret == "" {
			return c.secretRefused()
		}
	case c.product == Alimtalk:
		return -4004
	default:
		return -1001
	}
	if c.app == refusedAddress {
		if c.product == SMS {
			return -1004
		}
		return -4005
	}
	return 0
}

func (c *call) secretRefused() int {
	if c.product == Alimtalk {
		return -1001
	}
	if code := c.set.rules.SMSSecretCode; code != 0 {
		return code
	}
	return -1000
}

// secretInQuery records a secret that went where proxies log it.
func (s *Simulator) secretInQuery(c *call, secret string) {
	if c.req.query == "" {
		return
	}
	app := s.apps[c.app]
	if strings.Contains(strings.ToLower(c.req.query), "secret") ||
		len(secret) >= 8 && strings.Contains(c.req.query, secret) ||
		len(app.Secret) >= 8 && strings.Contains(c.req.query, app.Secret) {
		c.violate(s, SecretInQuery, "")
	}
}

// drawFault draws the profile's faults of the wire for a request about who.
func (s *Simulator) drawFault(c *call, who string) (answer, bool) {
	p := c.set.profile
	if !p.noisy() || c.fault != faultNone {
		return answer{}, false
	}
	n := s.visits.next("fault", string(c.product), c.app, who)
	f, throttle, stall := p.fault(s.dice(drawFault, c.app, who, n))
	c.stall = stall
	if throttle {
		return c.throttled(), true
	}
	c.fault = f
	if f.unprocessed() {
		return c.broken(f), true
	}
	return answer{}, false
}

// recipientFault plays modes 5 and 7 of the magic numbers among a request's
// recipients; the first that has one decides. Nothing is processed when it
// reports true.
func (s *Simulator) recipientFault(c *call, numbers func(yield func(string) bool)) (answer, bool) {
	for no := range numbers {
		sc, ok := magic(c.product, no)
		if !ok || sc.mode != modeFault && sc.mode != modeThrottle {
			continue
		}
		who := []string{"magic", string(c.product), c.app, no}
		if sc.mode == modeThrottle && sc.outcome == throttleFor30 {
			if c.at.Sub(s.visits.since(c.at, who...)) < hangFor {
				return c.throttled(), true
			}
			return answer{}, false
		}
		if sc.mode == modeThrottle && sc.outcome == throttleQuota && c.product == SMS {
			return c.refuse(-2052), true
		}
		if s.visits.next(who...) > 0 {
			return answer{}, false
		}
		if sc.mode == modeThrottle {
			if sc.outcome == throttleOnce {
				return c.throttled(), true
			}
			return answer{}, false
		}
		c.fault = faults[sc.outcome]
		if c.fault.unprocessed() {
			return c.broken(c.fault), true
		}
		return answer{}, false
	}
	return s.drawFault(c, c.first)
}
