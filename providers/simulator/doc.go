// Package simulator is NHN Cloud's Alimtalk v2.0–v2.3 and SMS v3.0 gateways
// as one http.Handler, for tests, demos and benchmarks without a network. It
// must not know the platform that calls it: it sees the vendor's wire and
// nothing else.
//
//	request ─▶ route ─▶ gate ─▶ send ─▶ accept ──▶ store ◀── query
//	                     │               │  ▲
//	    type, key, secret, address,      │  └── events: reports, resends,
//	    script, throttle, outage,        ▼      reservations (one heap, Run)
//	    idempotency                   oracle ─▶ violations, ledger
//
// Facts about the wire are from TOAST-DOCS/Alimtalk ko/alimtalk-api-guide.md
// (v2.3), sender-api-guide-v2.3.md, webhook-api-guide.md and error-code.md,
// and TOAST-DOCS/SMS ko/api-guide.md (v3.0), webhook.md and error-code.md.
// Where those are silent, [Rules] has a switch, so that a client can be run
// against every reading.
//
// # What is offered
//
// Under /alimtalk/v2.{0..3}/appkeys/{key}: POST and GET of messages and
// auth/messages, POST of raw-messages and auth/raw-messages, GET of one
// message, DELETE of a scheduled request, GET message-results, senders,
// senders/{sender}, their templates, POST failback and failback/appkey.
//
// Under /sms/v3.0/appKeys/{key}: POST sender/{sms,mms,auth/sms,ad-sms,ad-mms},
// GET of lists and of one text, GET message-results, sendNos,
// blockservice/…, reservations.
//
// Everything else answers -9998 (no such API): brand messages, attachments,
// SMS templates and the review of Alimtalk templates are not simulated.
// GET /healthz and the control plane under /__sim are ours.
//
// # Control plane
//
// All under /__sim, in JSON; errors say what to do. GET and PUT config; GET
// and POST clock {"mode","scale","advance"}; POST profile/{name}; POST and
// DELETE outage; POST script; POST templates, senders, sendnos,
// unsubscribenos, consents; POST unsubscribe; PUT webhooks; GET requests,
// ledger, violations, stats, metrics; POST reset. The fields are those of the
// types of the same name. GET console is a page that shows every phone.
//
// # Numbers with a meaning
//
// magic.go lists the recipients, template.go the template codes and
// fixture.go the sender keys and numbers that behave in a certain way. Every
// other number receives what it is sent, at once.
//
// # Time
//
// Report delays, the idempotency window, quotas and outages pass in virtual
// time, which may run faster than the wall clock or stand still until it is
// advanced; GET /__sim/clock announces it. A report that is due is seen by the
// next query whether or not Run is running; webhooks need Run.
//
// # Guarantees
//
//   - The same seed, numbers and order of sends per number give the same
//     outcomes and delays.
//   - At most one request of several with the same key is accepted within the
//     window, however they interleave.
//   - Violations holds every breach of the rules in oracle.go; only a reset
//     clears it.
package simulator
