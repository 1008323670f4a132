package strictjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

var (
	payload = strictjson.Limits{}
	folded  = strictjson.Limits{FoldCase: true}
	exact   = strictjson.Limits{ExactNumbers: true}
)

// list returns an array of n copies of v.
func list(v string, n int) string { return "[" + strings.Repeat(v+",", n-1) + v + "]" }

// object returns an object with n different keys.
func object(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestCheckAcceptsOrdinaryDocuments(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, doc string
		limits    strictjson.Limits
	}{
		{"empty_object", `{}`, exact},
		{"empty_array", ` [ ] `, exact},
		{"scalars", `[null,true,false,0,-1,1.5,1e3,1E+3,2e-3,"",""]`, exact},
		{"white_space", "\t\r\n {\n\"a\" : [ 1 , 2 ] , \"b\" : { } }\r\n", exact},
		{"top_scalar", `"x"`, payload},
		{"korean", `{"환자":{"이름":"홍길동"},"type":"booking.created"}`, folded},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\uD55c"`, payload},
		{"surrogate_pair", `"\ud83d\ude00 😀"`, payload},
		{"escaped_controls", `"\u0001\u001b\u007f"`, payload},
		{"unknown_fields", `{"tenant_id":1,"__proto__":2}`, payload},
		{"same_key_in_siblings", `[{"a":{"a":1}},{"a":{"a":2}}]`, payload},
		{"case_variants", `{"id":1,"ID":2,"Id":3}`, payload},
		{"32_deep", strings.Repeat("[", 32) + strings.Repeat("]", 32), payload},
		{"32_deep_mixed", strings.Repeat(`{"a":[`, 16) + "1" + strings.Repeat("]}", 16), payload},
		{"10_000_values", list("1", 9_999), payload},
		{"key_of_128", `{"` + strings.Repeat("k", 128) + `":1}`, payload},
		{"key_of_128_korean", `{"` + strings.Repeat("가", 42) + `ab":1}`, payload},
		{"key_of_128_escaped", `{"` + strings.Repeat(`\u0061`, 128) + `":1}`, payload},
		{"string_of_8192", `"` + strings.Repeat("x", 8192) + `"`, payload},
		{"string_of_8192_escaped", `"` + strings.Repeat(`\ud83d\ude00`, 2048) + `"`, payload},
		{"many_keys", object(5000), folded},
		{"large_numbers", `[1.7976931348623157e308,-1.7976931348623157e308,5e-324,123456789012345678901234567890]`, payload},
		{"zeros", `[0,0.0,0e5,0e-999,0.000e999,-0,-0.0]`, payload},
		{"long_fraction", "0." + strings.Repeat("3", 350), payload},
		{"big_id_is_kept", `9007199254740993`, payload},
		{"safe_integers", `[9007199254740991,-9007199254740991,0.1,1e20]`, exact},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := strictjson.Check([]byte(tt.doc), tt.limits); err != nil {
				t.Fatal(err)
			}
			if !json.Valid([]byte(tt.doc)) {
				t.Error("encoding/json would refuse it")
			}
		})
	}
}

