package ingest

// reason says why a call was refused: a problem's slug, or something more
// exact for the webhook's owner, who may know what a caller may not. The list
// is closed; it labels a metric.
type reason string

// The reasons behind an invalid-signature.
const (
	unknownEndpoint    reason = "unknown-endpoint"
	disabledEndpoint   reason = "disabled-endpoint"
	missingSignature   reason = "missing-signature"
	malformedSignature reason = "malformed-signature"
	staleTimestamp     reason = "stale-timestamp"
	badSignature       reason = "invalid-signature"
	secretInQuery      reason = "secret-in-query"
)
