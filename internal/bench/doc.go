// Package bench loads a running pipeline over HTTP and measures it from
// outside: at the webhook, at the gateway and in /proc. It knows none of the
// roles and nothing of how they work.
package bench
