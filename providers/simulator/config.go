package simulator

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Product is one of the two gateways.
type Product string

// The products.
const (
	Alimtalk Product = "alimtalk"
	SMS      Product = "sms"
)

// Config is what a simulator is made of. The zero value works in real time,
// answers at once and knows no app key; set Open to let any app in.
type Config struct {
	// Seed fixes every drawn outcome, delay and fault.
	Seed uint64
	// Open accepts any app key and secret, any 40-character sender key and
	// any well-formed sender number, except the magic ones.
	Open bool
	// Apps are the known app keys; others are refused unless Open.
	Apps map[string]App
	// Senders, SendNos and Templates are known from the start, besides the
	// magic ones of fixture.go.
	Senders   []Sender
	SendNos   []SendNo
	Templates []Template
	// Webhooks are told of results, by app key; "" stands for every app key
	// without an entry.
	Webhooks map[string]Webhook

	// Profile names a row of profile.go; "" is "ideal".
	Profile string
	// Latency is added before every gateway answer, in virtual time; 0 takes
	// what the profile draws, which is nothing for "ideal".
	Latency time.Duration
	// ReportDelay replaces the drawn delay between acceptance and report,
	// also where the default is none; 0 keeps the default, negative reports
	// at once. The late modes of magic numbers keep their own delay.
	ReportDelay time.Duration
	// Rules are the limits and the switches for what NHN does not document.
	Rules Rules

	// Scale is how many virtual seconds pass in a real one; 0 is 1.
	Scale float64
	// Manual stops virtual time; it moves only by Advance.
	Manual bool
	// Start is the virtual time at the start; zero is the present.
	Start time.Time
	// RealStamps puts wall-clock times instead of virtual ones on the wire,
	// for clients that query by their own clock while delays are scaled.
	RealStamps bool

	// Ledger receives one JSON line per acceptance and result as it happens,
	// an acceptance before its answer. A simulator made by [Open] writes to
	// its file as well.
	Ledger io.Writer
	// SyncLedger makes [Open]'s file durable (fsync, grouped) before each
	// answer.
	SyncLedger bool
	// KeepRequests caps the raw requests kept for GET /__sim/requests: 0 is
	// 1,000, negative keeps none.
	KeepRequests int
	// KeepMessages caps the accepted messages that queries and Ledger can
	// still see; the oldest settled ones go first, the oracle forgets none.
	// 0 keeps all (about 0.6 kB each).
	KeepMessages int

	// ControlToken, if set, is the bearer token of the control plane. Without
	// it only loopback callers may change or read it; the clock and the
	// metrics are open to all.
	ControlToken string
	// Client posts webhooks; nil is a client with a 10 s timeout.
	Client *http.Client
}

// App is one app key's secret and product.
type App struct {
	Secret string `json:"secret"`
	// Product limits the key to one gateway; "" allows both.
	Product Product `json:"product,omitempty"`
}

// Check reports the first thing in the configuration that cannot be meant.
func (c *Config) Check() error {
	if _, ok := profileOf(c.Profile); !ok {
		return fmt.Errorf("simulator: unknown profile %q; use one of %s", c.Profile, Profiles())
	}
	if c.Scale < 0 || c.Latency < 0 {
		return errors.New("simulator: scale and latency cannot be negative")
	}
	for key, a := range c.Apps {
		if a.Product != "" && a.Product != Alimtalk && a.Product != SMS {
			return fmt.Errorf("simulator: app %q has an unknown product; use \"alimtalk\", \"sms\" or \"\" for both", key)
		}
	}
	for _, w := range c.Webhooks {
		if err := w.check(); err != nil {
			return err
		}
	}
	for _, t := range c.Templates {
		if _, err := parseTemplate(t); err != nil {
			return err
		}
	}
	for _, x := range c.Senders {
		if err := x.check(); err != nil {
			return err
		}
	}
	for _, x := range c.SendNos {
		if err := x.check(); err != nil {
			return err
		}
	}
	return c.Rules.check()
}

// settings is the part of the configuration that the control plane may
// replace while requests are served; a value is never changed once published.
type settings struct {
	profile     *profile
	latency     time.Duration
	reportDelay time.Duration
	rules       Rules
	webhooks    map[string]Webhook
	outages     []Outage
}

// webhook returns the configuration that applies to an app key.
func (s *settings) webhook(key string) (Webhook, bool) {
	w, ok := s.webhooks[key]
	if !ok {
		w, ok = s.webhooks[""]
	}
	return w, ok && w.URL != ""
}
