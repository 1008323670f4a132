package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/holidays"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

type holidaysCommand struct {
	List   holidaysListCommand   `cmd:"" help:"Show a country's public holidays, as plans see them."`
	Add    holidaysAddCommand    `cmd:"" help:"Tell a holiday, such as one that the government has just declared."`
	Remove holidaysRemoveCommand `cmd:"" help:"Take a holiday back."`
	Import holidaysImportCommand `cmd:"" help:"Tell all holidays of a file of lines DAY,NAME."`
}

type holidaysFlags struct {
	dataFlags
	Country string `help:"The country (ISO 3166-1)." default:"KR"`
	Reason  string `help:"Why, for the audit log: one line."`
}

func (c *holidaysFlags) tell(ctx context.Context, o output, days map[string]string) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		n, err := db.TellHolidays(ctx, c.Country, days, store.Hand{Actor: "cli:" + login(), Note: c.Reason})
		switch {
		case errors.Is(err, store.ErrHoliday):
			return errors.New("write the day as 2029-01-01, and a name of one line; --country is two capitals, such as KR")
		case errors.Is(err, store.ErrNote):
			return errNote
		case err != nil:
			return err
		}
		fmt.Fprintf(o.out, "%d of %d days changed; new plans keep to it within a minute, what is planned stays\n", n, len(days))
		return nil
	})
}

type holidaysListCommand struct {
	holidaysFlags
	Year int `help:"Only this year."`
}

// Run prints one line per day.
func (c *holidaysListCommand) Run(ctx context.Context, o output) error {
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		list, err := db.Holidays(ctx, c.Country)
		if err != nil {
			return err
		}
		shown := 0
		for _, h := range list {
			day, err := time.Parse(time.DateOnly, h.Day)
			if err != nil || c.Year != 0 && day.Year() != c.Year {
				continue
			}
			shown++
			fmt.Fprintf(o.out, "%s  %s  %s\n", h.Day, day.Format("Mon"), h.Name)
		}
		if shown == 0 {
			fmt.Fprintln(o.err, "None is known; tell them with doctorsflow holidays import.")
		}
		return nil
	})
}

type holidaysAddCommand struct {
	holidaysFlags
	Day  string   `arg:"" help:"The day, such as 2029-01-01."`
	Name []string `arg:"" help:"Its name."`
}

// Run tells one day.
func (c *holidaysAddCommand) Run(ctx context.Context, o output) error {
	return c.tell(ctx, o, map[string]string{c.Day: strings.Join(c.Name, " ")})
}

type holidaysRemoveCommand struct {
	holidaysFlags
	Day string `arg:"" help:"The day, such as 2029-01-01."`
}

// Run takes one day back.
func (c *holidaysRemoveCommand) Run(ctx context.Context, o output) error {
	return c.tell(ctx, o, map[string]string{c.Day: ""})
}

type holidaysImportCommand struct {
	holidaysFlags
	File string `arg:"" help:"The file; - is standard input."`
}

// Run tells every day of a file, or none.
func (c *holidaysImportCommand) Run(ctx context.Context, o output) error {
	b, err := readInput(c.File)
	if err != nil {
		return err
	}
	days, err := holidays.Parse(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if len(days) == 0 {
		return errors.New("the file names no day; write lines such as 2029-01-01,신정")
	}
	return c.tell(ctx, o, days)
}
