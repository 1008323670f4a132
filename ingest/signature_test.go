package ingest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// mangle replaces the good signature by one made from it.
func mangle(f func(sig string) string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("webhook-signature", f(r.Header.Get("webhook-signature"))) }
}

func TestBadSignatureIsAlwaysTheSame401(t *testing.T) {
	t.Parallel()
	foreign := ingest.NewSecret()
	raw := func(sig string) []byte {
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sig, "v1,"))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	signedAt := func(ts string) func(w *world) call {
		return func(w *world) call {
			return call{change: func(r *http.Request) {
				// A correct signature over a timestamp that must not be believed.
				r.Header.Set("webhook-timestamp", ts)
				r.Header.Set("webhook-signature", signText(w.hook.Secrets[0], r.Header.Get("webhook-id")+"."+ts+"."+goodBody))
			}}
		}
	}
	fixed := func(c call) func(*world) call { return func(*world) call { return c } }
	tests := []struct {
		name   string
		call   func(w *world) call
		reason string
	}{
		{"no_id", fixed(call{change: func(r *http.Request) { r.Header.Del("webhook-id") }}), "missing-signature"},
		{"no_timestamp", fixed(call{change: func(r *http.Request) { r.Header.Del("webhook-timestamp") }}), "missing-signature"},
		{"no_signature", fixed(call{change: func(r *http.Request) { r.Header.Del("webhook-signature") }}), "missing-signature"},
		{"nothing", fixed(call{change: func(r *http.Request) {
			for _, h := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
				r.Header.Del(h)
			}
		}}), "missing-signature"},
		{"empty_id", fixed(call{change: header("webhook-id", "")}), "missing-signature"},
		{"empty_timestamp", fixed(call{change: header("webhook-timestamp", "")}), "missing-signature"},
		{"empty_signature", fixed(call{change: header("webhook-signature", "")}), "missing-signature"},
		{"wrong_secret", fixed(call{secret: foreign}), "invalid-signature"},
		{"body_changed_by_one_byte", fixed(call{change: body(strings.Replace(goodBody, "6789", "6788", 1))}), "invalid-signature"},
		{"body_reserialised", fixed(call{change: body(strings.ReplaceAll(goodBody, ":", ": "))}), "invalid-signature"},
		{"body_with_crlf", fixed(call{body: "{\n}", change: body("{\r\n}")}), "invalid-signature"},
		{"version_only", fixed(call{signature: "v1,"}), "invalid-signature"},
		{"hex_instead_of_base64", fixed(call{change: mangle(func(s string) string { return "v1," + hex.EncodeToString(raw(s)) })}), "invalid-signature"},
		{"leading_space_in_base64", fixed(call{change: mangle(func(s string) string { return "v1, " + s[3:] })}), "invalid-signature"},
		{"url_alphabet", urlAlphabet, "invalid-signature"},
		{"no_padding", fixed(call{change: mangle(func(s string) string { return strings.TrimRight(s, "=") })}), "invalid-signature"},
		{"trailing_bits", fixed(call{change: mangle(func(s string) string {
			i := len(s) - 2 // the last digit before the padding holds two unused bits
			const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
			return s[:i] + string(digits[strings.IndexByte(digits, s[i])|1]) + "="
		})}), "invalid-signature"},
		{"one_mebibyte", fixed(call{signature: "v1," + strings.Repeat("A", 1<<20)}), "invalid-signature"},
		{"a_hundred_signatures", fixed(call{change: mangle(func(s string) string { return strings.Repeat("v1,x ", 99) + s })}), "malformed-signature"},
		{"nine_signatures", fixed(call{change: mangle(func(s string) string { return strings.Repeat("v1,x ", 8) + s })}), "malformed-signature"},
		{"v1a", fixed(call{change: mangle(func(s string) string { return "v1a," + s[3:] })}), "invalid-signature"},
		{"v2", fixed(call{change: mangle(func(s string) string { return "v2," + s[3:] })}), "invalid-signature"},
		{"v0", fixed(call{change: mangle(func(s string) string { return "v0," + s[3:] })}), "invalid-signature"},
		{"no_version", fixed(call{change: mangle(func(s string) string { return s[3:] })}), "invalid-signature"},
		{"timestamp_changed", fixed(call{change: header("webhook-timestamp", strconv.FormatInt(time.Now().Unix()-7, 10))}), "invalid-signature"},
		{"id_changed", fixed(call{change: header("webhook-id", "other")}), "invalid-signature"},
		{"too_old", fixed(call{at: time.Now().Add(-time.Hour)}), "stale-timestamp"},
		{"too_new", fixed(call{at: time.Now().Add(time.Hour)}), "stale-timestamp"},
		{"timestamp_zero", signedAt("0"), "malformed-signature"},
		{"timestamp_negative", signedAt("-1"), "malformed-signature"},
		{"timestamp_2^63", signedAt("9223372036854775808"), "malformed-signature"},
		{"timestamp_exponent", signedAt("1e9"), "malformed-signature"},
		{"timestamp_hex", signedAt("0x6553f100"), "malformed-signature"},
		{"timestamp_float", signedAt(strconv.FormatInt(time.Now().Unix(), 10) + ".0"), "malformed-signature"},
		{"timestamp_plus", signedAt("+" + strconv.FormatInt(time.Now().Unix(), 10)), "malformed-signature"},
		{"timestamp_leading_zero", signedAt("0" + strconv.FormatInt(time.Now().Unix(), 10)), "malformed-signature"},
		{"timestamp_full_width", signedAt("１７００００００００"), "malformed-signature"},
		{"timestamp_in_milliseconds", signedAt(strconv.FormatInt(time.Now().UnixMilli(), 10)), "malformed-signature"},
		{"dot_in_id", fixed(call{id: "a.1674087231.x"}), "malformed-signature"},
		{"id_of_65", fixed(call{id: strings.Repeat("a", 65)}), "malformed-signature"},
		{"id_with_space", fixed(call{id: "a b"}), "malformed-signature"},
		{"id_in_korean", fixed(call{id: "예약"}), "malformed-signature"},
		{"legacy_without_opt_in", func(w *world) call {
			return call{change: legacy(signLegacy(w.hook.Secrets[0], goodBody))}
		}, "missing-signature"},
		{"secret_in_query_key", func(w *world) call {
			return call{path: "/api/webhooks/" + w.hook.ID.String() + "?Key=abc"}
		}, "secret-in-query"},
		{"secret_in_query_value", func(w *world) call {
			return call{path: "/api/webhooks/" + w.hook.ID.String() + "?x=" + ingest.EncodeSecret(w.hook.Secrets[0])}
		}, "secret-in-query"},
		{"unknown_endpoint", fixed(call{hook: uuid.Must(uuid.NewV7())}), "unknown-endpoint"},
		{"upper_case_id", func(w *world) call {
			return call{path: "/api/webhooks/" + strings.ToUpper(w.hook.ID.String())}
		}, "unknown-endpoint"},
		{"id_in_braces", func(w *world) call { return call{path: "/api/webhooks/%7B" + w.hook.ID.String() + "%7D"} }, "unknown-endpoint"},
		{"id_without_dashes", func(w *world) call {
			return call{path: "/api/webhooks/" + strings.ReplaceAll(w.hook.ID.String(), "-", "")}
		}, "unknown-endpoint"},
		{"id_of_5_kib", fixed(call{path: "/api/webhooks/" + strings.Repeat("a", 5<<10)}), "unknown-endpoint"},
		{"id_with_nul", fixed(call{path: "/api/webhooks/%00"}), "unknown-endpoint"},
		{"id_with_traversal", fixed(call{path: "/api/webhooks/%2e%2e%2fadmin"}), "unknown-endpoint"},
	}
	var want string
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, ingest.Config{Floor: time.Nanosecond}, nil)
			a := w.post(t, tt.call(w))
			if a.status != http.StatusUnauthorized || a.problem() != "invalid-signature" {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			id := a.header.Get("X-Request-Id")
			a.header.Del("X-Request-Id")
			shape := strings.Replace(a.body, id, "ID", 1)
			for _, name := range []string{"Content-Type", "Cache-Control", "Content-Length", "X-Content-Type-Options"} {
				shape += "\n" + a.header.Get(name)
				a.header.Del(name)
			}
			if len(a.header) != 0 {
				t.Errorf("more headers than other 401s: %v", a.header)
			}
			if want == "" {
				want = shape
			}
			if shape != want {
				t.Errorf("this 401 differs from the others:\n%s\n%s", shape, want)
			}
			if got := w.count(t, "calls_total", tt.reason); got != 1 {
				t.Errorf("counted %v as %s", got, tt.reason)
			}
			w.stop()
			if len(w.accepts) != 0 {
				t.Error("a bad signature was accepted")
			}
			switch {
			case tt.reason == "unknown-endpoint" && len(w.refused) != 0:
				t.Error("an unknown webhook has a history")
			case tt.reason != "unknown-endpoint" && len(w.refused) != 1:
				t.Errorf("%d rows in the history", len(w.refused))
			case len(w.refused) == 1:
				r := w.refused[0]
				if r.ResponseStatus != 401 || r.Problem != tt.reason || (r.Body != nil) != (tt.reason == "secret-in-query") || r.Tenant != w.hook.Tenant {
					t.Errorf("recorded %+v", r)
				}
			}
		})
	}
}

