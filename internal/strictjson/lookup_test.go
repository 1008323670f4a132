package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	// The examples of RFC 6901, section 5, and shapes of our own.
	const rfc = `{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}`
	const own = ` { "a" : { "b" : [ 1 , { "c" : "x" } , [ ] ] , "d\u0065" : null } , "환자" : { "전화" : "010" } ,
		"tricky" : "}],\"a\":{" , "~1" : true , "n" : -1.5e3 , "e" : { } } `
	tests := []struct{ doc, pointer, want string }{
		{rfc, "", rfc},
		{rfc, "/foo", `["bar","baz"]`},
		{rfc, "/foo/0", `"bar"`},
		{rfc, "/foo/1", `"baz"`},
		{rfc, "/", "0"},
		{rfc, "/a~1b", "1"},
		{rfc, "/c%d", "2"},
		{rfc, "/e^f", "3"},
		{rfc, "/g|h", "4"},
		{rfc, `/i\j`, "5"},
		{rfc, `/k"l`, "6"},
		{rfc, "/ ", "7"},
		{rfc, "/m~0n", "8"},
		{rfc, "/foo/2", ""},
		{rfc, "/foo/-", ""},
		{rfc, "/foo/00", ""},
		{rfc, "/foo/01", ""},
		{rfc, "/foo/+1", ""},
		{rfc, "/foo/-1", ""},
		{rfc, "/foo/1e0", ""},
		{rfc, "/foo/99999999999999999999", ""},
		{rfc, "/foo/", ""},
		{rfc, "/foo/0/", ""},
		{rfc, "/bar", ""},
		{rfc, "/FOO", ""},
		{rfc, "foo", ""},
		{own, "/a/b/0", "1"},
		{own, "/a/b/1/c", `"x"`},
		{own, "/a/b/2", "[ ]"},
		{own, "/a/b/2/0", ""},
		{own, "/a/b/3", ""},
		{own, "/a/de", "null"},
		{own, "/환자/전화", `"010"`},
		{own, "/tricky", `"}],\"a\":{"`},
		{own, "/~01", "true"},
		{own, "/n", "-1.5e3"},
		{own, "/n/0", ""},
		{own, "/e", "{ }"},
		{own, "/e/x", ""},
		{"7", "", "7"},
		{"7", "/", ""},
		{"", "", ""},
		{"", "/a", ""},
	}
	for _, tt := range tests {
		t.Run(tt.pointer, func(t *testing.T) {
			t.Parallel()
			raw, ok := strictjson.Lookup([]byte(tt.doc), tt.pointer)
			if string(raw) != tt.want || ok != (tt.want != "") {
				t.Errorf("Lookup(%q) = %s, %v; want %s", tt.pointer, raw, ok, tt.want)
			}
		})
	}
}

func TestLookupResultCannotGrowIntoTheDocument(t *testing.T) {
	t.Parallel()
	doc := []byte(`{"a":1,"b":2}`)
	raw, _ := strictjson.Lookup(doc, "/a")
	if _ = append(raw, '9'); string(doc) != `{"a":1,"b":2}` {
		t.Errorf("appending to the result changed the document: %s", doc)
	}
}

func TestLookupText(t *testing.T) {
	t.Parallel()
	const doc = `{"s":"홍길동","e":"a\"b\u00e9\ud83d\ude00\n","empty":"","n":-12.50,"big":9007199254740993,"t":true,"z":null,"o":{},"l":[]}`
	for pointer, want := range map[string]string{
		"/s": "홍길동", "/e": "a\"bé😀\n", "/n": "-12.50", "/big": "9007199254740993", "/empty": "",
	} {
		if got, ok := strictjson.LookupText([]byte(doc), pointer); !ok || got != want {
			t.Errorf("LookupText(%s) = %q, %v; want %q", pointer, got, ok, want)
		}
	}
	for _, pointer := range []string{"/t", "/z", "/o", "/l", "/none", ""} {
		if got, ok := strictjson.LookupText([]byte(doc), pointer); ok || got != "" {
			t.Errorf("LookupText(%s) = %q; want nothing", pointer, got)
		}
	}
}

func TestValidPointer(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", "/", "/a", "/a/0/-", "/환자/전화", "/a~0b~1c~01", "//", strings.Repeat("/a", 32), "/" + strings.Repeat("k", 511)} {
		if err := strictjson.ValidPointer(p); err != nil {
			t.Errorf("ValidPointer(%q) = %v", p, err)
		}
	}
	for _, p := range []string{
		"a", "a/b", "$.a", "#/a", " /a", "/a~", "/~2", "/a~/b", "/~~0", "/\xff", "/a\x00",
		strings.Repeat("/a", 33), "/" + strings.Repeat("k", 512),
	} {
		if err := strictjson.ValidPointer(p); !errors.Is(err, strictjson.ErrPointer) {
			t.Errorf("ValidPointer(%q) = %v, want ErrPointer", p, err)
		}
	}
}

