package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants returns the string constants of a file by name.
func constants(t *testing.T, name string) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, f := range allGoFiles(t) {
		if f.path != name {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok || len(v.Values) != 1 {
					continue
				}
				if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil {
						values[v.Names[0].Name] = text
					}
				}
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s has no string constants", name)
	}
	return values
}

func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(markdown(t)["docs/operations.md"], "\n## Reasons\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)").FindAllStringSubmatch(section, -1) {
		told = append(told, m[1])
	}
	var want []string
	for _, reason := range constants(t, "internal/event/reason.go") {
		want = append(want, strings.TrimSuffix(reason, ":"))
	}
	for _, r := range want {
		if !slices.Contains(told, r) {
			t.Errorf("docs/operations.md does not say what reason %s means", r)
		}
	}
	for _, r := range told {
		if !slices.Contains(want, r) {
			t.Errorf("docs/operations.md explains reason %s, which nothing can have", r)
		}
	}
}

// settings returns the flags and environment variables of the command line.
func settings(t *testing.T) (flags, env map[string]bool) {
	t.Helper()
	flags, env = map[string]bool{"help": true}, map[string]bool{}
	tag := regexp.MustCompile(`(name|env):"([^"]+)"`)
	for _, f := range allGoFiles(t) {
		if f.test || !strings.HasPrefix(f.pkg, "cmd/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || len(field.Names) != 1 || field.Tag == nil {
				return true
			}
			name := kebab(field.Names[0].Name)
			for _, m := range tag.FindAllStringSubmatch(field.Tag.Value, -1) {
				switch m[1] {
				case "name":
					name = m[2]
				case "env":
					for e := range strings.SplitSeq(m[2], ",") {
						env[e] = true
					}
				}
			}
			flags[name] = true
			if strings.Contains(field.Tag.Value, "negatable:") {
				flags["no-"+name] = true
			}
			return true
		})
	}
	return flags, env
}

// kebab spells a field as kong does: MasterKeyFile is master-key-file.
func kebab(s string) string {
	return strings.ToLower(regexp.MustCompile(`([a-z0-9])([A-Z])`).ReplaceAllString(s, "$1-$2"))
}

var (
	// ourCommand is a line or a span that runs this program.
	ourCommand = regexp.MustCompile("doctorsflow(?: [^`|\n]*)")
	longFlag   = regexp.MustCompile(`(?:^|\s)--([a-z][a-z0-9-]+)`)
	// flagSpan is a flag that is named in running text.
	flagSpan = regexp.MustCompile("`--([a-z][a-z0-9-]+)(?:=[^`]*)?`")
	// envSpan is a variable that is named in running text.
	envSpan = regexp.MustCompile("`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`")
)

// foreignEnv are variables of other programs that pages speak of.
var foreignEnv = map[string]bool{"NATS_OPS_PASSWORD": true, "MSG_PEEK": true}

func TestPagesNameSettingsThatExist(t *testing.T) {
	t.Parallel()
	flags, env := settings(t)
	if !flags["database-url"] || !env["DATABASE_URL"] {
		t.Fatal("the command line's settings were not found")
	}
	for page, text := range markdown(t) {
		var named []string
		for _, m := range flagSpan.FindAllStringSubmatch(text, -1) {
			named = append(named, m[1])
		}
		for _, cmd := range ourCommand.FindAllString(text, -1) {
			for _, m := range longFlag.FindAllStringSubmatch(cmd, -1) {
				named = append(named, m[1])
			}
		}
		for _, f := range named {
			if !flags[f] {
				t.Errorf("%s speaks of --%s, which no command has", page, f)
			}
		}
		for _, m := range envSpan.FindAllStringSubmatch(text, -1) {
			if !env[m[1]] && !foreignEnv[m[1]] {
				t.Errorf("%s speaks of %s, which nothing reads", page, m[1])
			}
		}
	}
}

var testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")

func TestPagesNameTestsThatExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, f := range allGoFiles(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test {
				known[fn.Name.Name] = true
			}
		}
	}
	for page, text := range markdown(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			if !known[m[1]] {
				t.Errorf("%s names %s, which is no test here", page, m[1])
			}
		}
	}
}
