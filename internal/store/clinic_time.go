package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/holidays"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// settingOf reads a tenant's setting that is kept as JSON; what a clinic never
// set is NULL, and zero.
func settingOf[T any](b []byte) (v T, err error) {
	if b == nil {
		return v, nil
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("tenant's setting: %w", err)
	}
	return v, nil
}

// publicDays are public holidays by country and day.
type publicDays map[string]map[string]string

// calendar reads a clinic's calendar, with the holidays that it keeps.
func (p publicDays) calendar(b []byte) (*workflow.Calendar, error) {
	c, err := settingOf[workflow.Calendar](b)
	c.Public = p[c.Country()]
	return &c, err
}

// holidayAge is how long a process may plan without what was told meanwhile.
const holidayAge = time.Minute

type holidayCache struct {
	mu   sync.Mutex
	read time.Time
	days publicDays
}

const selectHolidayChanges = `SELECT country, to_char(day, 'YYYY-MM-DD'), name FROM public_holidays`

// publicHolidays are those of the release with what was told since, read by q
// once a minute. Nobody changes them.
func (db *DB) publicHolidays(ctx context.Context, q querier) (publicDays, error) {
	db.holidays.mu.Lock()
	days, read := db.holidays.days, db.holidays.read
	db.holidays.mu.Unlock()
	if days != nil && time.Since(read) < holidayAge {
		return days, nil
	}
	days = publicDays{}
	for country, known := range holidays.Known {
		days[country] = map[string]string{}
		maps.Copy(days[country], known)
	}
	rows, err := q.Query(ctx, selectHolidayChanges)
	if err != nil {
		return nil, err
	}
	var country, day, name string
	if _, err := pgx.ForEachRow(rows, []any{&country, &day, &name}, func() error {
		if days[country] == nil {
			days[country] = map[string]string{}
		}
		if days[country][day] = name; name == "" {
			delete(days[country], day)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	db.holidays.mu.Lock()
	db.holidays.days, db.holidays.read = days, time.Now()
	db.holidays.mu.Unlock()
	return days, nil
}

// keptAs is a setting as the ledger keeps it: one spelling, and NULL for none.
func keptAs(v any, none bool) ([]byte, error) {
	if none {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("tenant's setting: %w", err)
	}
	return b, nil
}

// haveSettings adds what the ledger keeps to a tenant's difference, spelled as
// [keptAs] does.
func haveSettings(have map[string]string, windows, caps, calendar []byte) error {
	w, err := settingOf[map[workflow.Class][]workflow.Window](windows)
	if err != nil {
		return err
	}
	c, err := settingOf[workflow.Caps](caps)
	if err != nil {
		return err
	}
	days, err := settingOf[*workflow.Calendar](calendar)
	if err != nil {
		return err
	}
	for key, v := range map[string]struct {
		value any
		none  bool
	}{"send_windows": {w, len(w) == 0}, "frequency_caps": {c, len(c) == 0}, "calendar": {days, days == nil}} {
		b, err := keptAs(v.value, v.none)
		if err != nil {
			return err
		}
		have[key] = string(b)
	}
	return nil
}
