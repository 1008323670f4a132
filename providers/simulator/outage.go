package simulator

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Outage is a stretch of virtual time in which a product fails.
type Outage struct {
	// Product is hit; "" hits both.
	Product Product `json:"product,omitempty"`
	// From and To bound it; a zero From is now, a zero To is for ever.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Mode is one of refuse, reset, tls, hang, slow, http500, http502html,
	// http503 and accept_then_lose. A handler cannot refuse a connection or
	// its TLS handshake: over a real listener both are a reset before
	// processing; over [Simulator.Transport] refuse is a dial error.
	Mode string `json:"mode"`
}

var outageModes = map[string]fault{
	"refuse": faultRefuse, "reset": faultReset, "tls": faultReset, "hang": faultHang, "slow": faultSlow,
	"http500": faultHTTP500, "http502html": faultHTTP502, "http503": faultHTTP503,
	"accept_then_lose": faultAcceptReset,
}

func (o *Outage) check() error {
	if _, ok := outageModes[o.Mode]; !ok {
		return fmt.Errorf("simulator: unknown outage mode; use one of %s", strings.Join(slices.Sorted(maps.Keys(outageModes)), ", "))
	}
	if o.Product != "" && o.Product != Alimtalk && o.Product != SMS {
		return errors.New("simulator: an outage's product is \"alimtalk\", \"sms\" or empty for both")
	}
	if !o.To.IsZero() && o.To.Before(o.From) {
		return errors.New("simulator: an outage's end is before its start")
	}
	return nil
}

// outage returns the fault of the first outage that holds now.
func (c *call) outage() fault {
	for i := range c.set.outages {
		o := &c.set.outages[i]
		if (o.Product == "" || o.Product == c.product) && !c.at.Before(o.From) && (o.To.IsZero() || c.at.Before(o.To)) {
			return outageModes[o.Mode]
		}
	}
	if c.set.profile.down == c.product {
		return faultHTTP503
	}
	return faultNone
}

// AddOutage makes a product fail.
func (s *Simulator) AddOutage(o Outage) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.From.IsZero() {
		o.From = s.clock.now()
	}
	s.change(func(set *settings) { set.outages = append(slices.Clone(set.outages), o) })
	return nil
}

// EndOutages ends all outages.
func (s *Simulator) EndOutages() {
	s.change(func(set *settings) { set.outages = nil })
}
