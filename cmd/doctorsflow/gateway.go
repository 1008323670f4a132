package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// openGateway makes the adapter of an account's vendor. Adding a vendor is a
// folder below providers and a case here.
func openGateway(vendor string, a providers.Account, simulatorURL string, scale float64, client *http.Client) (providers.Gateway, error) {
	switch vendor {
	case "nhn":
		if u, err := url.Parse(a.BaseURL); err != nil || u.Host == "" {
			return nil, errors.New("the account has no usable base_url")
		}
	case "simulator":
		if simulatorURL == "" {
			return nil, errors.New("the account uses the built-in simulator, and none runs here: start with --simulator, or give the account its vendor")
		}
		a.BaseURL, a.AppKey, a.Secret = simulatorURL, simulatorAppKey(a.AppKey, a.ID), orElse(a.Secret, "simulator")
	default:
		return nil, fmt.Errorf("no adapter for vendor %q", vendor)
	}
	if scale != 1 {
		if err := announcesScale(client, a.BaseURL, scale); err != nil {
			return nil, err
		}
	}
	if a.Channel == event.Kakao {
		return nhn.NewAlimtalk(a, client), nil
	}
	return nhn.NewSMS(a, client), nil
}

// announcesScale makes sure that shortened times are only ever used against a
// simulator whose clock is as fast: a real gateway's key window is not shorter
// because we wish so.
func announcesScale(client *http.Client, base string, scale float64) error {
	res, err := client.Get(base + "/__sim/clock")
	if err != nil {
		return fmt.Errorf("ask the gateway for its clock: %w", withoutURL(err))
	}
	defer res.Body.Close()
	var clock simulator.ClockState
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<12)).Decode(&clock); err != nil || clock.Scale != scale {
		return fmt.Errorf("--time-scale=%g is only for a simulator whose clock runs as fast; this gateway does not announce that", scale)
	}
	return nil
}

// withoutURL drops the address, which holds an app key, from an HTTP error.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
