// Package migrations holds the schema as plain SQL, embedded and numbered. It
// knows nothing of Go types; applying it is internal/store's.
package migrations

import "embed"

// FS holds every migration, named NNNN_title.sql, in goose's format. They are
// forward only: expand, deploy, contract.
//
//go:embed *.sql
var FS embed.FS