func TestLookupOfPlainKeysDoesNotAllocate(t *testing.T) {
	doc := []byte(webhook)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := strictjson.Lookup(doc, "/appointment/items/1"); !ok {
			t.Fatal("not found")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// decode is encoding/json's reading, numbers kept as written.
func decode(t *testing.T, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("accepted, but encoding/json says %v: %q", err, b)
	}
	return v
}

// walk is what RFC 6901 says, on a decoded document.
func walk(v any, pointer string) (any, bool) {
	if pointer == "" {
		return v, true
	}
	if pointer[0] != '/' {
		return nil, false
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(x) || strconv.Itoa(i) != token {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// visit calls f with each value of v and its pointer.
func visit(v any, pointer string, f func(pointer string, v any)) {
	f(pointer, v)
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			visit(e, pointer+"/"+strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1"), f)
		}
	case []any:
		for i, e := range x {
			visit(e, pointer+"/"+strconv.Itoa(i), f)
		}
	}
}

// FuzzCheckAndLookup takes encoding/json as the oracle: what Check accepts it
// decodes, what Check calls malformed it refuses, and Lookup finds the same
// values at every pointer. Lookup never panics, whatever it is given.
func FuzzCheckAndLookup(f *testing.F) {
	for _, s := range []string{
		webhook, `{}`, `[]`, `{}{}`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, `[1e400]`, `"\ud800"`, `"\u0000"`,
		`{"a/b":{"m~n":[0,[{"\u0061":"\\\""}]]}}`, "\xef\xbb\xbf{}", `[01]`, `{"a":[1,2,{"b":null}],"":-0.0}`,
		strings.Repeat("[", 40), `{"k":"\ud83d\ude00"}`, "\"\xff\"", `[tru,]`, "{\"a\" :\t[ ] }\r\n", object(40),
	} {
		f.Add([]byte(s), "/a/b/0", byte(0))
		f.Add([]byte(s), "/a~1b/m~0n/1/0/a", byte(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, pointer string, o byte) {
		limits := strictjson.Limits{FoldCase: o&1 != 0, ExactNumbers: o&2 != 0}
		raw, found := strictjson.Lookup(b, pointer)
		strictjson.LookupText(b, pointer)
		_ = strictjson.ValidPointer(pointer)
		before := bytes.Clone(b)
		if err := strictjson.Check(b, limits); err != nil {
			e, ok := errors.AsType[*strictjson.Error](err)
			if !ok {
				t.Fatalf("untyped error %v", err)
			}
			if e.Code == strictjson.Malformed && json.Valid(b) {
				t.Fatalf("called malformed: %q", b)
			}
			if err := strictjson.ValidPointer(e.Pointer); err != nil && len(e.Pointer) <= strictjson.MaxPointer {
				t.Fatalf("the error's pointer %q: %v", e.Pointer, err)
			}
			return
		}
		if !bytes.Equal(before, b) {
			t.Fatal("the document was changed")
		}
		if !json.Valid(b) {
			t.Fatalf("accepted, but not valid: %q", b)
		}
		doc := decode(t, b)
		visit(doc, "", func(p string, want any) {
			raw, ok := strictjson.Lookup(b, p)
			if !ok {
				t.Fatalf("%q not found in %q", p, b)
			}
			if got := decode(t, raw); !reflect.DeepEqual(got, want) {
				t.Fatalf("Lookup(%q) in %q = %v, want %v", p, b, got, want)
			}
			switch want := want.(type) {
			case string:
				if got, ok := strictjson.LookupText(b, p); !ok || got != want {
					t.Fatalf("LookupText(%q) in %q = %q, want %q", p, b, got, want)
				}
			case json.Number:
				if got, ok := strictjson.LookupText(b, p); !ok || got != want.String() {
					t.Fatalf("LookupText(%q) in %q = %q, want %q", p, b, got, want)
				}
			}
		})
		want, ok := walk(doc, pointer)
		if ok != found && strictjson.ValidPointer(pointer) == nil {
			t.Fatalf("Lookup(%q) in %q: found %v, want %v", pointer, b, found, ok)
		}
		if ok && found && !reflect.DeepEqual(decode(t, raw), want) {
			t.Fatalf("Lookup(%q) in %q = %s, want %v", pointer, b, raw, want)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	doc := []byte(webhook)
	for _, p := range []string{"/type", "/patient/phone", "/appointment/items/1", "/none"} {
		b.Run(p[1:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				strictjson.Lookup(doc, p)
			}
		})
	}
}

// BenchmarkDecodeIntoAny is what Lookup spares.
func BenchmarkDecodeIntoAny(b *testing.B) {
	doc := []byte(webhook)
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if err := json.Unmarshal(doc, &v); err != nil {
			b.Fatal(err)
		}
	}
}