// urlAlphabet looks for a signature whose base64 has a digit that differs.
func urlAlphabet(w *world) call {
	for n := 0; ; n++ {
		c := call{id: "n" + strconv.Itoa(n), at: time.Now()}
		if sig := sign(w.hook.Secrets[0], c.id, c.at, goodBody); strings.ContainsAny(sig, "+/") {
			c.signature = strings.NewReplacer("+", "-", "/", "_").Replace(sig)
			return c
		}
	}
}

func TestDisabledWebhookIsA401WithItsReasonInTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, func(h *store.Webhook) { h.Enabled = false })
	if a := w.post(t, call{}); a.status != 401 || a.problem() != "invalid-signature" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	w.stop()
	if len(w.refused) != 1 || w.refused[0].Problem != "disabled-endpoint" || string(w.refused[0].Body) != goodBody {
		t.Errorf("recorded %+v", w.refused)
	}
}

func TestSecretOfAnotherWebhookIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{Floor: time.Nanosecond}, nil)
	other := w.hook
	other.ID, other.Secrets = uuid.Must(uuid.NewV7()), [][]byte{ingest.NewSecret()}
	w.webhooks[other.ID] = other
	if a := w.post(t, call{secret: other.Secrets[0]}); a.status != 401 {
		t.Errorf("answered %d", a.status)
	}
	if a := w.post(t, call{hook: other.ID, secret: other.Secrets[0]}); a.status != 202 {
		t.Errorf("its own webhook answered %d", a.status)
	}
}

