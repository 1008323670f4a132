// Package stream is the only door to NATS JetStream: it declares the streams,
// publishes events and runs the one consumer loop of the product. It must not
// know what any event means, or that Postgres exists.
//
//	TRIGGERS    trigger.<tenant>.<kind>              ──▶ planner
//	STEPS       step.due.<lane>.<tenant>             ──▶ dispatcher, a consumer per lane
//	DELIVERIES  delivery.<tenant>.<channel>.<status> ──▶ recorder, and whoever watches
//
// Guarantees:
//
//   - A nil error of [Conn.Publish] means that every event is stored.
//   - A message is acknowledged only after its handler settled it without an
//     error; until then it is delivered again, here or to another copy.
//   - A message that cannot be decoded is terminated, counted and logged, and
//     holds up nobody.
//   - A stream that vanished is made again; its content is not this package's
//     to restore (the ledger publishes again, see planner.Release).
package stream
