package nhn

import (
	"strconv"
	"testing"

	"github.com/doctorsflow/doctorsflow/providers"
)

func TestCodesMeanWhatTheirProductSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code     string
		alimtalk report
		sms      report
	}{
		// The codes that both products have and mean otherwise.
		{"3018", report{state: providers.Failed, scope: providers.Recipient}, report{state: providers.Failed, scope: providers.Sender}},
		{"3019", report{state: providers.Failed, scope: providers.Recipient}, report{state: providers.Failed, scope: providers.Sender}},
		{"3005", report{state: providers.Unconfirmed}, report{state: providers.Failed, scope: providers.Recipient}},
		{"3012", report{state: providers.Failed, scope: providers.Request}, report{state: providers.Failed, scope: providers.Policy}},
		{"1003", report{state: providers.Failed, scope: providers.Sender}, report{state: providers.Failed, scope: providers.Sender}},
	} {
		if got := alimtalkReports[c.code]; got != c.alimtalk {
			t.Errorf("Alimtalk %s: %+v; want %+v", c.code, got, c.alimtalk)
		}
		if got := smsReports[c.code]; got != c.sms {
			t.Errorf("SMS %s: %+v; want %+v", c.code, got, c.sms)
		}
	}
	if alimtalkRefusals[-1005].kind != providers.Duplicate || smsRefusals[-1005].kind != providers.Rejected {
		t.Error("-1005 is a used key at Alimtalk and a bad parameter at SMS")
	}
}

func TestOnlyEvidenceOfFailureFails(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"3005", "4000", "4001", "4161", "4122", "4131", "3011", "31337", "x"} {
		for _, status := range []word{"", "COMPLETED", "FAILED", "READY"} {
			if got := alimtalkState(&row{Code: word(code), Status: status}); got != providers.Unconfirmed {
				t.Errorf("Alimtalk %s %s: state %d; want unconfirmed", code, status, got)
			}
		}
	}
	for _, code := range []string{"E915", "31337", "x"} {
		for _, status := range []word{"", "0", "3", "5"} {
			if got := smsState(&row{Code: word(code), Message: status}); got != providers.Unconfirmed {
				t.Errorf("SMS %s %s: state %d; want unconfirmed", code, status, got)
			}
		}
	}
}

func TestAlimtalkStates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, status, resend word
		want                 providers.State
	}{
		{"1000", "COMPLETED", "RSC01", providers.Delivered},
		{"1000", "", "", providers.Delivered},
		{"1000", "FAILED", "", providers.Unconfirmed},
		{"3019", "FAILED", "RSC01", providers.Failed},
		{"3019", "", "", providers.Failed},
		{"9999", "FAILED", "", providers.Failed},
		{"9999", "", "", providers.Unconfirmed},
		{"3000", "COMPLETED", "", providers.Unconfirmed},
		{"", "", "", providers.Pending},
		{"", "READY", "", providers.Pending},
		{"", "COMPLETED", "", providers.Pending},
		{"", "FAILED", "", providers.Failed},
		{"", "CANCEL", "", providers.Failed},
		// NHN is sending, or has sent, an SMS of its own.
		{"3019", "FAILED", "RSC02", providers.Unconfirmed},
		{"3019", "FAILED", "RSC03", providers.Unconfirmed},
		{"3019", "FAILED", "RSC04", providers.Unconfirmed},
		{"3019", "FAILED", "RSC05", providers.Failed},
		{"1000", "COMPLETED", "RSC02", providers.Delivered},
	} {
		if got := alimtalkState(&row{Code: c.code, Status: c.status, Resend: c.resend}); got != c.want {
			t.Errorf("code %q, status %q, resend %q: state %d; want %d", c.code, c.status, c.resend, got, c.want)
		}
	}
}

func TestSMSStates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, status word
		want         providers.State
	}{
		{"1000", "3", providers.Delivered},
		{"1000", "", providers.Delivered},
		{"1000", "0", providers.Unconfirmed},
		{"3001", "0", providers.Failed},
		{"3001", "", providers.Failed},
		{"3001", "3", providers.Unconfirmed},
		{"2000", "0", providers.Failed},
		{"E915", "5", providers.Unconfirmed},
		{"3001", "5", providers.Unconfirmed},
		{"", "", providers.Pending},
		{"", "1", providers.Pending},
		{"1001", "2", providers.Pending},
		{"E919", "7", providers.Pending},
		{"E919", "6", providers.Failed},
		{"", "0", providers.Failed},
		{"", "3", providers.Delivered},
		{"", "4", providers.Failed},
	} {
		if got := smsState(&row{Code: c.code, Message: c.status}); got != c.want {
			t.Errorf("code %q, msgStatus %q: state %d; want %d", c.code, c.status, got, c.want)
		}
	}
}

func TestEveryCodeIsPlain(t *testing.T) {
	t.Parallel()
	for name, table := range map[string]refusals{"alimtalk": alimtalkRefusals, "sms": smsRefusals} {
		for code := range table {
			if !word(strconv.Itoa(code)).plain(maxCode) {
				t.Errorf("%s: %d", name, code)
			}
		}
	}
	for name, table := range map[string]reports{"alimtalk": alimtalkReports, "sms": smsReports} {
		for code, r := range table {
			if !word(code).plain(maxCode) || r.state == providers.Pending {
				t.Errorf("%s: %s %+v", name, code, r)
			}
		}
	}
}
