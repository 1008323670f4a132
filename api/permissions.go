package api

import (
	"slices"
	"strings"

	"github.com/doctorsflow/doctorsflow/internal/auth"
)

// permissions says which roles may call which operation. An operation that is
// not here may be called by nobody, and is not registered.
var permissions = map[string][]auth.Role{
	"replay-trigger":             {auth.Owner, auth.Staff},
	"start-replay":               {auth.Owner},
	"list-replays":               {auth.Owner, auth.Staff, auth.Viewer},
	"get-replay":                 {auth.Owner, auth.Staff, auth.Viewer},
	"cancel-replay":              {auth.Owner, auth.Staff},
	"get-message-stats":          {auth.Owner, auth.Staff, auth.Viewer},
	"list-message-logs":          {auth.Owner, auth.Staff, auth.Viewer},
	"list-executions":            {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"get-execution-plan":         {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"stop-execution":             {auth.Owner, auth.Staff},
	"list-workflows":             {auth.Owner, auth.Staff, auth.Viewer},
	"get-workflow":               {auth.Owner, auth.Staff, auth.Viewer},
	"list-workflow-versions":     {auth.Owner, auth.Staff, auth.Viewer},
	"export-workflow":            {auth.Owner, auth.Staff, auth.Viewer},
	"create-workflow":            {auth.Owner, auth.Staff},
	"update-workflow":            {auth.Owner, auth.Staff},
	"delete-workflow":            {auth.Owner, auth.Staff},
	"publish-workflow":           {auth.Owner, auth.Staff},
	"activate-workflow":          {auth.Owner, auth.Staff},
	"deactivate-workflow":        {auth.Owner, auth.Staff},
	"import-workflow":            {auth.Owner, auth.Staff},
	"list-segments":              {auth.Owner, auth.Staff, auth.Viewer},
	"get-segment":                {auth.Owner, auth.Staff, auth.Viewer},
	"create-segment":             {auth.Owner, auth.Staff},
	"update-segment":             {auth.Owner, auth.Staff},
	"delete-segment":             {auth.Owner, auth.Staff},
	"count-segment":              {auth.Owner, auth.Staff, auth.Viewer},
	"list-schedules":             {auth.Owner, auth.Staff, auth.Viewer},
	"get-schedule":               {auth.Owner, auth.Staff, auth.Viewer},
	"create-schedule":            {auth.Owner, auth.Staff},
	"update-schedule":            {auth.Owner, auth.Staff},
	"delete-schedule":            {auth.Owner, auth.Staff},
	"preview-schedule":           {auth.Owner, auth.Staff, auth.Viewer},
	"list-campaigns":             {auth.Owner, auth.Staff, auth.Viewer},
	"get-campaign":               {auth.Owner, auth.Staff, auth.Viewer},
	"create-campaign":            {auth.Owner, auth.Staff},
	"update-campaign":            {auth.Owner, auth.Staff},
	"execute-campaign":           {auth.Owner, auth.Staff},
	"pause-campaign":             {auth.Owner, auth.Staff},
	"resume-campaign":            {auth.Owner, auth.Staff},
	"cancel-campaign":            {auth.Owner, auth.Staff},
	"list-templates":             {auth.Owner, auth.Staff, auth.Viewer},
	"get-template":               {auth.Owner, auth.Staff, auth.Viewer},
	"create-template":            {auth.Owner, auth.Staff},
	"update-template":            {auth.Owner, auth.Staff},
	"delete-template":            {auth.Owner, auth.Staff},
	"list-patients":              {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"search-patients":            {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"get-patient":                {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"create-patient":             {auth.Owner, auth.Staff, auth.Integration},
	"update-patient":             {auth.Owner, auth.Staff, auth.Integration},
	"erase-patient":              {auth.Owner, auth.Staff},
	"import-patients":            {auth.Owner, auth.Staff},
	"export-patients":            {auth.Owner},
	"list-consents":              {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"say-consent":                {auth.Owner, auth.Staff, auth.Integration},
	"list-parked-steps":          {auth.Owner, auth.Staff, auth.Viewer},
	"retry-parked-step":          {auth.Owner, auth.Staff},
	"drop-parked-step":           {auth.Owner, auth.Staff},
	"list-audit-log":             {auth.Owner},
	"simulate-workflow":          {auth.Owner, auth.Staff},
	"list-opt-outs":              {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"opt-out-patient":            {auth.Owner, auth.Staff, auth.Integration},
	"lift-opt-out":               {auth.Owner, auth.Staff},
	"merge-patient":              {auth.Owner, auth.Staff},
	"receive-appointment-events": {auth.Owner, auth.Staff, auth.Integration},
	"receive-appointment-fhir":   {auth.Owner, auth.Staff, auth.Integration},
	"receive-fhir-notification":  {auth.Owner, auth.Staff, auth.Integration},
	"receive-appointment-table":  {auth.Owner, auth.Staff, auth.Integration},
	"list-appointments":          {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
	"get-appointment":            {auth.Owner, auth.Staff, auth.Viewer, auth.Integration},
}

// permitted reports whether p may call an operation, which only reads or also
// changes something: by its role, and by its scopes where it has some.
func permitted(operation string, reads bool, p auth.Principal) bool {
	if !slices.Contains(permissions[operation], p.Role) {
		return false
	}
	if p.Scopes == "" {
		return true
	}
	return slices.ContainsFunc(strings.Fields(p.Scopes), func(scope string) bool {
		return scope == operation || scope == "read" && reads || scope == "write"
	})
}
