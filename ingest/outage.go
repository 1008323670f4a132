package ingest

import (
	"log/slog"
	"sync/atomic"
)

// outage logs the first of a row of failures and the success that ends it, so
// that a broker that is away for an hour is two lines.
type outage struct {
	log  *slog.Logger
	what string
	down atomic.Bool
}

func (o *outage) report(err error) {
	switch {
	case err != nil && o.down.CompareAndSwap(false, true):
		o.log.Error("out of reach", "part", o.what, "err", err)
	case err == nil && o.down.Load() && o.down.CompareAndSwap(true, false):
		o.log.Info("works again", "part", o.what)
	}
}
