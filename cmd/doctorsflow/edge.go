package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/edge"
)

// edgeFlags say who may ask over HTTP, and how often.
type edgeFlags struct {
	TrustedProxies []string `name:"trusted-proxies" help:"Addresses or networks of the proxies before --http-addr, whose X-Forwarded-For is believed; without it nobody's is." env:"TRUSTED_PROXIES"`
	AllowedHosts   []string `name:"allowed-hosts" help:"Names that are served; by default any." env:"ALLOWED_HOSTS"`
	CORSOrigins    []string `name:"cors-origins" help:"Origins of web pages that may call the API from a browser, such as https://console.example.com; by default none." env:"CORS_ORIGINS"`
	RatePerAddress int      `name:"rate-per-address" help:"Requests a minute of one address that prove nothing about who sends them." default:"300" env:"RATE_PER_ADDRESS" validate:"omitempty,min=1,max=1000000"`
	RatePerCaller  int      `name:"rate-per-caller" help:"API requests a minute of one key or user." default:"1200" env:"RATE_PER_CALLER" validate:"omitempty,min=1,max=1000000"`
	RatePerTenant  int      `name:"rate-per-tenant" help:"API requests a minute of one clinic." default:"6000" env:"RATE_PER_TENANT" validate:"omitempty,min=1,max=1000000"`
}

func (f *edgeFlags) check() (errs []error) {
	if _, err := edge.ParseProxies(f.TrustedProxies); err != nil {
		errs = append(errs, fmt.Errorf("setting trusted-proxies: %w", err))
	}
	for _, h := range f.AllowedHosts {
		if h == "" || strings.ContainsAny(h, ":/* ") {
			errs = append(errs, fmt.Errorf("setting allowed-hosts: %q is not a host's name alone, such as flow.example.com", h))
		}
	}
	for _, o := range f.CORSOrigins {
		if !edge.ValidOrigin(o) {
			errs = append(errs, fmt.Errorf("setting cors-origins: %q is not an origin such as https://console.example.com, in small letters and with nothing after the host and port; plain http is for localhost alone", o))
		}
	}
	return errs
}

// edge returns what requests pass first; the settings are checked.
func (f *edgeFlags) edge(behindTLS bool, reg prometheus.Registerer, log *slog.Logger) *edge.Edge {
	proxies, err := edge.ParseProxies(f.TrustedProxies)
	if err == nil && behindTLS && len(proxies) == 0 {
		err = errors.New("TRUSTED_PROXIES is not set: every caller counts as the proxy, in the audit log too")
	}
	if err != nil {
		log.Warn("addresses of callers are not known", "err", err)
	}
	return edge.New(edge.Config{
		Proxies: proxies, Hosts: f.AllowedHosts, Origins: f.CORSOrigins, TLS: behindTLS, StrangersPerMinute: f.RatePerAddress,
	}, reg)
}
