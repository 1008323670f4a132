package appointment

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/korean"
)

// MaxRows bounds the rows of one table, its heading apart.
const MaxRows = 2000

// Table is an export of practice software: a row is an appointment, and where
// it stands.
type Table struct {
	// Encoding is utf-8 or cp949.
	Encoding string
	// Ignored are the columns that were not read, by their headings.
	Ignored []string
	// Heading and Records are the cells as they came, and Lines where each
	// record begins.
	Heading []string
	Records [][]string
	Lines   []int

	at [columns]int // -1: there is none
}

// How a row's appointment is told from another.
const (
	// ByNumber takes the column of its number.
	ByNumber = "number"
	// ByVisit takes the patient's number and the day: for exports without
	// numbers. One that moves to another day is another appointment then.
	ByVisit = "visit"
)

// TableOptions are what a table does not say itself.
type TableOptions struct {
	// Source is the system that numbers appointments; "" for [DefaultSource].
	Source string
	// Identify is [ByNumber] where it is "".
	Identify string
	// Upload is unique among uploads: it makes the ids of rows that have no order
	// of their own.
	Upload string
	// Large reads more than [MaxRows] rows: to send them part by part.
	Large bool
}

// Row is a record that was read; its Event is whole where it has no problems,
// whose pointers are columns: /status.
type Row struct {
	Event
	Line     int
	Problems []Problem
}

// Text is a file's text in UTF-8: it may be in UTF-8, with or without a mark, or
// in CP949, as Korean spreadsheets write.
func Text(raw []byte) (text []byte, encoding string, err error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if utf8.Valid(raw) {
		return raw, "utf-8", nil
	}
	text, err = korean.EUCKR.NewDecoder().Bytes(raw)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return nil, "", errors.New("appointment: neither UTF-8 nor CP949")
	}
	return text, "cp949", nil
}

// ReadTable reads a table of at most [MaxRows] rows with a heading, separated by
// commas, tabs or semicolons, or says what is wrong with the whole of it.
func ReadTable(raw []byte, opt TableOptions) (*Table, []Problem) {
	t := &Table{}
	text, encoding, err := Text(raw)
	if err != nil {
		return nil, []Problem{{"", "unknown-encoding"}}
	}
	if bytes.ContainsRune(text, 0) {
		return nil, []Problem{{"", "not-a-table"}}
	}
	t.Encoding = encoding
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = Separator(text), -1, true
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, []Problem{{line(err), "not-a-table"}}
		}
		at, _ := r.FieldPos(0)
		if t.Heading == nil {
			t.Heading = record
			continue
		}
		if strings.Join(record, "") == "" {
			continue // what spreadsheets leave below a table
		}
		if len(t.Records) == MaxRows && !opt.Large {
			return nil, []Problem{{"", "too-many"}}
		}
		t.Records, t.Lines = append(t.Records, record), append(t.Lines, at)
	}
	if len(t.Records) == 0 {
		return nil, []Problem{{"", "too-few"}}
	}
	return t, t.find(opt)
}

func line(err error) string {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Sprintf("/lines/%d", e.Line)
	}
	return ""
}

// Separator is what parts the cells of the first line: a comma, a tab or a
// semicolon.
func Separator(text []byte) rune {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	best := ','
	for _, c := range "\t;" {
		if bytes.ContainsRune(first, c) && bytes.Count(first, []byte(string(c))) > bytes.Count(first, []byte(string(best))) {
			best = c
		}
	}
	return best
}

// find finds the columns by their headings, and says which are missing.
func (t *Table) find(opt TableOptions) (problems []Problem) {
	names := make([]string, len(t.Heading))
	for i, h := range t.Heading {
		names[i] = folded(h)
	}
	read := make([]bool, len(names))
	for c := range columns {
		t.at[c] = -1
		for _, h := range headings[c] {
			if i := slices.Index(names, h); i >= 0 {
				t.at[c], read[i] = i, true
				break
			}
		}
	}
	for i, h := range t.Heading {
		if !read[i] && h != "" {
			t.Ignored = append(t.Ignored, h)
		}
	}
	missing := func(name string, of ...column) {
		if !slices.ContainsFunc(of, func(c column) bool { return t.at[c] >= 0 }) {
			problems = append(problems, Problem{"/columns/" + name, "missing"})
		}
	}
	switch opt.Identify {
	case "", ByNumber:
		missing("예약번호", colNumber)
	case ByVisit:
		missing("차트번호", colPatient)
	default:
		problems = append(problems, Problem{"/identify", "not-in-list"})
	}
	missing("예약일", colDate, colStarts)
	missing("상태", colStatus)
	missing("차트번호", colPatient, colPhone)
	return problems
}

