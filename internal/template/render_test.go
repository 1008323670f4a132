package template_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/template"
)

func compile(t testing.TB, text string) *template.Template {
	t.Helper()
	tmpl, err := template.Compile(text)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func TestRenderIsByteExact(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		vars       map[string]string
		want       string
		names      []string
	}{
		{"no_variables", "내일 오세요", nil, "내일 오세요", nil},
		{"one", "#{이름}님 안녕하세요", map[string]string{"이름": "홍길동"}, "홍길동님 안녕하세요", []string{"이름"}},
		{"only_variable", "#{a}", map[string]string{"a": "1"}, "1", []string{"a"}},
		{
			"twice_and_adjacent", "#{a}#{b}-#{a}",
			map[string]string{"a": "1", "b": "2"},
			"12-1",
			[]string{"a", "b"},
		},
		{"name_with_spaces", "#{ 고객 명 }!", map[string]string{" 고객 명 ": "x"}, "x!", []string{" 고객 명 "}},
		{"name_with_punctuation", "#{a.b-c_d/e}", map[string]string{"a.b-c_d/e": "x"}, "x", []string{"a.b-c_d/e"}},
		{"extra_values_ignored", "#{a}", map[string]string{"a": "1", "b": "#{"}, "1", []string{"a"}},
		{"lone_marks_are_text", "# { } {a} {{b}} $", nil, "# { } {a} {{b}} $", nil},
		{"line_endings_kept", "a\r\nb\tc\n", nil, "a\r\nb\tc\n", nil},
		{"closing_brace_behind", "#{a}}", map[string]string{"a": "1"}, "1}", []string{"a"}},
		{"hash_before", "# #{a}", map[string]string{"a": "1"}, "# 1", []string{"a"}},
		{
			"values_are_not_interpreted", "#{a}",
			map[string]string{"a": `{{.X}} {b} $1 %s <b> '; DROP TABLE patients; -- \n`},
			`{{.X}} {b} $1 %s <b> '; DROP TABLE patients; -- \n`,
			[]string{"a"},
		},
		{"value_with_line_feed", "#{a}", map[string]string{"a": "x\ny"}, "x\ny", []string{"a"}},
		{"value_with_hash", "#{a} #{b}", map[string]string{"a": "#1", "b": "A# B"}, "#1 A# B", []string{"a", "b"}},
		{"emoji_joiner", "#{a}", map[string]string{"a": "👩‍⚕️"}, "👩‍⚕️", []string{"a"}},
		{"decomposed_hangul", "#{a}", map[string]string{"a": "\u1112\u1169\u11bc"}, "\u1112\u1169\u11bc", []string{"a"}},
		{"old_hangul_and_hanja", "#{a}", map[string]string{"a": "ᄒᆞᆫ글 洪吉童"}, "ᄒᆞᆫ글 洪吉童", []string{"a"}},
		{"thirty_marks", "#{a}", map[string]string{"a": "e" + strings.Repeat("\u0301", 30)}, "e" + strings.Repeat("\u0301", 30), []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tmpl := compile(t, tt.text)
			if diff := cmp.Diff(tt.names, tmpl.Variables()); diff != "" {
				t.Errorf("Variables (-want +got):\n%s", diff)
			}
			if got := tmpl.String(); got != tt.text {
				t.Errorf("String = %q, want the text", got)
			}
			got, err := tmpl.Render(tt.vars)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("Render = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMissingValuesAreNamedAndNeverBlank(t *testing.T) {
	t.Parallel()
	tmpl := compile(t, "#{이름} #{날짜} #{시간} #{이름}")
	tests := []struct {
		name string
		vars map[string]string
		want []string
	}{
		{"none", nil, []string{"이름", "날짜", "시간"}},
		{"one", map[string]string{"이름": "a", "시간": "b"}, []string{"날짜"}},
		{"empty", map[string]string{"이름": "", "날짜": "b", "시간": "c"}, []string{"이름"}},
		{"spaces", map[string]string{"이름": " \t\n\u3000", "날짜": "b", "시간": "c"}, []string{"이름"}},
		{"zero_width", map[string]string{"이름": "\u200b\ufeff", "날짜": "\u3164", "시간": "c"}, []string{"이름", "날짜"}},
		{"other_case", map[string]string{"이름 ": "a", "날짜": "b", "시간": "c"}, []string{"이름"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tmpl.Render(tt.vars)
			missing, ok := errors.AsType[*template.MissingError](err)
			if !ok || got != "" {
				t.Fatalf("Render = %q, %v; want a MissingError", got, err)
			}
			if diff := cmp.Diff(tt.want, missing.Names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			for _, n := range tt.want {
				if !strings.Contains(err.Error(), n) {
					t.Errorf("error %q does not name %s", err, n)
				}
			}
		})
	}
}

func TestHostileValuesAreRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		vars       map[string]string
		blame      string
		want       error
	}{
		{"placeholder", "#{a}", map[string]string{"a": "x#{b}"}, "a", template.ErrPlaceholder},
		{"placeholder_empty", "#{a}", map[string]string{"a": "#{}"}, "a", template.ErrPlaceholder},
		{"own_placeholder", "#{a}", map[string]string{"a": "#{a}"}, "a", template.ErrPlaceholder},
		{"foreign_mark", "#{a}", map[string]string{"a": "##secret##"}, "a", template.ErrPlaceholder},
		{"completed_by_text", "#{a}{secret}", map[string]string{"a": "#"}, "a", template.ErrPlaceholder},
		{"completed_by_tail", "#{a}#", map[string]string{"a": "#"}, "a", template.ErrPlaceholder},
		{"completed_by_middle", "#{a}{ #{b}", map[string]string{"a": "x#", "b": "y"}, "a", template.ErrPlaceholder},
		{"completed_by_value", "#{a}#{b}", map[string]string{"a": "#", "b": "{secret}"}, "b", template.ErrPlaceholder},
		{"completes_text", "n# #{b}#{a}", map[string]string{"a": "#secret", "b": "#"}, "a", template.ErrPlaceholder},
		{"nul", "#{a}", map[string]string{"a": "secret\x00"}, "a", template.ErrControl},
		{"ansi", "#{a}", map[string]string{"a": "\x1b[31msecret"}, "a", template.ErrControl},
		{"carriage_return", "#{a}", map[string]string{"a": "secret\r\n"}, "a", template.ErrControl},
		{"tab", "#{a}", map[string]string{"a": "secret\t"}, "a", template.ErrControl},
		{"delete", "#{a}", map[string]string{"a": "secret\x7f"}, "a", template.ErrControl},
		{"c1", "#{a}", map[string]string{"a": "secret\u009b31m"}, "a", template.ErrControl},
		{"line_separator", "#{a}", map[string]string{"a": "secret\u2028"}, "a", template.ErrControl},
		{"paragraph_separator", "#{a}", map[string]string{"a": "secret\u2029"}, "a", template.ErrControl},
		{"rtl_override", "#{a}", map[string]string{"a": "\u202esecret"}, "a", template.ErrBidi},
		{"lre", "#{a}", map[string]string{"a": "\u202asecret"}, "a", template.ErrBidi},
		{"isolate", "#{a}", map[string]string{"a": "secret\u2066"}, "a", template.ErrBidi},
		{"rtl_mark", "#{a}", map[string]string{"a": "secret\u200f"}, "a", template.ErrBidi},
		{"combining_bomb", "#{a}", map[string]string{"a": "secret" + strings.Repeat("\u0301", 1000)}, "a", template.ErrMarks},
		{"invalid_utf8", "#{a}", map[string]string{"a": "secret\xff"}, "a", template.ErrUTF8},
		{"surrogate_bytes", "#{a}", map[string]string{"a": "secret\xed\xa0\x80"}, "a", template.ErrUTF8},
		{"second_variable", "#{a}#{b}", map[string]string{"a": "x", "b": "secret\x07"}, "b", template.ErrControl},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := compile(t, tt.text).Render(tt.vars)
			if !errors.Is(err, tt.want) || got != "" {
				t.Fatalf("Render = %q, %v; want %v", got, err, tt.want)
			}
			ve, ok := errors.AsType[*template.ValueError](err)
			if !ok || ve.Name != tt.blame {
				t.Errorf("error %v; want a ValueError of %s", err, tt.blame)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q repeats the value", err)
			}
		})
	}
}

