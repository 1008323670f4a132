package nhn

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/template"
	"github.com/doctorsflow/doctorsflow/providers"
)

func numberOf(t *testing.T, s string) phone.Number {
	t.Helper()
	n, err := phone.Parse(s, phone.Options{AllowTestBands: true, International: true})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheBytesAfterSubstitutionChooseTheEndpoint(t *testing.T) {
	t.Parallel()
	s := NewSMS(accountAt("http://gateway.test"), nil)
	abroad := numberOf(t, "+14155552671")
	for name, c := range map[string]struct {
		title, body string
		to          phone.Number
		path, want  string // of the request; its title or the error's code
	}{
		"90 bytes":              {body: strings.Repeat("가", 45), path: "sender/sms"},
		"91 bytes":              {title: "안내", body: strings.Repeat("가", 45) + "a", path: "sender/mms", want: "안내"},
		"2,000 bytes":           {title: "안내", body: strings.Repeat("가", 1000), path: "sender/mms", want: "안내"},
		"2,001 bytes":           {title: "안내", body: strings.Repeat("가", 1000) + "a", want: codeTooLong},
		"SMS takes no title":    {title: "안내", body: "예약", path: "sender/sms"},
		"emoji":                 {body: "예약 ❤", want: codeCharacters},
		"CP949 only":            {body: "똠방각하", want: codeCharacters},
		"not UTF-8":             {body: "a\xff", want: codeCharacters},
		"empty":                 {body: " \n", want: codeMessage},
		"no title":              {body: "\n[미소치과]  예약 안내\n" + strings.Repeat("가", 60), path: "sender/mms", want: "[미소치과] 예약 안내"},
		"no title, long line":   {body: strings.Repeat("가", 60), path: "sender/mms", want: strings.Repeat("가", 20)},
		"title of 40 bytes":     {title: strings.Repeat("가", 20), body: strings.Repeat("가", 60), path: "sender/mms", want: strings.Repeat("가", 20)},
		"title of 42 bytes":     {title: strings.Repeat("가", 21), body: strings.Repeat("가", 60), want: codeTooLong},
		"title of two lines":    {title: "a\nb", body: strings.Repeat("가", 60), want: codeMessage},
		"title that is no text": {title: "❤", body: strings.Repeat("가", 60), want: codeCharacters},
		"abroad":                {body: "hello", to: abroad, path: "sender/sms"},
		"long abroad":           {title: "a", body: strings.Repeat("a", 91), to: abroad, want: codeAbroad},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message(t)
			m.Title, m.Body = c.title, c.body
			if !c.to.IsZero() {
				m.To = c.to
			}
			req, u, e := s.request(&m)
			if e != nil {
				if c.path != "" || e.Code != c.want || e.Kind != providers.Rejected || e.Scope != providers.Request {
					t.Errorf("%v; want code %q", e, c.want)
				}
				return
			}
			if c.path == "" || !strings.HasSuffix(u.Path, c.path) || req.Title != c.want || req.Body != c.body {
				t.Errorf("to %s with title %q; want %s with %q", u.Path, req.Title, c.path, c.want)
			}
			if n, bad := template.EUCKRBytes(req.Title); n > template.MaxTitle || len(bad) > 0 {
				t.Errorf("title %q of %d bytes", req.Title, n)
			}
			want := smsRecipient{Number: "01000000000", Key: key}
			if m.To.Foreign() {
				want = smsRecipient{Abroad: "14155552671", Key: key}
			}
			if diff := cmp.Diff(want, req.Recipients[0]); diff != "" {
				t.Errorf("recipient (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSenderNumbersAreDigits(t *testing.T) {
	t.Parallel()
	acct := accountAt("http://gateway.test")
	acct.Sender = "1588-0000"
	if s := NewSMS(acct, nil); s.sender != "15880000" {
		t.Errorf("sender %q", s.sender)
	}
}

func TestMessagesThatCannotBeSentAreNotWritten(t *testing.T) {
	t.Parallel()
	hc := (&oracle{}).client() // panics when asked
	alimtalk, sms := NewAlimtalk(accountAt("http://gateway.test"), hc), NewSMS(accountAt("http://gateway.test"), hc)
	for name, c := range map[string]struct {
		change func(*providers.Message)
		gws    []providers.Gateway
		scope  providers.Scope
	}{
		"no recipient":       {func(m *providers.Message) { m.To = phone.Number{} }, []providers.Gateway{alimtalk, sms}, providers.Recipient},
		"no key":             {func(m *providers.Message) { m.Key = "" }, []providers.Gateway{alimtalk, sms}, providers.Request},
		"long key":           {func(m *providers.Message) { m.Key = strings.Repeat("k", 101) }, []providers.Gateway{alimtalk, sms}, providers.Request},
		"key with a newline": {func(m *providers.Message) { m.Key = "a\nb" }, []providers.Gateway{alimtalk, sms}, providers.Request},
		"no template":        {func(m *providers.Message) { m.TemplateCode = "" }, []providers.Gateway{alimtalk}, providers.Request},
		"variable not UTF-8": {func(m *providers.Message) { m.Variables = map[string]string{"a": "\xff"} }, []providers.Gateway{alimtalk}, providers.Request},
		"empty body":         {func(m *providers.Message) { m.Body = "" }, []providers.Gateway{sms}, providers.Request},
	} {
		for _, gw := range c.gws {
			m := message(t)
			c.change(&m)
			_, err := gw.Send(t.Context(), m)
			e, ok := errors.AsType[*providers.SendError](err)
			if !ok || e.Kind != providers.Rejected || e.Scope != c.scope || !word(e.Code).plain(maxCode) {
				t.Errorf("%s: %v; want rejected", name, err)
			}
		}
	}
}

func TestALongGroupIsCutToWholeCharacters(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                          "",
		"clinic:wf":                 "clinic:wf",
		strings.Repeat("가", 100):    strings.Repeat("가", 100),
		strings.Repeat("가", 101):    strings.Repeat("가", 100),
		strings.Repeat("a", 1000):   strings.Repeat("a", 100),
		strings.Repeat("가", 33)[1:]: strings.Repeat("가", 33)[1:],
	} {
		if got := group(&providers.Message{Group: in}); got != want {
			t.Errorf("group of %d bytes has %d; want %d", len(in), len(got), len(want))
		}
	}
}
