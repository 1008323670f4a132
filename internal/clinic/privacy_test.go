package clinic_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/docs/examples"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/phone"
)

// The file holds patients. Whatever is wrong with it, and wherever the number
// stands by mistake, no error may show it, nor a patient's name beside it.
func TestNoErrorShowsAPatient(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"010-2753-6142", "01027536142", "01027536148", "+82 10-2753-6142", "821027536142"} {
		for _, format := range []string{
			"patients:\n  - {external_id: a, name: 김하늘, phone: %s}\n  - {external_id: b, colour: 김하늘, phone: %[1]s}\n",
			"patients:\n  - {external_id: a, %s: 김하늘}\n",
			"patients:\n  - {external_id: a, 김하늘: %s}\n",
			"patients:\n  - {external_id: a, name: 김하늘, opted_out: %s}\n",
			"patients:\n  - external_id: a\n    name: 김하늘\n    phone: %s\n   email: x\n",
			"patients:\n  - name: 김하늘\n    phone: \"%s\n",
			"patients:\n  - name: 김하늘\n    phone: [%s]\n",
			"patients:\n  - name: 김하늘\n    phone: {%s: 1}\n",
			"patients:\n  - name: 김하늘\n    phone: *%s\n",
			"patients: %s 김하늘\n",
			"patients:\n  %s 김하늘\n  - name: a\n",
			"patients:\n  - %s 김하늘\n",
			"patients:\n  - name: 김하늘\n    phone: %s: x\n",
			"patients:\n  - name: 김하늘\n    phone: @%s\n",
			"patients:\n  - name: 김하늘\n    phone: 1\n    phone: %s\n",
			"patients:\n  - %s: 김하늘\n    %[1]s: 김하늘\n",
			"%%YAML %s\n---\ntenant: {}\n",
			"patients:\n  - name: 김하늘\n    phone: |%s\n      x\n",
			"tenant: {send_at: %s}\n",
			"tenant: {quiet_hours: {from: 김하늘 %s}}\n",
			"workflows: [{day_length: %s}]\n",
			"workflows: [{steps: [{day: %s}]}]\n",
			"workflows: [{steps: [{day: 김하늘 %s}]}]\n",
			"patients:\n\t- name: 김하늘\n\t  phone: %s\n",
			"patients: [{external_id: %s, name: 김하늘, phone: %[1]s, birth_date: %[1]s, email: %[1]s, gender: %[1]s}, {external_id: %[1]s, phone: %[1]s9}]\n",
		} {
			file := fmt.Sprintf(format, number)
			f, err := clinic.Parse([]byte(file))
			if err == nil {
				err = f.Check(phone.Options{}, unknown)
			}
			if err == nil {
				continue
			}
			if msg := err.Error(); shows(msg) || strings.Contains(msg, "김하늘") {
				t.Errorf("the error of\n%s\nshows a patient: %s", file, msg)
			}
		}
	}
}

var separators = regexp.MustCompile(`[ .()+-]`)

// shows reports whether the distinctive digits of the numbers above are in
// msg, however they are written.
func shows(msg string) bool { return strings.Contains(separators.ReplaceAllString(msg, ""), "2753614") }

func FuzzParse(f *testing.F) {
	f.Add(string(examples.MisoDental))
	f.Add(sound)
	for _, s := range []string{
		"", "null", "a: &a [*a]", "tenant: &t {slug: x}\naccounts: [*t]\n", "patients:\n  - &p {name: a}\n  - <<: *p\n",
		"tenant: {send_at: 99:99}", "workflows: [{steps: [{}, null]}]", "webhooks: [null]", "accounts: [~]", "? a\n: b", "%TAG ! x\n---\n",
		"patients: [{phone: 010-2345-6789}", "\xff\xfe", "a\x00b", "tenant: !!binary aGk=", "- - - - -", "x: |\n", "\"\\", "'", ">", "|9", "{", "--- ---",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		file, err := clinic.Parse([]byte(s))
		if err != nil {
			if file != nil || !strings.HasPrefix(err.Error(), "clinic: ") {
				t.Fatalf("Parse = %+v, %v", file, err)
			}
			return
		}
		_ = file.Check(testBands, unknown) // it must only not panic
	})
}
