// Package roster reads lists of patients as practice software exports them, and
// writes one. It must not know how patients are kept.
package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/phone"
)

// MaxRows bounds the rows of one list, its heading apart.
const MaxRows = 2000

// Patient is a row. What its column lacks is nil: it is left as it is.
type Patient struct {
	Line       int
	ExternalID string
	Name       *string
	Phone      *phone.Number
	Email      *string
	BirthDate  *string // 2006-01-02
	Gender     *string // female, male, other
	Problems   []Problem
}

// Problem is something that is wrong with a row or with the whole; its pointer is
// a column: /phone.
type Problem struct {
	Pointer string `json:"pointer"`
	Code    string `json:"code"`
}

type column int

const (
	colExternal column = iota
	colName
	colPhone
	colEmail
	colBirth
	colGender
	columns
)

// headings are the names that each column goes by, compared without spaces and
// punctuation, in lower case. The Korean ones are those that clinics' exports are
// known to use; a list of them is published by nobody.
var headings = [columns][]string{
	colExternal: {"차트번호", "차트no", "차트", "환자번호", "환자id", "등록번호", "고객번호", "externalid", "patientid", "chartno"},
	colName:     {"환자명", "환자이름", "성명", "이름", "고객명", "수진자명", "name", "patientname"},
	colPhone:    {"휴대폰", "휴대폰번호", "휴대전화", "휴대전화번호", "핸드폰", "핸드폰번호", "연락처", "전화번호", "phone", "mobile", "phonenumber"},
	colEmail:    {"이메일", "email", "메일"},
	colBirth:    {"생년월일", "생일", "birthdate", "birthday", "dateofbirth"},
	colGender:   {"성별", "gender", "sex"},
}

var genders = map[string]string{
	"여": "female", "여성": "female", "여자": "female", "f": "female", "female": "female",
	"남": "male", "남성": "male", "남자": "male", "m": "male", "male": "male",
	"기타": "other", "other": "other",
}

// List is a list that was read.
type List struct {
	Encoding string   // utf-8 or cp949
	Ignored  []string // headings that were not read
	Patients []Patient
}

// Read reads a list in UTF-8 or CP949, or says what is wrong with the whole of
// it.
func Read(raw []byte, opt phone.Options, today time.Time) (*List, []Problem) {
	text, encoding, err := appointment.Text(raw)
	if err != nil {
		return nil, []Problem{{"", "unknown-encoding"}}
	}
	if bytes.ContainsRune(text, 0) {
		return nil, []Problem{{"", "not-a-table"}}
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = appointment.Separator(text), -1, true
	l, at := &List{Encoding: encoding}, [columns]int{}
	var heading []string
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, []Problem{{"", "not-a-table"}}
		}
		line, _ := r.FieldPos(0)
		switch {
		case heading == nil:
			var problems []Problem
			if at, problems = l.find(record); len(problems) > 0 {
				return nil, problems
			}
			heading = record
		case strings.Join(record, "") == "": // what spreadsheets leave below a table
		case len(l.Patients) == MaxRows:
			return nil, []Problem{{"", "too-many"}}
		case len(record) != len(heading):
			l.Patients = append(l.Patients, Patient{Line: line, Problems: []Problem{{"", "wrong-number-of-cells"}}})
		default:
			l.Patients = append(l.Patients, read(record, at, line, opt, today))
		}
	}
	if len(l.Patients) == 0 {
		return nil, []Problem{{"", "too-few"}}
	}
	return l, nil
}

func (l *List) find(heading []string) (at [columns]int, problems []Problem) {
	read := make([]bool, len(heading))
	for c := range columns {
		at[c] = -1
		for _, name := range headings[c] {
			if i := slices.IndexFunc(heading, func(h string) bool { return folded(h) == name }); i >= 0 {
				at[c], read[i] = i, true
				break
			}
		}
	}
	for i, h := range heading {
		if !read[i] && h != "" {
			l.Ignored = append(l.Ignored, h)
		}
	}
	if at[colExternal] < 0 && (at[colName] < 0 || at[colPhone] < 0) {
		problems = append(problems, Problem{"/columns/차트번호", "missing"})
	}
	return at, problems
}

func read(record []string, at [columns]int, line int, opt phone.Options, today time.Time) Patient {
	p := Patient{Line: line}
	fault := func(pointer, code string) { p.Problems = append(p.Problems, Problem{pointer, code}) }
	cell := func(c column, pointer string, limit int) *string {
		if at[c] < 0 {
			return nil
		}
		s := strings.TrimSpace(record[at[c]])
		switch {
		case utf8.RuneCountInString(s) > limit:
			fault(pointer, "too-long")
		case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
			fault(pointer, "wrong-form")
		}
		return &s
	}
	if s := cell(colExternal, "/external_id", 200); s != nil {
		p.ExternalID = *s
	}
	p.Name, p.Email = cell(colName, "/name", 100), cell(colEmail, "/email", 200)
	if s := cell(colPhone, "/phone", 40); s != nil {
		n := phone.Number{}
		if *s != "" {
			var err error
			if n, err = phone.Parse(appointment.Mobile(*s), opt); err != nil {
				fault("/phone", "not-a-phone-number")
			}
		}
		p.Phone = &n
	}
	if s := cell(colBirth, "/birth_date", 40); s != nil {
		date := ""
		if *s != "" {
			var ok bool
			if date, ok = appointment.ReadDay(*s); !ok || date > today.Format(time.DateOnly) {
				fault("/birth_date", "not-a-date")
			}
		}
		p.BirthDate = &date
	}
	if s := cell(colGender, "/gender", 20); s != nil {
		g, known := genders[folded(*s)]
		if !known && *s != "" {
			fault("/gender", "not-in-list")
		}
		p.Gender = &g
	}
	if p.ExternalID == "" && (p.Name == nil || *p.Name == "" || p.Phone == nil || p.Phone.IsZero()) {
		fault("/external_id", "missing")
	}
	return p
}

func folded(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// Heading is that of [Write]; [Read] reads it again.
var Heading = []string{"차트번호", "환자명", "휴대폰", "이메일", "생년월일", "성별", "최근내원일", "최근수술일", "등록일", "ID"}

// Write writes a list as spreadsheets in Korea read it: UTF-8 with a mark. A cell
// that a spreadsheet could take for a formula begins with an apostrophe.
func Write(w io.Writer, rows func(yield func([]string) bool)) error {
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return err
	}
	out := csv.NewWriter(w)
	if err := out.Write(Heading); err != nil {
		return err
	}
	for row := range rows {
		for i, s := range row {
			if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
				row[i] = "'" + s
			}
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