func TestCheckRefusesAndPointsWithoutRepeating(t *testing.T) {
	t.Parallel()
	const (
		malformed = strictjson.Malformed
		duplicate = strictjson.DuplicateKey
		deep      = strictjson.TooDeep
		text      = strictjson.InvalidText
		outside   = strictjson.OutOfRange
		many      = strictjson.TooManyValues
		long      = strictjson.TooLong
	)
	tests := []struct {
		name, doc string
		limits    strictjson.Limits
		code      strictjson.Code
		pointer   string
	}{
		{"empty", "", payload, malformed, ""},
		{"blank", " \n", payload, malformed, ""},
		{"bom", "\xef\xbb\xbf{}", payload, malformed, ""},
		{"utf16", "\xff\xfe{\x00}\x00", payload, malformed, ""},
		{"second_document", `{}{}`, payload, malformed, ""},
		{"second_line", "{}\n{}", payload, malformed, ""},
		{"trailing_comma_document", `{},`, payload, malformed, ""},
		{"trailing_nul", "{}\x00", payload, malformed, ""},
		{"nan", `{"a":NaN}`, payload, malformed, "/a"},
		{"infinity", `[1,Infinity]`, payload, malformed, "/1"},
		{"undefined", `undefined`, payload, malformed, ""},
		{"comment", `{/* x */}`, payload, malformed, ""},
		{"line_comment", "[1, // x\n2]", payload, malformed, "/1"},
		{"single_quotes", `{'a':1}`, payload, malformed, ""},
		{"bare_key", `{a:1}`, payload, malformed, ""},
		{"number_key", `{1:1}`, payload, malformed, ""},
		{"trailing_comma_array", `[1,]`, payload, malformed, "/1"},
		{"trailing_comma_object", `{"a":1,}`, payload, malformed, ""},
		{"missing_colon", `{"a" 1}`, payload, malformed, "/a"},
		{"missing_value", `{"a":}`, payload, malformed, "/a"},
		{"missing_comma_array", `[1 2]`, payload, malformed, ""},
		{"missing_comma_object", `{"a":1 "b":2}`, payload, malformed, ""},
		{"open_object", `{"a":1`, payload, malformed, ""},
		{"open_object_at_key", `{"a":1,`, payload, malformed, ""},
		{"open_object_at_value", `{"a":`, payload, malformed, "/a"},
		{"open_array", `[[1`, payload, malformed, "/0"},
		{"open_string", `{"a":"b`, payload, malformed, "/a"},
		{"open_escape", `"\`, payload, malformed, ""},
		{"open_unicode_escape", `"\u00`, payload, malformed, ""},
		{"mismatched", `[1}`, payload, malformed, ""},
		{"wrong_escape", `"\x41"`, payload, malformed, ""},
		{"wrong_hex", `"\u00g0"`, payload, malformed, ""},
		{"capital_u", `"\U0041"`, payload, malformed, ""},
		{"raw_line_feed", "\"a\nb\"", payload, malformed, ""},
		{"raw_nul", "{\"a\":\"\x00\"}", payload, malformed, "/a"},
		{"cut_literal", `[tru]`, payload, malformed, "/0"},
		{"capital_literal", `True`, payload, malformed, ""},
		{"long_literal", `nullx`, payload, malformed, ""},
		{"leading_zero", `01`, payload, malformed, ""},
		{"plus", `+1`, payload, malformed, ""},
		{"minus_alone", `-`, payload, malformed, ""},
		{"dot_first", `.5`, payload, malformed, ""},
		{"dot_last", `5.`, payload, malformed, ""},
		{"exponent_empty", `1e`, payload, malformed, ""},
		{"exponent_sign_only", `1e+`, payload, malformed, ""},
		{"hex_number", `0x10`, payload, malformed, ""},
		{"full_width_digit", `１`, payload, malformed, ""},
		{"no_break_space", "\u00a0{}", payload, malformed, ""},

		{"duplicate", `{"a":1,"a":2}`, payload, duplicate, "/a"},
		{"duplicate_nested", `{"x":[0,{"a":1,"b":2,"a":3}]}`, payload, duplicate, "/x/1/a"},
		{"duplicate_escaped", `{"a":1,"\u0061":2}`, payload, duplicate, "/*"},
		{"duplicate_escaped_first", `{"\u0061":1,"a":2}`, payload, duplicate, "/a"},
		{"duplicate_escaped_pair", `{"\ud83d\ude00":1,"😀":2}`, payload, duplicate, "/*"},
		{"duplicate_empty", `{"":1,"":2}`, payload, duplicate, "/*"},
		{"duplicate_after_many", object(500)[:len(object(500))-1] + `,"k7":0}`, payload, duplicate, "/k7"},
		{"duplicate_around_object", `{"a":{"b":1,"\u0063":2},"a":1}`, payload, duplicate, "/a"},
		{"case_variant", `{"tenant_id":1,"TENANT_ID":2}`, folded, duplicate, "/TENANT_ID"},
		{"case_variant_kelvin", "{\"k\":1,\"\u212a\":2}", folded, duplicate, "/*"},
		{"case_variant_long_s", "{\"ſ\":1,\"S\":2}", folded, duplicate, "/S"},
		{"case_variant_accented", `{"é":1,"É":2}`, folded, duplicate, "/*"},
		{"case_variant_escaped", `{"ID":1,"\u0069d":2}`, folded, duplicate, "/*"},
		{"case_variant_after_many", object(500)[:len(object(500))-1] + `,"K7":0}`, folded, duplicate, "/K7"},

		{"33_deep", strings.Repeat("[", 33) + strings.Repeat("]", 33), payload, deep, strings.Repeat("/0", 32)},
		{"33_deep_objects", strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), payload, deep, strings.Repeat("/a", 32)},
		{"10_001_deep", strings.Repeat("[", 10_001), payload, deep, strings.Repeat("/0", 32)},
		{"own_depth", `{"a":[]}`, strictjson.Limits{Depth: 1}, deep, "/a"},

		{"nul", `{"a":"x\u0000"}`, payload, text, "/a"},
		{"nul_in_key", `{"a\u0000":1}`, payload, text, "/*"},
		{"lone_high", `"\ud800"`, payload, text, ""},
		{"lone_high_then_text", `["\ud83dx"]`, payload, text, "/0"},
		{"lone_high_then_escape", `["\ud83d\n"]`, payload, text, "/0"},
		{"two_highs", `"\ud83d\ud83d\ude00"`, payload, text, ""},
		{"lone_low", `"\ude00"`, payload, text, ""},
		{"lone_in_key", `{"\udfff":1}`, payload, text, "/*"},
		{"invalid_utf8", "{\"a\":\"\xff\"}", payload, text, "/a"},
		{"invalid_utf8_key", "{\"\xc3\x28\":1}", payload, text, "/*"},
		{"overlong", "\"\xc0\x80\"", payload, text, ""},
		{"surrogate_bytes", "\"\xed\xa0\x80\"", payload, text, ""},
		{"beyond_unicode", "\"\xf4\x90\x80\x80\"", payload, text, ""},
		{"euc_kr", "\"\xc8\xab\xb1\xe6\xb5\xbf\"", payload, text, ""},

		{"1e400", `{"a":1e400}`, payload, outside, "/a"},
		{"minus_1e400", `-1e400`, payload, outside, ""},
		{"just_too_large", `1.7976931348623159e308`, payload, outside, ""},
		{"1e-400", `1e-400`, payload, outside, ""},
		{"huge_exponent", `1e99999999999999999999`, payload, outside, ""},
		{"309_digits", "1" + strings.Repeat("0", 309), payload, outside, ""},
		{"401_bytes", "0." + strings.Repeat("3", 399), payload, outside, ""},
		{"2_53", `9007199254740992`, exact, outside, ""},
		{"2_53_plus_1", `{"id":9007199254740993}`, exact, outside, "/id"},
		{"minus_2_53", `-9007199254740992`, exact, outside, ""},
		{"20_digits", `12345678901234567890`, exact, outside, ""},
		{"minus_zero", `-0`, exact, outside, ""},
		{"minus_zero_fraction", `-0.00`, exact, outside, ""},
		{"minus_zero_exponent", `-0e7`, exact, outside, ""},

		{"10_001_values", list("1", 10_000), payload, many, "/9999"},
		{"empty_arrays", list("[]", 20_000), payload, many, "/9999"},
		{"own_values", `{"a":1,"b":2}`, strictjson.Limits{Values: 2}, many, "/b"},

		{"key_of_129", `{"` + strings.Repeat("k", 129) + `":1}`, payload, long, "/*"},
		{"key_of_129_korean", `{"` + strings.Repeat("가", 43) + `":1}`, payload, long, "/*"},
		{"string_of_8193", `["` + strings.Repeat("x", 8193) + `"]`, payload, long, "/0"},
		{"string_of_8193_escaped", `"` + strings.Repeat(`\n`, 8193) + `"`, payload, long, ""},
		{"own_key", `{"abc":1}`, strictjson.Limits{Key: 2}, long, "/*"},
		{"own_string", `"abc"`, strictjson.Limits{String: 2}, long, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := strictjson.Check([]byte(tt.doc), tt.limits)
			e, ok := errors.AsType[*strictjson.Error](err)
			if !ok {
				t.Fatalf("Check = %v, want an *Error", err)
			}
			if e.Code != tt.code || e.Pointer != tt.pointer {
				t.Errorf("%s at %q, want %s at %q", e.Code, e.Pointer, tt.code, tt.pointer)
			}
			if !errors.Is(err, tt.code) {
				t.Errorf("errors.Is(%v, %s) is false", err, tt.code)
			}
			if strings.HasSuffix(err.Error(), ": ") || !strings.Contains(err.Error(), tt.code.Error()) {
				t.Errorf("error %q gives no advice", err)
			}
		})
	}
}

