package simulator

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const benchBody = `{"senderKey":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","templateCode":"SIM_OK_APPT","senderGroupingKey":"clinic_7f3:wf_12","recipientList":[{"recipientNo":"010%08d","templateParameter":{"환자명":"김하늘","일시":"11/24(화) 14:30","병원명":"미소치과"},"resendParameter":{"isResend":false},"recipientGroupingKey":"%s:kakao"}]}`

// BenchmarkSend is one Alimtalk to one recipient, from the HTTP handler on,
// with latency 0 and an idempotency key.
func BenchmarkSend(b *testing.B) {
	s := New(Config{Open: true, KeepMessages: 100_000})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("0199f3c2-7f3a-7000-8000-%012d", i)
		r := httptest.NewRequest(http.MethodPost, "/alimtalk/v2.3/appkeys/k/messages", strings.NewReader(fmt.Sprintf(benchBody, 20_000_000+i%10_000_000, key)))
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("X-Secret-Key", "secret")
		r.Header.Set(idempotencyField, key)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
	if n := len(s.Violations()); n != 0 {
		b.Fatalf("%d violations", n)
	}
}
