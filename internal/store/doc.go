// Package store is the only door to Postgres: the ledger of triggers, plans,
// claims and outcomes. It must not know what transports a message or sends it.
package store