func TestGoodSignatureIsAccepted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		call call
	}{
		{"from_a_public_library", call{}},
		{"two_signatures_one_good", call{change: mangle(func(s string) string { return "v1,AAAA " + s })}},
		{"good_one_first", call{change: mangle(func(s string) string { return s + " v1,AAAA" })}},
		{"beside_an_asymmetric_one", call{change: mangle(func(s string) string { return "v1a,AAAA " + s })}},
		{"eight_signatures", call{change: mangle(func(s string) string { return strings.Repeat("v1,x ", 7) + s })}},
		{"empty_object", call{body: `{}`}},
		{"body_in_korean", call{body: `{"메모":"시술 후"}`}},
		{"legacy_header_ignored", call{change: header("x-webhook-signature", "00")}},
		{"harmless_query", call{path: "?source=site"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ingest.Config{}, nil)
			if tt.call.path != "" {
				tt.call.path = "/api/webhooks/" + w.hook.ID.String() + tt.call.path
			}
			if a := w.post(t, tt.call); a.status == 401 {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		})
	}
}

func TestATimestampMayLie300SecondsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		for skew, want := range map[time.Duration]int{-301: 401, -300: 202, -299: 202, 0: 202, 299: 202, 300: 202, 301: 401} {
			now := time.Now().Truncate(time.Second).Add(time.Second)
			time.Sleep(time.Until(now))
			if a := w.post(t, call{at: now.Add(skew * time.Second)}); a.status != want {
				t.Errorf("%d s: answered %d, want %d", skew, a.status, want)
			}
		}
		w.stop()
	})
}

func TestAReplayIsADuplicateAndLaterRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, ingest.Config{}, nil)
		captured := call{id: "evt-1", at: time.Now()}
		for _, step := range []struct {
			after  time.Duration
			status int
		}{{0, 202}, {time.Second, 202}, {300 * time.Second, 401}} {
			time.Sleep(step.after)
			a := w.post(t, captured)
			if a.status != step.status || a.status == 202 && *a.Duplicate != (step.after > 0) {
				t.Errorf("%v later: %d %s", step.after, a.status, a.body)
			}
		}
		w.stop()
		if len(w.accepts) != 1 || len(w.events) != 1 {
			t.Errorf("kept %d, published %d", len(w.accepts), len(w.events))
		}
	})
}

