// Package local runs the parts that a machine without Postgres or NATS lacks:
// a child Postgres and an in-process NATS server. It must not know the schema,
// the streams, or what is kept in either.
package local