func TestKeysThatMayBeDataAreNotShown(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"patient":               "/patient",
		"first_name":            "/first_name",
		"a.b-c_9":               "/a.b-c_9",
		"line1234":              "/line1234",
		strings.Repeat("k", 64): "/" + strings.Repeat("k", 64),
		strings.Repeat("k", 65): "/*",
		"":                      "/*",
		"홍길동":                   "/*",
		"010-1234-5678":         "/*",
		"a19900101":             "/*",
		"hong@example.com":      "/*",
		"a b":                   "/*",
		"a/b":                   "/*",
		"a~b":                   "/*",
		`a\n`:                   "/*",
		"<script>":              "/*",
	} {
		doc := `{"` + key + `":[0,1e999]}`
		e, ok := errors.AsType[*strictjson.Error](strictjson.Check([]byte(doc), payload))
		if !ok || e.Pointer != want+"/1" {
			t.Errorf("key %q: pointer %v, want %s/1", key, e, want)
		}
	}
	doc := `{"홍길동":"secret\u0000","x":"secret"}`
	if err := strictjson.Check([]byte(doc), payload); err == nil || strings.ContainsAny(err.Error(), "홍길동") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v repeats the document", err)
	}
}

// TestDuplicatesAreFoundAmongAnyNumberOfKeys holds both ways of comparing.
func TestDuplicatesAreFoundAmongAnyNumberOfKeys(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.StringMatching(`[a-cA-C]{1,4}`), 1, 60).Draw(t, "keys")
		fold := rapid.Bool().Draw(t, "fold")
		escape := rapid.Bool().Draw(t, "escape")
		seen, doubled := map[string]bool{}, false
		members := make([]string, len(keys))
		for i, k := range keys {
			same := k
			if fold {
				same = strings.ToLower(k)
			}
			doubled = doubled || seen[same]
			seen[same] = true
			if escape && i%3 == 0 {
				k = fmt.Sprintf(`\u%04x`, k[0]) + k[1:]
			}
			members[i] = `"` + k + `":{"a":0,"b":{"\u0063":0}}`
		}
		err := strictjson.Check([]byte("{"+strings.Join(members, ",")+"}"), strictjson.Limits{FoldCase: fold})
		if errors.Is(err, strictjson.DuplicateKey) != doubled || (err != nil) != doubled {
			t.Fatalf("keys %q: %v, want a duplicate: %v", keys, err, doubled)
		}
	})
}

