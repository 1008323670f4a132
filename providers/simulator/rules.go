package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Rules are the gateway's limits and one switch for each behaviour that NHN
// does not document. The zero value has no limits and takes the likelier
// reading of each.
type Rules struct {
	// ConsumeOnReject makes a request that was refused after the key check
	// use its idempotency key up.
	ConsumeOnReject bool `json:"consume_on_reject"`
	// KeyGlobal shares idempotency keys between app keys.
	KeyGlobal bool `json:"key_global"`
	// KeyWindow is how long a key is remembered; 0 is 10 minutes
	// (alimtalk-api-guide).
	KeyWindow Duration `json:"key_window"`

	// RPS and Burst are the token bucket of each app key; 0 is no limit. NHN
	// documents none for these products; its Notification Hub has 300 and 300.
	RPS   float64 `json:"rps"`
	Burst int     `json:"burst"`
	// RetryAfter is sent with 429 where it is not 0.
	RetryAfter Duration `json:"retry_after"`
	// Penalty empties the bucket again on each refused request, so that a
	// client that keeps hammering stays refused.
	Penalty bool `json:"penalty"`
	// SMSMonthly is the quota of a calendar month, counted on acceptance
	// (-2052); 0 is none, NHN starts at 5,000.
	SMSMonthly int `json:"sms_monthly"`
	// KakaoDaily is the quota of a sender key per day in Korea; 0 is none,
	// NHN starts at 1,000. What exceeds it is accepted and fails with
	// KakaoDailyCode ("" is 4156).
	KakaoDaily     int    `json:"kakao_daily"`
	KakaoDailyCode string `json:"kakao_daily_code"`

	// SMSDupWindow is the console's duplicate block: the same text to the
	// same number within it is accepted and then fails with E915. 0 is off,
	// NHN allows up to an hour.
	SMSDupWindow Duration `json:"sms_dup_window"`
	// AltChars sends what EUC-KR lacks as '?' instead of refusing it (-2023).
	AltChars bool `json:"alt_chars"`
	// AdLimit is the console's limit on ad texts by hour.
	AdLimit AdLimit `json:"ad_limit"`
	// ResendOnUnconfirmed makes provider resend treat 3005 as a failure.
	ResendOnUnconfirmed bool `json:"resend_on_unconfirmed"`
	// ResendDelay is the wait before provider resend; 0 draws 5–30 s.
	ResendDelay Duration `json:"resend_delay"`

	// QueryLag is how long a fact stays invisible to queries.
	QueryLag Duration `json:"query_lag"`
	// ErrorStatus is the HTTP status of business errors; 0 is 200.
	ErrorStatus int `json:"error_status"`
	// SMSSecretCode is SMS's answer to a wrong secret; 0 is -1000.
	SMSSecretCode int `json:"sms_secret_code"`
	// SMSNested puts SMS message-results under body.data.resultUpdateList, as
	// the guide's table has it, instead of body.data, as its sample has it.
	SMSNested bool `json:"sms_nested"`
	// SMSFailedStatus is the msgStatus of a text that failed at the handset;
	// "" is "0".
	SMSFailedStatus string `json:"sms_failed_status"`
	// SMSRejectInHeader repeats the refusal of an SMS request's only
	// recipient in the header.
	SMSRejectInHeader bool `json:"sms_reject_in_header"`
	// KakaoPending is the messageStatus of an Alimtalk without a result; ""
	// leaves it null.
	KakaoPending string `json:"kakao_pending"`
}

// AdLimit is the hours, in Korea, between which ad texts are not sent; equal
// hours switch it off. Resend sends them at its end instead of failing them.
type AdLimit struct {
	From   int  `json:"from"`
	To     int  `json:"to"`
	Resend bool `json:"resend"`
}

// Duration is a time.Duration that reads and writes as "1m30s" in JSON.
type Duration time.Duration

// String returns the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("simulator: %q is not a duration; write it like \"1m30s\"", b)
	}
	*d = Duration(v)
	return nil
}

// check reports the first value that cannot be meant.
func (r *Rules) check() error {
	switch {
	case r.RPS < 0 || r.Burst < 0:
		return errors.New("simulator: rps and burst cannot be negative; use 0 for no limit")
	case r.KeyWindow < 0 || r.SMSDupWindow < 0 || r.QueryLag < 0 || r.ResendDelay < 0 || r.RetryAfter < 0:
		return errors.New("simulator: a duration cannot be negative; use \"0s\" for the default")
	case time.Duration(r.SMSDupWindow) > time.Hour:
		return errors.New("simulator: sms_dup_window is at most 1h, as in NHN's console")
	case r.AdLimit.From < 0 || r.AdLimit.From > 23 || r.AdLimit.To < 0 || r.AdLimit.To > 23:
		return errors.New("simulator: ad_limit hours are 0 to 23")
	case r.ErrorStatus != 0 && (r.ErrorStatus < 200 || r.ErrorStatus > 599):
		return errors.New("simulator: error_status is an HTTP status from 200 to 599, or 0 for 200")
	}
	return nil
}

// merge returns r with the fields that the JSON object b names replaced.
func (r Rules) merge(b json.RawMessage) (Rules, error) {
	if len(b) == 0 {
		return r, nil
	}
	if err := decodeStrict(b, &r); err != nil {
		return r, err
	}
	return r, r.check()
}

func (r *Rules) keyWindow() time.Duration {
	if r.KeyWindow == 0 {
		return 10 * time.Minute
	}
	return time.Duration(r.KeyWindow)
}
