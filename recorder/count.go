package recorder

import (
	"context"
	"log/slog"
	"time"
)

// Counted is the part of the ledger that counts what was sent.
type Counted interface {
	FindStatDays(ctx context.Context) error
	CountStats(ctx context.Context) (bool, error)
}

// Counter counts what was sent by clinic and day, for those who ask how it
// goes. Any number of copies may run.
type Counter struct {
	Ledger Counted
	// Every is how often it looks for what is to be counted.
	Every  time.Duration
	Logger *slog.Logger
}

// Run counts until ctx is done.
func (c *Counter) Run(ctx context.Context) error {
	return often(ctx, c.Every, func() {
		if err := c.count(ctx); err != nil && ctx.Err() == nil {
			c.Logger.Warn("what was sent could not be counted; it is tried again", "err", err)
		}
	})
}

func (c *Counter) count(ctx context.Context) error {
	if err := c.Ledger.FindStatDays(ctx); err != nil {
		return err
	}
	for counted := true; counted && ctx.Err() == nil; {
		var err error
		if counted, err = c.Ledger.CountStats(ctx); err != nil {
			return err
		}
	}
	return nil
}
