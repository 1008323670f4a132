package template

import (
	"errors"
	"fmt"
	"strings"
)

// Why a value was refused; a [*ValueError] wraps one of them.
var (
	// ErrPlaceholder means that the value contains, or would complete beside
	// its neighbours, a #{ or ## that a later stage might take for its own.
	ErrPlaceholder = errors.New("contains #{ or ##; remove it")
	// ErrControl means a control character other than a line feed: NUL, CR,
	// escape sequences, line and paragraph separators.
	ErrControl = errors.New("contains a control character; remove it")
	// ErrBidi means a character that turns the direction of text, with which
	// a value could make the message around it read as something else.
	ErrBidi = errors.New("contains a text-direction character; remove it")
	// ErrMarks means more than 30 combining marks on one character, the
	// bound of Unicode's stream-safe text (UAX #15).
	ErrMarks = errors.New("piles combining marks on one character; remove them")
	// ErrUTF8 means that the value is not valid UTF-8.
	ErrUTF8 = errors.New("is not valid UTF-8; fix the encoding at its source")
)

// MissingError means that variables have no value, or a blank one. A message
// with a hole in it is never rendered.
type MissingError struct {
	Names []string // in the order of the template
}

// Error names the variables.
func (e *MissingError) Error() string {
	return fmt.Sprintf("template: no value for %q; give each of them one", e.Names)
}

// ValueError means that a value cannot stand in a message. It wraps
// [ErrPlaceholder], [ErrControl], [ErrBidi], [ErrMarks] or [ErrUTF8] and never
// repeats the value.
type ValueError struct {
	Name string // of the variable
	Err  error
}

// Error names the variable and the reason.
func (e *ValueError) Error() string {
	return fmt.Sprintf("template: the value of %q %v", e.Name, e.Err)
}

// Unwrap returns the reason.
func (e *ValueError) Unwrap() error { return e.Err }

// Render fills in vars; those the template does not use are ignored. Values
// stand as they are, markup included, for no stage behind interprets them. The
// result never contains #{ or ##. It returns a [*MissingError] that names all
// missing variables, or a [*ValueError] for the first value refused.
func (t *Template) Render(vars map[string]string) (string, error) {
	var array [MaxVariables]string
	values, err := t.values(array[:0], vars)
	if err != nil {
		return "", err
	}
	size := len(t.tail)
	for _, s := range t.segments {
		size += len(s.text) + len(values[s.name])
	}
	var w writer
	w.Grow(size)
	blame := 0 // the variable whose value touches what comes next
	for _, s := range t.segments {
		if !w.put(s.text) {
			return "", &ValueError{t.names[blame], ErrPlaceholder}
		}
		blame = s.name
		if !w.put(values[blame]) {
			return "", &ValueError{t.names[blame], ErrPlaceholder}
		}
	}
	if !w.put(t.tail) {
		return "", &ValueError{t.names[blame], ErrPlaceholder}
	}
	return w.String(), nil
}

// values appends to dst the checked value of each variable.
func (t *Template) values(dst []string, vars map[string]string) ([]string, error) {
	var missing []string
	for _, name := range t.names {
		v := vars[name]
		if isBlank(v) {
			missing = append(missing, name)
		}
		dst = append(dst, v)
	}
	if missing != nil {
		return nil, &MissingError{missing}
	}
	for i, v := range dst {
		if err := checkValue(v); err != nil {
			return nil, &ValueError{t.names[i], err}
		}
	}
	return dst, nil
}

// writer joins pieces and refuses two that only together make a mark.
type writer struct {
	strings.Builder
	last byte
}

func (w *writer) put(s string) bool {
	if s == "" {
		return true
	}
	if w.last == '#' && (s[0] == '{' || s[0] == '#') {
		return false
	}
	w.last = s[len(s)-1]
	w.WriteString(s)
	return true
}

// checkValue reports why v may not stand in a message.
func checkValue(v string) error {
	if strings.Contains(v, opening) || strings.Contains(v, foreignMark) {
		return ErrPlaceholder
	}
	_, err := scan(v, "\n")
	return err
}
