package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// narrow is what we demand beyond the reference implementation, which takes
// any id, any number of signatures and several spellings of a timestamp.
func narrow(id, ts, sigs string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(id) &&
		regexp.MustCompile(`^[1-9][0-9]{0,10}$`).MatchString(ts) &&
		strings.Count(sigs, " ") < 8
}

// trailing matches what the reference takes for a signature and its comment.
var trailing = regexp.MustCompile(`v1,[^ ]*,`)

func FuzzVerifySignature(f *testing.F) {
	secret, body := []byte(strings.Repeat("k", 32)), []byte(`{"a":"가"}`)
	lib, err := standardwebhooks.NewWebhookRaw(secret)
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	good, err := lib.Sign("msg_1", now, body)
	if err != nil {
		f.Fatal(err)
	}
	ts := now.UTC().Format("20060102")
	for _, sigs := range []string{good, "v1,x " + good, "v1a,x " + good, good[:20], good + ",x", "v1," + strings.ToLower(good[3:]), "", " ", "v1,", "v1"} {
		f.Add("msg_1", int64(0), "", sigs, body, true)
		f.Add("msg.1", int64(299), "", sigs, body, true)
		f.Add("", int64(-301), ts, sigs, body, false)
	}
	f.Fuzz(func(t *testing.T, id string, skew int64, stamp, sigs string, body []byte, resign bool) {
		now := time.Now()
		if stamp == "" {
			skew %= 1000
			stamp = strconv.FormatInt(now.Unix()+skew, 10)
		}
		if resign { // else no input would ever get past the HMAC
			h := hmac.New(sha256.New, secret)
			h.Write([]byte(id + "." + stamp + "."))
			h.Write(body)
			sigs = strings.TrimSpace(sigs + " v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)))
		}
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {sigs}}
		sig := readSignature(header)
		got := sig.verify([]*signer{newSigner(secret)}, body, now, new(scratch)) == ""
		if skew == 300 || skew == -300 {
			return // the reference reads the clock again
		}
		header.Set("Webhook-Signature", trailing.ReplaceAllString(sigs, "v1,,"))
		if want := lib.Verify(body, header) == nil && narrow(id, stamp, sigs); got != want {
			t.Errorf("id %q timestamp %q signatures %q: accepted %v, the reference %v", id, stamp, sigs, got, want)
		}
	})
}
