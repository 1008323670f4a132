package workflow_test

import (
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

func TestConditionsSeeTheWorldAndNothingElse(t *testing.T) {
	t.Parallel()
	w := workflow.World{
		Patient:     map[string]any{"gender": "F", "age": 34.0},
		Appointment: map[string]any{"surgery": "임플란트"},
		Trigger:     map[string]any{"type": "completed", "items": []any{"a", "b"}},
		Happened:    map[string]any{"care": map[string]any{"delivered": true}},
	}
	for source, want := range map[string]struct{ holds, missing bool }{
		`patient.age >= 30.0`: {true, false}, `patient.gender == "M"`: {false, false},
		`appointment.surgery == "임플란트" && happened.care.delivered`: {true, false},
		`trigger.items.exists(i, i == "b")`:                        {true, false}, `trigger.type.startsWith("comp")`: {true, false},
		`patient.nothing == "x"`: {false, true}, `has(patient.nothing) && patient.nothing == "x"`: {false, false},
		`happened.other.delivered`: {false, true}, `patient.gender`: {false, true},
	} {
		e, err := workflow.CompileExpression(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if holds, missing := e.Holds(w); holds != want.holds || missing != want.missing {
			t.Errorf("%s = %v, missing %v; want %+v", source, holds, missing, want)
		}
	}
}

func TestConditionsThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for source, says := range map[string]string{
		"": "empty", "patient.": "Syntax", "1 + 1": "true or false", `"yes"`: "true or false", "unknown == 1": "undeclared",
		strings.Repeat("true && ", 400) + "true":                                "2000 bytes",
		`trigger.a.all(x, trigger.b.all(y, trigger.c.all(z, x + y + z != "")))`: "cost",
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200):            "",
	} {
		if _, err := workflow.CompileExpression(source); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", source, err, says)
		}
	}
}
