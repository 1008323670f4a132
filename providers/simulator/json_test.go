package simulator

import (
	"encoding/json"
	"testing"
)

func TestReaderIsStrict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		ok         bool
		bad        string
		unknown    int
	}{
		{"empty", ``, false, "", 0},
		{"not_json", `{"body":}`, false, "", 0},
		{"two_documents", `{} {}`, false, "", 0},
		{"array", `[]`, false, "", 0},
		{"string", `"x"`, false, "", 0},
		{"invalid_utf8", "{\"body\":\"\xff\"}", false, "", 0},
		{"minimal", ` { } `, true, "", 0},
		{"null_text", `{"body":null,"recipientList":null}`, true, "", 0},
		{"number_for_text", `{"body":1}`, true, "body", 0},
		{"text_for_list", `{"recipientList":"x"}`, true, "recipientList", 0},
		{"text_for_recipient", `{"recipientList":["x",{}]}`, true, "recipientList", 0},
		{"object_for_text", `{"body":{"a":[1,{"b":"}"}]},"sendNo":"1"}`, true, "body", 0},
		{"text_for_number", `{"attachFileIdList":["1"]}`, true, "attachFileIdList", 0},
		{"other_case", `{"Body":"x","recipientlist":[]}`, true, "", 2},
		{"unknown_nested", `{"recipientList":[{"recipientNumber":{"a":"\"}"}}]}`, true, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q, ok := readSMS([]byte(tt.body))
			if ok != tt.ok || q.bad != tt.bad || len(q.unknown) != tt.unknown {
				t.Errorf("readSMS = %v, bad %q, unknown %v; want %v, %q, %d", ok, q.bad, q.unknown, tt.ok, tt.bad, tt.unknown)
			}
		})
	}
}

// FuzzReader holds the walker against encoding/json: what both take for an
// object of texts reads the same.
func FuzzReader(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"a":"\u00e9\n","b":"\ud83d\ude00"}`, `{ "a" : [1,{"x":null}] , "b":-1.5e3}`, `{"":""}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := newReader(b)
		if !ok {
			return
		}
		got := make(map[string]string)
		r.object("body", func(name string) {
			if r.s[r.i] == '"' {
				got[name] = r.text(name)
				return
			}
			delete(got, name)
			r.skip()
		})
		r.space()
		if r.i != len(r.s) {
			t.Fatalf("the walk stopped at %d of %d", r.i, len(r.s))
		}
		var want map[string]any
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		for k, v := range want {
			if text, ok := v.(string); ok && got[k] != text {
				t.Errorf("%q = %q, want %q", k, got[k], text)
			}
		}
	})
}
