package api

import (
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/auth"
)

// permissions says which roles may call which operation. An operation that is
// not here may be called by nobody, and is not registered.
var permissions = map[string][]auth.Role{
	"list-message-logs": {auth.Owner, auth.Staff, auth.Viewer},
	"list-executions":   {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"list-parked-steps": {auth.Owner, auth.Staff, auth.Viewer},
	"retry-parked-step": {auth.Owner, auth.Staff},
	"drop-parked-step":  {auth.Owner, auth.Staff},
	"list-audit-log":    {auth.Owner},
}

func permitted(operation string, role auth.Role) bool {
	return slices.Contains(permissions[operation], role)
}
