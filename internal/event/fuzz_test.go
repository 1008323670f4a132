package event_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/event"
)

// fuzz checks that decoding never panics, that its errors say that redelivery
// is of no use, and that what decodes is valid and survives another trip.
func fuzz[E any, P interface {
	*E
	event.Event
}](f *testing.F, kind string, others ...string) {
	for name, e := range shapes {
		if b, err := event.Encode(e); err == nil && len(name) > len(kind) && name[:len(kind)] == kind {
			f.Add(b)
		}
	}
	for _, s := range append(others, ``, `null`, `[]`, `{}`, `{"tenant":null}`, `{}{}`, "\xff", `{"tenant":"*"}`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := event.Decode[E, P](b)
		var plain E
		if jerr := json.Unmarshal(b, &plain); err == nil && (jerr != nil || !cmp.Equal(e, plain)) {
			t.Fatalf("read as %+v, by encoding/json as %+v, %v", e, plain, jerr)
		}
		if err != nil {
			if !errors.Is(err, event.ErrInvalid) {
				t.Fatalf("error %v is not ErrInvalid", err)
			}
			return
		}
		if err := P(&e).Validate(); err != nil {
			t.Fatalf("decoded and not valid: %v", err)
		}
		again, err := event.Encode(P(&e))
		if err != nil {
			t.Fatalf("decoded and cannot be encoded: %v", err)
		}
		if plain, err := json.Marshal(P(&e)); err != nil || string(plain) != string(again) {
			t.Fatalf("written as %s, by encoding/json as %s, %v", again, plain, err)
		}
		back, err := event.Decode[E, P](again)
		if err != nil {
			t.Fatalf("%s does not decode: %v", again, err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Fatalf("changed on another trip:\n%s", diff)
		}
	})
}

func FuzzDecodeTrigger(f *testing.F) { fuzz[event.Trigger](f, "trigger", `{"kind":"webhook"}`) }

func FuzzDecodeStep(f *testing.F) { fuzz[event.Step](f, "step", `{"attempt":2147483648}`) }

func FuzzDecodeDelivery(f *testing.F) {
	fuzz[event.Delivery](f, "delivery", `{"at":"0000-01-01T00:00:00Z"}`, `{"at":"9999-12-31T23:59:59.999999999+23:59"}`)
}