func TestCompileListsEveryProblem(t *testing.T) {
	t.Parallel()
	type ps = []template.Problem
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "#{v%d} ", i)
		}
		return b.String()
	}
	tests := []struct {
		name, text string
		want       ps
	}{
		{"empty", "", ps{{1, 1, template.EmptyText}}},
		{"blank", " \n\u200b", ps{{1, 1, template.EmptyText}}},
		{"not_closed", "안녕 #{이름", ps{{1, 4, template.Unbalanced}}},
		{"closed_on_next_line", "#{이름\n}", ps{{1, 1, template.Unbalanced}}},
		{"nested", "#{a#{b}}", ps{{1, 1, template.Unbalanced}}},
		{"brace_in_name", "#{a{b}", ps{{1, 1, template.Unbalanced}}},
		{"empty_name", "가나\n다 #{}", ps{{2, 3, template.EmptyName}}},
		{"blank_name", "#{ \u3000}", ps{{1, 1, template.EmptyName}}},
		{"long_name", "#{" + strings.Repeat("가", template.MaxName+1) + "}", ps{{1, 1, template.NameTooLong}}},
		{"hash_in_name", "#{a#b}", ps{{1, 1, template.BadName}}},
		{"foreign_mark", "안녕 ##이름##님", ps{{1, 4, template.ForeignMark}}},
		{"hash_before_variable", "##{a}", ps{{1, 1, template.ForeignMark}}},
		{"too_many", many(template.MaxVariables + 1), ps{{1, 271, template.TooManyVariables}}},
		{"escape", "a\x1b[0m", ps{{1, 2, template.InvalidText}}},
		{"bidi", "a\u202eb", ps{{1, 2, template.InvalidText}}},
		{"invalid_utf8", "가\xff", ps{{1, 2, template.InvalidText}}},
		{"control_in_name", "#{a\x00}", ps{{1, 4, template.InvalidText}}},
		{
			"several", "##\n#{} #{a\n#{b}\x00",
			ps{{3, 5, template.InvalidText}, {1, 1, template.ForeignMark}, {2, 1, template.EmptyName}, {2, 5, template.Unbalanced}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := template.Compile(tt.text)
			ce, ok := errors.AsType[*template.CompileError](err)
			if !ok || tmpl != nil {
				t.Fatalf("Compile = %v, %v; want a CompileError", tmpl, err)
			}
			if diff := cmp.Diff(tt.want, ce.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for _, p := range ce.Problems {
				if s := p.String(); !strings.Contains(err.Error(), s) || strings.HasSuffix(s, ": ") {
					t.Errorf("error %q lacks advice for %v", err, p)
				}
			}
		})
	}
}

