package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/holidays"
)

// Holiday is a public holiday as plans see it.
type Holiday struct {
	Day  string // 2006-01-02
	Name string
}

// ErrHoliday means that a country, a day or a name is none.
var ErrHoliday = errors.New("store: a holiday is a country such as KR, a day such as 2029-01-01, and a name of one line")

// Holidays lists a country's public holidays in order: what the release knows,
// with what was told since. Errors wrap [ErrUnavailable].
func (db *DB) Holidays(ctx context.Context, country string) (list []Holiday, err error) {
	db.forgetHolidays()
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		days, err := db.publicHolidays(ctx, tx)
		if err != nil {
			return err
		}
		list = nil
		for _, day := range slices.Sorted(maps.Keys(days[country])) {
			list = append(list, Holiday{day, days[country][day]})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: holidays: %w", err)
	}
	return list, nil
}

func (db *DB) forgetHolidays() {
	db.holidays.mu.Lock()
	db.holidays.read = time.Time{}
	db.holidays.mu.Unlock()
}

const upsertHolidays = `
INSERT INTO public_holidays (country, day, name)
SELECT $1, n.day, n.name FROM unnest($2::date[], $3::text[]) AS n (day, name)
ON CONFLICT (country, day) DO UPDATE SET name = EXCLUDED.name, updated_at = (SELECT app_now())
WHERE  public_holidays.name <> EXCLUDED.name`

// TellHolidays adds to what is known of a country; a name of "" takes a day
// back. Processes plan by it within a minute; what is planned stays as it is.
// It stands in every clinic's audit log. Errors are [ErrNote] or [ErrHoliday],
// or wrap [ErrUnavailable].
func (db *DB) TellHolidays(ctx context.Context, country string, days map[string]string, by Hand) (changed int, err error) {
	if err := by.check(false); err != nil {
		return 0, err
	}
	if len(country) != 2 || country[0] < 'A' || country[0] > 'Z' || country[1] < 'A' || country[1] > 'Z' || len(days) > holidays.MaxDays {
		return 0, ErrHoliday
	}
	keys, names := slices.Sorted(maps.Keys(days)), []string{}
	for _, day := range keys {
		if !holidays.ValidDay(day) || days[day] != "" && !holidays.ValidName(days[day]) {
			return 0, ErrHoliday
		}
		names = append(names, days[day])
	}
	err = db.asWorker(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, upsertHolidays, country, keys, names)
		if changed = int(tag.RowsAffected()); err != nil || changed == 0 {
			return err
		}
		return auditAll(ctx, tx, AuditEntry{Hand: by, Action: "holidays.tell", Subject: "public_holidays", Detail: map[string]any{"country": country, "days": changed}})
	})
	if err != nil {
		return 0, fmt.Errorf("store: tell holidays: %w", err)
	}
	db.forgetHolidays()
	return changed, nil
}
