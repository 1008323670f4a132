package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestADrawnWorkflowGoesTheWayOfEachPatient applies the drawn example and lets
// two patients through it, whose ways part at a question that is asked only
// when the message before it has arrived.
func TestADrawnWorkflowGoesTheWayOfEachPatient(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	p := start(t, data, "--poll-every", "200ms")
	file, err := os.ReadFile("../../docs/examples/implant-drawn.yaml")
	if err != nil {
		t.Fatal(err)
	}
	hook := applied(t, string(file), "--data", data)
	for patient, graft := range map[string]bool{"S-1": true, "S-2": false} {
		body := fmt.Appendf(nil, `{"type":"appointment.completed","patient":{"external_id":%q},"appointment":{"bone_graft":%t}}`, patient, graft)
		if status, _ := hook.post(t.Context(), p.http, "visit-"+patient, body); status != http.StatusAccepted {
			t.Fatalf("%s: %d", patient, status)
		}
	}
	for patient, want := range map[string][]string{
		"S-1": {"start → care → arrived → graft → graft-care → next-workday → survey → done", "#arrived delivered happened before", "#graft-care kakao delivered", "#survey kakao planned: waiting for its time"},
		"S-2": {"start → care → arrived → graft → next-workday → survey → done", "#care kakao delivered", "#survey kakao planned"},
	} {
		var why string
		for deadline := time.Now().Add(30 * time.Second); ; wait(t.Context(), 100*time.Millisecond) {
			var b bytes.Buffer
			run(t.Context(), []string{"why", patient, "--data", data, "--lang", "en"}, &b, &b)
			why = b.String()
			missing := slices.ContainsFunc(want, func(line string) bool { return !strings.Contains(why, line) })
			if !missing || time.Now().After(deadline) {
				break
			}
		}
		for _, line := range want {
			if !strings.Contains(why, line) {
				t.Errorf("why %s does not say %q:\n%s", patient, line, why)
			}
		}
		if patient == "S-2" && strings.Contains(why, "#graft-care") {
			t.Errorf("the other way was taken too:\n%s", why)
		}
	}
	if out := command(t, "conserve", "--data", data); !strings.Contains(out, "holds") {
		t.Errorf("conserve: %s", out)
	}
}

func TestEveryProblemOfADrawingIsToldAtOnce(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	file, err := os.ReadFile("../../docs/examples/implant-drawn.yaml")
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.NewReplacer(`"target": "survey"}`, `"target": "nobody"}`, `"template": "뼈이식 안내"`, `"template": "없는 것"`, `trigger.appointment.bone_graft == true`, `trigger.`).Replace(string(file))
	path := t.TempDir() + "/broken.yaml"
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"apply", "-f", path, "--data", data}, &out, &errs); code == 0 {
		t.Fatalf("it was applied: %s", &out)
	}
	for _, want := range []string{`node "graft"`, `node "graft-care"`, "/edges/7", "없는 것", "템플릿"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("the problems do not name %q:\n%s", want, &errs)
		}
	}
}
