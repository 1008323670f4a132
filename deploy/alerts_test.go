package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

type alerts struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// metricsOf returns the source of every package that exports metrics.
func metricsOf(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"../*/*.go", "../internal/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}

func TestAlertsHangOnMetricsThatExistAndSayWhatToDo(t *testing.T) {
	t.Parallel()
	src := metricsOf(t)
	files, err := filepath.Glob("alerts/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no alerts: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var a alerts
		if err := yaml.UnmarshalWithOptions(b, &a, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		seen := map[string]bool{}
		for _, g := range a.Groups {
			for _, r := range g.Rules {
				if r.Alert == "" || seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
					t.Errorf("%s: rule %q lacks a name of its own, a severity or a summary", f, r.Alert)
				}
				seen[r.Alert] = true
				names := regexp.MustCompile(`doctorsflow_[a-z_]+`).FindAllString(r.Expr, -1)
				if len(names) == 0 {
					t.Errorf("%s: %s hangs on no metric", f, r.Alert)
				}
				for _, name := range names {
					if !strings.Contains(src, `"`+name+`"`) {
						t.Errorf("%s: %s hangs on %s, which nothing exports", f, r.Alert, name)
					}
				}
				page, anchor, _ := strings.Cut(r.Annotations["runbook"], "#")
				text, err := os.ReadFile(filepath.Join("..", page))
				if err != nil {
					t.Errorf("%s: %s: %v", f, r.Alert, err)
				}
				if heading := "# " + strings.ReplaceAll(anchor, "-", " ") + "\n"; !strings.Contains(strings.ToLower(string(text)), heading) {
					t.Errorf("%s: %s points at %s, which has no such heading", f, r.Alert, r.Annotations["runbook"])
				}
			}
		}
	}
}