func TestRotationAcceptsBothSecretsUntilTheOldOneExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old := ingest.NewSecret()
		w := newWorld(t, ingest.Config{}, func(h *store.Webhook) {
			h.Secrets, h.PreviousExpires = append(h.Secrets, old), time.Now().Add(time.Hour)
		})
		both := func() (current, previous int) {
			return w.post(t, call{}).status, w.post(t, call{secret: old}).status
		}
		if c, p := both(); c != 202 || p != 202 {
			t.Errorf("in the overlap: current %d, previous %d", c, p)
		}
		time.Sleep(time.Hour)
		if c, p := both(); c != 202 || p != 401 {
			t.Errorf("after the overlap: current %d, previous %d", c, p)
		}
		w.stop()
	})
}

func TestLegacySignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{Floor: time.Nanosecond}, func(h *store.Webhook) { h.LegacySignature = true })
	good := signLegacy(w.hook.Secrets[0], goodBody)
	for name, tt := range map[string]struct {
		signature string
		want      int
	}{
		"plain":     {good, 202},
		"prefixed":  {"sha256=" + good, 202},
		"upper":     {strings.ToUpper(good), 202},
		"empty":     {"", 401},
		"cut":       {good[:62], 401},
		"prefix":    {"sha256=", 401},
		"not_hex":   {strings.Repeat("zz", 32), 401},
		"wrong":     {strings.Repeat("00", 32), 401},
		"other_alg": {"sha1=" + good, 401},
	} {
		if a := w.post(t, call{change: legacy(tt.signature)}); a.status != tt.want {
			t.Errorf("%s: answered %d, want %d", name, a.status, tt.want)
		}
	}
	// A request that claims the new scheme is judged by it alone.
	if a := w.post(t, call{signature: "v1,AAAA", change: header("x-webhook-signature", good)}); a.status != 401 {
		t.Errorf("fell back to the legacy signature: %d", a.status)
	}
	if a := w.post(t, call{}); a.status != 202 {
		t.Errorf("the new scheme is refused: %d", a.status)
	}
}

func TestLegacyEventIDComesFromTheBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, pointer, body string
		status              int
		want                string
	}{
		{"hash", "", goodBody, 202, ""},
		{"string", "/event_id", `{"event_id":"A-1.b:2","type":"a","patient":{"external_id":"7"}}`, 202, "A-1.b:2"},
		{"number", "/order/no", `{"order":{"no":12345},"type":"a","patient":{"external_id":"7"}}`, 202, "12345"},
		{"absent", "/event_id", goodBody, 422, ""},
		{"float", "/event_id", `{"event_id":1.5,"type":"a","patient":{"external_id":"7"}}`, 422, ""},
		{"object", "/event_id", `{"event_id":{},"type":"a","patient":{"external_id":"7"}}`, 422, ""},
		{"too_long", "/event_id", `{"event_id":"` + strings.Repeat("a", 65) + `","type":"a","patient":{"external_id":"7"}}`, 422, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ingest.Config{}, func(h *store.Webhook) { h.LegacySignature, h.EventIDPointer = true, tt.pointer })
			a := w.post(t, call{body: tt.body, change: legacy(signLegacy(w.hook.Secrets[0], tt.body))})
			if a.status != tt.status {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			if tt.status == 202 && w.accepts[0].EventID != tt.want {
				t.Errorf("event id %q, want %q", w.accepts[0].EventID, tt.want)
			}
		})
	}
}

func TestSecretsSurviveTheirText(t *testing.T) {
	t.Parallel()
	secret := ingest.NewSecret()
	got, err := ingest.DecodeSecret(" " + ingest.EncodeSecret(secret) + "\n")
	if err != nil || !bytes.Equal(got, secret) || len(secret) != 32 {
		t.Errorf("got %x, %v", got, err)
	}
	b64 := base64.StdEncoding.EncodeToString
	for _, s := range []string{"", "whsec_", "demo-secret", b64(secret), "whsec_" + b64(secret[:23]), "whsec_!" + b64(secret), "whsec_" + b64(make([]byte, 65))} {
		if _, err := ingest.DecodeSecret(s); !errors.Is(err, ingest.ErrSecret) {
			t.Errorf("DecodeSecret(%q) = %v", s, err)
		}
	}
}
