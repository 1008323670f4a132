package store_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/docs/examples"
	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func (l *ledger) apply(file string, o store.ApplyOptions) (store.Applied, error) {
	l.t.Helper()
	f, err := clinic.Parse([]byte(file))
	if err != nil {
		l.t.Fatal(err)
	}
	o.Phones = testNumbers
	return l.ApplyClinic(l.t.Context(), f, o)
}

func TestApplyingAFileTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	dry, err := l.apply(string(examples.MisoDental), store.ApplyOptions{DryRun: true})
	if err != nil || dry.Changed() != len(dry.Changes) || l.count(`SELECT count(*) FROM tenants`) != 1 {
		t.Fatalf("dry run: %d of %d changes, %v; want all, and nothing written", dry.Changed(), len(dry.Changes), err)
	}
	first, err := l.apply(string(examples.MisoDental), store.ApplyOptions{})
	if err != nil || len(first.Webhooks) != 1 || len(first.Webhooks[0].Secret) != 32 {
		t.Fatalf("first: %+v, %v", first.Webhooks, err)
	}
	second, err := l.apply(string(examples.MisoDental), store.ApplyOptions{})
	if err != nil || second.Changed() != 0 || second.Tenant != first.Tenant || second.Webhooks[0].Secret != nil {
		t.Errorf("second: %d changes, webhooks %+v, %v; want none and no secret", second.Changed(), second.Webhooks, err)
	}
}

func TestAReplacedSecretIsAcceptedForADay(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	before, err := l.Webhook(t.Context(), l.webhook)
	if err != nil {
		t.Fatal(err)
	}
	fresh := bytes.Repeat([]byte{7}, 32)
	if _, err := l.apply(fmt.Sprintf(clinicFile, "miso"), store.ApplyOptions{Secret: fresh}); err != nil {
		t.Fatal(err)
	}
	// A change of something else does not end the overlap.
	if _, err := l.apply(strings.Replace(fmt.Sprintf(clinicFile, "miso"), "workflow: aftercare", "workflow: aftercare, rate_per_minute: 9", 1), store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	after, err := l.Webhook(t.Context(), l.webhook)
	if err != nil || len(after.Secrets) != 2 || !bytes.Equal(after.Secrets[0], fresh) || !bytes.Equal(after.Secrets[1], before.Secrets[0]) {
		t.Fatalf("secrets after rotation: %d, %v", len(after.Secrets), err)
	}
	if left := time.Until(after.PreviousExpires); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("the old secret is accepted for %s, want a day", left)
	}
}

func TestAChangedTextIsANewVersion(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	step := l.planned("e1", "010-0000-0001")
	file := strings.Replace(fmt.Sprintf(clinicFile, "miso"), `"#{환자명}님", sms`, `"#{환자명}님 안녕하세요", sms`, 1)
	a, err := l.apply(file, store.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	for _, c := range a.Changes {
		if c.Action == "update" {
			changed = append(changed, c.Kind+":"+strings.Join(c.Fields, ","))
		}
	}
	if !slices.Equal(changed, []string{"template:kakao_text", "workflow:definition"}) {
		t.Errorf("changes = %v", changed)
	}
	if v := l.count(`SELECT version FROM workflows`); v != 2 {
		t.Errorf("version %d, want 2", v)
	}
	var text string
	_, err = l.ClaimSteps(t.Context(), []event.Step{step}, func(c *store.Candidate) store.Decision {
		s, _ := c.Definition.Step(c.Node)
		text = s.Message.KakaoText
		return store.Decision{}
	})
	if err != nil || text != "#{환자명}님" {
		t.Errorf("the run in flight has text %q, %v; want the one it started with", text, err)
	}
}

func TestAnOptOutIsNotLiftedByAFile(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	with := fmt.Sprintf(clinicFile, "miso") + "patients:\n  - {external_id: P-1, name: 김하늘, phone: 010-0000-0001, opted_out: %v}\n"
	for _, out := range []bool{false, true, true, false} {
		if _, err := l.apply(fmt.Sprintf(with, out), store.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.count(`SELECT count(*) FROM suppressions WHERE lifted_at IS NULL`); n != 1 {
		t.Errorf("%d suppressions, want 1", n)
	}
}

func TestABadFileChangesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	bad := fmt.Sprintf(clinicFile, "miso") + "patients:\n  - {external_id: P-1, name: 김하늘, phone: 02-555-0100}\n  - {external_id: P-1, name: '', phone: 010-0000-0001}\n"
	_, err := l.apply(bad, store.ApplyOptions{})
	if err == nil {
		t.Fatal("it was applied")
	}
	for _, want := range []string{"patients[0].phone", "patients[1].external_id", "patients[1].name"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "555") || l.count(`SELECT count(*) FROM patients`) != 0 {
		t.Errorf("a number is shown, or something was written: %v", err)
	}
}
