package clinic

import (
	"bytes"
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// yamlWriter writes what a workflow's file has, in one way only: fields in the
// order of their types, without those that are empty.
type yamlWriter struct {
	bytes.Buffer
	blocks bool // texts of several lines stand as lines
}

func (w *yamlWriter) file(f WorkflowFile) {
	w.WriteString("workflow:\n")
	w.fields(reflect.ValueOf(f.Workflow), "  ", "  ")
	if len(f.Templates) > 0 {
		w.WriteString("\ntemplates:\n")
	}
	for _, t := range f.Templates {
		w.fields(reflect.ValueOf(t), "  - ", "    ")
	}
}

// fields writes a struct, its first line after first, the others after indent.
func (w *yamlWriter) fields(v reflect.Value, first, indent string) {
	for i := range v.NumField() {
		field := v.Field(i)
		if field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0 || field.Kind() == reflect.Map && field.Len() == 0 {
			continue
		}
		w.WriteString(first + v.Type().Field(i).Tag.Get("yaml") + ":")
		first = indent
		w.value(field, indent)
	}
}

func (w *yamlWriter) value(v reflect.Value, indent string) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if d, ok := reflect.TypeAssert[workflow.Duration](v); ok {
		w.WriteString(" " + shortDuration(time.Duration(d)) + "\n")
		return
	}
	if t, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		text, err := t.MarshalText()
		if err != nil {
			text = nil // reading it again finds the difference
		}
		w.WriteString(" " + inQuotes(string(text)) + "\n")
		return
	}
	switch v.Kind() {
	case reflect.String:
		w.text(v.String(), indent+"  ")
	case reflect.Slice:
		w.WriteString("\n")
		for i := range v.Len() {
			if v.Index(i).Kind() == reflect.Struct {
				w.fields(v.Index(i), indent+"  - ", indent+"    ")
				continue
			}
			w.WriteString(indent + "  -")
			w.value(v.Index(i), indent+"    ")
		}
	case reflect.Map:
		w.WriteString("\n")
		texts, _ := reflect.TypeAssert[map[string]string](v)
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			w.WriteString(indent + "  " + scalar(key) + ":")
			w.text(texts[key], indent+"    ")
		}
	case reflect.Struct:
		w.WriteString("\n")
		w.fields(v, indent+"  ", indent+"  ")
	default:
		fmt.Fprintf(w, " %v\n", v.Interface())
	}
}

// text writes a text, of several lines as a block where that gives it back.
func (w *yamlWriter) text(s, indent string) {
	body, ends := strings.CutSuffix(s, "\n")
	if !w.blocks || !strings.Contains(s, "\n") || !blockText(body) {
		w.WriteString(" " + scalar(s) + "\n")
		return
	}
	if w.WriteString(" |"); !ends {
		w.WriteString("-")
	}
	w.WriteString("\n")
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			w.WriteString(indent + line)
		}
		w.WriteString("\n")
	}
}

// blockText reports whether YAML reads these lines as they are.
func blockText(s string) bool {
	if s == "" || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\n") || strings.HasSuffix(s, "\n") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if strings.HasSuffix(line, " ") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !plainRune(r) })
}

// plainRune reports whether a character stands for itself in every YAML reader.
// What turns the direction of a text is written as an escape, so that a review
// sees it.
func plainRune(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r) && r != '\ufeff' && r != '\ufffd'
}

var (
	bare = regexp.MustCompile(`^[\p{Hangul}A-Za-z_][\p{Hangul}A-Za-z0-9_]*([ .()/-]+[\p{Hangul}A-Za-z0-9_()]+)*$`)
	// What YAML readers take for something else than text.
	word11 = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null|nan|inf)$`)
)

func scalar(s string) string {
	if bare.MatchString(s) && !word11.MatchString(s) {
		return s
	}
	return inQuotes(s)
}

// inQuotes is YAML's double-quoted text.
func inQuotes(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case plainRune(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// shortDuration is 24h for 24h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	for _, unit := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, unit) {
			s = s[:len(s)-2]
		}
	}
	if s == "" {
		return strconv.Quote(d.String())
	}
	return s
}
