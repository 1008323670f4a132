// Package examples holds the clinics that the documentation and the demo use,
// as files for `doctorsflow apply`. It knows nothing of how they are applied.
package examples

import _ "embed"

// MisoDental is 미소치과, the demo clinic: ten patients on the gateway
// simulator's magic numbers and a workflow whose days are seconds.
//
//go:embed miso-dental.yaml
var MisoDental []byte
