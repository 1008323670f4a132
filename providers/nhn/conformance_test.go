package nhn_test

import (
	"crypto/tls"
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// account is the credentials for the gateway at base.
func account(ch event.Channel, base string, wrong bool) providers.Account {
	a := providers.Account{Channel: ch, BaseURL: base, AppKey: appKey, Secret: secret, Sender: sendNo}
	if ch == event.Kakao {
		a.Sender = senderKey
	}
	if wrong {
		a.Secret = "anotherSecret999"
	}
	return a
}

// adapter makes the channel's adapter with its own connections.
func adapter(t *testing.T, ch event.Channel, base string, wrong bool) providers.Gateway {
	hc := nhn.HTTPClient(nhn.HTTPOptions{TLS: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}})
	t.Cleanup(hc.CloseIdleConnections)
	if ch == event.Kakao {
		return nhn.NewAlimtalk(account(ch, base, wrong), hc)
	}
	return nhn.NewSMS(account(ch, base, wrong), hc)
}

// groupingKey reads recipientGroupingKey of a send.
func groupingKey(r providertest.Request) string {
	var v struct {
		Recipients []struct {
			Key string `json:"recipientGroupingKey"`
		} `json:"recipientList"`
	}
	if json.Unmarshal(r.Body, &v) != nil || len(v.Recipients) != 1 {
		return ""
	}
	return v.Recipients[0].Key
}

func forbidsResend(r providertest.Request) bool {
	var v struct {
		Recipients []struct {
			Resend *struct {
				On *bool `json:"isResend"`
			} `json:"resendParameter"`
		} `json:"recipientList"`
	}
	if json.Unmarshal(r.Body, &v) != nil || len(v.Recipients) != 1 {
		return false
	}
	p := v.Recipients[0].Resend
	return p != nil && p.On != nil && !*p.On
}

func alimtalkHarness() providertest.Harness {
	return providertest.Harness{
		Channel: event.Kakao,
		New: func(t *testing.T, base string, wrong bool) providers.Gateway {
			return adapter(t, event.Kakao, base, wrong)
		},
		Numbers:  alimtalkNumbers(),
		Complete: func(m *providers.Message) { m.TemplateCode = "SIM_OK_APPT" },
		Secrets:  []string{appKey, secret, "anotherSecret999", senderKey},
		Group:    groupingKey,
		Key:      func(r providertest.Request) string { return r.Header.Get("X-NC-API-IDEMPOTENCY-KEY") },
		NoResend: forbidsResend,
	}
}

func smsHarness() providertest.Harness {
	return providertest.Harness{
		Channel: event.SMS,
		New: func(t *testing.T, base string, wrong bool) providers.Gateway {
			return adapter(t, event.SMS, base, wrong)
		},
		Numbers:  smsNumbers(),
		Complete: func(*providers.Message) {},
		Secrets:  []string{appKey, secret, "anotherSecret999"},
		Group:    groupingKey,
	}
}

func TestConformanceOnTheWire(t *testing.T) {
	t.Parallel()
	for _, h := range []providertest.Harness{alimtalkHarness(), smsHarness()} {
		h.Start = func(t *testing.T, trap string) *providertest.Wire {
			f := startFake(t, h.Channel == event.Kakao, trap)
			return &providertest.Wire{
				URL: f.URL(), Wrote: f.Wrote,
				Sends: func() []providertest.Request { return sends(f.Requests()) },
			}
		}
		t.Run(string(h.Channel), func(t *testing.T) {
			t.Parallel()
			providertest.Exercise(t, h)
		})
	}
}