// Rows reads every record.
func (t *Table) Rows(opt TableOptions) []Row {
	rows := make([]Row, len(t.Records))
	for i, record := range t.Records {
		rows[i] = t.row(record, t.Lines[i], opt)
	}
	return rows
}

func (t *Table) row(record []string, line int, opt TableOptions) Row {
	if len(record) != len(t.Heading) {
		return Row{Line: line, Problems: []Problem{{"", "wrong-number-of-cells"}}}
	}
	cell := func(c column) string {
		if t.at[c] < 0 {
			return ""
		}
		return strings.TrimSpace(record[t.at[c]])
	}
	r := reading{}
	w := wire{Source: opt.Source, Patient: Patient{ExternalID: cell(colPatient), Name: cell(colName), Phone: Mobile(cell(colPhone))}}
	w.Appointment.ID = cell(colNumber)
	if s := cell(colSurgery); s != "" {
		w.Appointment.SurgeryType = &s
	}
	stands, known := statusWords[folded(cell(colStatus))]
	switch {
	case cell(colStatus) == "":
		r.fault("/status", "missing")
	case !known:
		r.fault("/status", "not-in-list")
	default:
		w.Status = new(string(stands))
	}
	r.starts(&w, cell)
	if opt.Identify == ByVisit && w.Appointment.Date != nil && w.Patient.ExternalID != "" {
		w.Appointment.ID = w.Patient.ExternalID + "@" + *w.Appointment.Date
	}
	wall := r.changed(cell(colChanged))
	w.ID = w.rowID(wall, line, opt.Upload)
	mine := r.problems
	r.problems = nil
	if len(mine) == 0 {
		r.event(w)
	}
	out := Row{Event: r.e, Line: line, Problems: append(mine, rowProblems(r.problems)...)}
	out.Raw, out.Wall = w.canonical(), wall
	return out
}

// starts reads when it begins, of one column or of two.
func (r *reading) starts(w *wire, cell func(column) string) {
	whole, clock := cell(colStarts), cell(colTime)
	if whole == "" {
		whole = cell(colDate)
	}
	if whole == "" {
		if w.Status != nil && *w.Status == string(Scheduled) {
			r.fault("/date", "missing")
		}
		return
	}
	date, rest, ok := readDay(whole)
	if !ok {
		r.fault("/date", "not-a-date")
		return
	}
	w.Appointment.Date = &date
	if clock == "" || rest != "" {
		clock = rest
	}
	if clock == "" {
		return
	}
	at, ok := readClock(clock)
	if !ok {
		r.fault("/time", "not-a-time")
		return
	}
	w.Appointment.Time = new(at.String())
}

// changed is when the row was changed last, by the clinic's clocks.
func (r *reading) changed(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	date, rest, ok := readDay(s)
	if !ok {
		r.fault("/updated_at", "not-a-date-time")
		return time.Time{}
	}
	day, _ := time.Parse(time.DateOnly, date)
	if rest == "" {
		return day
	}
	for _, form := range []string{"15:04:05.999999", "15:04:05", "15:04"} {
		if at, err := time.Parse(form, rest); err == nil {
			return time.Date(day.Year(), day.Month(), day.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC).Truncate(time.Microsecond)
		}
	}
	clock, ok := readClock(rest)
	if !ok {
		r.fault("/updated_at", "not-a-date-time")
		return time.Time{}
	}
	return day.Add(time.Duration(clock.Hour)*time.Hour + time.Duration(clock.Minute)*time.Minute)
}

// rowID is the same for a row that says the same at the same place of its
// source's order; nothing of a patient is in it. A row without an order is a
// word of its own with every upload: what it said may have been unsaid between.
func (w wire) rowID(wall time.Time, line int, upload string) string {
	if wall.IsZero() {
		return fmt.Sprintf("csv:%s:%d", upload, line)
	}
	said := sha256.New()
	for _, part := range []*string{&w.Source, &w.Appointment.ID, w.Status, w.Appointment.Date, w.Appointment.Time, w.Appointment.SurgeryType} {
		if part != nil {
			fmt.Fprintf(said, "%q", *part)
		}
		said.Write([]byte{0})
	}
	fmt.Fprint(said, wall.UnixMicro())
	return "csv:" + hex.EncodeToString(said.Sum(nil)[:16])
}

// rowProblems point to columns.
func rowProblems(list []Problem) []Problem {
	for i, p := range list {
		switch p.Pointer {
		case "/appointment/id":
			list[i].Pointer = "/number"
		case "/appointment/starts_at":
			list[i].Pointer = "/date"
		case "/id":
		default:
			if j := strings.LastIndexByte(p.Pointer, '/'); j > 0 {
				list[i].Pointer = p.Pointer[j:]
			}
		}
	}
	return list
}
