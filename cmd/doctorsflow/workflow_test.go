package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const changingClinic = `
tenant: {slug: change, name: 미소치과}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님"}
workflows:
  - name: 애프터케어
    is_active: %t
    steps: [{node: first, hours: 1, template: care}, {node: second, hours: %d, template: care}]
webhooks:
  - {name: visits, workflow: 애프터케어}
`

// TestAClinicChangesWhatIsUnderWay plays an operator who changes a workflow
// while patients are in it.
func TestAClinicChangesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	p := start(t, data)
	hook := applied(t, fmt.Sprintf(changingClinic, true, 24), "--data", data)
	cli := func(args ...string) (int, string) {
		var b bytes.Buffer
		return run(t.Context(), append(args, "--data", data), &b, &b), b.String()
	}
	apply := func(active bool, hours int, args ...string) string {
		path := filepath.Join(t.TempDir(), "clinic.yaml")
		if err := os.WriteFile(path, fmt.Appendf(nil, changingClinic, active, hours), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := cli(append([]string{"apply", "-f", path}, args...)...)
		if code != 0 {
			t.Fatalf("apply: exit %d: %s", code, out)
		}
		return out
	}
	for n := range 3 {
		if status, _ := hook.post(t.Context(), p.http, fmt.Sprint("v", n), visit(fmt.Sprint("P-", n), fmt.Sprintf("010-0000-000%d", n))); status != http.StatusAccepted {
			t.Fatalf("call %d: %d", n, status)
		}
	}
	listed := func() string {
		_, out := cli("workflow", "list", "--tenant", "change")
		return strings.Join(strings.Fields(out[strings.Index(out, "\n")+1:]), " ")
	}
	for range 100 {
		if listed() == "1 active days 3 0 6 애프터케어" {
			break
		}
		wait(t.Context(), 50e6)
	}
	for _, step := range []struct{ what, got, want string }{
		{"before", listed(), "1 active days 3 0 6 애프터케어"},
		{"a change that is only tried", apply(true, 48, "--dry-run"), "3 runs are under way, with 6 messages planned"},
		{"a change that keeps", apply(true, 48), "3 runs under way go on by the version that they began with"},
		{"kept", listed(), "2 active days 3 3 6 애프터케어"},
	} {
		if !strings.Contains(step.got, step.want) {
			t.Errorf("%s: %s, want %q", step.what, step.got, step.want)
		}
	}
	for _, tt := range []struct {
		args, want string
		code       int
	}{
		{"workflow migrate 애프터케어 --tenant change --dry-run", "3 runs would be changed; messages: 3 kept, 3 moved, 0 added, 0 cancelled", 0},
		{"workflow migrate 애프터케어 --tenant change --reason later", "3 runs changed; messages: 3 kept, 3 moved, 0 added, 0 cancelled", 0},
		{"workflow list --tenant change", "2        active  days  3          0", 0},
		{"workflow stop 애프터케어 --tenant change", "--reason", 1},
		{"workflow stop nothing --tenant change --reason x", "has no workflow", 1},
		{"workflow stop 애프터케어 --tenant change --reason x --run 01890a5d-ac96-774b-bcce-b302099a8057", "no such run", 1},
		{"workflow stop 애프터케어 --tenant nobody --reason x", "no clinic", 1},
	} {
		if code, out := cli(strings.Fields(tt.args)...); code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit %d: %s, want %q", tt.args, code, out, tt.want)
		}
	}
	// Switched off, what is planned goes with its reason.
	if out := apply(false, 48); !strings.Contains(out, "3 runs changed; messages: 0 kept, 0 moved, 0 added, 6 cancelled") {
		t.Errorf("switched off: %s", out)
	}
	if got := listed(); got != "2 off days 0 0 0 애프터케어" {
		t.Errorf("after it: %s", got)
	}
	if why := command(t, "why", "P-1", "--data", data, "--lang", "en"); strings.Count(why, "the workflow was stopped [workflow_stopped]") != 2 {
		t.Errorf("why says:\n%s", why)
	}
	if out := command(t, "verify-audit", "--data", data); !strings.Contains(out, "✔") {
		t.Errorf("verify-audit: %s", out)
	}
	if out := command(t, "conserve", "--data", data); !strings.Contains(out, "holds") {
		t.Errorf("conserve: %s", out)
	}
}
