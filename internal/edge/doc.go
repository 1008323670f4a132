// Package edge is what every HTTP request passes before the routes, whoever it
// is for: where it comes from, what its form may be, how often somebody
// unknown may ask, and the headers of every answer. It must not know a route,
// a clinic or the ledger.
//
//	connection ── at most MaxConns; headers within 5 s, a body within 10 s
//	    │
//	 Handler ──── address (TRUSTED_PROXIES), host, form ── 400 414 421 431
//	    │         security headers, CORS
//	    ▼
//	  routes ──── who proves who they are pass, at their own rate
//	    │
//	 Strange ──── the others are counted by address ────── 429
//
// What holds:
//   - The address of a request is its connection's, or the one that trusted
//     proxies vouch for; what a client claims of itself changes nothing.
//   - A request that proves who sends it is never refused for its address: an
//     attacker behind a clinic's own router cannot shut the clinic out. What was
//     seen to be good before is still looked up; what was never seen is not
//     while its address is over its rate.
//   - Memory is bounded: see [Buckets].
package edge
