package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// accountsLooked is how many gateway accounts a start looks at. The others are
// looked at when they are used.
const accountsLooked = 10_000

// maxSkew is how far two clocks may be apart: webhook timestamps and expiries
// are judged by either.
const maxSkew = 5 * time.Second

// eachAccount looks at every gateway account in use that is not the built-in
// simulator's, and returns at most ten findings.
func eachAccount(ctx context.Context, db *store.DB, look func(store.Account) error) error {
	list, err := db.EnabledAccounts(ctx, accountsLooked)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range list {
		if a.Vendor == "simulator" || len(errs) == 10 {
			continue
		}
		if err := look(a); err != nil {
			errs = append(errs, fmt.Errorf("the %s account of clinic %s %w", a.Channel, a.Tenant, err))
		}
	}
	return errors.Join(errs...)
}

// elsewhere reports whether an account's gateway is not on this machine.
func elsewhere(a store.Account) bool {
	u, err := url.Parse(a.BaseURL)
	return err == nil && !machine(u.Hostname())
}

func timeScaleReal(ctx context.Context, f *serveFlags, db *store.DB) error {
	if f.TimeScale == 1 {
		return nil
	}
	return eachAccount(ctx, db, func(a store.Account) error {
		if elsewhere(a) {
			return errors.New("has a real gateway, whose times are not shorter because ours are: set --time-scale=1")
		}
		return nil
	})
}

func gatewaysPrivate(ctx context.Context, _ *serveFlags, db *store.DB) error {
	return eachAccount(ctx, db, plaintextGateway)
}

func plaintextGateway(a store.Account) error {
	if u, err := url.Parse(a.BaseURL); err == nil && u.Scheme == "http" && elsewhere(a) {
		return fmt.Errorf("sends patients' numbers and texts to %s in the clear: write base_url as https://… in its file and run `doctorsflow apply -f`", u.Hostname())
	}
	return nil
}

func gatewaySecrets(ctx context.Context, _ *serveFlags, db *store.DB) error {
	return eachAccount(ctx, db, sampleGateway)
}

func sampleGateway(a store.Account) error {
	if elsewhere(a) && (weak(a.Credentials.AppKey) || weak(a.Credentials.Secret)) {
		return errors.New("has a sample value as app_key or secret: put the gateway's own into its file and run `doctorsflow apply -f`")
	}
	return nil
}

func clocksAgree(ctx context.Context, _ *serveFlags, db *store.DB) error {
	skew, err := db.ClockSkew(ctx)
	if err != nil {
		return err
	}
	return skewed(skew)
}

func skewed(skew time.Duration) error {
	if skew.Abs() <= maxSkew {
		return nil
	}
	return fmt.Errorf("the clock of Postgres is %s away from this machine's: run NTP on both (`timedatectl set-ntp true`) and start again", skew.Round(time.Millisecond))
}
