package main

import (
	"context"
	"errors"

	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/stream"
)

// safeguard is one reason not to start. Exactly one of its looks is set.
type safeguard struct {
	id string
	// what is refused, in a few words.
	what string
	// settings looks at the settings alone, before anything opens.
	settings func(*serveFlags) error
	// ledger looks at the ledger once it is open.
	ledger func(context.Context, *serveFlags, *store.DB) error
	// told reports whether an error of opening the data folder, the ledger or
	// the broker is this one.
	told func(error) bool
}

// safeguards is everything for which a process refuses to start. Each error is
// a sentence that says how to mend it. docs/operations.md has the same list.
var safeguards = []safeguard{
	{id: "secrets", what: "a secret in the environment or a URL is a sample value or too short", settings: goodSecrets},
	{id: "master-key-missing", what: "an external Postgres without a master key that outlives this machine", settings: masterKeyGiven},
	{id: "master-key-file", what: "a master key that others may read, or that is none", settings: masterKeyReadable},
	{id: "master-key-wrong", what: "another master key than the data was sealed with", told: is(store.ErrWrongMaster)},
	{id: "postgres-plaintext", what: "Postgres on another machine without sslmode=verify-full", settings: postgresPrivate},
	{id: "postgres-login", what: "a Postgres login that is a superuser, has BYPASSRLS, owns the tables or is no member of its role", told: unsafeLogin},
	{id: "schema", what: "a schema older or newer than the program", told: is(store.ErrSchemaOlder, store.ErrSchemaNewer)},
	{id: "row-security", what: "a tenant table without forced row-level security", told: unsafeSchema},
	{id: "nats-plaintext", what: "NATS on another machine without TLS", settings: natsPrivate},
	{id: "nats-credentials", what: "NATS without credentials", settings: natsCredentials},
	{id: "nats-listen", what: "the embedded NATS open to other machines without TLS", settings: natsListensPrivately},
	{id: "nats-version", what: "nats-server before " + stream.MinServer, told: is(stream.ErrServerTooOld)},
	{id: "http-plaintext", what: "HTTP open to other machines without a proxy that ends TLS", settings: httpPrivate},
	{id: "simulator", what: "the gateway simulator beside a Postgres on another machine, or open to other machines", settings: simulatorApart},
	{id: "time-scale", what: "shortened times with a gateway that is not a simulator on this machine", ledger: timeScaleReal},
	{id: "gateway-plaintext", what: "a gateway account whose base_url is plain http to another machine", ledger: gatewaysPrivate},
	{id: "gateway-secrets", what: "a gateway account with sample credentials", ledger: gatewaySecrets},
	{id: "data-open", what: "a data folder that others may read or write", settings: dataFolderClosed},
	{id: "data-in-use", what: "a data folder in use by another process", told: is(local.ErrLocked)},
	{id: "clock", what: "a clock more than 5 s away from Postgres'", ledger: clocksAgree},
}

func is(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

func unsafeSchema(err error) bool {
	_, ok := errors.AsType[*store.UnsafeSchemaError](err)
	return ok
}

func unsafeLogin(err error) bool {
	_, ok := errors.AsType[*store.UnsafeLoginError](err)
	return ok
}

// unsafeSettings returns every reason that the settings give.
func unsafeSettings(f *serveFlags) error {
	var errs []error
	for _, g := range safeguards {
		if g.settings != nil {
			errs = append(errs, g.settings(f))
		}
	}
	return errors.Join(errs...)
}

// unsafeLedger returns every reason that the ledger gives.
func unsafeLedger(ctx context.Context, f *serveFlags, db *store.DB) error {
	var errs []error
	for _, g := range safeguards {
		if g.ledger != nil {
			errs = append(errs, g.ledger(ctx, f, db))
		}
	}
	return errors.Join(errs...)
}