func TestCompileLimits(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range template.MaxVariables {
		fmt.Fprintf(&b, "#{v%d}#{v%d} ", i, i) // each twice: only different ones count
	}
	if got := len(compile(t, b.String()).Variables()); got != template.MaxVariables {
		t.Errorf("%d variables, want %d", got, template.MaxVariables)
	}
	compile(t, "#{"+strings.Repeat("가", template.MaxName)+"}")
	_, err := template.Compile(strings.Repeat("#{}", 1000))
	if ce, ok := errors.AsType[*template.CompileError](err); !ok || len(ce.Problems) != 20 {
		t.Errorf("a thousand problems: %v; want 20 listed", err)
	}
}

func TestVariablesBelongToTheCaller(t *testing.T) {
	t.Parallel()
	tmpl := compile(t, "#{a}")
	tmpl.Variables()[0] = "b"
	if got := tmpl.Variables()[0]; got != "a" {
		t.Errorf("Variables was changed to %q from outside", got)
	}
}

// TestRenderEqualsReplacement compares with the obvious implementation.
func TestRenderEqualsReplacement(t *testing.T) {
	t.Parallel()
	piece := rapid.StringMatching(`[가-힣a-z{}.\n ]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		vars := rapid.MapOfN(rapid.StringMatching(`[가-나a-c]{1,3}`), rapid.StringMatching(`[가-힣0-9{}]{1,8}`), 1, 6).Draw(t, "vars")
		names := slices.Sorted(maps.Keys(vars))
		text, want := "x", "x"
		for range rapid.IntRange(0, 8).Draw(t, "n") {
			p, name := piece.Draw(t, "text"), rapid.SampledFrom(names).Draw(t, "name")
			text += p + "#{" + name + "}"
			want += p + vars[name]
		}
		tmpl, err := template.Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tmpl.Render(vars); err != nil || got != want {
			t.Fatalf("Render of %q = %q, %v; want %q", text, got, err, want)
		}
	})
}

// FuzzRender checks that nothing rendered has a placeholder, a control
// character or broken UTF-8 left in it, and that blanks never pass.
func FuzzRender(f *testing.F) {
	for _, s := range [][3]string{
		{"#{a}#{b}", "#", "{x}"},
		{"#{a}{x}", "#", "b"},
		{"안녕 #{a}님, #{b}", "홍길동", "내일 3시"},
		{"##{a}", "a", "b"},
		{"#{a}#", "#", ""},
		{"#{a\n}#{b}", "\x1b[0m", "\u202e"},
		{"{{a}} #{a} }", "<b>", "'--"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, text, a, b string) {
		tmpl, err := template.Compile(text)
		if err != nil {
			if ce, ok := errors.AsType[*template.CompileError](err); !ok || len(ce.Problems) == 0 {
				t.Fatalf("untyped compile error %v", err)
			}
			return
		}
		vars := map[string]string{"a": a, "b": b}
		for i, n := range tmpl.Variables() {
			if n != "a" && n != "b" {
				vars[n] = []string{a, b}[i%2]
			}
		}
		got, err := tmpl.Render(vars)
		if err != nil {
			_, missing := errors.AsType[*template.MissingError](err)
			_, value := errors.AsType[*template.ValueError](err)
			if !missing && !value || got != "" {
				t.Fatalf("Render = %q, %v", got, err)
			}
			return
		}
		if strings.Contains(got, "#{") || strings.Contains(got, "##") {
			t.Fatalf("%q left residue: %q", text, got)
		}
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\x1b\u202e") {
			t.Fatalf("%q rendered unsafe text: %q", text, got)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	tmpl := compile(b, "#{이름}님, #{병원}입니다.\n#{날짜} #{시간} 예약을 확인해 주세요.\n문의: #{전화}")
	vars := map[string]string{
		"이름": "홍길동", "병원": "미소치과", "날짜": "11월 23일(월)", "시간": "오전 10시", "전화": "02-123-4567",
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Render(vars); err != nil {
			b.Fatal(err)
		}
	}
}
