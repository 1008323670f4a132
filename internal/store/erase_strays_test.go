package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
)

// What was refused, or named nobody, goes with the patient whom it tells of,
// and nothing else does.
func TestTextsOfNobodyThatTellOfAPatientGoWithThem(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.planned("known", number(7))
	var patient uuid.UUID
	l.scan(`SELECT id FROM patients`, nil, &patient)
	l.exec(`UPDATE patients SET external_id = 'P-17'`)
	digits := strings.ReplaceAll(number(7), "-", "")
	theirs := []string{
		`{"patient":{"phone":"` + number(7) + `"`, `{"tel":"+82 ` + digits[1:3] + ` ` + digits[3:7] + ` ` + digits[7:] + `"}`, `{"memo":"김하늘님 내원"}`,
		`{"patient":{"name":"\uae40\ud558\ub298"}}`, `{"id":"P-17"}`, `id=P-17&x=1`, "전화 " + strings.NewReplacer("0", "０", "1", "１", "7", "７").Replace(digits),
	}
	others := []string{`{"patient":{"phone":"` + number(8) + `"`, `{"memo":"김하나"}`, `{"id":"P-170"}`, `{"id":"XP-17"}`, `{}`, `\u00`, `{"id":17}`}
	var calls []store.RefusedCall
	for _, body := range append(append([]string{}, theirs...), others...) {
		calls = append(calls, store.RefusedCall{Tenant: l.tenant, WebhookID: l.webhook, ResponseStatus: 422, Problem: "invalid-payload", Received: time.Now(), Body: []byte(body)})
	}
	if err := l.RecordRefused(t.Context(), calls); err != nil {
		t.Fatal(err)
	}
	// An event that named nobody, of them and of somebody else.
	for i, body := range []string{theirs[2], others[1]} {
		l.accept(l.call(fmt.Sprint("stray-", i), body))
	}
	l.exec(`UPDATE triggers SET state = 'ignored', reason = 'unknown_patient', wake_at = NULL, planned_at = now() WHERE patient_id IS NULL`)

	done, err := l.ErasePatient(t.Context(), l.tenant, patient, "", hand)
	if err != nil || done.Strays != len(theirs)+1 {
		t.Errorf("%d texts went, %v; want %d", done.Strays, err, len(theirs)+1)
	}
	if n := l.count(`SELECT count(*) FROM webhook_executions WHERE payload_key IS NOT NULL`); n != len(others) {
		t.Errorf("%d refused calls are left, want %d", n, len(others))
	}
	if n := l.count(`SELECT count(*) FROM webhook_executions WHERE payload_key IS NULL AND payload IS NOT NULL`); n != 0 {
		t.Errorf("%d texts are left without a key", n)
	}
	if n := l.count(`SELECT count(*) FROM triggers WHERE patient_id IS NULL AND payload_key IS NOT NULL`); n != 1 {
		t.Errorf("%d events of nobody are left, want 1", n)
	}
	if again, err := l.ErasePatient(t.Context(), l.tenant, patient, "", hand); err != nil || again.Strays != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	l.holds()
}
