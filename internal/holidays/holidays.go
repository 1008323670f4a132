// Package holidays is what is known of public holidays when a release is made,
// and reads files that know more. It knows nothing of clinics.
package holidays

import (
	"bytes"
	_ "embed" // the data
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

//go:embed kr.csv
var korea []byte

// Known are the holidays of this release, by country (ISO 3166-1) and then by
// day (2006-01-02). Callers must not change it. Lunar days, substitutes and
// elections are set year by year: what is behind the last year of a country is
// not known, and has to be told; see [Parse].
var Known = map[string]map[string]string{"KR": mustParse(korea)}

func mustParse(b []byte) map[string]string {
	days, err := Parse(bytes.NewReader(b))
	if err != nil {
		panic(err) // a fault of the release, which every test meets
	}
	return days
}

// Limits of a file.
const (
	MaxDays = 5000
	MaxName = 100 // bytes
)

// Parse reads a file of lines DAY,NAME; those that begin with # are comments.
// Problems are joined in one error, each with its line.
func Parse(r io.Reader) (days map[string]string, err error) {
	c := csv.NewReader(r)
	c.Comment, c.FieldsPerRecord, c.TrimLeadingSpace = '#', 2, true
	days = map[string]string{}
	var problems []error
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return days, errors.Join(problems...)
		}
		if err != nil {
			return nil, fmt.Errorf("holidays: %w; write lines such as 2029-01-01,신정", err)
		}
		line, _ := c.FieldPos(0)
		day, name := strings.TrimPrefix(row[0], "\ufeff"), strings.TrimSpace(row[1])
		switch {
		case len(days) == MaxDays:
			return nil, fmt.Errorf("holidays: line %d: a file has at most %d days", line, MaxDays)
		case !ValidDay(day):
			problems = append(problems, fmt.Errorf("holidays: line %d: the day is no date such as 2029-01-01", line))
		case !ValidName(name):
			problems = append(problems, fmt.Errorf("holidays: line %d: a name is one line of 1 to %d bytes", line, MaxName))
		case days[day] != "":
			problems = append(problems, fmt.Errorf("holidays: line %d: %s is there twice; write both names in one line", line, day))
		default:
			days[day] = name
		}
	}
}

// ValidDay reports whether s is a date as 2006-01-02, of this century.
func ValidDay(s string) bool {
	t, err := time.Parse(time.DateOnly, s)
	return err == nil && t.Year() >= 2000 && t.Year() < 2100
}

// ValidName reports whether s can name a holiday.
func ValidName(s string) bool {
	return s != "" && len(s) <= MaxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