func TestCheckingAllocatesNoMoreForLargerDocuments(t *testing.T) {
	doc := []byte(list(webhook, 100))
	for name, limits := range map[string]strictjson.Limits{"payload": payload, "folded": folded} {
		// None, unless the pool was emptied: under -race it is now and then, on
		// purpose.
		least := math.Inf(1)
		for range 10 {
			least = min(least, testing.AllocsPerRun(20, func() {
				if err := strictjson.Check(doc, limits); err != nil {
					t.Fatal(err)
				}
			}))
		}
		if least > 5 {
			t.Errorf("%s: %v allocations", name, least)
		}
	}
}

// webhook is what a booking site sends.
const webhook = `{
  "type": "booking.created",
  "timestamp": "2026-11-22T10:00:00+09:00",
  "patient": {"external_id": "P-1001", "name": "홍길동", "phone": "010-0000-0000", "birth": "1990-01-01"},
  "appointment": {"id": "A-77", "at": "2026-11-30T14:00:00+09:00", "doctor": "김의사", "items": ["스케일링", "검진"], "price": 50000},
  "note": "오전에 전화 \"부탁\"드립니다.\n감사합니다 \ud83d\ude00"
}`

func BenchmarkCheck(b *testing.B) {
	large := list(webhook, 100)
	for _, bb := range []struct {
		name, doc string
		limits    strictjson.Limits
	}{
		{"webhook", webhook, payload},
		{"webhook_fold", webhook, folded},
		{"large", large, payload},
		{"many_keys", object(9000), payload},
		{"brackets", list("[]", 9000), payload},
	} {
		b.Run(bb.name, func(b *testing.B) {
			doc := []byte(bb.doc)
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if err := strictjson.Check(doc, bb.limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
