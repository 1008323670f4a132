package deploy

import (
	"os"
	"regexp"
	"testing"
)

// What the files for clinics set is what the program knows.
func TestTheClinicsFilesSetWhatTheProgramKnows(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`env:"([A-Z_]+)"`).FindAllStringSubmatch(read("../cmd/doctorsflow/leaf.go"), -1) {
		known[m[1]] = true
	}
	for name, setting := range map[string]string{"clinic-leaf/compose.yaml": `(?m)^      ([A-Z_]+):`, "clinic-leaf/doctorsflow-leaf.service": `(?m)^Environment=([A-Z_]+)=`} {
		set := map[string]bool{}
		for _, m := range regexp.MustCompile(setting).FindAllStringSubmatch(read(name), -1) {
			if set[m[1]] = true; !known[m[1]] {
				t.Errorf("%s sets %s, which leaf does not know", name, m[1])
			}
		}
		for _, needed := range []string{"NATS_URL", "TENANT", "NATS_USER", "NATS_PASSWORD_FILE", "LEAF_DATA"} {
			if !set[needed] {
				t.Errorf("%s does not set %s", name, needed)
			}
		}
	}
}
