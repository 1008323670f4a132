package problem

import (
	"maps"
	"net/http"
	"slices"
)

// Slug names a type of problem. The list is closed and public: clients branch
// on it, so a slug is never renamed and never changes its status.
type Slug string

// The problems of a request's form.
const (
	AmbiguousHeader      Slug = "ambiguous-header"
	InvalidParameter     Slug = "invalid-parameter"
	BadRequest           Slug = "bad-request"
	MalformedJSON        Slug = "malformed-json"
	DuplicateKey         Slug = "duplicate-key"
	JSONTooDeep          Slug = "json-too-deep"
	TooManyValues        Slug = "too-many-values"
	TooLong              Slug = "too-long"
	InvalidText          Slug = "invalid-text"
	NotFound             Slug = "not-found"
	MethodNotAllowed     Slug = "method-not-allowed"
	NotAcceptable        Slug = "not-acceptable"
	RequestTimeout       Slug = "request-timeout"
	PayloadTooLarge      Slug = "payload-too-large"
	UnsupportedMediaType Slug = "unsupported-media-type"
	MisdirectedRequest   Slug = "misdirected-request"
	HeadersTooLarge      Slug = "headers-too-large"
	URITooLong           Slug = "uri-too-long"
)

// The problems of who asks.
const (
	Unauthorized     Slug = "unauthorized"
	InvalidSignature Slug = "invalid-signature"
	Forbidden        Slug = "forbidden"
)

// The problems of what a request says.
const (
	Schema          Slug = "schema"
	UnknownField    Slug = "unknown-field"
	OutOfRange      Slug = "out-of-range"
	InvalidPayload  Slug = "invalid-payload"
	InvalidPhone    Slug = "invalid-phone"
	InvalidWorkflow Slug = "invalid-workflow"
)

// The problems of what is there already.
const (
	Conflict              Slug = "conflict"
	IdempotencyConflict   Slug = "idempotency-conflict"
	IdempotencyMismatch   Slug = "idempotency-mismatch"
	IdempotencyInProgress Slug = "idempotency-in-progress"
	PreconditionFailed    Slug = "precondition-failed"
	PreconditionRequired  Slug = "precondition-required"
)

// The problems of ours, or of too much at once.
const (
	RateLimited Slug = "rate-limited"
	Overloaded  Slug = "overloaded"
	Unavailable Slug = "unavailable"
	Internal    Slug = "internal"
)

type row struct {
	status        int
	title, detail string
}

var table = map[Slug]row{
	AmbiguousHeader:      {http.StatusBadRequest, "Ambiguous header", "A header that may appear once was sent more than once. Send it once."},
	InvalidParameter:     {http.StatusBadRequest, "Invalid parameter", "A query or path parameter is not one this route understands."},
	BadRequest:           {http.StatusBadRequest, "Bad request", "The request could not be read. Send it again, whole."},
	MalformedJSON:        {http.StatusBadRequest, "Malformed JSON", "The body is not exactly one JSON document (RFC 8259)."},
	DuplicateKey:         {http.StatusBadRequest, "Duplicate key", "An object in the body names a member more than once."},
	JSONTooDeep:          {http.StatusBadRequest, "JSON too deep", "The body is nested deeper than the limit. Flatten it."},
	TooManyValues:        {http.StatusBadRequest, "Too many values", "The body holds more values than the limit. Send fewer."},
	TooLong:              {http.StatusBadRequest, "Too long", "A key or a string in the body is longer than the limit."},
	InvalidText:          {http.StatusBadRequest, "Invalid text", "The body holds text that is not valid Unicode, or a NUL. Send UTF-8."},
	NotFound:             {http.StatusNotFound, "Not found", "There is no such resource for this caller."},
	MethodNotAllowed:     {http.StatusMethodNotAllowed, "Method not allowed", "Use a method that the Allow header lists."},
	NotAcceptable:        {http.StatusNotAcceptable, "Not acceptable", "Accept application/json."},
	RequestTimeout:       {http.StatusRequestTimeout, "Request timeout", "The request did not arrive in time. Send it again."},
	PayloadTooLarge:      {http.StatusRequestEntityTooLarge, "Payload too large", "The body is larger than this route accepts. Send less."},
	UnsupportedMediaType: {http.StatusUnsupportedMediaType, "Unsupported media type", "Send uncompressed application/json in UTF-8."},
	MisdirectedRequest:   {http.StatusMisdirectedRequest, "Misdirected request", "This host name is not served here."},
	HeadersTooLarge:      {http.StatusRequestHeaderFieldsTooLarge, "Headers too large", "Send fewer or shorter headers."},
	URITooLong:           {http.StatusRequestURITooLong, "URI too long", "The address and its query are longer than 4 KiB. Send less in them."},

	Unauthorized:     {http.StatusUnauthorized, "Unauthorized", "Send a valid credential in the Authorization header."},
	InvalidSignature: {http.StatusUnauthorized, "Invalid signature", "The request is not signed by an enabled webhook's secret. Check the address, the secret, the clock and that the body is signed as sent."},
	Forbidden:        {http.StatusForbidden, "Forbidden", "The credential is valid and does not allow this."},

	Schema:          {http.StatusUnprocessableEntity, "Wrong shape", "The body is JSON of another shape than this route takes."},
	UnknownField:    {http.StatusUnprocessableEntity, "Unknown field", "The body has a member that this route does not know. Remove it."},
	OutOfRange:      {http.StatusUnprocessableEntity, "Out of range", "A number in the body cannot be kept exactly. Send it as a string."},
	InvalidPayload:  {http.StatusUnprocessableEntity, "Invalid payload", "The body is well formed and says something that cannot be used; see errors."},
	InvalidPhone:    {http.StatusUnprocessableEntity, "Invalid phone number", "A phone number in the body cannot receive messages; see errors."},
	InvalidWorkflow: {http.StatusUnprocessableEntity, "Invalid workflow", "The workflow cannot be published; see errors."},

	Conflict:              {http.StatusConflict, "Conflict", "The resource is not in a state that allows this."},
	IdempotencyConflict:   {http.StatusConflict, "Idempotency conflict", "This id was used before with another body. Give a new event a new id."},
	IdempotencyMismatch:   {http.StatusUnprocessableEntity, "Idempotency key reused", "This Idempotency-Key was used before with another request. Use a new one."},
	IdempotencyInProgress: {http.StatusConflict, "Still in progress", "The first request with this Idempotency-Key is not finished. Ask again later."},
	PreconditionFailed:    {http.StatusPreconditionFailed, "Changed meanwhile", "The resource is no longer the version named by If-Match. Read it again."},
	PreconditionRequired:  {http.StatusPreconditionRequired, "Precondition required", "Name the version that is changed in If-Match."},

	RateLimited: {http.StatusTooManyRequests, "Too many requests", "Send again after the time in Retry-After."},
	Overloaded:  {http.StatusServiceUnavailable, "Overloaded", "Nothing was kept. Send again after the time in Retry-After."},
	Unavailable: {http.StatusServiceUnavailable, "Unavailable", "It is not known whether this was kept. Send it again, with the same id, after the time in Retry-After."},
	Internal:    {http.StatusInternalServerError, "Internal error", "Something failed on our side. Send again, with the same id; if it stays, report the instance."},
}

// Slugs lists the table's slugs in order, for documents and metrics.
func Slugs() []Slug { return slices.Sorted(maps.Keys(table)) }
