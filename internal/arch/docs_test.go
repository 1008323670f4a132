package arch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// markdown reads every page of the repository.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	err := walk(func(name string) error {
		if path.Ext(name) != ".md" {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		pages[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// tourStop is a numbered line of the README's tour, which begins with a link.
var tourStop = regexp.MustCompile(`(?m)^\d+\. \[` + "`" + `[^` + "`" + `]+` + "`" + `\]\(([^)]+)\)`)

// tour returns the files of the README's tour, in order.
func tour(readme string) []string {
	_, rest, found := strings.Cut(readme, "\n## The tour")
	if !found {
		return nil
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var files []string
	for _, m := range tourStop.FindAllStringSubmatch(section, -1) {
		files = append(files, m[1])
	}
	return files
}

func TestTourNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	files := tour(markdown(t)["README.md"])
	if len(files) < 10 || len(files) > 12 {
		t.Fatalf("the README's tour has %d files, want about ten", len(files))
	}
	seen := map[string]bool{}
	for _, f := range files {
		if seen[f] {
			t.Errorf("the tour comes to %s twice", f)
		}
		seen[f] = true
		if info, err := os.Stat(filepath.Join(root, f)); err != nil || info.IsDir() {
			t.Errorf("the tour names %s, which is no file here", f)
		}
	}
	if files[0] != "ingest/webhook.go" {
		t.Errorf("the tour begins at %s; a trigger comes in at ingest/webhook.go", files[0])
	}
}

// stages are the folders of the pipeline in the order a trigger meets them.
var stages = []string{"ingest", "planner", "dispatcher", "providers/nhn", "recorder"}

func TestTourGoesForward(t *testing.T) {
	t.Parallel()
	at := 0
	for _, f := range tour(markdown(t)["README.md"]) {
		for i, s := range stages {
			if path.Dir(f) != s {
				continue
			}
			if i < at {
				t.Errorf("the tour goes back to %s after it was in %s", f, stages[at])
			}
			at = i
		}
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced = regexp.MustCompile("(?s)```.*?```")
)

// deadLinks says which relative links of a page lead nowhere. exists is asked
// about a path from the root; pages holds the texts for anchors.
func deadLinks(page string, pages map[string]string, exists func(string) bool) (dead []string) {
	for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(pages[page], ""), -1) {
		u, err := url.Parse(m[1])
		if err != nil {
			dead = append(dead, fmt.Sprintf("%s: %s is not a link", page, m[1]))
			continue
		}
		if u.Scheme != "" || u.Host != "" {
			continue
		}
		to := page
		if u.Path != "" {
			to = path.Join(path.Dir(page), u.Path)
		}
		switch {
		case !exists(to):
			dead = append(dead, fmt.Sprintf("%s: %s leads nowhere", page, m[1]))
		case u.Fragment != "" && path.Ext(to) == ".md" && !anchors(pages[to])[u.Fragment]:
			dead = append(dead, fmt.Sprintf("%s: %s names no heading", page, m[1]))
		}
	}
	return dead
}

// anchors returns the ids that headings get, as GitHub makes them.
func anchors(text string) map[string]bool {
	ids := map[string]bool{}
	for line := range strings.Lines(fenced.ReplaceAllString(text, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		var id strings.Builder
		for _, r := range strings.ToLower(strings.TrimSpace(title)) {
			switch {
			case r == ' ':
				id.WriteByte('-')
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				id.WriteRune(r)
			}
		}
		ids[id.String()] = true
	}
	return ids
}

func TestRelativeLinksResolve(t *testing.T) {
	t.Parallel()
	pages := markdown(t)
	var dead []string
	for page := range pages {
		dead = append(dead, deadLinks(page, pages, func(p string) bool {
			_, err := os.Stat(filepath.Join(root, filepath.FromSlash(p)))
			return !errors.Is(err, fs.ErrNotExist)
		})...)
	}
	report(t, dead)
}

func TestDeadLinksAreReported(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"README.md":  "# Top\n[a](docs/a.md) [b](docs/gone.md) [c](docs/a.md#two-words) [d](docs/a.md#three) [e](https://example.com/x) [f](#top)\n```\n[g](gone.md)\n```\n",
		"docs/a.md":  "## Two words\n[up](../README.md) [out](../gone.md)\n",
		"docs/b.md":  "[ko](a.md#두-단어)\n",
		"docs/코드.md": "",
	}
	exists := func(p string) bool { _, ok := pages[p]; return ok }
	var got []string
	for _, p := range []string{"README.md", "docs/a.md", "docs/b.md"} {
		got = append(got, deadLinks(p, pages, exists)...)
	}
	want := []string{
		"README.md: docs/gone.md leads nowhere", "README.md: docs/a.md#three names no heading",
		"docs/a.md: ../gone.md leads nowhere", "docs/b.md: a.md#두-단어 names no heading",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("deadLinks = %q, want %q", got, want)
	}
}

func TestPagesNameNoMachine(t *testing.T) {
	t.Parallel()
	for page, text := range markdown(t) {
		for i, line := range strings.Split(text, "\n") {
			if m := machinePath.FindString(line); m != "" {
				t.Errorf("%s:%d: %s is a path of one machine", page, i+1, strings.TrimSpace(m))
			}
		}
	}
}
